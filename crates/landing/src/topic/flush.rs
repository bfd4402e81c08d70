//! Committing what was read of a topic, beside the reading of what comes next.

use std::{collections::BTreeMap, time::Instant};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, SchemaRef},
};
use bus::Topic;
use contract::{PARTITION, quarantine_raw_schema};
use lake::{Appended, Txn};
use telemetry::metric;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::{Counts, Shared, held::Held};
use crate::{
    Error, Result,
    progress::{Progress, landing_id, refusing_id},
    refused::QUARANTINE_TABLE,
};

/// What goes into the tables together, and where it leads.
pub(super) struct Sealed {
    pub(super) shared: Shared,
    pub(super) topic: Topic,
    pub(super) table: String,
    pub(super) schema: SchemaRef,
    pub(super) held: Held,
    /// Where reading stood when it was sealed.
    pub(super) next: BTreeMap<i32, i64>,
    /// Where the tables stand.
    pub(super) partitions: BTreeMap<i32, Progress>,
}

/// What became of it.
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) became: Became,
}

pub(super) enum Became {
    /// It is in the tables, which stand here now.
    Committed {
        partitions: BTreeMap<i32, Progress>,
        /// The table's version, where it had anything to move on with.
        version: Option<i64>,
    },
    /// Another lander was faster with a partition.
    Superseded { partition: i32 },
}

/// A commit under way. Dropping it leaves its outcome unknown, which the tables will tell.
pub(super) type Committing = AbortOnDropHandle<Result<Outcome>>;

impl Sealed {
    /// Starts the commit: refused records first, then rows and positions.
    pub(super) fn commit(self) -> Committing {
        let span = self.held.span(&self.topic.name, &self.table);
        let work = self.committed(span.clone()).instrument(span);
        AbortOnDropHandle::new(tokio::spawn(work))
    }

    async fn committed(mut self, span: Span) -> Result<Outcome> {
        let begun = Instant::now();
        let mut counts = Counts::default();
        let became = match self.append(&mut counts).await {
            Ok(became) => became,
            Err(err) => {
                telemetry::failed(&span, err.fix_by());
                return Err(err);
            }
        };
        span.record("rows", counts.rows);
        span.record("quarantined", counts.quarantined);
        if let Became::Committed { version, .. } = &became {
            let table = [self.table.as_str()];
            metric::LANDING_COMMIT.record(table, begun.elapsed().as_secs_f64());
            metric::LANDING_ROWS.record(table, counts.rows as f64);
            if let Some(newest) = self.held.newest {
                metric::LANDING_NEWEST.set(table, newest as f64 / 1000.0);
            }
            if let Some(version) = version {
                span.record("version", *version);
            }
        }
        Ok(Outcome { counts, became })
    }

    async fn append(&mut self, counts: &mut Counts) -> Result<Became> {
        self.check_same_topic().await?;
        match self.append_refused().await? {
            Some(Appended::Committed { .. }) => {
                counts.quarantined = rows(&self.held.refused);
                self.held.refused.iter().for_each(measure_refused);
            }
            Some(Appended::Superseded { app_id, .. }) => return Ok(superseded(&app_id)),
            None => {}
        }
        let version = match self.append_rows().await? {
            Some(Appended::Committed { version }) => {
                counts.rows = rows(&self.held.good);
                Some(version)
            }
            Some(Appended::Superseded { app_id, .. }) => return Ok(superseded(&app_id)),
            None => None,
        };
        Ok(Became::Committed {
            partitions: std::mem::take(&mut self.partitions),
            version,
        })
    }

    /// What was read may be of a topic that has the name and not the id: its offsets would be
    /// recorded as the old one's. And one that has grown needs a lander for its new partitions.
    async fn check_same_topic(&self) -> Result<()> {
        let topics = self.shared.log.topics(&self.topic.name).await?;
        if topics.contains(&self.topic) {
            return Ok(());
        }
        let topic = self.topic.name.clone();
        Err(Error::Replaced { topic })
    }

    async fn append_refused(&mut self) -> Result<Option<Appended>> {
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
                version: self.next[partition].max(at.refused_base.unwrap_or(0)),
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
        let mut txns = Vec::new();
        for (partition, at) in &self.partitions {
            if self.next[partition] > at.start {
                txns.push(Txn {
                    app_id: landing_id(&self.topic, *partition),
                    base: at.base,
                    version: self.next[partition],
                });
            }
        }
        if txns.is_empty() {
            return Ok(None);
        }
        let good = self.held.good.clone();
        let lake = &self.shared.lake;
        let appended = lake.append(&self.table, &self.schema, good, &txns).await?;
        if let Appended::Committed { .. } = appended {
            for (partition, at) in &mut self.partitions {
                let next = self.next[partition];
                if next > at.start {
                    at.base = Some(next);
                    at.start = next;
                    at.settled = at.settled.split_off(&next);
                }
            }
        }
        Ok(Some(appended))
    }
}

fn superseded(app_id: &str) -> Became {
    let partition = app_id.rsplit('/').next().and_then(|it| it.parse().ok());
    Became::Superseded {
        partition: partition.unwrap_or_default(),
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
