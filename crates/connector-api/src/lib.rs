//! What a connector is, and nothing about how it is run.
//!
//! A [`Connector`] names itself, describes its settings, and opens a [`Source`]. Schedules, retries,
//! the log and stored positions belong to the runtime; a connector sees none of them.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use arrow::array::RecordBatch;
use chrono::NaiveDate;
use contract::{FixBy, Period, Position};
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One kind of source, such as `files`. It holds no state.
pub trait Connector: 'static {
    /// The name used in pipeline files. Lowercase, a noun, never reused.
    const NAME: &'static str;
    /// One sentence for the catalogue and `pejl connector list`.
    const SUMMARY: &'static str;
    /// The settings. Field docs become the reference page.
    type Config: DeserializeOwned + JsonSchema + Send + 'static;

    /// Opens the source at `from`, or at its start when there is no position yet.
    fn open(
        config: Self::Config,
        from: Option<Position>,
    ) -> impl Future<Output = Result<Box<dyn Source>>> + Send;

    /// Whether a position that a person gives is one [`Connector::open`] can start from; asks nobody.
    ///
    /// # Errors
    /// [`Error::Settings`] with what a position should look like.
    fn check_position(_: &Position) -> Result<()> {
        Ok(())
    }
}

/// A boxed future that may cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source being read.
pub trait Source: Send {
    /// The next batch, or `None` when there is nothing new right now.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>>>;
}

/// Rows as they arrived, and where the source stands once they are stored.
///
/// Batches up to and including the next one with a `position` form one transaction: they become
/// visible together or not at all. A whole file is therefore any number of batches without a
/// position and a last one with it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The source's columns, all nullable `Utf8`; nested values as JSON text.
    pub rows: RecordBatch,
    /// Where each row came from, one per row: `report.csv:17`, `page 3 record 4`.
    pub origins: Vec<String>,
    /// Rows that could not even be read as rows.
    pub rejects: Vec<Reject>,
    /// Where to resume once everything up to here is durable.
    pub position: Option<Position>,
    /// The file this batch completes, if the source is made of files.
    pub delivery: Option<Delivery>,
    /// The source has said it is complete through this business date.
    pub complete_through: Option<NaiveDate>,
}

/// A row that could not be read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Where it is: `report.csv:17`.
    pub origin: String,
    /// The row as text, as far as it could be read.
    pub raw: String,
    /// What is wrong with it, for whoever made it.
    pub reason: String,
}

/// Facts about a delivered file that become a `delivery` record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The name without folders.
    pub file_name: String,
    /// SHA-256 of the bytes, 64 hex characters.
    pub sha256: String,
    /// The period it was delivered for, where the source knows better than the file's name.
    pub period: Option<Period>,
}

/// The result of connector code.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, sorted by who can fix it; that decides whether the runtime tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file is wrong. Not retried.
    #[error("invalid settings: {0}")]
    Settings(String),
    /// The other side failed. Retried with backoff.
    #[error("source unavailable: {0}")]
    Source(String),
    /// The other side asks us to stay away for a while. Retried after that.
    #[error("source unavailable: {reason}")]
    Busy {
        /// What it said.
        reason: String,
        /// How long.
        wait: Duration,
    },
    /// The other side refuses us for good (authentication, permission). Not retried.
    #[error("source refused us: {0}")]
    Refused(String),
    /// The delivery as a whole cannot be read (a file that is not CSV, a body that is not JSON).
    #[error("unreadable delivery: {0}")]
    Delivery(String),
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Settings(_) | Self::Refused(_) => FixBy::Settings,
            Self::Source(_) | Self::Busy { .. } => FixBy::Source,
            Self::Delivery(_) => FixBy::Record,
        }
    }

    /// Whether trying again later can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Busy { .. })
    }

    /// How long the other side asks us to stay away.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

type Opened = BoxFuture<'static, Result<Box<dyn Source>>>;

/// A connector with its type erased: one line of the registry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// See [`Connector::NAME`].
    pub name: &'static str,
    /// See [`Connector::SUMMARY`].
    pub summary: &'static str,
    /// The JSON Schema of the settings.
    pub schema: fn() -> Schema,
    /// Checks the settings without opening anything.
    pub check: fn(&Value) -> Result<()>,
    /// See [`Connector::check_position`].
    pub check_position: fn(&Position) -> Result<()>,
    /// Checks the settings and opens the source.
    pub open: fn(Value, Option<Position>) -> Opened,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Erases the type of a connector.
pub const fn entry<C: Connector>() -> Entry {
    Entry {
        name: C::NAME,
        summary: C::SUMMARY,
        schema: || schemars::schema_for!(C::Config),
        check: |settings| parse::<C>(settings.clone()).map(drop),
        check_position: C::check_position,
        open: |settings, from| Box::pin(async move { C::open(parse::<C>(settings)?, from).await }),
    }
}

fn parse<C: Connector>(settings: Value) -> Result<C::Config> {
    serde_json::from_value(settings).map_err(|err| Error::Settings(format!("{}: {err}", C::NAME)))
}
