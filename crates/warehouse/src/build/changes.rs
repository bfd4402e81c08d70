//! How much of a model has to be computed again: what changed in the tables it reads, and which of its rows that can reach.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int32Type,
    row::{OwnedRow, RowConverter, SortField},
};
use datafusion::{
    catalog::TableProvider,
    error::DataFusionError,
    logical_expr::Expr,
    prelude::{DataFrame, ident, lit},
};
use lake::{Changes, History, Part};
use tokio::sync::Mutex;

use super::{
    digest::telling,
    parts::{MUNICIPALITY, is_split, parts_in, within},
    reach::{leading, reach},
    step::Step,
};
use crate::{
    Error, Result,
    models::Node,
    publication::Publication,
    session::{self, landed},
};

/// With more changed values of a column than this the model is computed whole.
const VALUES: usize = 20_000;

/// In more parts than this no values are looked for: rows of both versions are held in memory for it.
const PARTS: usize = 10;

/// The values of a column that changed in some parts of a table, by table, parts and column: several models ask for the same.
pub(super) type ChangedValues = Mutex<HashMap<(String, BTreeSet<Part>, String), Option<Vec<Expr>>>>;

/// How much of a table is computed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole(Reason),
    /// The rows of these municipalities; `None` is those without one. What led to it.
    Parts(BTreeSet<Part>, BTreeSet<String>),
}

/// Why all of a table is computed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It was never published.
    New,
    /// Its query, schema or functions are not the ones it was published with.
    Text,
    /// It is not split by municipality.
    NotSplit,
    /// This table, which it reads, has other rows, and any of its own may come from them.
    Read(String),
    /// So much has changed that computing all is no more work.
    Most,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("it is new"),
            Self::Text => f.write_str("its text, schema or functions changed"),
            Self::NotSplit => f.write_str("it is not split by municipality"),
            Self::Read(table) => write!(f, "{table} changed, which any of its rows may come from"),
            Self::Most => f.write_str("most of it changed"),
        }
    }
}

/// What changed in a table since the last publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Nothing,
    /// Rows of these municipalities.
    Parts(BTreeSet<Part>),
    /// It cannot be told what.
    Anything,
}

impl Step<'_> {
    /// The publication, and the version in it of a table that the model as it is now was published with; otherwise the reason why
    /// nothing can be built on it.
    pub(super) fn base(&self, node: &Node, table: &str) -> Result<(&Publication, i64), Reason> {
        let previous = self.previous.as_ref().ok_or(Reason::New)?;
        let version = previous.tables.get(table).ok_or(Reason::New)?;
        if previous.models.get(table) != Some(&node.fingerprint()) {
            return Err(Reason::Text);
        }
        Ok((previous, *version))
    }

    /// How much of a written model that is published has to be computed again, after a change in what it reads.
    pub(super) async fn extent(&self, node: &Node, table: &str) -> Result<Extent> {
        let (previous, published) = match self.base(node, table) {
            Ok(base) => base,
            Err(reason) => return Ok(Extent::Whole(reason)),
        };
        if !is_split(node.partition_by()) {
            return Ok(Extent::Whole(Reason::NotSplit));
        }
        let planning = |err| Error::query(format!("planning {table}"), err);
        let by_municipality =
            reach(&self.ctx, node.rows(&self.ctx).await?, MUNICIPALITY).map_err(planning)?;
        let by_municipality = by_municipality.unwrap_or_default();
        let mut parts = BTreeSet::new();
        let mut causes = BTreeSet::new();
        for read in &node.reads {
            let changed = match self.change_of(previous, table, read).await? {
                Change::Nothing => continue,
                Change::Anything => return Ok(Extent::Whole(Reason::Read(read.clone()))),
                Change::Parts(changed) => changed,
            };
            causes.insert(read.clone());
            if by_municipality.get(read).map(String::as_str) == Some(MUNICIPALITY) {
                parts.extend(changed);
                continue;
            }
            match self
                .reached(previous, node, read, &changed, published)
                .await?
            {
                Some(reached) => parts.extend(reached),
                None => return Ok(Extent::Whole(Reason::Read(read.clone()))),
            }
        }
        Ok(Extent::Parts(parts, causes))
    }

    /// What changed in a table that `model` reads.
    pub(super) async fn change_of(
        &self,
        previous: &Publication,
        model: &str,
        table: &str,
    ) -> Result<Change> {
        if let Some(fingerprint) = self.references.get(table) {
            let read = previous.reads.get(model).and_then(|it| it.get(table));
            return Ok(if read == Some(fingerprint) {
                Change::Nothing
            } else {
                Change::Anything
            });
        }
        let now = self.candidates.get(table);
        if table.starts_with("raw.") {
            let was = previous.inputs.get(table).copied();
            return match (was, now) {
                (None, None) => Ok(Change::Nothing),
                (Some(_), Some(now)) if previous.has_rows_of(table, now) => Ok(Change::Nothing),
                (Some(was), Some(now)) => self.landed_parts(table, was, now.version).await,
                _ => Ok(Change::Anything),
            };
        }
        let was = previous.tables.get(table).copied();
        let (Some(was), Some(now)) = (was, now) else {
            return Ok(Change::Anything);
        };
        let changed = self.builder.lake.parts_changed(table, was, now.version);
        Ok(match changed.await? {
            Some(parts) if parts.is_empty() => Change::Nothing,
            Some(parts) => Change::Parts(parts),
            None if was == now.version => Change::Nothing,
            None => Change::Anything,
        })
    }

    /// The municipalities of the rows landed between two versions. A deletion holds none: no row of a municipality comes from it.
    async fn landed_parts(&self, table: &str, was: i64, now: i64) -> Result<Change> {
        let Some((landed, _)) = self.landed_since(table, was, now).await? else {
            return Ok(Change::Anything);
        };
        if landed.schema().index_of(MUNICIPALITY).is_err() {
            return Ok(Change::Anything);
        }
        let failed = |err| Error::query(format!("looking what has landed in {table}"), err);
        let codes = async {
            let rows = self.ctx.read_table(landed)?;
            let codes = rows.select(vec![ident(MUNICIPALITY)])?.distinct()?;
            parts_in(&codes.collect().await?, MUNICIPALITY, false)
        };
        Ok(Change::Parts(codes.await.map_err(failed)?))
    }

    /// The rows landed between two versions, and how many bytes their files have; `None` where more than that happened to the table,
    /// or it cannot be told.
    pub(super) async fn landed_since(
        &self,
        table: &str,
        was: i64,
        now: i64,
    ) -> Result<Option<(Arc<dyn TableProvider>, u64)>> {
        let lake = self.builder.lake;
        let history = lake.changes(table, was, now).await?;
        let (History::Known(changes), Some(schema)) = (history, landed(table)) else {
            return Ok(None);
        };
        // What was put together from these is made of the same rows.
        let Changes { added, merged, .. } = changes;
        let files: Vec<_> = added.into_iter().chain(merged).collect();
        let bytes = files.iter().map(|it| it.bytes).sum();
        Ok(Some((lake.rows_of(table, &files, schema), bytes)))
    }

    /// The municipalities of those rows of a model that changed rows of a table can reach through a column both have, before and now;
    /// `None` where no column is known to lead from the one to the other, or too many values of it changed.
    async fn reached(
        &self,
        previous: &Publication,
        node: &Node,
        read: &str,
        changed: &BTreeSet<Part>,
        published: i64,
    ) -> Result<Option<BTreeSet<Part>>> {
        let table = node.table();
        if changed.len() > PARTS {
            return Ok(None);
        }
        let failed = |err| Error::query(format!("looking what of {table} {read} reaches"), err);
        let (Some(was), Some(now)) = (
            previous.tables.get(read).copied(),
            self.candidates.get(read),
        ) else {
            return Ok(None);
        };
        let rows = node.rows(&self.ctx).await?;
        let leading = leading(&self.ctx, node, &rows, read).map_err(failed)?;
        let Some((column, of_read)) = leading else {
            return Ok(None);
        };
        let key = (read.to_owned(), changed.clone(), of_read);
        let mut known = self.changed_values.lock().await;
        let values = match known.get(&key) {
            Some(values) => values.clone(),
            None => {
                let before = self.part_rows(read, was, changed).await?;
                let after = self.part_rows(read, now.version, changed).await?;
                let values = changed_values(before, after, &key.2).await;
                let values = values.map_err(failed)?;
                known.entry(key).or_insert(values).clone()
            }
        };
        drop(known);
        let Some(values) = values else {
            return Ok(None);
        };
        let has_one = ident(column).in_list(values, false);
        let own = self.published_rows(&table, published).await?;
        let mut parts = BTreeSet::new();
        for rows in [own, rows] {
            let codes = async {
                let rows = rows.filter(has_one.clone())?;
                let codes = rows.select(vec![ident(MUNICIPALITY)])?.distinct()?;
                parts_in(&codes.collect().await?, MUNICIPALITY, true)
            };
            parts.extend(codes.await.map_err(failed)?);
        }
        Ok(Some(parts))
    }

    /// The rows of some parts of a table at a version; all of them where it is not split.
    pub(super) async fn part_rows(
        &self,
        table: &str,
        version: i64,
        parts: &BTreeSet<Part>,
    ) -> Result<DataFrame> {
        let rows = self.published_rows(table, version).await?;
        if self
            .builder
            .catalog
            .node(table)
            .is_some_and(|it| !is_split(it.partition_by()))
        {
            return Ok(rows);
        }
        within(parts)
            .and_then(|within| rows.filter(within))
            .map_err(|err| Error::query(format!("reading {table}"), err))
    }

    /// The rows of a table at a version.
    pub(super) async fn published_rows(&self, table: &str, version: i64) -> Result<DataFrame> {
        let provider = self.built_table(table, version).await?;
        self.ctx
            .read_table(provider)
            .map_err(|err| Error::query(format!("reading {table}"), err))
    }

    /// A table at a version, for queries.
    pub(super) async fn built_table(
        &self,
        table: &str,
        version: i64,
    ) -> Result<Arc<dyn TableProvider>> {
        let (lake, is_sent) = (self.builder.lake, self.builder.is_sent);
        let provider = session::provider(lake, table, Some(version), is_sent).await?;
        provider.ok_or_else(|| {
            Error::query(
                format!("reading {table}"),
                DataFusionError::Plan(format!("there is no version {version}")),
            )
        })
    }
}

/// The values of a column in rows that only one side has; `None` where they are too many.
async fn changed_values(
    before: DataFrame,
    after: DataFrame,
    column: &str,
) -> datafusion::error::Result<Option<Vec<Expr>>> {
    let (before, after) = (before.collect().await?, after.collect().await?);
    let Some(schema) = before.iter().chain(&after).map(RecordBatch::schema).next() else {
        return Ok(Some(Vec::new()));
    };
    let telling = telling(&schema);
    let fields = telling.iter().map(|at| schema.field(*at));
    let converter = RowConverter::new(
        fields
            .map(|it| SortField::new(it.data_type().clone()))
            .collect(),
    )?;
    // Each row with how many times more it is there now; and where to find one like it.
    let mut counts: HashMap<OwnedRow, (i64, &RecordBatch, usize)> = HashMap::new();
    for (batches, sign) in [(&before, -1), (&after, 1)] {
        for batch in batches {
            let columns: Vec<_> = telling
                .iter()
                .map(|at| Arc::clone(batch.column(*at)))
                .collect();
            let rows = converter.convert_columns(&columns)?;
            for (at, row) in rows.iter().enumerate() {
                counts.entry(row.owned()).or_insert((0, batch, at)).0 += sign;
            }
        }
    }
    let mut values = BTreeMap::new();
    for (_, batch, at) in counts.into_values().filter(|it| it.0 != 0) {
        let Some(column) = batch.column_by_name(column) else {
            return Ok(None);
        };
        if column.is_null(at) {
            continue;
        }
        let value = match (
            column.as_string_opt::<i32>(),
            column.as_primitive_opt::<Int32Type>(),
        ) {
            (Some(texts), _) => (texts.value(at).to_owned(), lit(texts.value(at))),
            (_, Some(numbers)) => (numbers.value(at).to_string(), lit(numbers.value(at))),
            _ => return Ok(None),
        };
        values.insert(value.0, value.1);
        if values.len() > VALUES {
            return Ok(None);
        }
    }
    Ok(Some(values.into_values().collect()))
}
