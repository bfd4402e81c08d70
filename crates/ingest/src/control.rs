//! Steering sources: what the command line and the HTTP interface do on people's behalf.

use bus::{Board, SharedLog};
use chrono::Utc;
use connector_api::Entry;
use contract::Position;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spec::{Mistake, Pipeline};

use crate::{
    Error, Pipelines, ReadPipelines, Result,
    boards::{HEARTBEAT, read_pipelines},
    find_connector,
    order::{Order, Report, State, orders, reports},
    stored_position,
};

/// Steers the sources of an installation, whichever process runs them.
#[derive(Clone)]
pub struct Control {
    log: SharedLog,
    connectors: &'static [Entry],
    read: ReadPipelines,
    /// Whether it is known that no worker runs.
    alone: bool,
}

/// A source as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The source.
    pub source: String,
    /// Whether somebody wants it to rest.
    pub paused: bool,
    /// What its worker said last; `None` when no worker has run it yet.
    pub report: Option<Report>,
    /// Whether a worker has said something lately. Without one the report tells what was, not what is.
    pub attended: bool,
}

impl Control {
    /// `read` finds all sources, whoever runs them.
    pub fn new(log: SharedLog, connectors: &'static [Entry], read: ReadPipelines) -> Self {
        Self {
            log,
            connectors,
            read,
            alone: false,
        }
    }

    /// For a process that has the log for itself and runs no worker: nobody is at any source, whatever was reported last.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    /// All sources, by name.
    pub async fn list(&self) -> Result<Vec<Status>> {
        let pipelines = read_pipelines(&self.read).await?;
        let orders = orders(self.log.as_ref()).await?;
        let mut reports = reports(self.log.as_ref()).await?;
        let status = |(source, file): (&String, &Result<Pipeline, Mistake>)| {
            self.status(source, file, orders.get(source), reports.remove(source))
        };
        Ok(pipelines.iter().map(status).collect())
    }

    /// One source.
    pub async fn show(&self, source: &str) -> Result<Status> {
        let file = self.file(source).await?;
        let order = self.order(source).await?;
        let report = reports(self.log.as_ref()).await?.remove(source);
        Ok(self.status(source, &file, Some(&order), report))
    }

    /// Has a source rest, after the transaction it is in has been given up.
    pub async fn pause(&self, source: &str) -> Result<()> {
        self.change(source, |order| order.paused = Some(true)).await
    }

    /// Has a source work, also one whose file says `enabled: false`.
    pub async fn resume(&self, source: &str) -> Result<()> {
        self.change(source, |order| {
            order.paused = Some(false);
            order.restarts += 1;
        })
        .await
    }

    /// Has a source read at once, with its failures forgotten.
    pub async fn restart(&self, source: &str) -> Result<()> {
        self.change(source, |order| order.restarts += 1).await
    }

    /// Where a source goes on from; `None` for its start.
    pub async fn position(&self, source: &str) -> Result<Option<Position>> {
        self.file(source).await.map(drop)?;
        stored_position(&self.log, source).await
    }

    /// Puts a source somewhere else, or with `None` at its start. What it reads again lands again, as new versions of the same things.
    ///
    /// It goes through the log, so no worker need run. One that believes to have the source and was not heard of is fenced.
    ///
    /// # Errors
    /// [`Error::AtWork`] while a worker reads it or is about to; [`Error::Position`] when its connector cannot go on from there.
    pub async fn set_position(&self, source: &str, position: Option<Position>) -> Result<()> {
        let file = self.file(source).await?;
        let position = position.filter(|it| !it.0.is_null());
        if let Some(position) = &position {
            let pipeline = file.map_err(|err| Error::Settings(err.to_string()))?;
            let connector = find_connector(self.connectors, &pipeline)?;
            (connector.check_position)(position).map_err(|err| Error::Position {
                source_name: source.to_owned(),
                reason: match err {
                    connector_api::Error::Settings(reason) => reason,
                    other => other.to_string(),
                },
            })?;
        }
        if self.show(source).await?.is_at_work() {
            return Err(Error::AtWork(source.to_owned()));
        }
        let place = position.unwrap_or(Position(Value::Null));
        let mut producer = self.log.producer(source).await?;
        producer.commit(Some((source, &place))).await?;
        tracing::info!(source, "position set by hand");
        Ok(())
    }

    fn status(
        &self,
        source: &str,
        file: &Result<Pipeline, Mistake>,
        order: Option<&Order>,
        report: Option<Report>,
    ) -> Status {
        let enabled = !matches!(file, Ok(it) if !it.enabled);
        Status {
            source: source.to_owned(),
            paused: order.cloned().unwrap_or_default().pauses(enabled),
            attended: !self.alone && report.as_ref().is_some_and(is_fresh),
            report,
        }
    }

    async fn change(&self, source: &str, change: impl FnOnce(&mut Order)) -> Result<()> {
        self.file(source).await.map(drop)?;
        let mut order = self.order(source).await?;
        change(&mut order);
        let text = serde_json::to_string(&order).map_err(|err| Error::Encode {
            source_name: source.to_owned(),
            reason: err.to_string(),
        })?;
        self.log.post(Board::Orders, source, Some(&text)).await?;
        tracing::info!(source, ?order, "ordered");
        Ok(())
    }

    async fn order(&self, source: &str) -> Result<Order> {
        let mut orders = orders(self.log.as_ref()).await?;
        Ok(orders.remove(source).unwrap_or_default())
    }

    /// What the source's file says.
    async fn file(&self, source: &str) -> Result<Result<Pipeline, Mistake>> {
        let mut pipelines: Pipelines = read_pipelines(&self.read).await?;
        pipelines.remove(source).ok_or_else(|| {
            let known: Vec<&str> = pipelines.keys().map(String::as_str).collect();
            Error::NoSource {
                name: source.to_owned(),
                known: known.join(", "),
            }
        })
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl Status {
    /// Whether a worker reads it, or is about to.
    fn is_at_work(&self) -> bool {
        let busy = |it: &Report| !matches!(it.state, State::Paused | State::NeedsAHuman);
        self.attended && self.report.as_ref().is_some_and(busy)
    }
}

/// Whether whoever said it runs the source still, as far as can be known: three heartbeats are not missed by chance.
fn is_fresh(report: &Report) -> bool {
    let age = Utc::now().signed_duration_since(report.at);
    // Clocks differ: what was said in the future was said just now.
    report.worker.is_some() && age.to_std().unwrap_or_default() <= 3 * HEARTBEAT
}
