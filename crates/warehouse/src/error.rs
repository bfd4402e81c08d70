//! What can go wrong in the warehouse.

use contract::FixBy;
use datafusion::error::DataFusionError;
use spec::Mistake;

/// The result of warehouse calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Model or definition files or the delivery calendar are wrong; every mistake found.
    #[error("{}", lines(.0))]
    Models(Vec<Mistake>),
    /// The folder with the models cannot be read.
    #[error("{path}: {reason}; give the folder that holds the models of core and mart")]
    Folder {
        /// The folder or file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The settings cannot be used.
    #[error("warehouse settings: {0}")]
    Settings(String),
    /// The tables' store failed.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// A query failed for a reason that no model file is to blame for.
    #[error("{doing}: {source}")]
    Query {
        /// What was being done.
        doing: String,
        /// What the engine says.
        source: DataFusionError,
    },
    /// What was asked for is not there, or cannot be read.
    #[error("{0}")]
    Question(String),
    /// A table of the warehouse's own is in no publication yet.
    #[error("{0} is not published yet; run `pejl build`")]
    Unpublished(&'static str),
    /// Other builds published first, again and again.
    #[error(
        "gave up after {0} attempts: another build published first each time; let only one build run"
    )]
    Overtaken(usize),
    /// A stored publication cannot be read.
    #[error("{path}: {reason}; a newer Pejl wrote it, or something else did")]
    Publication {
        /// The object in the lake.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Models(_)
            | Self::Folder { .. }
            | Self::Settings(_)
            | Self::Question(_)
            | Self::Unpublished(_)
            | Self::Overtaken(_) => FixBy::Settings,
            Self::Lake(err) => err.fix_by(),
            Self::Query { .. } | Self::Publication { .. } => FixBy::Us,
        }
    }

    pub(crate) fn query(doing: impl Into<String>, source: DataFusionError) -> Self {
        Self::Query {
            doing: doing.into(),
            source,
        }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}
