//! Parameters: which types they have, and their values as literals in the query.
//!
//! A value becomes a literal of the type the client named before the query is planned. So every execution is planned
//! on the tables as they are then, and `LIMIT $1` or `generate_series($1, $2)` work like any constant.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, ExactNumberInfo, Expr, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, LimitClause, ObjectName, Query, Statement,
    TimezoneInfo, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use pgwire::api::Type;
use pgwire::error::PgWireResult;

use crate::sqlstate;

mod wire;

pub(crate) use wire::literal;

/// The highest `$n` in a statement.
pub(crate) fn highest(statement: &Statement) -> usize {
    struct Highest(usize);
    impl Visitor for Highest {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 = self.0.max(position(expr).unwrap_or(0));
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Highest(0);
    let _ = statement.visit(&mut visitor);
    visitor.0
}

/// Types that the query itself names: `$1::date`, `CAST($2 AS int)`, `LIMIT $3`.
pub(crate) fn named_types(statement: &Statement, count: usize) -> Vec<Option<Type>> {
    struct Named(Vec<Option<Type>>);
    impl Named {
        fn note(&mut self, expr: &Expr, kind: Option<Type>) {
            if let Some(slot) = position(expr).and_then(|at| self.0.get_mut(at - 1))
                && slot.is_none()
            {
                *slot = kind;
            }
        }
    }
    impl Visitor for Named {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Cast {
                    expr, data_type, ..
                } => self.note(expr, type_named(&data_type.to_string())),
                // `x = ANY($1)` by now; of an array nobody typed, text is the best guess.
                Expr::Function(function) if function.name.to_string() == "array_contains" => {
                    if let FunctionArguments::List(list) = &function.args
                        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(array))) =
                            list.args.first()
                    {
                        self.note(array, Some(Type::TEXT_ARRAY));
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
                if let Some(limit) = limit {
                    self.note(limit, Some(Type::INT8));
                }
                if let Some(offset) = offset {
                    self.note(&offset.value, Some(Type::INT8));
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Named(vec![None; count]);
    let _ = statement.visit(&mut visitor);
    visitor.0
}

/// Puts values in the place of parameters; a `None` stays a parameter.
pub(crate) fn substitute(statement: &mut Statement, values: &[Option<Expr>]) -> PgWireResult<()> {
    struct Substitute<'a>(&'a [Option<Expr>]);
    impl VisitorMut for Substitute<'_> {
        type Break = usize;
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<usize> {
            match position(expr).map(|at| (at, self.0.get(at - 1))) {
                None | Some((_, Some(None))) => ControlFlow::Continue(()),
                Some((_, Some(Some(value)))) => {
                    *expr = value.clone();
                    ControlFlow::Continue(())
                }
                Some((at, None)) => ControlFlow::Break(at),
            }
        }
    }
    match statement.visit(&mut Substitute(values)) {
        ControlFlow::Break(at) => Err(sqlstate::error(
            "42P02",
            format!("there is no parameter ${at}"),
        )),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A null of a type, which stands for a parameter when only the result's types are asked for.
pub(crate) fn null_of(kind: &Type) -> Expr {
    cast(Expr::Value(Value::Null.with_empty_span()), kind)
}

/// A value of a type, when one is known.
pub(crate) fn typed(value: Expr, kind: Option<&Type>) -> Expr {
    match kind {
        Some(kind) => cast(value, kind),
        None => value,
    }
}

fn position(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok().filter(|at| *at > 0),
            _ => None,
        },
        _ => None,
    }
}

/// A harmless value of a type, for the few places that take no null even to be described.
pub(crate) fn sample_of(kind: &Type) -> Expr {
    let sample = match *kind {
        Type::BOOL => "false",
        Type::DATE => "2000-01-01",
        Type::TIME => "00:00:00",
        Type::TIMESTAMP => "2000-01-01T00:00:00",
        Type::TIMESTAMPTZ => "2000-01-01T00:00:00Z",
        Type::INTERVAL => "1 day",
        _ if element(kind).is_some() => return cast(array(Vec::new()), kind),
        _ if sql_type(kind).is_some() => "1",
        _ => "",
    };
    cast(text(sample), kind)
}

fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).with_empty_span())
}

fn array(elem: Vec<Expr>) -> Expr {
    Expr::Array(Array { elem, named: true })
}

/// `CAST(expr AS kind)`; text needs none, and staying a plain literal it is coerced like one.
fn cast(expr: Expr, kind: &Type) -> Expr {
    match sql_type(kind) {
        None => expr,
        Some(data_type) => Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(expr),
            data_type,
            array: false,
            format: None,
        },
    }
}

/// The SQL type of a PostgreSQL type; `None` for text and everything that travels as text.
fn sql_type(kind: &Type) -> Option<DataType> {
    if let Some(element) = element(kind) {
        let inner = sql_type(&element).unwrap_or(DataType::Text);
        return Some(DataType::Array(ArrayElemTypeDef::SquareBracket(
            Box::new(inner),
            None,
        )));
    }
    Some(match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::SmallInt(None),
        Type::INT4 => DataType::Integer(None),
        Type::INT8 => DataType::BigInt(None),
        Type::FLOAT4 => DataType::Real,
        Type::FLOAT8 => DataType::Double(ExactNumberInfo::None),
        Type::NUMERIC => DataType::Numeric(ExactNumberInfo::PrecisionAndScale(38, 10)),
        Type::DATE => DataType::Date,
        Type::TIME => DataType::Time(None, TimezoneInfo::None),
        Type::TIMESTAMP => DataType::Timestamp(Some(6), TimezoneInfo::None),
        Type::TIMESTAMPTZ => DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone),
        Type::INTERVAL => DataType::Interval {
            fields: None,
            precision: None,
        },
        Type::BYTEA => DataType::Bytea,
        Type::OID => DataType::Custom(ObjectName::from(vec![Ident::new("oid")]), Vec::new()),
        _ => return None,
    })
}

/// Element types and their array types.
static ARRAYS: &[(Type, Type)] = &[
    (Type::BOOL, Type::BOOL_ARRAY),
    (Type::INT2, Type::INT2_ARRAY),
    (Type::INT4, Type::INT4_ARRAY),
    (Type::INT8, Type::INT8_ARRAY),
    (Type::FLOAT4, Type::FLOAT4_ARRAY),
    (Type::FLOAT8, Type::FLOAT8_ARRAY),
    (Type::NUMERIC, Type::NUMERIC_ARRAY),
    (Type::TEXT, Type::TEXT_ARRAY),
    (Type::VARCHAR, Type::VARCHAR_ARRAY),
    (Type::BPCHAR, Type::BPCHAR_ARRAY),
    (Type::DATE, Type::DATE_ARRAY),
    (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
    (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
    (Type::UUID, Type::UUID_ARRAY),
    (Type::OID, Type::OID_ARRAY),
];

/// The element type of an array type.
fn element(kind: &Type) -> Option<Type> {
    ARRAYS
        .iter()
        .find(|(_, array)| array == kind)
        .map(|(element, _)| element.clone())
}

/// The array type of an element type.
fn array_of(kind: &Type) -> Option<Type> {
    ARRAYS
        .iter()
        .find(|(element, _)| element == kind)
        .map(|(_, array)| array.clone())
}

/// A type by any of its SQL names, as far as parameters and casts use them.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    let lower = name.trim().to_lowercase();
    let lower = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    if let Some(inner) = lower.strip_suffix("[]") {
        return array_of(&type_named(inner)?);
    }
    let base = lower.split('(').next().unwrap_or(lower).trim();
    Some(match base {
        "bool" | "boolean" => Type::BOOL,
        "int2" | "smallint" => Type::INT2,
        "int" | "int4" | "integer" => Type::INT4,
        "int8" | "bigint" => Type::INT8,
        "float4" | "real" => Type::FLOAT4,
        "float" | "float8" | "double" | "double precision" => Type::FLOAT8,
        "numeric" | "decimal" | "dec" => Type::NUMERIC,
        "text" | "string" => Type::TEXT,
        "varchar" | "character varying" => Type::VARCHAR,
        "date" => Type::DATE,
        "time" | "time without time zone" => Type::TIME,
        "timestamp" | "timestamp without time zone" => {
            if lower.ends_with("with time zone") {
                Type::TIMESTAMPTZ
            } else {
                Type::TIMESTAMP
            }
        }
        "timestamptz" | "timestamp with time zone" => Type::TIMESTAMPTZ,
        "interval" => Type::INTERVAL,
        "bytea" => Type::BYTEA,
        "uuid" => Type::UUID,
        "json" => Type::JSON,
        "jsonb" => Type::JSONB,
        "oid" => Type::OID,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::dialect;

    #[test]
    fn types_named_by_the_query_are_found() {
        let query =
            dialect::parse("select $1::date, cast($2 as int[]), $3 from t limit $4").unwrap();
        assert_eq!(query.placeholders, 4);
        assert_eq!(
            named_types(&query.statement, 4),
            [
                Some(Type::DATE),
                Some(Type::INT4_ARRAY),
                None,
                Some(Type::INT8)
            ]
        );
    }

    #[test]
    fn values_take_the_place_of_parameters() {
        let mut query = dialect::parse("select $2 from t where a = any($1)").unwrap();
        let values = [Some(array(vec![text("x'y")])), Some(null_of(&Type::INT4))];
        substitute(&mut query.statement, &values).unwrap();
        assert_eq!(
            query.statement.to_string(),
            "SELECT CAST(NULL AS INTEGER) FROM t WHERE array_contains(ARRAY['x''y'], a)"
        );
        let mut query = dialect::parse("select $3").unwrap();
        substitute(&mut query.statement, &values).unwrap_err();
    }
}
