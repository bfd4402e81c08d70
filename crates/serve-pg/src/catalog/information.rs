//! `information_schema`, with PostgreSQL's columns and type names.
//!
//! Columns: <https://www.postgresql.org/docs/16/information-schema.html>.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use pgwire::api::Type;

use super::Served;
use super::relations::{is_system_schema, type_of};
use super::sheet::Sheet;
use super::snapshot::{Namespace, Relation, Snapshot};

/// The views there are; those that have no rows here still have their columns.
pub(super) const NAMES: &[&str] = &[
    "character_sets",
    "columns",
    "constraint_column_usage",
    "key_column_usage",
    "parameters",
    "referential_constraints",
    "routines",
    "schemata",
    "table_constraints",
    "tables",
    "views",
];

/// A view of `information_schema`, if there is one of that name.
pub(super) async fn table(served: &Served, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let catalog = served.0.name.as_str();
    let sheet = match name {
        "schemata" => schemata(catalog, &Snapshot::names(served)),
        "tables" => tables(catalog, &*served.snapshot().await),
        "columns" => columns(catalog, &*served.snapshot().await),
        "views" => none(&[
            "table_catalog",
            "table_schema",
            "table_name",
            "view_definition",
            "check_option",
            "is_updatable",
        ]),
        "character_sets" => Sheet::of(1)
            .no_text("character_set_catalog")
            .no_text("character_set_schema")
            .text("character_set_name", "UTF8")
            .text("character_repertoire", "UCS")
            .text("form_of_use", "UTF8")
            .text("default_collate_catalog", catalog)
            .text("default_collate_schema", "pg_catalog")
            .text("default_collate_name", "C"),
        "table_constraints" => none(&[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
            "is_deferrable",
            "initially_deferred",
            "enforced",
        ]),
        "key_column_usage" => none(&[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
        ])
        .int("ordinal_position", 1)
        .int("position_in_unique_constraint", 1),
        "constraint_column_usage" => none(&[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ]),
        "referential_constraints" => none(&[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "match_option",
            "update_rule",
            "delete_rule",
        ]),
        "routines" => none(&[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "routine_catalog",
            "routine_schema",
            "routine_name",
            "routine_type",
            "data_type",
            "routine_definition",
        ]),
        "parameters" => none(&[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "parameter_mode",
            "parameter_name",
            "data_type",
        ])
        .int("ordinal_position", 1),
        _ => return Ok(None),
    };
    sheet.table().map(Some)
}

fn none(texts: &[&str]) -> Sheet {
    texts
        .iter()
        .fold(Sheet::of(0), |sheet, name| sheet.no_text(name))
}

fn schemata(catalog: &str, snapshot: &Snapshot) -> Sheet {
    let all = &snapshot.schemas;
    Sheet::of(all.len())
        .text("catalog_name", catalog)
        .texts("schema_name", all.iter().map(|schema| Some(&schema.name)))
        .text("schema_owner", "pejl")
        .no_text("default_character_set_catalog")
        .no_text("default_character_set_schema")
        .no_text("default_character_set_name")
        .no_text("sql_path")
}

fn tables(catalog: &str, snapshot: &Snapshot) -> Sheet {
    let all: Vec<_> = snapshot.relations().collect();
    Sheet::of(all.len())
        .text("table_catalog", catalog)
        .texts(
            "table_schema",
            all.iter().map(|(schema, _)| Some(&schema.name)),
        )
        .texts(
            "table_name",
            all.iter().map(|(_, relation)| Some(&relation.name)),
        )
        .texts(
            "table_type",
            all.iter()
                .map(|(_, r)| Some(if r.kind == "v" { "VIEW" } else { "BASE TABLE" })),
        )
        .no_text("self_referencing_column_name")
        .no_text("reference_generation")
        .no_text("user_defined_type_catalog")
        .no_text("user_defined_type_schema")
        .no_text("user_defined_type_name")
        .text("is_insertable_into", "NO")
        .text("is_typed", "NO")
        .no_text("commit_action")
}

struct Column<'a> {
    schema: &'a Namespace,
    relation: &'a Relation,
    position: usize,
    field: &'a FieldRef,
    kind: Type,
}

fn columns(catalog: &str, snapshot: &Snapshot) -> Sheet {
    let all: Vec<Column<'_>> = snapshot
        .relations()
        .filter(|(schema, _)| !is_system_schema(&schema.name))
        .flat_map(|(schema, relation)| {
            relation
                .columns
                .iter()
                .enumerate()
                .map(move |(at, field)| Column {
                    schema,
                    relation,
                    position: at + 1,
                    field,
                    kind: type_of(field),
                })
        })
        .collect();
    let decimal = |c: &Column<'_>| match c.field.data_type() {
        DataType::Decimal128(precision, scale) => Some((i32::from(*precision), i32::from(*scale))),
        _ => None,
    };
    // Bits for binary numbers, decimal digits for numeric, with the radix beside them.
    let precision = |c: &Column<'_>| match c.kind {
        Type::INT2 => Some(16),
        Type::INT4 => Some(32),
        Type::INT8 => Some(64),
        Type::FLOAT4 => Some(24),
        Type::FLOAT8 => Some(53),
        _ => decimal(c).map(|(precision, _)| precision),
    };
    let scale = |c: &Column<'_>| match c.kind {
        Type::INT2 | Type::INT4 | Type::INT8 => Some(0),
        _ => decimal(c).map(|(_, scale)| scale),
    };
    let radix = |c: &Column<'_>| precision(c).map(|_| if c.kind == Type::NUMERIC { 10 } else { 2 });
    let moment = |c: &Column<'_>| match c.kind {
        Type::DATE => Some(0),
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME | Type::INTERVAL => Some(6),
        _ => None,
    };
    let sheet = Sheet::of(all.len())
        .text("table_catalog", catalog)
        .texts("table_schema", all.iter().map(|c| Some(&c.schema.name)))
        .texts("table_name", all.iter().map(|c| Some(&c.relation.name)))
        .texts("column_name", all.iter().map(|c| Some(c.field.name())))
        .ints(
            "ordinal_position",
            all.iter().map(|c| i32::try_from(c.position).ok()),
        )
        .no_text("column_default")
        .texts(
            "is_nullable",
            all.iter()
                .map(|c| Some(if c.field.is_nullable() { "YES" } else { "NO" })),
        )
        .texts("data_type", all.iter().map(|c| Some(sql_name(&c.kind))))
        .null("character_maximum_length", &DataType::Int32)
        .ints(
            "character_octet_length",
            all.iter()
                .map(|c| (c.kind == Type::TEXT).then_some(1 << 30)),
        )
        .ints("numeric_precision", all.iter().map(precision))
        .ints("numeric_precision_radix", all.iter().map(radix))
        .ints("numeric_scale", all.iter().map(scale))
        .ints("datetime_precision", all.iter().map(moment));
    let unknown = [
        "interval_type",
        "interval_precision",
        "character_set_catalog",
        "character_set_schema",
        "character_set_name",
        "collation_catalog",
        "collation_schema",
        "collation_name",
        "domain_catalog",
        "domain_schema",
        "domain_name",
    ];
    unknown
        .iter()
        .fold(sheet, |sheet, name| sheet.no_text(name))
        .text("udt_catalog", catalog)
        .text("udt_schema", "pg_catalog")
        .texts("udt_name", all.iter().map(|c| Some(c.kind.name())))
        .texts(
            "dtd_identifier",
            all.iter().map(|c| Some(c.position.to_string())),
        )
        .text("is_self_referencing", "NO")
        .text("is_identity", "NO")
        .no_text("identity_generation")
        .text("is_generated", "NEVER")
        .no_text("generation_expression")
        .text("is_updatable", "NO")
}

/// The type's name in the SQL standard, as PostgreSQL shows it.
fn sql_name(kind: &Type) -> &str {
    match *kind {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::TIME => "time without time zone",
        _ if kind.name().starts_with('_') => "ARRAY",
        _ => kind.name(),
    }
}
