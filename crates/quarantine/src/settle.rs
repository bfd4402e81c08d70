//! Doing something about rows: retrying and discarding, each row once.

use std::{collections::HashSet, fmt, sync::Arc};

use bus::{Producer, SharedLog};
use chrono::Utc;
use contract::{Action, Entity, MARK_TOPIC};
use datafusion::prelude::ident;
use futures::StreamExt;
use ingest::Ingest;
use lake::Lake;
use serde::{Deserialize, Serialize};
use spec::Pipeline;
use warehouse::Warehouse;

use crate::{
    Error, Filter, Result, Row, State,
    latest::LatestVersions,
    marks::{self, Marker},
    retry::{self, Again},
    rows,
};

/// Rows in one transaction.
const AT_ONCE: usize = 500;

/// A source's pipeline as its file has it now, by name; the error says what is wrong with the file.
pub type Pipelines = Arc<dyn Fn(&str) -> Result<Pipeline, String> + Send + Sync>;

/// Does something about rows that were set aside.
#[derive(Clone)]
pub struct Settle {
    /// Where rows and marks go.
    pub log: SharedLog,
    /// Where they have landed.
    pub lake: Lake,
    /// Knows what is open.
    pub warehouse: Warehouse,
    /// Maps again.
    pub ingest: Ingest,
    /// By the pipelines as they are now.
    pub pipelines: Pipelines,
    /// Partitions of the topic of marks, if it is to be made.
    pub partitions: i32,
}

/// What came of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The row.
    pub quarantine_id: String,
    /// Its source.
    pub source: String,
    /// The place in the source.
    pub origin: String,
    /// What came of it.
    pub done: Done,
    /// Why it is still bad; empty otherwise.
    pub reason: String,
}

/// What came of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It is on its entity's topic and will land.
    Retried,
    /// A later version of the same thing was there; nothing was sent.
    Superseded,
    /// The pipeline passes over it now; nothing was sent.
    Filtered,
    /// It was discarded.
    Discarded,
    /// It stays open.
    StillBad,
}

impl Settle {
    /// Tries rows again: each that passes now is sent, marked, and never sent again. `by` says who asked for it.
    ///
    /// Rows go in the order in which they were set aside, some hundreds to a transaction; killed at any moment, it is simply run
    /// again. A `dry_run` says what would come of each row and does nothing.
    ///
    /// # Errors
    /// The first thing that kept it from going on; `observe` has been told what was done by then.
    pub async fn retry(
        &self,
        filter: &Filter,
        by: &str,
        dry_run: bool,
        observe: &(dyn Fn(&[Outcome]) + Send + Sync),
    ) -> Result<()> {
        let marker = self.marker(by, None);
        for source in self.sources(filter).await? {
            let pipeline = (self.pipelines)(&source);
            let hand = self.hand(&source, dry_run).await?;
            let mut retrying = Retrying {
                settle: self,
                pipeline,
                marker: &marker,
                sent: LatestVersions::default(),
                hand,
                observe,
            };
            self.each(filter, &source, async |rows| retrying.chunk(&rows).await)
                .await?;
        }
        Ok(())
    }

    /// Discards rows for good, with a note that says why.
    ///
    /// # Errors
    /// As [`Settle::retry`].
    pub async fn discard(
        &self,
        filter: &Filter,
        by: &str,
        note: &str,
        observe: &(dyn Fn(&[Outcome]) + Send + Sync),
    ) -> Result<()> {
        if note.trim().is_empty() {
            return Err(Error::Asked(
                "say why the rows are discarded: --note \"…\"".to_owned(),
            ));
        }
        let marker = self.marker(by, Some(note));
        for source in self.sources(filter).await? {
            let mut hand = self.hand(&source, false).await?;
            self.each(filter, &source, async |rows: Vec<Row>| {
                let rows = hand.unmarked(rows);
                let mut records = Vec::new();
                for row in &rows {
                    records.push(marker.mark(row, Action::Discarded)?);
                }
                hand.commit(Vec::new(), records).await?;
                let told = rows.iter().map(|row| outcome(row, Done::Discarded, ""));
                observe(&told.collect::<Vec<_>>());
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    fn marker(&self, by: &str, note: Option<&str>) -> Marker {
        Marker {
            by: by.to_owned(),
            note: note.map(str::to_owned),
            trace_id: uuid::Uuid::now_v7().simple().to_string(),
        }
    }

    /// The sources of open rows, by name.
    async fn sources(&self, filter: &Filter) -> Result<Vec<String>> {
        let groups = rows::groups(&self.warehouse, filter, State::Open).await?;
        let mut sources: Vec<String> = groups.into_iter().map(|it| it.source).collect();
        sources.sort();
        sources.dedup();
        Ok(sources)
    }

    /// Ends every earlier hand at the source's rows, then reads what it did. Only then are open rows asked for: a mark has landed by
    /// then, or is among those on their way.
    async fn hand(&self, source: &str, dry_run: bool) -> Result<Hand> {
        let producer = if dry_run {
            None
        } else {
            self.log.ensure_topic(MARK_TOPIC, self.partitions).await?;
            Some(self.log.producer(&format!("quarantine/{source}")).await?)
        };
        let marked = marks::on_the_way(self.log.as_ref(), &self.lake).await?;
        Ok(Hand { producer, marked })
    }

    /// Open rows of one source in the order they were set aside, some hundreds at a time.
    async fn each(
        &self,
        filter: &Filter,
        source: &str,
        mut chunk: impl AsyncFnMut(Vec<Row>) -> Result<()>,
    ) -> Result<()> {
        let filter = Filter {
            source: Some(source.to_owned()),
            ..filter.clone()
        };
        let columns = ["quarantined_at", "_topic", "_partition", "_offset"];
        let order = columns.map(|it| ident(it).sort(true, false)).to_vec();
        let found = rows::matching(&self.warehouse, &filter, State::Open).await?;
        let mut batches = found.sort(order)?.execute_stream().await?;
        let mut waiting: Vec<Row> = Vec::new();
        while let Some(batch) = batches.next().await {
            waiting.extend(rows::of(&batch?)?);
            while waiting.len() >= AT_ONCE {
                let later = waiting.split_off(AT_ONCE);
                chunk(std::mem::replace(&mut waiting, later)).await?;
            }
        }
        if !waiting.is_empty() {
            chunk(waiting).await?;
        }
        Ok(())
    }
}

/// The one hand at a source's rows.
struct Hand {
    /// `None` when nothing is to be done.
    producer: Option<Box<dyn Producer>>,
    /// Rows marked already, by marks that have not landed.
    marked: HashSet<String>,
}

impl Hand {
    fn unmarked(&self, rows: Vec<Row>) -> Vec<Row> {
        let open = |row: &Row| !self.marked.contains(&row.quarantine_id);
        rows.into_iter().filter(open).collect()
    }

    /// Sends rows and marks together.
    async fn commit(
        &mut self,
        records: Vec<(&Entity, bus::Record)>,
        marks: Vec<bus::Record>,
    ) -> Result<()> {
        let Some(producer) = self.producer.as_mut().filter(|_| !marks.is_empty()) else {
            return Ok(());
        };
        for (entity, record) in records {
            producer.send(&entity.topic(), vec![record]).await?;
        }
        producer.send(MARK_TOPIC, marks).await?;
        Ok(producer.commit(None).await?)
    }
}

/// A retry of one source's rows.
struct Retrying<'a> {
    settle: &'a Settle,
    pipeline: Result<Pipeline, String>,
    marker: &'a Marker,
    /// What this retry has sent.
    sent: LatestVersions,
    hand: Hand,
    observe: &'a (dyn Fn(&[Outcome]) + Send + Sync),
}

impl Retrying<'_> {
    async fn chunk(&mut self, rows: &[Row]) -> Result<()> {
        let rows: Vec<Row> = self.hand.unmarked(rows.to_vec());
        let again = self.again(&rows).await?;
        let mut records = Vec::new();
        let mut marks = Vec::new();
        let mut outcomes = Vec::new();
        let mut there = Vec::new();
        for entity in entities(&rows) {
            let keys = keys(&rows, &again, entity);
            let Settle { log, lake, .. } = self.settle;
            there.push((
                entity,
                LatestVersions::of(log.as_ref(), lake, entity, &keys).await?,
            ));
        }
        for (row, again) in rows.iter().zip(again) {
            let done = match again {
                Again::Bad(why) => {
                    outcomes.push(outcome(row, Done::StillBad, &why));
                    continue;
                }
                Again::Filtered => Done::Filtered,
                Again::Good(candidate) => {
                    let Some((entity, there)) = there.iter().find(|it| it.0.name == row.entity)
                    else {
                        continue;
                    };
                    let key = candidate.record.key.clone().unwrap_or_default();
                    let at = row.quarantined_at.timestamp_micros();
                    let updated_at = candidate.updated_at;
                    if there.supersede(&key, updated_at, at)
                        || self.sent.supersede(&key, updated_at, at)
                    {
                        Done::Superseded
                    } else {
                        let now = Utc::now().timestamp_micros();
                        self.sent.came(&key, updated_at, now);
                        records.push((*entity, candidate.record));
                        Done::Retried
                    }
                }
            };
            let action = match done {
                Done::Retried => Action::Retried,
                Done::Superseded => Action::Superseded,
                _ => Action::Filtered,
            };
            marks.push(self.marker.mark(row, action)?);
            outcomes.push(outcome(row, done, ""));
        }
        self.hand.commit(records, marks).await?;
        (self.observe)(&outcomes);
        Ok(())
    }

    /// What each row is now.
    async fn again(&self, rows: &[Row]) -> Result<Vec<Again>> {
        let Settle {
            log, lake, ingest, ..
        } = self.settle;
        let mut answers: Vec<Option<Again>> = rows.iter().map(|_| None).collect();
        let at_landing = |row: &Row| row.stage == "landing";
        let mapped: Vec<usize> = (0..rows.len())
            .filter(|at| !at_landing(&rows[*at]))
            .collect();
        match &self.pipeline {
            Ok(pipeline) => {
                let ours: Vec<&Row> = mapped.iter().map(|at| &rows[*at]).collect();
                let trace_id = &self.marker.trace_id;
                for (at, again) in mapped
                    .iter()
                    .zip(retry::remap(ingest, pipeline, &ours, trace_id)?)
                {
                    answers[*at] = Some(again);
                }
            }
            Err(why) => {
                for at in mapped {
                    answers[at] = Some(Again::Bad(why.clone()));
                }
            }
        }
        for entity in entities(rows) {
            let of_it = |at: &usize| at_landing(&rows[*at]) && rows[*at].entity == entity.name;
            let refused: Vec<usize> = (0..rows.len()).filter(of_it).collect();
            let ours: Vec<&Row> = refused.iter().map(|at| &rows[*at]).collect();
            let judged = retry::rejudge(log.as_ref(), lake, entity, &ours).await?;
            for (at, again) in refused.iter().zip(judged) {
                answers[*at] = Some(again);
            }
        }
        let none = || Again::Bad("this Pejl has no such entity".to_owned());
        Ok(answers
            .into_iter()
            .map(|it| it.unwrap_or_else(none))
            .collect())
    }
}

fn entities(rows: &[Row]) -> Vec<&'static Entity> {
    let mut names: Vec<&str> = rows.iter().map(|it| it.entity.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(contract::entity).collect()
}

fn keys(rows: &[Row], again: &[Again], entity: &Entity) -> HashSet<Vec<u8>> {
    let ours = rows
        .iter()
        .zip(again)
        .filter(|it| it.0.entity == entity.name);
    ours.filter_map(|(_, again)| match again {
        Again::Good(candidate) => Some(candidate.record.key.clone()?.to_vec()),
        _ => None,
    })
    .collect()
}

fn outcome(row: &Row, done: Done, reason: &str) -> Outcome {
    Outcome {
        quarantine_id: row.quarantine_id.clone(),
        source: row.source.clone(),
        origin: row.origin.clone(),
        done,
        reason: reason.to_owned(),
    }
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settle")
    }
}
