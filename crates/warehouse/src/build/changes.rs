//! How much of a model has to be computed again: what changed in the tables it reads, and which of its rows that can reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use datafusion::{
    catalog::TableProvider,
    error::DataFusionError,
    prelude::{DataFrame, ident},
};
use lake::{Changes, History, Part};

use super::{
    one_of::{most_ids, one_of},
    parts::{MUNICIPALITY, is_split, parts_in, within},
    step::Step,
};
use crate::{
    Error, Result,
    models::Node,
    publication::Publication,
    session::{self, landed},
};

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

/// What a written model can be built on.
#[derive(Debug)]
pub(super) struct Basis<'a> {
    pub(super) previous: &'a Publication,
    /// The version of its table in it.
    pub(super) published: i64,
    /// The tables it reads that have changed since, each with the municipalities in which.
    pub(super) changes: BTreeMap<String, BTreeSet<Part>>,
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

    /// What a written model can be built on; the reason why all of it has to be computed, where there is nothing.
    pub(super) async fn basis(
        &self,
        node: &Node,
        table: &str,
    ) -> Result<Result<Basis<'_>, Reason>> {
        let (previous, published) = match self.base(node, table) {
            Ok(base) => base,
            Err(reason) => return Ok(Err(reason)),
        };
        if !is_split(node.partition_by()) {
            return Ok(Err(Reason::NotSplit));
        }
        let mut changes = BTreeMap::new();
        for read in &node.reads {
            match self.change_of(previous, table, read).await? {
                Change::Nothing => {}
                Change::Anything => return Ok(Err(Reason::Read(read.clone()))),
                Change::Parts(parts) => {
                    changes.insert(read.clone(), parts);
                }
            }
        }
        Ok(Ok(Basis {
            previous,
            published,
            changes,
        }))
    }

    /// Whether changes in these tables change a written model in the municipalities they are in, and in no other.
    pub(super) async fn stays_within<'a>(
        &self,
        node: &Node,
        mut changed: impl Iterator<Item = &'a String>,
    ) -> Result<bool> {
        let by_municipality = self.reach_of(node, MUNICIPALITY).await?;
        Ok(changed.all(|it| by_municipality.get(it).map(String::as_str) == Some(MUNICIPALITY)))
    }

    /// How much of a written model has to be computed again.
    pub(super) async fn extent(&self, node: &Node, basis: Basis<'_>) -> Result<Extent> {
        let by_municipality = self.reach_of(node, MUNICIPALITY).await?;
        let mut parts = BTreeSet::new();
        for (read, changed) in &basis.changes {
            if by_municipality.get(read).map(String::as_str) == Some(MUNICIPALITY) {
                parts.extend(changed.iter().cloned());
                continue;
            }
            let reached = self.reached(basis.previous, node, read, changed, basis.published);
            match reached.await? {
                Some(reached) => parts.extend(reached),
                None => return Ok(Extent::Whole(Reason::Read(read.clone()))),
            }
        }
        Ok(Extent::Parts(parts, basis.changes.into_keys().collect()))
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
    /// `None` where no column is known to lead from the one to the other, or too many ids in it changed.
    async fn reached(
        &self,
        previous: &Publication,
        node: &Node,
        read: &str,
        changed: &BTreeSet<Part>,
        published: i64,
    ) -> Result<Option<BTreeSet<Part>>> {
        let table = node.table();
        let Some((column, of_read)) = self.leading(node, read).await? else {
            return Ok(None);
        };
        let ids = self.changed_ids(previous, read, changed, &of_read).await?;
        let is_sent = self.builder.is_sent;
        let Some(ids) = ids.filter(|it| it.len() <= most_ids(is_sent)) else {
            return Ok(None);
        };
        let failed = |err| Error::query(format!("looking what of {table} {read} reaches"), err);
        let rows = node.rows(&self.ctx).await?;
        let has_one = one_of(&column, ids, is_sent);
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
