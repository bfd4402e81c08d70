//! The proof: every offset of every topic against the tables, every row against the topics, every delivery against its rows.

mod deliveries;
mod strangers;

use std::{fmt, sync::Arc, time::Duration};

use arrow::{
    array::AsArray,
    datatypes::{Int32Type, Int64Type},
};
use bus::{Assignment, Consumer, Delivered, Log, Topic};
use contract::{OFFSET, PARTITION, TOPIC};
use datafusion::{
    catalog::TableProvider,
    execution::{SendableRecordBatchStream, runtime_env::RuntimeEnvBuilder},
    prelude::{SessionConfig, SessionContext, col, lit},
};
use futures::TryStreamExt;
use lake::Lake;
use serde::Serialize;

use crate::{
    Error, Offsets, Result,
    progress::{label, landing_id},
    reader::{PREFIX, table_of},
    refused::QUARANTINE_TABLE,
};

pub use self::{deliveries::DeliveryAudit, strangers::Stranger};

/// Memory for sorting the offsets of a partition; more than fits is sorted on disk.
const SORT_BYTES: usize = 128 << 20;

/// Records read from the log at a time.
const POLL_RECORDS: usize = 8192;

/// How often a partition is audited anew because the log let go of what was about to be read.
const TRIMMED: usize = 5;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Every partition of every topic.
    pub partitions: Vec<PartitionAudit>,
    /// Rows that name no partition of the log.
    pub strangers: Vec<Stranger>,
    /// Delivered files whose rows are not as many as their delivery says.
    pub deliveries: Vec<DeliveryAudit>,
    /// Delivered files that were counted. None are while records wait to be landed.
    pub deliveries_counted: u64,
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
}

/// What one partition's offsets are in its table and among the refused records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionAudit {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its table; `None` when the topic is of no entity known here.
    pub table: Option<String>,
    /// First offset the log still has.
    pub low: i64,
    /// One past its last.
    pub high: i64,
    /// The next offset to land.
    pub next: i64,
    /// Records the log has.
    pub delivered: u64,
    /// Of those, how many are in the table.
    pub landed: u64,
    /// Of those, how many are among the refused.
    pub quarantined: u64,
    /// Of those, how many are yet to land.
    pub waiting: u64,
    /// Offsets that have landed by the table's count and are in neither place.
    pub missing: Offsets,
    /// Offsets there more than once, in whatever places; also among those the log has let go of.
    pub doubled: Offsets,
    /// Offsets in the tables, from `low` to `high`, at which the log has no record.
    pub foreign: Offsets,
    /// Offsets in the tables that the log has not come to yet.
    pub out_of_range: Offsets,
}

impl PartitionAudit {
    /// Whether every record that has landed is there once, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.doubled.is_empty()
            && self.foreign.is_empty()
            && self.out_of_range.is_empty()
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
            low,
            high,
            delivered,
            landed,
            quarantined,
            ..
        } = self;
        let table = self.table.as_deref().unwrap_or("no table");
        write!(
            f,
            "{topic}/{partition} {low}..{high}: {delivered} records, {landed} in {table}, {quarantined} quarantined"
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
/// every delivered file's counts with its rows.
///
/// Log and tables are read side by side in the order of offsets, so memory does not grow with them.
/// Landing, tidying and trimming may go on meanwhile. `observe` is told what is being read.
pub async fn verify(
    log: &dyn Log,
    lake: &Lake,
    observe: &(dyn Fn(&str) + Send + Sync),
) -> Result<Audit> {
    let mut partitions = Vec::new();
    for topic in log.topics(PREFIX).await? {
        let table = table_of(&topic.name);
        for partition in 0..topic.partitions {
            observe(&format!("{}/{partition}", topic.name));
            let mut tries = 0;
            let audited = loop {
                match audit(log, lake, &topic, partition, table.as_deref()).await {
                    Err(Error::Log(bus::Error::OutOfRange { .. })) if tries < TRIMMED => tries += 1,
                    other => break other?,
                }
            };
            partitions.push(audited);
        }
    }
    observe("rows of other topics");
    let strangers = strangers::find(log, lake).await?;
    let waiting: u64 = partitions.iter().map(|it| it.waiting).sum();
    let (mut deliveries, mut deliveries_counted) = (Vec::new(), 0);
    if waiting == 0 {
        observe("deliveries");
        (deliveries, deliveries_counted) = deliveries::count(lake).await?;
    }
    Ok(Audit {
        partitions,
        strangers,
        deliveries,
        deliveries_counted,
    })
}

async fn audit(
    log: &dyn Log,
    lake: &Lake,
    topic: &Topic,
    partition: i32,
    table: Option<&str>,
) -> Result<PartitionAudit> {
    // Position before rows, rows before refused ones, tables before the log: whatever lands
    // meanwhile is then seen as landed ahead of its position, which is no fault.
    let mut tables = Vec::new();
    let (mut next, mut name) = (0, topic.name.clone());
    if let Some(table) = table {
        let txns = lake.txns(table).await?;
        next = txns
            .get(&landing_id(topic, partition))
            .copied()
            .unwrap_or(0);
        name = label(topic, &txns);
        tables.extend(lake.provider(table, None).await?.map(|rows| (rows, 0)));
        if table != QUARANTINE_TABLE {
            let refused = lake.provider(QUARANTINE_TABLE, None).await?;
            tables.extend(refused.map(|rows| (rows, 1)));
        }
    }
    let range = log.range(&topic.name, partition).await?;
    let found = Found::open(tables, &name, partition).await?;
    let from = Assignment {
        topic: topic.name.clone(),
        partition,
        offset: range.low,
    };
    let records = Records {
        consumer: log.consumer(&[from]).await?,
        topic: topic.name.clone(),
        partition,
        high: range.high,
        ready: Vec::new().into_iter(),
    };
    let audit = PartitionAudit {
        topic: topic.name.clone(),
        partition,
        table: table.map(str::to_owned),
        low: range.low,
        high: range.high,
        next: next.max(range.low),
        delivered: 0,
        landed: 0,
        quarantined: 0,
        waiting: 0,
        missing: Offsets::default(),
        doubled: Offsets::default(),
        foreign: Offsets::default(),
        out_of_range: Offsets::default(),
    };
    merge(audit, found, records).await
}

async fn merge(
    mut audit: PartitionAudit,
    mut found: Found,
    mut records: Records,
) -> Result<PartitionAudit> {
    let mut row = found.next().await?;
    let mut last_row: Option<i64> = None;
    let mut record = records.next().await?;
    loop {
        // A row at or before the record at hand, or behind the last.
        if let Some((offset, refused)) = row
            && record.is_none_or(|record| offset <= record)
        {
            if last_row == Some(offset) {
                audit.doubled.add(offset);
            } else if record == Some(offset) {
                *(if refused {
                    &mut audit.quarantined
                } else {
                    &mut audit.landed
                }) += 1;
            } else if offset >= audit.high {
                // The range was asked for after the rows were: it cannot have landed since.
                audit.out_of_range.add(offset);
            } else if offset >= audit.low {
                audit.foreign.add(offset);
            }
            last_row = Some(offset);
            row = found.next().await?;
            continue;
        }
        let Some(offset) = record else { break };
        audit.delivered += 1;
        if last_row != Some(offset) {
            if offset < audit.next {
                audit.missing.add(offset);
            } else {
                audit.waiting += 1;
            }
        }
        record = records.next().await?;
    }
    Ok(audit)
}

/// The offsets the tables have of a partition, in order.
struct Found {
    rows: Option<SendableRecordBatchStream>,
    ready: std::vec::IntoIter<(i64, bool)>,
}

impl Found {
    async fn open(
        tables: Vec<(Arc<dyn TableProvider>, i32)>,
        topic: &str,
        partition: i32,
    ) -> Result<Self> {
        let failed = |err| Error::query(topic, err);
        let memory = RuntimeEnvBuilder::new().with_memory_limit(SORT_BYTES, 1.0);
        let memory = memory.build_arc().map_err(failed)?;
        // One at a time: a sort in parts for each core would divide the memory among them.
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_config_rt(config, memory);
        let ours = col(TOPIC)
            .eq(lit(topic))
            .and(col(PARTITION).eq(lit(partition)));
        let mut all = None;
        for (table, place) in tables {
            let rows = context
                .read_table(table)
                .and_then(|rows| rows.filter(ours.clone()))
                .and_then(|rows| rows.select(vec![col(OFFSET), lit(place).alias("place")]))
                .map_err(failed)?;
            all = Some(match all {
                None => rows,
                Some(before) => rows.union(before).map_err(failed)?,
            });
        }
        let rows = match all {
            None => None,
            Some(rows) => {
                let sorted = rows
                    .sort(vec![col(OFFSET).sort(true, false)])
                    .map_err(failed)?;
                Some(sorted.execute_stream().await.map_err(failed)?)
            }
        };
        Ok(Self {
            rows,
            ready: Vec::new().into_iter(),
        })
    }

    /// The next offset, and whether it is among the refused.
    async fn next(&mut self) -> Result<Option<(i64, bool)>> {
        loop {
            if let Some(ready) = self.ready.next() {
                return Ok(Some(ready));
            }
            let Some(rows) = &mut self.rows else {
                return Ok(None);
            };
            let next = rows.try_next().await;
            let Some(batch) = next.map_err(|err| Error::query("the landed rows", err))? else {
                return Ok(None);
            };
            let offsets = batch.column(0).as_primitive::<Int64Type>().values();
            let places = batch.column(1).as_primitive::<Int32Type>().values();
            let pairs = offsets
                .iter()
                .zip(places)
                .map(|(offset, place)| (*offset, *place == 1));
            self.ready = pairs.collect::<Vec<_>>().into_iter();
        }
    }
}

/// The offsets of the records of a partition, in order.
struct Records {
    consumer: Box<dyn Consumer>,
    topic: String,
    partition: i32,
    high: i64,
    ready: std::vec::IntoIter<Delivered>,
}

impl Records {
    async fn next(&mut self) -> Result<Option<i64>> {
        loop {
            if let Some(record) = self.ready.next() {
                // What came after the audit began is not part of it.
                return Ok((record.offset < self.high).then_some(record.offset));
            }
            if self.consumer.position(&self.topic, self.partition)? >= self.high {
                return Ok(None);
            }
            let polled = self
                .consumer
                .poll(POLL_RECORDS, Duration::from_millis(500))
                .await?;
            let records = polled.into_iter().flat_map(|polled| polled.records);
            self.ready = records.collect::<Vec<_>>().into_iter();
        }
    }
}
