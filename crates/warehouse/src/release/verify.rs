//! Whether a release is what was presented: its copy, the versions it names, and what those give when they are computed again.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::{
    catalog::{MemTable, MemorySchemaProvider, SchemaProvider, TableProvider, empty::EmptyTable},
    execution::runtime_env::RuntimeEnv,
    prelude::SessionContext,
};
use lake::Lake;

use super::{
    Frozen, KEPT_FROM, Release,
    cells::{Cells, differ},
    rows,
};
use crate::{Error, Result, models::Catalog, reference, session};

/// How many cells a difference names.
const SAMPLE: usize = 5;

/// One table of a release, looked at in three ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The table.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// Whether the copy is, byte for byte, what was frozen.
    pub copy: Outcome,
    /// Whether the table's version that it names still has the same rows.
    pub pinned: Outcome,
    /// Whether the models give the same rows from the landed versions it names.
    pub computed: Outcome,
}

/// What came of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The same.
    Same,
    /// Something is different.
    Differs(String),
    /// It cannot be told.
    Unknown(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Differs(what) => write!(f, "DIFFERS: {what}"),
            Self::Unknown(why) => write!(f, "cannot be told: {why}"),
        }
    }
}

/// Looks at every table of a release.
pub(crate) async fn verify(
    lake: &Lake,
    catalog: &Catalog,
    runtime: &Arc<RuntimeEnv>,
    name: &str,
) -> Result<Vec<Verified>> {
    let release = find(lake, name).await?;
    let again = recomputed(lake, catalog, runtime, &release).await;
    let mut all = Vec::new();
    for (table, frozen) in &release.frozen {
        let copy = match rows::read(lake, frozen).await {
            Ok(copy) => Cells::new(copy, &frozen.grain)?,
            Err(Error::Lake(err)) if err.is_retryable() => return Err(Error::Lake(err)),
            Err(err) => {
                let nothing = || Outcome::Unknown("there is no copy to compare with".to_owned());
                all.push(Verified {
                    table: table.clone(),
                    rows: frozen.rows,
                    copy: Outcome::Differs(err.to_string()),
                    pinned: nothing(),
                    computed: nothing(),
                });
                continue;
            }
        };
        let pinned = rows::chosen(
            lake,
            table,
            frozen.version,
            frozen.condition.as_deref(),
            &frozen.grain,
        );
        let computed = match &again {
            Ok(ctx) => match ctx.table(table.as_str()).await {
                Ok(rows) => {
                    rows::answering(rows, table, frozen.condition.as_deref(), &frozen.grain).await
                }
                Err(err) => Err(Error::query(format!("computing {table}"), err)),
            },
            Err(reason) => Err(Error::Release(reason.clone())),
        };
        all.push(Verified {
            table: table.clone(),
            rows: frozen.rows,
            pinned: beside(frozen, &copy, pinned.await)?,
            computed: beside(frozen, &copy, computed)?,
            copy: Outcome::Same,
        });
    }
    Ok(all)
}

/// The release of a name.
pub(super) async fn find(lake: &Lake, name: &str) -> Result<Release> {
    let found = Release::find(lake, name).await?;
    found.ok_or_else(|| {
        Error::Release(format!(
            "there is no release `{name}`; `pejl release list` shows them all"
        ))
    })
}

/// The copy beside rows that should be the same; those kept from an earlier release are that one's.
fn beside(frozen: &Frozen, copy: &Cells, other: Result<RecordBatch>) -> Result<Outcome> {
    let other = match other {
        Ok(other) => Cells::new(other, &frozen.grain)?,
        Err(err) => return Ok(Outcome::Unknown(err.to_string())),
    };
    let mut own = BTreeMap::new();
    let mut kept = Vec::new();
    for (key, row) in &copy.rows {
        match copy.text(*row, KEPT_FROM)? {
            Some(_) => kept.push(key),
            None => {
                own.insert(key, *row);
            }
        }
    }
    let mut wrong = Vec::new();
    for key in own.keys().filter(|it| !other.rows.contains_key(**it)) {
        wrong.push(format!("{} is not there", copy.told(key)));
    }
    for key in other.rows.keys() {
        if !own.contains_key(key) && !kept.contains(&key) {
            wrong.push(format!("{} is not in the release", copy.told(key)));
        }
    }
    for (column, _) in frozen.columns.iter().filter(|it| it.0 != KEPT_FROM) {
        let Some(differ) = differ(copy, &other, column)? else {
            wrong.push(format!("there is no column `{column}`"));
            continue;
        };
        for (key, row) in &own {
            if other
                .rows
                .get(*key)
                .is_some_and(|other| differ(*row, *other))
            {
                wrong.push(format!("{}: `{column}`", copy.told(key)));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(Outcome::Same);
    }
    let count = wrong.len();
    wrong.truncate(SAMPLE);
    Ok(Outcome::Differs(format!(
        "{count} differences, such as {}",
        wrong.join("; ")
    )))
}

/// A session with every model behind a release computed from the landed versions it names, or why that cannot be.
async fn recomputed(
    lake: &Lake,
    catalog: &Catalog,
    runtime: &Arc<RuntimeEnv>,
    release: &Release,
) -> Result<SessionContext, String> {
    let references = reference::tables(catalog.definitions());
    for (table, fingerprint) in &release.models {
        let node = catalog
            .node(table)
            .ok_or_else(|| format!("there is no model {table} any more"))?;
        if node.fingerprint() != *fingerprint {
            return Err(format!(
                "the model {table} is another one now; try with the models of {}",
                release.at.date_naive()
            ));
        }
        for (list, rows) in &references {
            let was = release
                .reads
                .get(table)
                .and_then(|it| it.get(&format!("ref.{list}")));
            if was.is_some_and(|it| *it != reference::fingerprint(rows)) {
                return Err(format!(
                    "ref.{list} has other rows now; try with those of {}",
                    release.at.date_naive()
                ));
            }
        }
    }
    let failed = |err: datafusion::error::DataFusionError| err.to_string();
    let schemas: BTreeMap<&str, Arc<MemorySchemaProvider>> = ["raw", "core", "mart"]
        .into_iter()
        .map(|it| (it, Arc::new(MemorySchemaProvider::new())))
        .collect();
    let mut all: Vec<(&str, Arc<dyn SchemaProvider>)> = Vec::new();
    for (name, schema) in &schemas {
        let schema: Arc<dyn SchemaProvider> = Arc::<MemorySchemaProvider>::clone(schema);
        all.push((*name, schema));
    }
    all.push((
        "ref",
        session::reference_schema(catalog.definitions()).map_err(failed)?,
    ));
    let ctx = session::open(session::config(None), Arc::clone(runtime), all).map_err(failed)?;
    let know = |table: &str, rows: Arc<dyn TableProvider>| -> Result<(), String> {
        let (schema, name) = table.split_once('.').unwrap_or(("core", table));
        if let Some(schema) = schemas.get(schema).filter(|it| !it.table_exist(name)) {
            schema
                .register_table(name.to_owned(), rows)
                .map_err(failed)?;
        }
        Ok(())
    };
    for table in catalog
        .order()
        .iter()
        .filter(|it| release.models.contains_key(*it))
    {
        let Some(node) = catalog.node(table) else {
            continue;
        };
        for raw in node.reads.iter().filter(|it| it.starts_with("raw.")) {
            let found = match release.inputs.get(raw) {
                Some(version) => lake
                    .provider(raw, Some(*version))
                    .await
                    .map_err(|err| err.to_string())?,
                None => None,
            };
            let nothing = || {
                session::landed(raw)
                    .map(|it| Arc::new(EmptyTable::new(it)) as Arc<dyn TableProvider>)
            };
            if let Some(rows) = found.or_else(nothing) {
                know(raw, rows)?;
            }
        }
        let made = node.rows(&ctx).await.map_err(|err| err.to_string())?;
        // A plan may say that a column is never null and bring batches that say it may be.
        let schema = rows::nullable(made.schema().as_arrow());
        let batches = made.collect().await.map_err(failed)?;
        let batches: Vec<RecordBatch> = batches
            .iter()
            .map(|it| rows::to(it, &schema))
            .collect::<Result<_, _>>()
            .map_err(|err| err.to_string())?;
        know(
            table,
            Arc::new(MemTable::try_new(schema, vec![batches]).map_err(failed)?),
        )?;
    }
    Ok(ctx)
}
