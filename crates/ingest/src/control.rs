//! Steering sources: what the command line and the HTTP interface do on people's behalf.

use std::collections::BTreeMap;

use bus::{Board, SharedLog};
use contract::Position;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    order::{Order, Report, State, orders, reports},
};

/// Steers the sources of an installation, whichever process runs them.
#[derive(Debug, Clone)]
pub struct Control {
    log: SharedLog,
    /// Sources by name, and what `enabled` says in their files.
    sources: BTreeMap<String, bool>,
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
}

impl Control {
    /// `sources` are the names of all sources, and whether their files enable them.
    pub fn new(log: SharedLog, sources: impl IntoIterator<Item = (String, bool)>) -> Self {
        Self {
            log,
            sources: sources.into_iter().collect(),
        }
    }

    /// All sources, by name.
    pub async fn list(&self) -> Result<Vec<Status>> {
        let orders = orders(self.log.as_ref()).await?;
        let mut reports = reports(self.log.as_ref()).await?;
        let status = |(source, enabled): (&String, &bool)| Status {
            source: source.clone(),
            paused: orders
                .get(source)
                .cloned()
                .unwrap_or_default()
                .pauses(*enabled),
            report: reports.remove(source),
        };
        Ok(self.sources.iter().map(status).collect())
    }

    /// One source.
    pub async fn show(&self, source: &str) -> Result<Status> {
        let enabled = self.enabled(source)?;
        let order = self.order(source).await?;
        Ok(Status {
            source: source.to_owned(),
            paused: order.pauses(enabled),
            report: reports(self.log.as_ref()).await?.remove(source),
        })
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

    /// Has a source read at once, with its pipeline file read again and its failures forgotten.
    pub async fn restart(&self, source: &str) -> Result<()> {
        self.change(source, |order| order.restarts += 1).await
    }

    /// Where a source stands; `None` before its first commit.
    pub async fn position(&self, source: &str) -> Result<Option<Position>> {
        self.enabled(source)?;
        Ok(self.log.position(source).await?)
    }

    /// Puts a source somewhere else. What it reads again lands again, as new versions of the same things.
    ///
    /// # Errors
    /// [`Error::Settings`] unless the source rests: a worker that is reading would put its own position over it.
    pub async fn set_position(&self, source: &str, position: &Position) -> Result<()> {
        let status = self.show(source).await?;
        let rests = status.report.is_none_or(|it| it.state == State::Paused);
        if !(status.paused && rests) {
            return Err(Error::Settings(format!(
                "{source}: it must rest before its position can be set; `pejl source pause {source}`, and wait until `pejl source list` says paused"
            )));
        }
        // Fences whoever might still be at it.
        let mut producer = self.log.producer(source).await?;
        producer.commit(Some((source, position))).await?;
        tracing::info!(source, "position set by hand");
        Ok(())
    }

    async fn change(&self, source: &str, change: impl FnOnce(&mut Order)) -> Result<()> {
        self.enabled(source)?;
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

    fn enabled(&self, source: &str) -> Result<bool> {
        self.sources.get(source).copied().ok_or_else(|| {
            let known: Vec<&str> = self.sources.keys().map(String::as_str).collect();
            Error::Settings(format!(
                "no source `{source}`; there are: {}",
                known.join(", ")
            ))
        })
    }
}
