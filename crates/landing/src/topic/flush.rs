//! Committing what one topic holds back.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Instant};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int32Type,
};
use contract::{PARTITION, quarantine_raw_schema};
use lake::{Appended, Txn};
use telemetry::metric;
use tracing::Instrument;

use super::{Counts, Shared, TopicLander, assignments, held::Held};
use crate::{
    Error, Result, What,
    progress::{self, landing_id, refusing_id},
    refused::QUARANTINE_TABLE,
};

impl TopicLander {
    /// Commits what is held back: refused records first, then rows and positions.
    pub(super) async fn flush(&mut self) -> Result<Counts> {
        if self.held.records == 0 {
            return Ok(Counts::default());
        }
        let begun = Instant::now();
        let span = self.held.span(&self.topic.name, &self.table);
        let (counts, version) = match self.commit().instrument(span.clone()).await {
            Ok(committed) => committed,
            Err(err) => {
                telemetry::failed(&span, err.fix_by());
                return Err(err);
            }
        };
        span.record("rows", counts.rows);
        span.record("quarantined", counts.quarantined);
        let table = [self.table.as_str()];
        metric::LANDING_COMMIT.record(table, begun.elapsed().as_secs_f64());
        metric::LANDING_ROWS.record(table, counts.rows as f64);
        if let Some(newest) = self.held.newest {
            metric::LANDING_NEWEST.set(table, newest as f64 / 1000.0);
        }
        self.let_go();
        if let Some(version) = version {
            span.record("version", version);
            let ranges = self.ranges().await?;
            let behind = self.behind(&ranges)?;
            let Counts { rows, quarantined } = counts;
            tracing::debug!(
                topic = self.topic.name,
                rows,
                quarantined,
                version,
                behind,
                "landed"
            );
            self.tell(counts, What::Flushed { version, behind });
        }
        Ok(counts)
    }

    /// The commits themselves; the table's version that holds the rows, where there were any to move on with.
    async fn commit(&mut self) -> Result<(Counts, Option<i64>)> {
        self.check_same_topic().await?;
        let mut counts = Counts::default();
        loop {
            match self.append_refused().await? {
                Some(Appended::Committed { .. }) => {
                    counts.quarantined += rows(&self.held.refused);
                    self.held.refused.iter().for_each(measure_refused);
                    self.held.refused.clear();
                }
                Some(Appended::Superseded { app_id, .. }) => {
                    self.restart(&app_id).await?;
                    continue;
                }
                None => {}
            }
            match self.append_rows().await? {
                Some(Appended::Committed { version }) => {
                    counts.rows += rows(&self.held.good);
                    return Ok((counts, Some(version)));
                }
                Some(Appended::Superseded { app_id, .. }) => self.restart(&app_id).await?,
                None => return Ok((counts, None)),
            }
        }
    }

    /// What was read may be of a topic that has the name and not the id: its offsets would be
    /// recorded as the old one's. And one that has grown needs a lander for its new partitions.
    async fn check_same_topic(&mut self) -> Result<()> {
        let topics = self.shared.log.topics(&self.topic.name).await?;
        if topics.contains(&self.topic) {
            return Ok(());
        }
        let topic = self.topic.name.clone();
        Err(Error::Replaced { topic })
    }

    async fn append_refused(&mut self) -> Result<Option<Appended>> {
        let next = self.next()?;
        let mut moving: Vec<i32> = Vec::new();
        for batch in &self.held.refused {
            moving.extend(batch[PARTITION].as_primitive::<Int32Type>().values());
        }
        moving.sort_unstable();
        moving.dedup();
        if moving.is_empty() {
            return Ok(None);
        }
        // Refusing what another lander has landed would put a record in both tables. Landers that
        // judge alike cannot come to that; one with other schemas or code lists could, and this
        // leaves it only the moment up to the commit.
        let landed = self.shared.lake.txns(&self.table).await?;
        let mut txns = Vec::new();
        for partition in &moving {
            let at = &self.partitions[partition];
            let app_id = landing_id(&self.topic, *partition);
            let found = landed.get(&app_id).copied();
            if found != at.base {
                return Ok(Some(Appended::Superseded { app_id, found }));
            }
            txns.push(Txn {
                app_id: refusing_id(&self.topic, *partition),
                base: at.refused_base,
                version: next[partition].max(at.refused_base.unwrap_or(0)),
            });
        }
        let refused = self.held.refused.clone();
        let schema = quarantine_raw_schema();
        let lake = &self.shared.lake;
        let appended = lake
            .append(QUARANTINE_TABLE, &schema, refused, &txns)
            .await?;
        if let Appended::Committed { .. } = appended {
            for (partition, txn) in moving.iter().zip(&txns) {
                if let Some(at) = self.partitions.get_mut(partition) {
                    at.refused_base = Some(txn.version);
                }
            }
        }
        Ok(Some(appended))
    }

    async fn append_rows(&mut self) -> Result<Option<Appended>> {
        let next = self.next()?;
        let mut txns = Vec::new();
        for (partition, at) in &self.partitions {
            if next[partition] > at.start {
                txns.push(Txn {
                    app_id: landing_id(&self.topic, *partition),
                    base: at.base,
                    version: next[partition],
                });
            }
        }
        let Some(reader) = self.reader.as_ref().filter(|_| !txns.is_empty()) else {
            return Ok(None);
        };
        let good = self.held.good.clone();
        let lake = &self.shared.lake;
        let appended = lake
            .append(&self.table, reader.schema(), good, &txns)
            .await?;
        if let Appended::Committed { .. } = appended {
            for (partition, at) in &mut self.partitions {
                let next = next[partition];
                if next > at.start {
                    at.base = Some(next);
                    at.start = next;
                    at.settled = at.settled.split_off(&next);
                }
            }
        }
        Ok(Some(appended))
    }

    /// Another lander was faster with a partition: drops what was read of it, and goes on from
    /// where the tables are now.
    async fn restart(&mut self, app_id: &str) -> Result<()> {
        let partition = app_id
            .rsplit('/')
            .next()
            .and_then(|it| it.parse::<i32>().ok());
        let partition = partition.unwrap_or_default();
        tracing::info!(
            topic = self.topic.name,
            partition,
            "superseded by another lander"
        );
        metric::LANDING_SUPERSEDED.add([&self.topic.name], 1);
        self.tell(Counts::default(), What::Superseded { partition });
        let mut next = self.next()?;
        self.held.drop_partition(&self.topic.name, partition)?;
        let Shared { log, lake, .. } = &self.shared;
        let at = progress::read(log.as_ref(), lake, &self.topic, &self.table, partition).await?;
        next.insert(partition, at.start);
        self.partitions.insert(partition, at);
        self.consumer = log.consumer(&assignments(&self.topic, next)).await?;
        Ok(())
    }

    /// The offset each partition is read from next.
    fn next(&self) -> Result<BTreeMap<i32, i64>> {
        let partitions = self.partitions.keys();
        partitions
            .map(|partition| {
                Ok((
                    *partition,
                    self.consumer.position(&self.topic.name, *partition)?,
                ))
            })
            .collect()
    }

    pub(super) fn let_go(&mut self) {
        self.shared
            .held
            .fetch_sub(self.held.bytes, Ordering::Relaxed);
        self.held = Held::default();
    }
}

fn rows(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

/// Counts refused records by the entity they are of and the rule they break.
fn measure_refused(batch: &RecordBatch) {
    let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
    if let (Some(entities), Some(rules)) = (text("entity"), text("rule")) {
        for (entity, rule) in entities.iter().zip(rules) {
            let labels = [entity.unwrap_or_default(), rule.unwrap_or_default()];
            metric::LANDING_REJECTED.add(labels, 1);
        }
    }
}
