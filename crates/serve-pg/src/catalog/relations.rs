//! The tables of `pg_catalog` that depend on the warehouse, the users or the session.
//!
//! Columns: <https://www.postgresql.org/docs/16/catalogs.html>.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, FieldRef, Int32Type, Schema};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::Result;
use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_field::{kind, oid_field};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};
use pgwire::api::Type;

use super::sheet::Sheet;
use super::snapshot::{self, Snapshot};
use super::{PG_CATALOG, Served};
use crate::shape;

/// The bootstrap role that owns everything.
pub(super) const OWNER: i32 = 10;
/// `pg_default`.
const TABLESPACE: i32 = 1663;
/// The oid of the one database.
const DATABASE: i32 = 16_000;

/// What is built here rather than taken from the library.
pub(super) const OWN: &[&str] = &[
    "pg_attribute",
    "pg_authid",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_cursors",
    "pg_database",
    "pg_description",
    "pg_index",
    "pg_indexes",
    "pg_locks",
    "pg_matviews",
    "pg_namespace",
    "pg_roles",
    "pg_sequences",
    "pg_settings",
    "pg_stat_activity",
    "pg_stat_user_tables",
    "pg_statio_user_tables",
    "pg_tables",
    "pg_timezone_names",
    "pg_type",
    "pg_user",
    "pg_user_mappings",
    "pg_views",
];

/// A relation of `pg_catalog`, if it is one of [`OWN`].
pub(super) async fn table(served: &Served, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let sheet = match name {
        "pg_type" => {
            let types = &served.0.library.types;
            return Ok(Some(Arc::new(MemTable::try_new(
                types.schema(),
                vec![vec![types.clone()]],
            )?)));
        }
        "pg_class" => pg_class(&*served.snapshot().await),
        "pg_attribute" => pg_attribute(&*served.snapshot().await),
        "pg_namespace" => pg_namespace(&Snapshot::names(served)),
        "pg_description" => pg_description(&*served.snapshot().await),
        "pg_tables" => pg_tables(&*served.snapshot().await),
        "pg_stat_user_tables" | "pg_statio_user_tables" => stat_tables(&*served.snapshot().await),
        "pg_database" => pg_database(served),
        "pg_roles" | "pg_authid" | "pg_user" => roles(served),
        "pg_settings" => pg_settings(served),
        "pg_collation" => pg_collation(),
        "pg_constraint" => pg_constraint(),
        "pg_index" => pg_index(),
        "pg_views" => none(&["schemaname", "viewname", "viewowner", "definition"]),
        "pg_matviews" => none(&[
            "schemaname",
            "matviewname",
            "matviewowner",
            "tablespace",
            "definition",
        ])
        .bool("hasindexes", false)
        .bool("ispopulated", true),
        "pg_indexes" => none(&[
            "schemaname",
            "tablename",
            "indexname",
            "tablespace",
            "indexdef",
        ]),
        "pg_sequences" => none(&["schemaname", "sequencename", "sequenceowner"]),
        "pg_user_mappings" => none(&["srvname", "usename"])
            .oid("umid", 0)
            .oid("umuser", 0)
            .no_texts("umoptions"),
        "pg_cursors" => none(&["name", "statement"]),
        "pg_timezone_names" => none(&["name", "abbrev"]).bool("is_dst", false),
        "pg_locks" => none(&["locktype", "mode", "transactionid", "virtualtransaction"])
            .oid("database", 0)
            .oid("relation", 0)
            .int("pid", 0)
            .bool("granted", true),
        "pg_stat_activity" => none(&[
            "datname",
            "usename",
            "application_name",
            "state",
            "query",
            "backend_type",
        ])
        .oid("datid", 0)
        .int("pid", 0)
        .oid("usesysid", 0),
        _ => return Ok(None),
    };
    sheet.table().map(Some)
}

fn none(texts: &[&str]) -> Sheet {
    texts
        .iter()
        .fold(Sheet::of(0), |sheet, name| sheet.no_text(name))
}

/// The library's `pg_type`, with receive functions by oid.
pub(super) fn pg_type(library: &PgCatalogStaticTables) -> Result<RecordBatch> {
    let whole = |table: &ArrowTable| concat_batches(&table.schema(), table.data());
    let (types, functions) = (whole(&library.pg_type)?, whole(&library.pg_proc)?);
    let column = |batch: &RecordBatch, name: &str, kind: &DataType| -> Result<ArrayRef> {
        Ok(cast(batch.column(batch.schema().index_of(name)?), kind)?)
    };
    let names = column(&functions, "proname", &DataType::Utf8)?;
    let oids = column(&functions, "oid", &DataType::Int32)?;
    let known: HashMap<&str, i32> = names
        .as_string::<i32>()
        .iter()
        .zip(oids.as_primitive::<Int32Type>().iter())
        .filter_map(|(name, oid)| Some((name?, oid?)))
        .collect();
    let received = column(&types, "typreceive", &DataType::Utf8)?;
    let received: Int32Array = received
        .as_string::<i32>()
        .iter()
        .map(|name| Some(name.and_then(|name| known.get(name).copied()).unwrap_or(0)))
        .collect();
    let at = types.schema().index_of("typreceive")?;
    let mut fields: Vec<FieldRef> = types.schema().fields().iter().cloned().collect();
    fields[at] = Arc::new(oid_field("typreceive", kind::REGPROC, true));
    let mut columns = types.columns().to_vec();
    columns[at] = Arc::new(received);
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Text is compared byte by byte. Releases name the locale's column differently; clients go by the release they know.
fn pg_collation() -> Sheet {
    Sheet::of(2)
        .oids("oid", [100, 950])
        .texts("collname", [Some("default"), Some("C")])
        .oid("collnamespace", 11)
        .oid("collowner", OWNER)
        .texts("collprovider", [Some("d"), Some("c")])
        .bool("collisdeterministic", true)
        .int("collencoding", -1)
        .text("collcollate", "C")
        .text("collctype", "C")
        .no_text("colliculocale")
        .no_text("colllocale")
        .no_text("collicurules")
        .no_text("collversion")
}

/// There are no constraints; tools join their columns all the same.
fn pg_constraint() -> Sheet {
    let texts = [
        "conname",
        "contype",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
        "conbin",
    ];
    let oids = [
        "oid",
        "connamespace",
        "conrelid",
        "contypid",
        "conindid",
        "conparentid",
        "confrelid",
    ];
    let flags = [
        "condeferrable",
        "condeferred",
        "convalidated",
        "conenforced",
        "conislocal",
        "connoinherit",
        "conperiod",
    ];
    let sheet = oids
        .iter()
        .fold(none(&texts), |sheet, name| sheet.oid(name, 0));
    let sheet = flags
        .iter()
        .fold(sheet, |sheet, name| sheet.bool(name, false))
        .short("coninhcount", 0);
    let keys = ["conkey", "confkey", "confdelsetcols"];
    let sheet = keys.iter().fold(sheet, |sheet, name| {
        sheet.no_numbers(name, &DataType::Int16)
    });
    let operators = ["conpfeqop", "conppeqop", "conffeqop", "conexclop"];
    operators.iter().fold(sheet, |sheet, name| {
        sheet.no_numbers(name, &DataType::Int32)
    })
}

/// There are no indexes.
fn pg_index() -> Sheet {
    let flags = [
        "indisunique",
        "indnullsnotdistinct",
        "indisprimary",
        "indisexclusion",
        "indimmediate",
        "indisclustered",
        "indisvalid",
        "indcheckxmin",
        "indisready",
        "indislive",
        "indisreplident",
    ];
    let sheet = none(&["indexprs", "indpred"])
        .oid("indexrelid", 0)
        .oid("indrelid", 0);
    let sheet = sheet.short("indnatts", 0).short("indnkeyatts", 0);
    flags
        .iter()
        .fold(sheet, |sheet, name| sheet.bool(name, false))
        .no_numbers("indkey", &DataType::Int16)
        .no_numbers("indoption", &DataType::Int16)
        .no_numbers("indcollation", &DataType::Int32)
        .no_numbers("indclass", &DataType::Int32)
}

fn pg_class(snapshot: &Snapshot) -> Sheet {
    let all: Vec<_> = snapshot.relations().collect();
    Sheet::of(all.len())
        .oids("oid", all.iter().map(|(_, r)| r.oid))
        .texts("relname", all.iter().map(|(_, r)| Some(&r.name)))
        .oids("relnamespace", all.iter().map(|(s, _)| s.oid))
        .oid("reltype", 0)
        .oid("reloftype", 0)
        .oid("relowner", OWNER)
        .oid("relam", 2)
        .oids("relfilenode", all.iter().map(|(_, r)| r.oid))
        .oid("reltablespace", 0)
        .int("relpages", 0)
        .real("reltuples", -1.0)
        .int("relallvisible", 0)
        .oid("reltoastrelid", 0)
        .bool("relhasindex", false)
        .bool("relisshared", false)
        .text("relpersistence", "p")
        .texts("relkind", all.iter().map(|(_, r)| Some(r.kind)))
        .shorts(
            "relnatts",
            all.iter()
                .map(|(_, r)| i16::try_from(r.columns.len()).unwrap_or(i16::MAX)),
        )
        .short("relchecks", 0)
        .bool("relhasrules", false)
        .bool("relhastriggers", false)
        .bool("relhassubclass", false)
        .bool("relrowsecurity", false)
        .bool("relforcerowsecurity", false)
        .bool("relispopulated", true)
        .text("relreplident", "d")
        .bool("relispartition", false)
        .oid("relrewrite", 0)
        .int("relfrozenxid", 0)
        .int("relminmxid", 0)
        .no_texts("relacl")
        .no_texts("reloptions")
        .no_text("relpartbound")
        .int("xmin", 1)
}

fn pg_attribute(snapshot: &Snapshot) -> Sheet {
    let all: Vec<(i32, usize, &FieldRef, Type)> = snapshot
        .relations()
        .flat_map(|(_, relation)| {
            let columns = relation.columns.iter().enumerate();
            columns.map(|(at, field)| (relation.oid, at + 1, field, type_of(field)))
        })
        .collect();
    let varies = |kind: &Type| shape::size(kind) < 0;
    Sheet::of(all.len())
        .oids("attrelid", all.iter().map(|(oid, ..)| *oid))
        .texts(
            "attname",
            all.iter().map(|(_, _, field, _)| Some(field.name())),
        )
        .oids(
            "atttypid",
            all.iter().map(|(.., kind)| kind.oid().cast_signed()),
        )
        .int("attstattarget", -1)
        .shorts("attlen", all.iter().map(|(.., kind)| shape::size(kind)))
        .shorts(
            "attnum",
            all.iter()
                .map(|(_, at, ..)| i16::try_from(*at).unwrap_or(i16::MAX)),
        )
        .ints(
            "attndims",
            all.iter()
                .map(|(.., kind)| Some(i32::from(kind.name().starts_with('_')))),
        )
        .int("attcacheoff", -1)
        .ints(
            "atttypmod",
            all.iter()
                .map(|(_, _, field, _)| Some(shape::modifier(field.data_type()))),
        )
        .bools("attbyval", all.iter().map(|(.., kind)| !varies(kind)))
        .text("attalign", "i")
        .texts(
            "attstorage",
            all.iter()
                .map(|(.., kind)| Some(if varies(kind) { "x" } else { "p" })),
        )
        .text("attcompression", "")
        .bools(
            "attnotnull",
            all.iter().map(|(_, _, field, _)| !field.is_nullable()),
        )
        .bool("atthasdef", false)
        .bool("atthasmissing", false)
        .text("attidentity", "")
        .text("attgenerated", "")
        .bool("attisdropped", false)
        .bool("attislocal", true)
        .int("attinhcount", 0)
        .oid("attcollation", 0)
        .no_texts("attacl")
        .no_texts("attoptions")
        .no_texts("attfdwoptions")
        .no_text("attmissingval")
        .int("xmin", 1)
}

/// The PostgreSQL type under which a column is served.
pub(super) fn type_of(field: &FieldRef) -> Type {
    let schema = Schema::new(vec![Arc::clone(field)]);
    shape::Shape::of(&schema, &[], "UTC")
        .ok()
        .and_then(|shape| shape.schema().fields().first().cloned())
        .and_then(|served| field_into_pg_type(&served).ok())
        .unwrap_or(Type::TEXT)
}

fn pg_namespace(snapshot: &Snapshot) -> Sheet {
    let all = &snapshot.schemas;
    Sheet::of(all.len())
        .oids("oid", all.iter().map(|schema| schema.oid))
        .texts("nspname", all.iter().map(|schema| Some(&schema.name)))
        .oid("nspowner", OWNER)
        .no_texts("nspacl")
        .int("xmin", 1)
}

fn pg_description(snapshot: &Snapshot) -> Sheet {
    let mut all: Vec<(i32, i32, String)> = Vec::new();
    for (_, relation) in snapshot.relations() {
        all.extend(
            relation
                .comment
                .iter()
                .map(|comment| (relation.oid, 0, comment.clone())),
        );
        for (at, field) in relation.columns.iter().enumerate() {
            let number = i32::try_from(at + 1).unwrap_or(i32::MAX);
            all.extend(
                snapshot::comment(field).map(|comment| (relation.oid, number, comment.clone())),
            );
        }
    }
    Sheet::of(all.len())
        .oids("objoid", all.iter().map(|(oid, ..)| *oid))
        .oid("classoid", 1259)
        .ints("objsubid", all.iter().map(|(_, sub, _)| Some(*sub)))
        .texts("description", all.iter().map(|(.., text)| Some(text)))
}

fn pg_tables(snapshot: &Snapshot) -> Sheet {
    let all: Vec<_> = snapshot
        .relations()
        .filter(|(_, relation)| relation.kind == "r")
        .collect();
    Sheet::of(all.len())
        .texts("schemaname", all.iter().map(|(s, _)| Some(&s.name)))
        .texts("tablename", all.iter().map(|(_, r)| Some(&r.name)))
        .text("tableowner", "pejl")
        .no_text("tablespace")
        .bool("hasindexes", false)
        .bool("hasrules", false)
        .bool("hastriggers", false)
        .bool("rowsecurity", false)
}

fn stat_tables(snapshot: &Snapshot) -> Sheet {
    let all: Vec<_> = snapshot
        .relations()
        .filter(|(schema, _)| !schema.is_system())
        .collect();
    let moment = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let sheet = Sheet::of(all.len())
        .oids("relid", all.iter().map(|(_, r)| r.oid))
        .texts("schemaname", all.iter().map(|(s, _)| Some(&s.name)))
        .texts("relname", all.iter().map(|(_, r)| Some(&r.name)));
    let counts = [
        "seq_scan",
        "seq_tup_read",
        "idx_scan",
        "idx_tup_fetch",
        "n_tup_ins",
        "n_tup_upd",
        "n_tup_del",
        "n_live_tup",
        "n_dead_tup",
        "heap_blks_read",
        "heap_blks_hit",
        "idx_blks_read",
        "idx_blks_hit",
        "vacuum_count",
        "analyze_count",
    ];
    let sheet = counts.iter().fold(sheet, |sheet, name| sheet.long(name, 0));
    let moments = [
        "last_seq_scan",
        "last_vacuum",
        "last_autovacuum",
        "last_analyze",
        "last_autoanalyze",
    ];
    moments
        .iter()
        .fold(sheet, |sheet, name| sheet.null(name, &moment))
}

fn pg_database(served: &Served) -> Sheet {
    Sheet::of(1)
        .oid("oid", DATABASE)
        .text("datname", &served.0.name)
        .oid("datdba", OWNER)
        .int("encoding", 6)
        .text("datlocprovider", "c")
        .bool("datistemplate", false)
        .bool("datallowconn", true)
        .int("datconnlimit", -1)
        .int("datfrozenxid", 0)
        .int("datminmxid", 0)
        .oid("dattablespace", TABLESPACE)
        .text("datcollate", "C")
        .text("datctype", "C.UTF-8")
        .no_text("daticulocale")
        .no_text("daticurules")
        .no_text("datlocale")
        .no_text("datcollversion")
        .no_texts("datacl")
        .int("datlastsysoid", 16_383)
}

/// The owner, who cannot log in, and the users, who can. No password is ever shown.
fn roles(served: &Served) -> Sheet {
    let users = &served.0.roles;
    let names: Vec<&str> = std::iter::once("pejl")
        .chain(users.iter().map(String::as_str))
        .collect();
    let login = names
        .iter()
        .enumerate()
        .map(|(at, _)| at > 0)
        .collect::<Vec<_>>();
    let oids: Vec<i32> = (0..).take(names.len()).map(role_oid).collect();
    let moment = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    Sheet::of(names.len())
        .oids("oid", oids.iter().copied())
        .oids("usesysid", oids.iter().copied())
        .texts("rolname", names.iter().map(Some))
        .texts("usename", names.iter().map(Some))
        .bool("rolsuper", false)
        .bool("usesuper", false)
        .bool("rolinherit", true)
        .bool("rolcreaterole", false)
        .bool("rolcreatedb", false)
        .bool("usecreatedb", false)
        .bools("rolcanlogin", login)
        .bool("rolreplication", false)
        .bool("userepl", false)
        .bool("rolbypassrls", false)
        .int("rolconnlimit", -1)
        .text("rolpassword", "********")
        .null("rolvaliduntil", &moment)
        .no_texts("rolconfig")
        .no_texts("useconfig")
}

/// Role number 0 is the owner, the others are the users in the order of the settings.
fn role_oid(number: i32) -> i32 {
    if number == 0 { OWNER } else { 16_000 + number }
}

/// The name of a role.
pub(super) fn role_named(served: &Served, oid: i32) -> Option<String> {
    if oid == OWNER {
        return Some("pejl".into());
    }
    served
        .0
        .roles
        .get(usize::try_from(oid - 16_001).ok()?)
        .cloned()
}

fn pg_settings(served: &Served) -> Sheet {
    let all = served.settings();
    let sheet = Sheet::of(all.len())
        .texts("name", all.keys().map(Some))
        .texts("setting", all.values().map(Some))
        .texts("reset_val", all.values().map(Some))
        .texts("boot_val", all.values().map(Some));
    let unknown = [
        "unit",
        "extra_desc",
        "min_val",
        "max_val",
        "enumvals",
        "sourcefile",
    ];
    unknown
        .iter()
        .fold(sheet, |sheet, name| sheet.no_text(name))
        .text("category", "Pejl")
        .text("short_desc", "")
        .text("context", "user")
        .text("vartype", "string")
        .text("source", "session")
        .null("sourceline", &DataType::Int32)
        .bool("pending_restart", false)
}

/// Whether a name is one of the system's own.
pub(super) fn is_system_schema(name: &str) -> bool {
    name == PG_CATALOG || name == super::INFORMATION_SCHEMA
}
