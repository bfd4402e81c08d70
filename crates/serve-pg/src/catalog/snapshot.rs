//! The catalogue at one moment: schemas, relations and columns with their oids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::datasource::TableType;
use warehouse::TableDoc;

use super::{INFORMATION_SCHEMA, PG_CATALOG, PgCatalog, Served, information};

/// Arrow metadata keys under which tables and columns carry their description.
const COMMENTS: [&str; 3] = ["doc", "comment", "description"];

/// PostgreSQL's oids of the relations and schemas that catalogue rows name by number.
const FIXED: &[(&str, &str, i32)] = &[
    (PG_CATALOG, "", 11),
    (PG_CATALOG, "pg_type", 1247),
    (PG_CATALOG, "pg_attribute", 1249),
    (PG_CATALOG, "pg_proc", 1255),
    (PG_CATALOG, "pg_class", 1259),
    (PG_CATALOG, "pg_authid", 1260),
    (PG_CATALOG, "pg_database", 1262),
    (PG_CATALOG, "pg_attrdef", 2604),
    (PG_CATALOG, "pg_constraint", 2606),
    (PG_CATALOG, "pg_description", 2609),
    (PG_CATALOG, "pg_index", 2610),
    (PG_CATALOG, "pg_namespace", 2615),
];
/// The first oid PostgreSQL gives to what users create.
const FIRST_USER_OID: u32 = 16_384;

/// The catalogue at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(super) schemas: Vec<Namespace>,
}

/// A schema.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) oid: i32,
    pub(super) name: String,
    pub(super) relations: Vec<Relation>,
}

/// A table or view.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: i32,
    pub(super) name: String,
    /// `r` or `v`.
    pub(super) kind: &'static str,
    /// Whether an unqualified name finds it.
    pub(super) visible: bool,
    pub(super) comment: Option<String>,
    /// Empty for the system's own relations, and when only names were asked for.
    pub(super) columns: Vec<FieldRef>,
}

impl Namespace {
    pub(super) fn is_system(&self) -> bool {
        self.name == PG_CATALOG || self.name == INFORMATION_SCHEMA
    }
}

impl Snapshot {
    /// Names and oids alone, which costs no look into any table.
    pub(super) fn names(served: &Served) -> Snapshot {
        let mut oids = Oids::default();
        let path = served.path();
        let mut seen = BTreeSet::new();
        let mut schemas: Vec<Namespace> = Vec::new();
        for name in served.schema_names() {
            let relations = match name.as_str() {
                PG_CATALOG => PgCatalog(served.clone()).table_names(),
                INFORMATION_SCHEMA => information::NAMES.iter().map(ToString::to_string).collect(),
                _ => served.tables(&name),
            };
            let relations = relations
                .into_iter()
                .map(|table| Relation {
                    oid: oids.of(&name, &table),
                    name: table,
                    kind: if name == INFORMATION_SCHEMA { "v" } else { "r" },
                    visible: false,
                    comment: None,
                    columns: Vec::new(),
                })
                .collect();
            schemas.push(Namespace {
                oid: oids.of(&name, ""),
                name,
                relations,
            });
        }
        // pg_catalog is looked into first, as in PostgreSQL, and needs no mention in the path.
        for wanted in std::iter::once(PG_CATALOG).chain(path.iter().map(String::as_str)) {
            for schema in schemas.iter_mut().filter(|schema| schema.name == wanted) {
                for relation in &mut schema.relations {
                    relation.visible = seen.insert(relation.name.clone());
                }
            }
        }
        Snapshot { schemas }
    }

    /// Everything; a table that cannot be opened is listed without columns, so that one bad table hides no other.
    pub(super) async fn full(served: &Served) -> Snapshot {
        let mut snapshot = Snapshot::names(served);
        for schema in snapshot
            .schemas
            .iter_mut()
            .filter(|schema| !schema.is_system())
        {
            let Some(provider) = served.schema(&schema.name) else {
                continue;
            };
            for relation in &mut schema.relations {
                match provider.table(&relation.name).await {
                    Ok(Some(table)) => {
                        relation.kind = if table.table_type() == TableType::View {
                            "v"
                        } else {
                            "r"
                        };
                        let doc = served.doc(&schema.name, &relation.name);
                        relation.comment = doc
                            .map(|it| it.doc.clone())
                            .or_else(|| comment_of(&table.schema()));
                        let columns = table.schema();
                        let columns = columns.fields().iter();
                        relation.columns = columns.map(|it| commented(it, doc)).collect();
                    }
                    Ok(None) => {}
                    Err(cause) => {
                        tracing::warn!(schema = %schema.name, table = %relation.name, %cause, "cannot describe a table");
                    }
                }
            }
        }
        snapshot
    }

    pub(super) fn relation(&self, schema: &str, table: &str) -> Option<i32> {
        let schema = self.schemas.iter().find(|known| known.name == schema)?;
        schema
            .relations
            .iter()
            .find(|relation| relation.name == table)
            .map(|relation| relation.oid)
    }

    pub(super) fn namespace(&self, name: &str) -> Option<i32> {
        self.schemas
            .iter()
            .find(|schema| schema.name == name)
            .map(|schema| schema.oid)
    }

    /// All relations with their schemas.
    pub(super) fn relations(&self) -> impl Iterator<Item = (&Namespace, &Relation)> {
        self.schemas.iter().flat_map(|schema| {
            schema
                .relations
                .iter()
                .map(move |relation| (schema, relation))
        })
    }

    pub(super) fn by_oid(&self, oid: i32) -> Option<(&Namespace, &Relation)> {
        self.relations().find(|(_, relation)| relation.oid == oid)
    }
}

/// A column with what the warehouse says of it.
fn commented(field: &FieldRef, doc: Option<&TableDoc>) -> FieldRef {
    let columns = doc.map(|it| it.columns.as_slice()).unwrap_or_default();
    let Some((_, said)) = columns.iter().find(|(name, _)| name == field.name()) else {
        return Arc::clone(field);
    };
    let mut metadata = field.metadata().clone();
    metadata.insert(COMMENTS[0].to_owned(), said.clone());
    Arc::new(field.as_ref().clone().with_metadata(metadata))
}

/// A column's description.
pub(super) fn comment(field: &FieldRef) -> Option<&String> {
    COMMENTS.iter().find_map(|key| field.metadata().get(*key))
}

fn comment_of(schema: &SchemaRef) -> Option<String> {
    COMMENTS
        .iter()
        .find_map(|key| schema.metadata().get(*key).cloned())
}

/// Gives out oids: fixed ones, else a hash of the name, else the next free number after it.
#[derive(Debug, Default)]
struct Oids {
    taken: BTreeMap<i32, ()>,
}

impl Oids {
    fn of(&mut self, schema: &str, table: &str) -> i32 {
        let fixed = FIXED.iter().find(|(s, t, _)| *s == schema && *t == table);
        let mut oid = fixed.map_or_else(|| hashed(schema, table), |(_, _, oid)| *oid);
        while self.taken.insert(oid, ()).is_some() {
            oid += 1;
        }
        oid
    }
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>) of schema and table, above PostgreSQL's own oids and below 2^30.
fn hashed(schema: &str, table: &str) -> i32 {
    let bytes = schema.bytes().chain([0]).chain(table.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (FIRST_USER_OID + hash % ((1 << 30) - FIRST_USER_OID)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_depend_on_names_alone_and_never_meet() {
        let mut oids = Oids::default();
        assert_eq!(oids.of(PG_CATALOG, "pg_class"), 1259);
        let first = oids.of("mart", "offer_overview");
        assert_eq!(first, Oids::default().of("mart", "offer_overview"));
        assert!(first >= 16_384);
        assert_eq!(oids.of("mart", "offer_overview"), first + 1);
        assert_ne!(oids.of("martx", ""), oids.of("mart", "x"));
    }
}
