//! What can go wrong with rows that were set aside.

use contract::FixBy;
use datafusion::error::DataFusionError;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. Rows that are still bad are no error but a [`Done`](crate::Done).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be done as it was asked.
    #[error("{0}")]
    Asked(String),
    /// The log.
    #[error(transparent)]
    Log(#[from] bus::Error),
    /// Mapping again.
    #[error(transparent)]
    Ingest(#[from] ingest::Error),
    /// The landed tables.
    #[error(transparent)]
    Landing(#[from] landing::Error),
    /// The lake.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The warehouse.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
    /// A name of a row.
    #[error(transparent)]
    Name(#[from] contract::ContractError),
    /// A query over the tables.
    #[error("reading what was set aside: {0}")]
    Query(#[from] DataFusionError),
    /// A record could not be read or written.
    #[error("records: {0}")]
    Record(String),
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Asked(_) => FixBy::Settings,
            Self::Log(err) => err.fix_by(),
            Self::Ingest(err) => err.fix_by(),
            Self::Landing(err) => err.fix_by(),
            Self::Lake(err) => err.fix_by(),
            Self::Warehouse(err) => err.fix_by(),
            Self::Name(err) => err.fix_by(),
            Self::Query(_) => FixBy::Source,
            Self::Record(_) => FixBy::Us,
        }
    }
}
