//! Functions that PostgreSQL clients call: about the session, about oids, and the many that have nothing to tell here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::generate_series_arg_coercion::CoerceIntArgsToBigInt;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    array_bounds_udf, create_pg_get_constraintdef, create_pg_get_partition_ancestors_udf,
    create_pg_get_statisticsobjdef_columns_udf, format_type, pg_get_expr_udf, quote_ident_udf,
};
use datafusion_postgres::datafusion_pg_functions;

use super::snapshot::{self, Snapshot};
use super::{PG_CATALOG, Served, relations};
use crate::dialect::tools::{ARRAY_TO_STRING, REGCLASS_TEXT, REGNAMESPACE_TEXT};
use crate::session::Session;
use crate::variables::{SERVER_VERSION, Variables};

/// Answers null.
const UNKNOWN: &[&str] = &[
    "json_build_object",
    "shobj_description",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef",
    "pg_get_triggerdef",
    "pg_get_viewdef",
    "pg_tablespace_location",
    "pg_advisory_unlock_all",
    "inet_client_addr",
    "inet_server_addr",
];
/// Answers true.
const TRUE: &[&str] = &[
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_function_is_visible",
    "pg_has_role",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_type_is_visible",
];
/// Answers false.
const FALSE: &[&str] = &[
    "pg_is_in_recovery",
    "pg_is_other_temp_schema",
    "pg_is_wal_replay_paused",
    "pg_relation_is_publishable",
];
/// Answers zero: sizes and counts nobody keeps.
const ZERO: &[&str] = &[
    "pg_database_size",
    "pg_indexes_size",
    "pg_my_temp_schema",
    "pg_relation_size",
    "pg_stat_get_numscans",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "txid_current",
];
/// Asks whether the user may do something; reading is what one may.
const PRIVILEGE: &[&str] = &[
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_function_privilege",
    "has_language_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_server_privilege",
    "has_table_privilege",
    "has_tablespace_privilege",
    "has_type_privilege",
];

/// Gives a session its functions.
pub(crate) fn register(session: &Session, pid: i32) {
    let ctx = &session.ctx;
    for udf in [
        format_type::create_format_type_udf(),
        pg_get_expr_udf::create_pg_get_expr_udf(),
        create_pg_get_statisticsobjdef_columns_udf(),
        create_pg_get_constraintdef(),
        create_pg_get_partition_ancestors_udf(),
        quote_ident_udf::create_quote_ident_udf(),
        quote_ident_udf::create_parse_ident_udf(),
        array_bounds_udf::create_array_upper_udf(),
        array_bounds_udf::create_array_lower_udf(),
    ] {
        ctx.register_udf(udf);
    }
    fill_gaps(ctx);
    let served = &*session.served;
    ctx.register_udtf(
        "pg_get_keywords",
        Arc::clone(&served.0.library.tables.pg_get_keywords) as _,
    );
    CoerceIntArgsToBigInt::widen(ctx);

    let text =
        |value: String| move |_: &[ArrayRef], rows| texts(std::iter::repeat_n(Some(&value), rows));
    add(
        ctx,
        "version",
        DataType::Utf8,
        text(format!("PostgreSQL {SERVER_VERSION} (Pejl), read-only")),
    );
    add(
        ctx,
        "current_database",
        DataType::Utf8,
        text(served.0.name.clone()),
    );
    add(
        ctx,
        "session_user",
        DataType::Utf8,
        text(session.user.clone()),
    );
    add(ctx, "user", DataType::Utf8, text(session.user.clone()));
    add(
        ctx,
        "pg_encoding_to_char",
        DataType::Utf8,
        text("UTF8".into()),
    );
    add(ctx, "pg_backend_pid", DataType::Int64, move |_, rows| {
        Ok(longs(i64::from(pid), rows))
    });
    for name in UNKNOWN {
        add(ctx, name, DataType::Utf8, |_, rows| {
            texts(std::iter::repeat_n(None::<&str>, rows))
        });
    }
    for name in TRUE {
        add(ctx, name, DataType::Boolean, |_, rows| {
            Ok(bools(std::iter::repeat_n(Some(true), rows)))
        });
    }
    for name in FALSE {
        add(ctx, name, DataType::Boolean, |_, rows| {
            Ok(bools(std::iter::repeat_n(Some(false), rows)))
        });
    }
    for name in ZERO {
        add(ctx, name, DataType::Int64, |_, rows| Ok(longs(0, rows)));
    }
    for name in PRIVILEGE {
        add(ctx, name, DataType::Boolean, |args, rows| {
            let asked = strings(args.last(), rows)?;
            Ok(bools(asked.iter().map(|asked| asked.map(only_reads))))
        });
    }
    add(ctx, "pg_char_to_encoding", DataType::Int64, |_, rows| {
        Ok(longs(6, rows))
    });
    add(
        ctx,
        "getdatabaseencoding",
        DataType::Utf8,
        text("UTF8".into()),
    );
    add(ctx, "pg_size_pretty", DataType::Utf8, |args, rows| {
        let sizes = numbers(args.first(), rows)?;
        texts(
            sizes
                .iter()
                .map(|size| size.map(|size| format!("{size} bytes"))),
        )
    });
    add(ctx, ARRAY_TO_STRING, DataType::Utf8, array_to_string);
    add(ctx, "format", DataType::Utf8, format);
    about_path(ctx, served);
    about_types(ctx, served);
    about_oids(ctx, served);
    about_settings(ctx, session.variables_handle());
}

/// PostgreSQL's functions that neither DataFusion nor Pejl has; none that exists is replaced.
fn fill_gaps(ctx: &SessionContext) {
    let mut library = SessionContext::new();
    datafusion_pg_functions::register_all(&mut library);
    let known = ctx.state();
    for (name, udf) in library.state().scalar_functions() {
        if !known.scalar_functions().contains_key(name) {
            ctx.register_udf(udf.as_ref().clone());
        }
    }
}

fn about_path(ctx: &SessionContext, served: &Served) {
    let here = served.clone();
    add(ctx, "current_schema", DataType::Utf8, move |_, rows| {
        texts(std::iter::repeat_n(here.path().first(), rows))
    });
    let here = served.clone();
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    add(
        ctx,
        "current_schemas",
        DataType::List(item),
        move |args, rows| {
            let implicit = args
                .first()
                .and_then(|flag| flag.as_boolean_opt())
                .map(|flag| flag.iter().next() == Some(Some(true)));
            let mut lists = ListBuilder::new(StringBuilder::new());
            for _ in 0..rows {
                if implicit == Some(true) {
                    lists.values().append_value(PG_CATALOG);
                }
                for schema in here.path() {
                    lists.values().append_value(schema);
                }
                lists.append(true);
            }
            Ok(Arc::new(lists.finish()))
        },
    );
    let here = served.clone();
    add(ctx, "to_regclass", DataType::Int64, move |args, rows| {
        let names = strings(args.first(), rows)?;
        let oids = names
            .iter()
            .map(|name| name.and_then(|name| here.relation(name)).map(i64::from));
        Ok(Arc::new(oids.collect::<Int64Array>()))
    });
}

fn about_types(ctx: &SessionContext, served: &Served) {
    let types = served.0.library.types.clone();
    add(ctx, "to_regtype", DataType::Int64, move |args, rows| {
        let names = strings(args.first(), rows)?;
        let known = strings(types.column_by_name("typname"), 0)?;
        let oids = numbers(types.column_by_name("oid"), 0)?;
        let found = |name: &str| {
            let named = crate::parameters::type_named(name).map(|kind| kind.oid().cast_signed());
            named.or_else(|| {
                known
                    .iter()
                    .position(|typname| typname == Some(name))
                    .map(|at| oids.value(at))
            })
        };
        Ok(Arc::new(
            names
                .iter()
                .map(|name| name.and_then(found).map(i64::from))
                .collect::<Int64Array>(),
        ))
    });
}

fn about_oids(ctx: &SessionContext, served: &Served) {
    let here = served.clone();
    add(
        ctx,
        "pg_table_is_visible",
        DataType::Boolean,
        move |args, rows| {
            let last = here.last();
            let oids = numbers(args.first(), rows)?;
            Ok(bools(oids.iter().map(|oid| {
                Some(
                    last.by_oid(oid?)
                        .is_some_and(|(_, relation)| relation.visible),
                )
            })))
        },
    );
    let here = served.clone();
    add(ctx, REGCLASS_TEXT, DataType::Utf8, move |args, rows| {
        let names = Snapshot::names(&here);
        let oids = numbers(args.first(), rows)?;
        texts(oids.iter().map(|oid| {
            let named = names
                .by_oid(oid?)
                .map(|(schema, relation)| match relation.visible {
                    true => relation.name.clone(),
                    false => format!("{}.{}", schema.name, relation.name),
                });
            Some(named.unwrap_or_else(|| oid.unwrap_or_default().to_string()))
        }))
    });
    let here = served.clone();
    add(ctx, REGNAMESPACE_TEXT, DataType::Utf8, move |args, rows| {
        let names = Snapshot::names(&here);
        let oids = numbers(args.first(), rows)?;
        texts(oids.iter().map(|oid| {
            let named = names
                .schemas
                .iter()
                .find(|schema| Some(schema.oid) == oid)
                .map(|schema| schema.name.clone());
            Some(named.unwrap_or_else(|| oid.unwrap_or_default().to_string()))
        }))
    });
    let here = served.clone();
    add(ctx, "pg_get_userbyid", DataType::Utf8, move |args, rows| {
        let oids = numbers(args.first(), rows)?;
        texts(oids.iter().map(|oid| {
            oid.map(|oid| {
                relations::role_named(&here, oid).unwrap_or_else(|| format!("unknown (OID={oid})"))
            })
        }))
    });
    let here = served.clone();
    add(ctx, "obj_description", DataType::Utf8, move |args, rows| {
        let last = here.last();
        let oids = numbers(args.first(), rows)?;
        texts(oids.iter().map(|oid| {
            last.by_oid(oid?)
                .and_then(|(_, relation)| relation.comment.clone())
        }))
    });
    let here = served.clone();
    add(ctx, "col_description", DataType::Utf8, move |args, rows| {
        let last = here.last();
        let oids = numbers(args.first(), rows)?;
        let columns = numbers(args.get(1), rows)?;
        texts(oids.iter().zip(columns.iter()).map(|(oid, column)| {
            let (_, relation) = last.by_oid(oid?)?;
            let field = relation
                .columns
                .get(usize::try_from(column?).ok()?.checked_sub(1)?)?;
            snapshot::comment(field).cloned()
        }))
    });
}

fn about_settings(ctx: &SessionContext, variables: Arc<Mutex<Variables>>) {
    let here = Arc::clone(&variables);
    add(ctx, "current_setting", DataType::Utf8, move |args, rows| {
        let names = strings(args.first(), rows)?;
        let variables = here.lock().unwrap_or_else(PoisonError::into_inner);
        texts(
            names
                .iter()
                .map(|name| name.map(|name| variables.get(name).to_owned())),
        )
    });
    add_volatile(ctx, "set_config", DataType::Utf8, move |args, rows| {
        let (names, values) = (strings(args.first(), rows)?, strings(args.get(1), rows)?);
        let mut variables = variables.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = Vec::new();
        for (name, value) in names.iter().zip(values.iter()) {
            if let Some(name) = name {
                variables.set(name, value, false).map_err(|error| {
                    datafusion::error::DataFusionError::Execution(error.to_string())
                })?;
            }
            set.push(name.map(|name| variables.get(name).to_owned()));
        }
        texts(set)
    });
}

/// Joins an array's items; text in the place of an array is one that the library's tables keep as text.
fn array_to_string(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let separators = strings(args.get(1), rows)?;
    let Some(DataType::List(_)) = args.first().map(|array| array.data_type()) else {
        return texts(
            strings(args.first(), rows)?
                .iter()
                .map(|text| text.map(str::to_owned))
                .collect::<Vec<_>>(),
        );
    };
    let lists = args[0].as_list::<i32>();
    let mut joined = Vec::with_capacity(rows);
    for row in 0..rows {
        if lists.is_null(row) || separators.is_null(row) {
            joined.push(None);
            continue;
        }
        let items = strings(Some(&lists.value(row)), 0)?;
        joined.push(Some(
            items
                .iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(separators.value(row)),
        ));
    }
    texts(joined)
}

/// `format('%s.%I = %L', …)`; widths and positions, which no tool was seen to use, stay as they are.
fn format(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let patterns = strings(args.first(), rows)?;
    let values = args
        .iter()
        .skip(1)
        .map(|arg| strings(Some(arg), rows))
        .collect::<Result<Vec<_>>>()?;
    let mut formatted = Vec::with_capacity(rows);
    for row in 0..rows {
        if patterns.is_null(row) {
            formatted.push(None);
            continue;
        }
        let mut values = values
            .iter()
            .map(|column| column.is_valid(row).then(|| column.value(row)));
        let mut text = String::new();
        let mut chars = patterns.value(row).chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('s') => text.push_str(values.next().flatten().unwrap_or_default()),
                Some('I') => {
                    let name = values.next().flatten().unwrap_or_default();
                    text.push_str(&format!("\"{}\"", name.replace('"', "\"\"")));
                }
                Some('L') => match values.next().flatten() {
                    Some(value) => text.push_str(&format!("'{}'", value.replace('\'', "''"))),
                    None => text.push_str("NULL"),
                },
                Some('%') => text.push('%'),
                Some(other) => text.extend(['%', other]),
                None => text.push('%'),
            }
        }
        formatted.push(Some(text));
    }
    texts(formatted)
}

fn only_reads(privileges: &str) -> bool {
    let writes = [
        "insert",
        "update",
        "delete",
        "truncate",
        "create",
        "references",
        "trigger",
        "temp",
    ];
    let asked = privileges.to_lowercase();
    !writes.iter().any(|write| asked.contains(write))
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = Option<T>>) -> Result<ArrayRef> {
    Ok(Arc::new(values.into_iter().collect::<StringArray>()))
}

fn bools(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

fn longs(value: i64, rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(std::iter::repeat_n(
        value, rows,
    )))
}

fn strings(array: Option<&ArrayRef>, rows: usize) -> Result<StringArray> {
    match array {
        Some(array) => Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone()),
        None => Ok(StringArray::new_null(rows)),
    }
}

fn numbers(array: Option<&ArrayRef>, rows: usize) -> Result<arrow::array::Int32Array> {
    match array {
        Some(array) => Ok(cast(array, &DataType::Int32)?
            .as_primitive::<Int32Type>()
            .clone()),
        None => Ok(arrow::array::Int32Array::new_null(rows)),
    }
}

type Body = dyn Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync;

fn add(
    ctx: &SessionContext,
    name: &str,
    returns: DataType,
    body: impl Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync + 'static,
) {
    ctx.register_udf(Lenient::udf(
        name,
        returns,
        Volatility::Stable,
        Arc::new(body),
    ));
}

fn add_volatile(
    ctx: &SessionContext,
    name: &str,
    returns: DataType,
    body: impl Fn(&[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync + 'static,
) {
    ctx.register_udf(Lenient::udf(
        name,
        returns,
        Volatility::Volatile,
        Arc::new(body),
    ));
}

/// A function that takes any arguments, since clients call the same one with names, oids and flags in turn.
struct Lenient {
    name: String,
    returns: DataType,
    signature: Signature,
    body: Arc<Body>,
}

impl Lenient {
    fn udf(name: &str, returns: DataType, volatility: Volatility, body: Arc<Body>) -> ScalarUDF {
        let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        ScalarUDF::new_from_impl(Lenient {
            name: name.to_owned(),
            returns,
            signature: Signature::new(any, volatility),
            body,
        })
    }
}

impl fmt::Debug for Lenient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lenient({})", self.name)
    }
}

impl PartialEq for Lenient {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for Lenient {}

impl Hash for Lenient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Lenient {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args
            .args
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        (self.body)(&arrays, rows).map(ColumnarValue::Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_what_one_may() {
        assert!(only_reads("SELECT"));
        assert!(only_reads("USAGE"));
        assert!(!only_reads("SELECT, INSERT"));
        assert!(!only_reads("create"));
    }
}
