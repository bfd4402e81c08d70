//! What can go wrong while landing.

use contract::FixBy;

/// The result of landing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while landing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error(transparent)]
    Log(#[from] bus::Error),
    /// The lake.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The schemas.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// The log does not hold what comes next.
    #[error(
        "{topic}/{partition}: landed up to offset {landed}, but the log holds {low}..{high}: {}",
        if landed < low { "records were removed before they landed; lengthen the topic's retention, \
            and have the sources send that time again" }
        else { "the log has lost records since; restore it, or delete the topic and have the sources send again" }
    )]
    Gap {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset to go on from.
        landed: i64,
        /// First offset in the log.
        low: i64,
        /// One past the last.
        high: i64,
    },
    /// The topic is not what it was when it was opened.
    #[error(
        "{topic}: deleted and made again, or given more partitions; \
         what was read of it last is dropped and read again"
    )]
    Replaced {
        /// The topic.
        topic: String,
    },
    /// A table could not be queried.
    #[error("reading {table}: {reason}")]
    Query {
        /// The table.
        table: String,
        /// What DataFusion said.
        reason: String,
    },
    /// Rows could not be put together.
    #[error("{topic}: rows not made: {reason}")]
    Rows {
        /// The topic.
        topic: String,
        /// What Arrow said.
        reason: String,
    },
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Log(err) => err.fix_by(),
            Self::Lake(err) => err.fix_by(),
            Self::Codec(err) => err.fix_by(),
            Self::Gap { .. } => FixBy::Settings,
            Self::Query { .. } | Self::Replaced { .. } => FixBy::Source,
            Self::Rows { .. } => FixBy::Us,
        }
    }

    /// Whether trying again soon can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Lake(err) => err.is_retryable(),
            _ => self.fix_by() == FixBy::Source,
        }
    }

    pub(crate) fn rows(topic: &str, reason: impl std::fmt::Display) -> Self {
        Self::Rows {
            topic: topic.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn query(table: &str, reason: impl std::fmt::Display) -> Self {
        Self::Query {
            table: table.to_owned(),
            reason: reason.to_string(),
        }
    }
}
