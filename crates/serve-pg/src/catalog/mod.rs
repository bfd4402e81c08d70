//! The catalogue a session sees: the warehouse's schemas, `pg_catalog`, `information_schema`, and a search path.
//!
//! Object ids are hashes of names, so every connection and every day gives a table the same id.

pub(crate) mod functions;
mod information;
mod relations;
mod sheet;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables,
};

use crate::ServeError;
use crate::variables::Variables;
use snapshot::Snapshot;
use warehouse::{Docs, TableDoc};

/// The schema that stands for the search path; unqualified names resolve to it.
pub(crate) const SEARCH_PATH: &str = "$search_path";
const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";

type Static = PgCatalogSchemaProvider<Arc<dyn CatalogProviderList>, EmptyContextProvider>;

/// The tables every PostgreSQL has alike; read once for all sessions.
pub(crate) struct Library {
    /// `pg_type` with `typreceive` as the oid by which Npgsql joins it to `pg_proc`, not as the name.
    types: RecordBatch,
    tables: Arc<PgCatalogStaticTables>,
    provider: Static,
}

impl Library {
    pub(crate) fn load() -> Result<Arc<Library>, ServeError> {
        let broken = |cause: &dyn fmt::Display| ServeError::Catalogue(cause.to_string());
        let tables = Arc::new(PgCatalogStaticTables::try_new().map_err(|cause| broken(&cause))?);
        let types = relations::pg_type(&tables).map_err(|cause| broken(&cause))?;
        let nothing: Arc<dyn CatalogProviderList> = Arc::new(MemoryCatalogProviderList::new());
        let provider = Static::try_new(nothing, Arc::clone(&tables), EmptyContextProvider)
            .map_err(|cause| broken(&cause))?;
        Ok(Arc::new(Library {
            types,
            tables,
            provider,
        }))
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library(..)")
    }
}

/// The catalogue of one session.
#[derive(Debug, Clone)]
pub(crate) struct Served(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The database's name.
    name: String,
    inner: Arc<dyn CatalogProvider>,
    library: Arc<Library>,
    roles: Vec<String>,
    docs: Option<Arc<Docs>>,
    path: RwLock<Vec<String>>,
    variables: OnceLock<Arc<Mutex<Variables>>>,
    /// As it was when a catalogue table was last read; functions over oids look here.
    last: RwLock<Arc<Snapshot>>,
}

impl Served {
    pub(crate) fn new(
        name: &str,
        inner: Arc<dyn CatalogProvider>,
        library: Arc<Library>,
        roles: Vec<String>,
        docs: Option<Arc<Docs>>,
    ) -> Served {
        Served(Arc::new(Shared {
            name: name.to_owned(),
            inner,
            library,
            roles,
            docs,
            path: RwLock::default(),
            variables: OnceLock::new(),
            last: RwLock::default(),
        }))
    }

    /// What is known of a table.
    pub(crate) fn doc(&self, schema: &str, table: &str) -> Option<&TableDoc> {
        self.0.docs.as_ref()?.get(&format!("{schema}.{table}"))
    }

    /// The warehouse's own schemas, sorted.
    pub(crate) fn schemas(&self) -> Vec<String> {
        let mut names = self.0.inner.schema_names();
        names.retain(|name| is_own(name));
        names.sort();
        names
    }

    /// Tables of one of them, sorted.
    fn tables(&self, schema: &str) -> Vec<String> {
        let mut names = self
            .0
            .inner
            .schema(schema)
            .map(|schema| schema.table_names())
            .unwrap_or_default();
        names.sort();
        names
    }

    /// Those of the warehouse's own tables that are among the names, `schema.table`, sorted.
    pub(crate) fn own(&self, named: &[TableReference]) -> Vec<String> {
        let has = |schema: &str, table: &str| {
            let provider = self.0.inner.schema(schema).filter(|_| is_own(schema));
            provider.is_some_and(|it| it.table_exist(table))
        };
        let path = self.path();
        let found = named.iter().filter_map(|name| {
            let table = name.table();
            let schema = match name.schema() {
                Some(schema) => Some(schema).filter(|schema| has(schema, table)),
                None => path.iter().map(String::as_str).find(|it| has(it, table)),
            };
            schema.map(|schema| format!("{schema}.{table}"))
        });
        let found: BTreeSet<String> = found.collect();
        found.into_iter().collect()
    }

    /// Where unqualified names are looked for.
    pub(crate) fn look_in(&self, path: Vec<String>) {
        *self.0.path.write().unwrap_or_else(PoisonError::into_inner) = path;
    }

    fn path(&self) -> Vec<String> {
        self.0
            .path
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The session's variables, for `pg_settings` and `current_setting`.
    pub(crate) fn know(&self, variables: Arc<Mutex<Variables>>) {
        self.0.variables.set(variables).ok();
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let variables = self.0.variables.get();
        variables
            .map(|variables| {
                variables
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .all()
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The oid of a relation by its name, qualified or not.
    pub(crate) fn relation(&self, name: &str) -> Option<i32> {
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(unquoted(schema)), unquoted(table)),
            None => (None, unquoted(name)),
        };
        let names = Snapshot::names(self);
        let found = |schema: &str| names.relation(schema, &table);
        match schema {
            Some(schema) => found(&schema),
            None => self
                .path()
                .iter()
                .find_map(|schema| found(schema))
                .or_else(|| found(PG_CATALOG)),
        }
    }

    /// The oid of a schema.
    pub(crate) fn namespace(&self, name: &str) -> Option<i32> {
        Snapshot::names(self).namespace(&unquoted(name))
    }

    /// Reads the catalogue with all columns, and remembers it for functions over oids.
    async fn snapshot(&self) -> Arc<Snapshot> {
        let snapshot = Arc::new(Snapshot::full(self).await);
        *self.0.last.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        snapshot
    }

    fn last(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.last.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CatalogProvider for Served {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.schemas();
        names.extend([INFORMATION_SCHEMA.to_owned(), PG_CATALOG.to_owned()]);
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            SEARCH_PATH => Some(Arc::new(Path(self.clone()))),
            PG_CATALOG => Some(Arc::new(PgCatalog(self.clone()))),
            INFORMATION_SCHEMA => Some(Arc::new(Information(self.clone()))),
            _ => self.0.inner.schema(name),
        }
    }
}

/// The first schema of the search path that has the table.
#[derive(Debug)]
struct Path(Served);

#[async_trait]
impl SchemaProvider for Path {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        for schema in self.0.path() {
            if let Some(schema) = self.0.schema(&schema)
                && let Some(table) = schema.table(name).await?
            {
                return Ok(Some(table));
            }
        }
        PgCatalog(self.0.clone()).table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.path().iter().any(|schema| {
            self.0
                .schema(schema)
                .is_some_and(|schema| schema.table_exist(name))
        }) || PgCatalog(self.0.clone()).table_exist(name)
    }
}

#[derive(Debug)]
struct PgCatalog(Served);

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = PG_CATALOG_TABLES.iter().map(ToString::to_string).collect();
        names.extend(relations::OWN.iter().map(ToString::to_string));
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match relations::table(&self.0, name).await? {
            Some(own) => Ok(Some(own)),
            None => self.0.0.library.provider.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        relations::OWN.contains(&name) || PG_CATALOG_TABLES.contains(&name)
    }
}

#[derive(Debug)]
struct Information(Served);

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        information::NAMES.iter().map(ToString::to_string).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        information::table(&self.0, name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        information::NAMES.contains(&name)
    }
}

/// Whether a schema is the warehouse's, and not one of the catalogue.
fn is_own(schema: &str) -> bool {
    schema != PG_CATALOG && schema != INFORMATION_SCHEMA
}

fn unquoted(name: &str) -> String {
    let name = name.trim();
    match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}
