//! The proof: every offset of every topic against the tables, every row against the topics, every delivery against its rows.

mod compare;
mod deliveries;
mod mark;
mod moment;
mod records;
mod scope;
mod seen;
mod strangers;
mod tables;

use std::{collections::BTreeMap, fmt};

use bus::Log;
use lake::Lake;
use serde::{Deserialize, Serialize};

use self::{
    compare::Comparison,
    mark::{Mark, MarkedPartition},
    moment::{Moment, Partition},
    scope::AllSettled,
    seen::Seen,
    tables::Found,
};
use crate::{Offsets, Result, refused::QUARANTINE_TABLE};

pub use self::{deliveries::DeliveryAudit, strangers::Stranger};

/// How much is audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every row, and every record the log has.
    Everything,
    /// What has landed since the last audit that passed: the files the tables gained, and the records from where it ended.
    /// A table whose history since then is not known is audited as a whole.
    SinceLast,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// What was read of every table.
    pub tables: Vec<TableAudit>,
    /// Every partition of every topic.
    pub partitions: Vec<PartitionAudit>,
    /// Rows that name no partition of the log.
    pub strangers: Vec<Stranger>,
    /// Delivered files whose rows are not as many as their delivery says.
    pub deliveries: Vec<DeliveryAudit>,
    /// Delivered files that were counted. None are while records wait to be landed.
    pub deliveries_counted: u64,
    /// Whether it left a mark from which the next can go on. It does when it passed, unless one of a later moment did so meanwhile.
    pub marked: bool,
}

impl Audit {
    /// Whether every record that has landed is there once, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.partitions.iter().all(PartitionAudit::is_clean)
            && self.strangers.iter().all(|it| it.earlier)
            && self.deliveries.is_empty()
    }

    /// Records that are still to be landed.
    pub fn waiting(&self) -> u64 {
        self.partitions.iter().map(|it| it.waiting).sum()
    }

    /// Files of tables that were read.
    pub fn files_read(&self) -> u64 {
        self.tables.iter().map(|it| it.files_read).sum()
    }
}

/// What was read of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableAudit {
    /// The table.
    pub table: String,
    /// Its version.
    pub version: i64,
    /// Only what came after this version was read; `None` when all of it was.
    pub since: Option<i64>,
    /// Why all of it was read, when less was asked for.
    pub reason: Option<String>,
    /// Files read.
    pub files_read: u64,
    /// Rows in them.
    pub rows_read: u64,
}

/// What one partition's offsets are in its table and among the refused records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionAudit {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its table; `None` when the topic is of no entity known here.
    pub table: Option<String>,
    /// First offset the log still has.
    pub low: i64,
    /// One past its last, when the audit began.
    pub high: i64,
    /// First offset compared: `low`, or where the last audit ended.
    pub from: i64,
    /// The next offset to land.
    pub next: i64,
    /// Records the log has from `from` on.
    pub delivered: u64,
    /// Of those, how many are in the table.
    pub landed: u64,
    /// Of those, how many are among the refused.
    pub quarantined: u64,
    /// Of those, how many are yet to land.
    pub waiting: u64,
    /// Offsets that have landed by the table's count and are in neither place.
    pub missing: Offsets,
    /// Offsets there more than once, in whatever places; also among those the log has let go of. Rows that came since the last
    /// audit at an offset it had seen are among them.
    pub doubled: Offsets,
    /// Offsets in the tables, from `from` to `next`, at which the log has no record.
    pub foreign: Offsets,
    /// Offsets in the tables that landing has not come to yet, by the table's own count, or the log has not.
    pub out_of_range: Offsets,
    /// Offsets the log has lost: let go of before they landed, or gone from its end.
    pub lost: u64,
}

impl PartitionAudit {
    /// Whether every record that has landed is there once, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.doubled.is_empty()
            && self.foreign.is_empty()
            && self.out_of_range.is_empty()
            && self.lost == 0
    }

    /// Whether, besides, every record has landed.
    pub fn is_complete(&self) -> bool {
        self.is_clean() && self.waiting == 0
    }
}

impl fmt::Display for PartitionAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            from,
            high,
            delivered,
            landed,
            quarantined,
            ..
        } = self;
        let table = self.table.as_deref().unwrap_or("no table");
        write!(
            f,
            "{topic}/{partition} {from}..{high}: {delivered} records, {landed} in {table}, {quarantined} quarantined"
        )?;
        for (what, count) in [
            ("missing", &self.missing),
            ("doubled", &self.doubled),
            ("foreign", &self.foreign),
            ("out of range", &self.out_of_range),
        ] {
            if !count.is_empty() {
                write!(f, ", {what} {count}")?;
            }
        }
        if self.lost > 0 {
            write!(f, ", {} lost by the log", self.lost)?;
        }
        if self.waiting > 0 {
            write!(f, ", {} not landed yet", self.waiting)?;
        }
        if self.is_complete() {
            f.write_str(": each exactly once")?;
        }
        Ok(())
    }
}

/// Compares every readable offset of every topic with the rows that name it, every row's coordinates with the topics, and
/// every delivered file's counts with its rows; all as they are when it begins.
///
/// Tables are read once, in any order, into bitmaps: memory grows with the gaps in the offsets, not with the rows. The log is
/// read once, all partitions side by side. Landing, tidying and trimming may go on meanwhile. `observe` is told what is being read.
pub async fn verify(
    log: &dyn Log,
    lake: &Lake,
    extent: Extent,
    observe: &(dyn Fn(&str) + Send + Sync),
) -> Result<Audit> {
    let known = mark::last(lake).await?;
    observe("tables and topics");
    let moment = Moment::take(log, lake).await?;
    let (scopes, last) = match (extent, known.mark) {
        (Extent::Everything, _) => (scope::everything(&moment, None), None),
        (Extent::SinceLast, Err(reason)) => (scope::everything(&moment, Some(&reason)), None),
        (Extent::SinceLast, Ok(mark)) => (scope::since(lake, &moment, &mark).await?, Some(mark)),
    };
    let settled = last.as_ref().map(|mark| scope::settled(&moment, mark));
    let settled = settled.unwrap_or_default();

    let (mut tables, mut found) = (Vec::new(), BTreeMap::new());
    for (table, scope) in scopes {
        observe(&table);
        let version = moment.tables.get(&table).map_or(0, |it| it.version);
        let (audit, seen) = tables::read(lake, &table, version, scope, &settled).await?;
        tables.push(audit);
        found.insert(table, seen);
    }
    let strangers = strangers::among(&moment, &found);
    let mut mark = Mark::of(&moment);
    let mut comparisons = Vec::new();
    for partition in &moment.partitions {
        let (comparison, marked) = compared(partition, &tables, &mut found, &settled);
        comparisons.push(comparison);
        mark.partitions.push(marked);
    }
    drop(found);
    observe("records");
    let mut audit = Audit {
        tables,
        partitions: records::tell(log, comparisons).await?,
        strangers,
        deliveries: Vec::new(),
        deliveries_counted: 0,
        marked: false,
    };
    let counted = last.map(|mark| mark.counted).filter(|it| !it.is_empty());
    if audit.waiting() == 0 {
        observe("deliveries");
        let counts = deliveries::count(lake, &moment, counted.as_ref()).await?;
        (audit.deliveries, audit.deliveries_counted) = counts;
        let versions = moment.tables.iter();
        mark.counted = versions
            .map(|(name, it)| (name.clone(), it.version))
            .collect();
    } else {
        mark.counted = counted.unwrap_or_default();
    }
    if audit.is_clean() {
        audit.marked = mark::leave(lake, &mark, known.number).await.unwrap_or_else(|err| {
            tracing::warn!(%err, "the audit passed and left no mark; the next one cannot go on from it");
            false
        });
    }
    Ok(audit)
}

/// What is to be told the records of `partition`; and where the next audit of it goes on, if this one passes.
fn compared(
    partition: &Partition,
    tables: &[TableAudit],
    found: &mut BTreeMap<String, Found>,
    settled: &AllSettled,
) -> (Comparison, MarkedPartition) {
    let mut take = |table: &str| -> Seen {
        let of_table = found.get_mut(table);
        let of_topic = of_table.and_then(|it| it.get_mut(&partition.label));
        let seen = of_topic.and_then(|it| it.remove(&partition.number));
        seen.unwrap_or_default()
    };
    let is_partial = |table: &str| {
        tables
            .iter()
            .any(|it| it.table == table && it.since.is_some())
    };
    let settled = settled.get(&partition.label);
    let settled = settled.and_then(|it| it.get(&partition.number));
    let (mut rows, mut refused) = (Seen::default(), Seen::default());
    let mut from = partition.range.low;
    if let Some(table) = partition.table.as_deref() {
        rows = take(table);
        if table != QUARANTINE_TABLE {
            refused = take(QUARANTINE_TABLE);
        }
        if let Some(settled) = settled {
            if is_partial(QUARANTINE_TABLE) {
                refused.offsets |= &settled.ahead;
            }
            if is_partial(table) {
                from = from.max(settled.below);
            }
        }
    }
    let next = partition.position.unwrap_or(partition.range.low);
    let marked = MarkedPartition {
        topic: partition.topic.name.clone(),
        topic_id: partition.topic.id.clone(),
        partition: partition.number,
        offset: next,
        ahead: refused.offsets.clone().split_off(next).runs(),
    };
    (Comparison::new(partition, from, rows, refused), marked)
}
