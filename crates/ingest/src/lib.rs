//! Runs sources onto topics: maps rows to entities, sets bad rows aside, and commits each delivery with its position.
//!
//! One transaction holds the records, the rows set aside, the bookkeeping and the source's position, so
//! a crash at any moment leaves either all of a delivery or nothing of it.

mod boards;
mod control;
mod functions;
mod mapping;
mod order;
mod pause;
mod preview;
mod record;
mod remap;
mod supervisor;
mod task;
mod transaction;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Membership, SharedLog};
use connector_api::Entry;
use contract::{FixBy, Position, PseudonymKey};
use spec::Pipeline;
use telemetry::{SPANS, Traceparent, metric};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field::Empty};

use crate::{mapping::Mapping, transaction::Transaction};

pub use boards::{Pipelines, ReadPipelines};
pub use control::{Control, Status};
pub use order::{Order, Report, State, Trouble};
pub use preview::{Preview, preview};
pub use remap::{Remapped, SetAsideRow};
pub use supervisor::Observer;

/// Reads sources into the log.
#[derive(Debug, Clone)]
pub struct Ingest {
    log: SharedLog,
    connectors: &'static [Entry],
    key: Option<PseudonymKey>,
    partitions: i32,
    standing: watch::Sender<Standing>,
}

/// How a worker stands with its group and the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the group of workers has given it a share of the sources.
    pub member: bool,
    /// Why the log did not answer the last time it was asked.
    pub unreachable: Option<String>,
}

/// The right to a source's task, as a member of the group of workers.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    membership: Arc<dyn Membership>,
    slot: u32,
}

/// What one read of a source did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadReport {
    /// The source.
    pub source: String,
    /// Rows the source gave.
    pub rows: u64,
    /// Rows on the entity's topic.
    pub accepted: u64,
    /// Rows set aside, each with a reason.
    pub quarantined: u64,
    /// Rows the pipeline's `where` passed over.
    pub filtered: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// The id that follows this read through topic, table and model.
    pub trace_id: String,
}

impl Ingest {
    /// `key` turns CPR numbers into pseudonyms; without it a pipeline that uses `pseudonym()` is
    /// refused. Topics that do not exist yet get `partitions` partitions.
    pub fn new(
        log: SharedLog,
        connectors: &'static [Entry],
        key: Option<PseudonymKey>,
        partitions: i32,
    ) -> Self {
        Self {
            log,
            connectors,
            key,
            partitions,
            standing: watch::Sender::default(),
        }
    }

    /// How this worker stands, as it changes while [`Ingest::run`] runs.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Reads `pipeline` until the source has nothing new, or `stop`. `observe` is told the running
    /// totals after every batch.
    pub async fn read(
        &self,
        pipeline: &Pipeline,
        stop: &CancellationToken,
        observe: &(dyn Fn(&ReadReport) + Send + Sync),
    ) -> Result<ReadReport> {
        self.read_as(pipeline, None, stop, observe).await
    }

    /// The same for a worker, which may have lost its claim without knowing.
    ///
    /// The order matters. Opening the producer ends whoever else is at the task, so that the position read after
    /// it is the last there will be: read before, another's commit could come in between, and its records be read again.
    /// The claim is confirmed after that and before anything is read: a process that slept past its session has then
    /// done no more harm than to have the task's owner start over.
    pub(crate) async fn read_as(
        &self,
        pipeline: &Pipeline,
        claim: Option<&Claim>,
        stop: &CancellationToken,
        observe: &(dyn Fn(&ReadReport) + Send + Sync),
    ) -> Result<ReadReport> {
        let span = tracing::info_span!(
            target: SPANS,
            parent: None,
            "read",
            source = pipeline.name,
            connector = pipeline.connector,
            trace_id = Empty,
            rows = Empty,
            transactions = Empty,
        );
        let round = Traceparent::of(&span);
        span.record("trace_id", round.trace_id());
        let reading = self.read_round(pipeline, claim, round, stop, observe);
        let read = reading.instrument(span.clone()).await;
        if let Err(err) = &read {
            telemetry::failed(&span, err.fix_by());
        }
        read
    }

    async fn read_round(
        &self,
        pipeline: &Pipeline,
        claim: Option<&Claim>,
        round: Traceparent,
        stop: &CancellationToken,
        observe: &(dyn Fn(&ReadReport) + Send + Sync),
    ) -> Result<ReadReport> {
        let begun = Instant::now();
        let entry = find_connector(self.connectors, pipeline)?;
        let key = self.key.as_ref();
        let mut mapping = Mapping::new(pipeline, key)?;
        let producer = self.log.producer(&pipeline.name).await?;
        if let Some(Claim { membership, slot }) = claim
            && !membership.confirm(*slot).await?
        {
            return Err(Error::Lost(pipeline.name.clone()));
        }
        let position = stored_position(&self.log, &pipeline.name).await?;
        let mut source = (entry.open)(pipeline.settings.clone(), position).await?;
        let open = Transaction::new(&self.log, producer, pipeline, key, self.partitions, round);
        let mut open = open.await?;
        let mut report = ReadReport {
            source: pipeline.name.clone(),
            trace_id: round.trace_id(),
            ..ReadReport::default()
        };
        loop {
            // Whatever the source is waiting for, a stop comes first.
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    open.abort().await?;
                    return Ok(report);
                }
                next = source.next() => next,
            };
            let batch = match next {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(err) => {
                    open.abort().await?;
                    return Err(err.into());
                }
            };
            let transaction = open.begin();
            let mapped = transaction.in_scope(|| mapping.apply(&batch))?;
            let adding = open.add(mapped, &batch, &mut report);
            adding.instrument(transaction.clone()).await?;
            if let Some(position) = &batch.position {
                let committing = open.commit(position, &batch, &mapping);
                committing.instrument(transaction).await?;
                report.transactions += 1;
            }
            observe(&report);
        }
        open.abort().await?;
        let source = [pipeline.name.as_str()];
        metric::SOURCE_ROUND.record(source, begun.elapsed().as_secs_f64());
        metric::SOURCE_SUCCESS.set(source, chrono::Utc::now().timestamp() as f64);
        Span::current().record("rows", report.rows);
        Span::current().record("transactions", report.transactions);
        if report.transactions == 0 && report.rows == 0 {
            telemetry::idle(&Span::current());
        }
        tracing::info!(
            source = report.source,
            rows = report.rows,
            accepted = report.accepted,
            quarantined = report.quarantined,
            transactions = report.transactions,
            trace_id = report.trace_id,
            "source read"
        );
        Ok(report)
    }
}

/// Where a source goes on from; `None` for its start. A position that was cleared is stored as `null`: the log keeps no history of who
/// had one.
pub(crate) async fn stored_position(log: &SharedLog, source: &str) -> Result<Option<Position>> {
    let position = log.position(source).await?;
    Ok(position.filter(|it| !it.0.is_null()))
}

pub(crate) fn find_connector(
    connectors: &'static [Entry],
    pipeline: &Pipeline,
) -> Result<&'static Entry> {
    connectors
        .iter()
        .find(|it| it.name == pipeline.connector)
        .ok_or_else(|| {
            let known: Vec<&str> = connectors.iter().map(|it| it.name).collect();
            Error::Settings(format!(
                "{}: connector `{}` is unknown; one of {}",
                pipeline.name,
                pipeline.connector,
                known.join(", ")
            ))
        })
}

/// The result of reading a source.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a read failed. Nothing of the failed transaction is visible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file or `pejl.toml` is wrong.
    #[error("{0}")]
    Settings(String),
    /// The connector failed.
    #[error(transparent)]
    Connector(#[from] connector_api::Error),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] bus::Error),
    /// Another worker has the task now.
    #[error("{0}: another worker has taken the task over")]
    Lost(String),
    /// There is no source by this name.
    #[error("no source `{name}`; there are: {known}")]
    NoSource {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A position that the source's connector cannot go on from.
    #[error("{source_name} cannot be put there: {reason}")]
    Position {
        /// The source.
        source_name: String,
        /// What its connector says.
        reason: String,
    },
    /// A position is not changed under the hands of a worker.
    #[error("{0}: a worker is at it, so it cannot be put elsewhere")]
    AtWork(String),
    /// Reading it ended in a panic.
    #[error("{source_name}: reading it panicked: {text}")]
    Panicked {
        /// The source.
        source_name: String,
        /// What was said, without CPR numbers.
        text: String,
    },
    /// A batch that passed its contract could not be written.
    #[error("{source_name}: cannot encode records: {reason}")]
    Encode {
        /// The source.
        source_name: String,
        /// What the encoder said.
        reason: String,
    },
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Settings(_) | Self::NoSource { .. } | Self::Position { .. } | Self::AtWork(_) => {
                FixBy::Settings
            }
            Self::Connector(err) => err.fix_by(),
            Self::Log(err) => err.fix_by(),
            Self::Lost(_) => FixBy::Source,
            Self::Encode { .. } | Self::Panicked { .. } => FixBy::Us,
        }
    }

    /// What whoever can fix it does about `source`.
    pub fn step(&self, source: &str) -> String {
        match self {
            Self::NoSource { .. } => {
                "name one of those, or write its pipeline file first".to_owned()
            }
            Self::Position { .. } => format!(
                "give one like that of `pejl source position {source}`, or read all again with --clear"
            ),
            Self::AtWork(_) => format!(
                "`pejl source pause {source}`, and wait until `pejl source list` says paused"
            ),
            Self::Panicked { .. } => {
                "nothing at once: it is tried again; report it with this text and the log around it"
                    .to_owned()
            }
            _ => match self.fix_by() {
                FixBy::Settings => format!(
                    "correct its pipeline file, which is then read again by itself; or pejl.toml or what the other side lets us see, and then \
                     `pejl source restart {source}`; `pejl connector check {source}` tries it"
                ),
                FixBy::Source => {
                    "nothing: it is tried again; ask the other side if it lasts".to_owned()
                }
                FixBy::Record => format!(
                    "have the sender deliver it again in good order, then `pejl source restart {source}`"
                ),
                FixBy::Us => "report it with this text and the log around it".to_owned(),
            },
        }
    }

    /// How long the other side asks us to stay away.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Connector(err) => err.wait(),
            _ => None,
        }
    }

    /// A panic may quote what it choked on.
    pub(crate) fn panicked(source: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Self::Panicked {
            source_name: source.to_owned(),
            text: contract::scrub(text.unwrap_or("no text")).into_owned(),
        }
    }

    /// Whether the task is somebody else's now, which is nobody's fault.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Log(bus::Error::Fenced(_)))
    }

    /// Whether the same read may succeed later without anybody doing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connector(err) => err.is_retryable(),
            Self::Log(err) => {
                matches!(err, bus::Error::Unavailable(_) | bus::Error::Expired { .. })
            }
            Self::Panicked { .. } => true,
            _ => false,
        }
    }
}
