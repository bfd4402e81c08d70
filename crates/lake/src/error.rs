//! What can go wrong with the lake.

use std::io::ErrorKind;

use contract::FixBy;
use datafusion::error::DataFusionError;

/// The result of lake calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with the lake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root or its options cannot be used.
    #[error("lake settings: {0}")]
    Settings(String),
    /// Storage failed; trying again may help. After a commit its outcome is unknown: read the `txn` back.
    #[error("lake storage: {0}")]
    Unavailable(String),
    /// The disk is full. Nothing was written; trying again helps once there is room.
    #[error(
        "no space left: {0}; make room on that disk, or move the tables to a larger one ([lake] url); \
         nothing is lost, and the work goes on by itself once there is room"
    )]
    Full(String),
    /// Rows have a type the table's column does not have.
    #[error(
        "{table}: column `{column}` is {found} in the table and {wanted} in the rows; \
         a column never changes its type, give the new one another name"
    )]
    Schema {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Type in the table.
        found: String,
        /// Type in the rows.
        wanted: String,
    },
    /// Another tool has put the table in a state Pejl does not write to.
    #[error(
        "{table}: another tool raised it to Delta reader {reader}, writer {writer}; \
         Pejl writes reader 1, writer 2. Restore the table from before that, or land into another lake"
    )]
    Foreign {
        /// The table.
        table: String,
        /// Minimum reader version it asks for.
        reader: i64,
        /// Minimum writer version it asks for.
        writer: i64,
    },
    /// Stored data cannot be understood.
    #[error("{table}: damaged: {reason}")]
    Damaged {
        /// The table.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// The rows given cannot be written.
    #[error("{table}: rows not written: {reason}")]
    Rows {
        /// The table.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// The rows given cannot be computed within the memory there is for it.
    #[error("{table}: {reason}")]
    Memory {
        /// The table.
        table: String,
        /// What ran out.
        reason: String,
    },
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Settings(_)
            | Self::Full(_)
            | Self::Schema { .. }
            | Self::Foreign { .. }
            | Self::Memory { .. } => FixBy::Settings,
            Self::Unavailable(_) => FixBy::Source,
            Self::Damaged { .. } | Self::Rows { .. } => FixBy::Us,
        }
    }

    /// Whether trying again later can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }

    pub(crate) fn damaged(table: &str, reason: impl std::fmt::Display) -> Self {
        Self::Damaged {
            table: table.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn rows(table: &str, reason: impl std::fmt::Display) -> Self {
        Self::Rows {
            table: table.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// What went wrong in the query that rows come from.
    pub(crate) fn of_query(table: &str, err: &DataFusionError) -> Self {
        if is_memory(err) {
            Self::Memory {
                table: table.to_owned(),
                reason: err.to_string(),
            }
        } else {
            Self::rows(table, err)
        }
    }

    /// What the store answered while `doing` something.
    pub(crate) fn storage(doing: &str, err: impl std::error::Error + 'static) -> Self {
        let text = format!("{doing}: {err}");
        if is_full(&err) {
            Self::Full(text)
        } else {
            Self::Unavailable(text)
        }
    }
}

/// Whether a query failed since what it must hold in memory did not fit. What it wrote to disk may have reached its limit, too, which less
/// memory does not mend; the engine calls both by one name.
pub fn is_memory(err: &DataFusionError) -> bool {
    match err.find_root() {
        DataFusionError::ResourcesExhausted(reason) => {
            !reason.contains("disk space") && !reason.contains("allowable limit")
        }
        _ => false,
    }
}

/// Whether a disk without room is behind an error.
fn is_full(err: &(dyn std::error::Error + 'static)) -> bool {
    let io = err.downcast_ref::<std::io::Error>();
    if io.is_some_and(|it| matches!(it.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
        return true;
    }
    // The source of an `io::Error` made of another error is that one's source, not it.
    let inner = io.and_then(std::io::Error::get_ref);
    inner.is_some_and(|it| is_full(it)) || err.source().is_some_and(is_full)
}
