//! Doing something about rows: retrying and discarding, each row once.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use bus::{Producer, Record, SharedLog};
use chrono::Utc;
use contract::{Action, Entity, MARK_TOPIC};
use datafusion::{execution::SendableRecordBatchStream, prelude::ident};
use futures::StreamExt;
use ingest::{Ingest, Pipelines, ReadPipelines};
use lake::Lake;
use serde::{Deserialize, Serialize};
use spec::Pipeline;
use telemetry::{SPANS, Traceparent};
use tracing::Instrument;
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
    pub pipelines: ReadPipelines,
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
    /// The first thing that kept it from going on; `observe`, which is told everything done so far, has heard what was done by then.
    pub async fn retry(
        &self,
        filter: &Filter,
        by: &str,
        dry_run: bool,
        observe: &(dyn Fn(&[Outcome]) + Send + Sync),
    ) -> Result<Vec<Outcome>> {
        let span = tracing::info_span!(target: SPANS, parent: None, "retry");
        let trace = Traceparent::of(&span);
        let work = self.retry_as(filter, by, trace, dry_run, observe);
        work.instrument(span).await
    }

    async fn retry_as(
        &self,
        filter: &Filter,
        by: &str,
        trace: Traceparent,
        dry_run: bool,
        observe: &(dyn Fn(&[Outcome]) + Send + Sync),
    ) -> Result<Vec<Outcome>> {
        let marker = Marker {
            by: by.to_owned(),
            note: None,
            trace,
        };
        let pipelines = (self.pipelines)().map_err(Error::Asked)?;
        let mut outcomes = Vec::new();
        for source in self.sources(filter).await? {
            let hand = self.hand(&source, dry_run).await?;
            let mut retrying = Retrying {
                settle: self,
                pipeline: pipeline_of(&pipelines, &source),
                marker: &marker,
                sent: LatestVersions::default(),
                hand,
            };
            let mut chunks = self.open_rows(filter, &source).await?;
            while let Some(rows) = chunks.next().await? {
                outcomes.extend(retrying.chunk(rows).await?);
                observe(&outcomes);
            }
        }
        Ok(outcomes)
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
    ) -> Result<Vec<Outcome>> {
        if note.trim().is_empty() {
            return Err(Error::Asked(
                "say why the rows are discarded: --note \"…\"".to_owned(),
            ));
        }
        let marker = Marker {
            by: by.to_owned(),
            note: Some(note.to_owned()),
            trace: Traceparent::of(&tracing::Span::current()),
        };
        let mut outcomes = Vec::new();
        for source in self.sources(filter).await? {
            let mut hand = self.hand(&source, false).await?;
            let mut chunks = self.open_rows(filter, &source).await?;
            while let Some(rows) = chunks.next().await? {
                let rows = hand.unmarked(rows);
                let marks = rows.iter().map(|it| marker.mark(it, Action::Discarded));
                hand.commit(BTreeMap::new(), marks.collect::<Result<_>>()?)
                    .await?;
                outcomes.extend(rows.iter().map(|it| outcome(it, Done::Discarded, "")));
                observe(&outcomes);
            }
        }
        Ok(outcomes)
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

    /// Open rows of one source in the order they were set aside.
    async fn open_rows(&self, filter: &Filter, source: &str) -> Result<Chunks> {
        let filter = Filter {
            source: Some(source.to_owned()),
            ..filter.clone()
        };
        let columns = ["quarantined_at", "_topic", "_partition", "_offset"];
        let order = columns.map(|it| ident(it).sort(true, false)).to_vec();
        let found = rows::matching(&self.warehouse, &filter, State::Open).await?;
        Ok(Chunks {
            batches: found.sort(order)?.execute_stream().await?,
            waiting: Vec::new(),
        })
    }
}

/// Rows, some hundreds at a time.
struct Chunks {
    batches: SendableRecordBatchStream,
    waiting: Vec<Row>,
}

impl Chunks {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        while self.waiting.len() < AT_ONCE {
            match self.batches.next().await {
                Some(batch) => self.waiting.extend(rows::of(&batch?)?),
                None if self.waiting.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.waiting))),
            }
        }
        let later = self.waiting.split_off(AT_ONCE);
        Ok(Some(std::mem::replace(&mut self.waiting, later)))
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

    /// Sends rows, by topic, and marks together.
    async fn commit(
        &mut self,
        records: BTreeMap<String, Vec<Record>>,
        marks: Vec<Record>,
    ) -> Result<()> {
        let Some(producer) = self.producer.as_mut().filter(|_| !marks.is_empty()) else {
            return Ok(());
        };
        for (topic, records) in records {
            producer.send(&topic, records).await?;
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
}

impl Retrying<'_> {
    async fn chunk(&mut self, rows: Vec<Row>) -> Result<Vec<Outcome>> {
        let rows = self.hand.unmarked(rows);
        let again = again(self.settle, &self.pipeline, &rows, self.marker.trace).await?;
        let mut records: BTreeMap<String, Vec<Record>> = BTreeMap::new();
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
                        let of_topic = records.entry(entity.topic()).or_default();
                        of_topic.push(candidate.record);
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
        Ok(outcomes)
    }
}

/// What each row is now.
async fn again(
    settle: &Settle,
    pipeline: &Result<Pipeline, String>,
    rows: &[Row],
    trace: Traceparent,
) -> Result<Vec<Again>> {
    let Settle {
        log, lake, ingest, ..
    } = settle;
    let mut answers: Vec<Option<Again>> = rows.iter().map(|_| None).collect();
    let at_landing = |row: &Row| row.stage == "landing";
    let mapped: Vec<usize> = (0..rows.len())
        .filter(|at| !at_landing(&rows[*at]))
        .collect();
    match pipeline {
        Ok(pipeline) => {
            let ours: Vec<&Row> = mapped.iter().map(|at| &rows[*at]).collect();
            let remapped = retry::remap(ingest, pipeline, &ours, trace)?;
            for (at, again) in mapped.iter().zip(remapped) {
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

/// The source's pipeline as its file has it now, or what is wrong with that.
fn pipeline_of(pipelines: &Pipelines, source: &str) -> Result<Pipeline, String> {
    match pipelines.get(source) {
        Some(Ok(pipeline)) => Ok(pipeline.clone()),
        Some(Err(mistake)) => Err(format!("its pipeline file is wrong: {mistake}")),
        None => Err(format!("there is no pipeline `{source}` any more")),
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
