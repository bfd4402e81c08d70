//! What a build would compute and why, without computing it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use contract::DELETED;
use datafusion::prelude::ident;
use lake::Part;

use super::{
    changes::{Change, Reason},
    parts::{MUNICIPALITY, is_split},
    step::Step,
};
use crate::{
    Error, Result,
    models::{Node, Origin},
    publication::Publication,
};

/// What would become of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The table.
    pub model: String,
    /// How much of it would be computed.
    pub work: Work,
    /// The tables whose changes lead to it.
    pub causes: BTreeSet<String>,
}

/// How much of a table would be computed. What is computed and comes out as it was goes no further, so less than this may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// The rows of these municipalities; `None` is those without one.
    Parts(BTreeSet<Part>),
    /// Those municipalities that rows yet to be computed lead to, through a column.
    Through(String),
    /// All of it.
    Whole(Reason),
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = || self.causes.iter().cloned().collect::<Vec<_>>().join(", ");
        match &self.work {
            Work::Nothing => f.write_str("nothing it comes from has changed"),
            Work::Parts(_) => write!(f, "changed: {}", causes()),
            Work::Through(column) => write!(f, "changed: {}, followed by {column}", causes()),
            Work::Whole(reason) => write!(f, "{reason}"),
        }
    }
}

impl Step<'_> {
    /// What would become of every table, each after those it reads.
    pub(super) async fn plan(&self) -> Result<Vec<Planned>> {
        let mut planned: BTreeMap<String, Work> = BTreeMap::new();
        let mut all = Vec::new();
        for table in self.builder.catalog.order() {
            let Some(node) = self.builder.catalog.node(table) else {
                continue;
            };
            let (work, causes) = self.work(node, table, &planned).await?;
            if let Some(version) = self.previous.as_ref().and_then(|it| it.tables.get(table)) {
                self.candidates.set(table, *version);
            }
            planned.insert(table.clone(), work.clone());
            all.push(Planned {
                model: table.clone(),
                work,
                causes,
            });
        }
        Ok(all)
    }

    async fn work(
        &self,
        node: &Node,
        table: &str,
        planned: &BTreeMap<String, Work>,
    ) -> Result<(Work, BTreeSet<String>)> {
        let previous = match self.base(node, table) {
            Ok((previous, _)) => previous,
            Err(reason) => return Ok((Work::Whole(reason), BTreeSet::new())),
        };
        let mut changes = BTreeMap::new();
        for read in &node.reads {
            let change = match planned.get(read) {
                Some(work) => Some(work.clone()),
                None => self.given_change(previous, table, read).await?,
            };
            if let Some(change) = change.filter(|it| *it != Work::Nothing) {
                changes.insert(read.clone(), change);
            }
        }
        let causes: BTreeSet<String> = changes.keys().cloned().collect();
        if changes.is_empty() {
            return Ok((Work::Nothing, causes));
        }
        if !is_split(node.partition_by()) {
            return Ok((Work::Whole(Reason::NotSplit), causes));
        }
        // Current state is split as what lands is; only a deletion does not say whose it is.
        if let Origin::Current(entity) = &node.origin {
            if self.lost_some(previous, &entity.raw_table()).await? {
                return Ok((Work::Through(entity.key.join(", ")), causes));
            }
            let landed = changes.into_values().next().unwrap_or(Work::Nothing);
            return Ok((landed, causes));
        }
        let work = self.follow(node, &changes).await?;
        Ok((work, causes))
    }

    /// Whether deletions have landed in a table since it was read.
    async fn lost_some(&self, previous: &Publication, raw: &str) -> Result<bool> {
        let (Some(was), Some(now)) = (previous.inputs.get(raw), self.candidates.get(raw)) else {
            return Ok(false);
        };
        let Some((landed, _)) = self.landed_since(raw, *was, now.version).await? else {
            return Ok(false);
        };
        let deletions = async {
            let rows = self.ctx.read_table(landed)?;
            rows.filter(ident(DELETED))?.count().await
        };
        let deletions = deletions.await;
        let deletions = deletions
            .map_err(|err| Error::query(format!("looking what has landed in {raw}"), err))?;
        Ok(deletions > 0)
    }

    /// What changed in a table that is not built.
    async fn given_change(
        &self,
        previous: &Publication,
        model: &str,
        table: &str,
    ) -> Result<Option<Work>> {
        let change = self.change_of(previous, model, table).await?;
        Ok(match change {
            Change::Nothing => None,
            Change::Parts(parts) => Some(Work::Parts(parts)),
            Change::Anything => Some(Work::Whole(Reason::Read(table.to_owned()))),
        })
    }

    /// Where changes in what a model reads lead.
    async fn follow(&self, node: &Node, changes: &BTreeMap<String, Work>) -> Result<Work> {
        let by_municipality = self.reach_of(node, MUNICIPALITY).await?;
        let mut parts = BTreeSet::new();
        let mut through = None;
        for (read, change) in changes {
            let stays_within = by_municipality.get(read).map(String::as_str) == Some(MUNICIPALITY);
            match change {
                Work::Nothing => {}
                Work::Parts(changed) if stays_within => parts.extend(changed.iter().cloned()),
                Work::Through(column) if stays_within => through = Some(column.clone()),
                Work::Parts(_) | Work::Through(_) => match self.leading(node, read).await? {
                    Some((column, _)) => through = Some(column),
                    None => return Ok(Work::Whole(Reason::Read(read.clone()))),
                },
                Work::Whole(_) => return Ok(Work::Whole(Reason::Read(read.clone()))),
            }
        }
        Ok(match through {
            Some(column) => Work::Through(column),
            None => Work::Parts(parts),
        })
    }
}
