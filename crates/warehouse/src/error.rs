//! What can go wrong in the warehouse.

use contract::FixBy;
use datafusion::error::DataFusionError;
use spec::Mistake;

use crate::release::Finding;

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
    /// A release cannot be made or found; what to do instead.
    #[error("{0}")]
    Release(String),
    /// Somebody who has an earlier release would find in this one what neither shows.
    #[error("{}", dangers(.release, .findings, .can_keep))]
    Disclosure {
        /// The release that was to be made.
        release: String,
        /// What would be found.
        findings: Vec<Finding>,
        /// Whether keeping the earlier numbers there has not been tried.
        can_keep: bool,
    },
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
            | Self::Release(_)
            | Self::Disclosure { .. }
            | Self::Overtaken(_) => FixBy::Settings,
            Self::Lake(err) => err.fix_by(),
            Self::Query { .. } if self.needs_memory() => FixBy::Settings,
            Self::Query { .. } | Self::Publication { .. } => FixBy::Us,
        }
    }

    /// Whether there was not enough memory for a query.
    pub(crate) fn needs_memory(&self) -> bool {
        match self {
            Self::Lake(lake::Error::Memory { .. }) => true,
            Self::Query { source, .. } => lake::is_memory(source),
            _ => false,
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

/// How many findings an error names.
const NAMED: usize = 20;

fn dangers(release: &str, findings: &[Finding], can_keep: &bool) -> String {
    let mut lines = vec![format!(
        "{release} is not made: beside earlier releases {} of its numbers would tell what is hidden, or count 1 to 4 citizens",
        findings.len()
    )];
    let named = findings.iter().take(NAMED);
    lines.extend(named.map(|it| format!("  {it}")));
    if findings.len() > NAMED {
        lines.push(format!("  and {} more", findings.len() - NAMED));
    }
    lines.push(if *can_keep {
        "release the correction with --keep-earlier: these rows and those they are summed up with keep the numbers of the release it corrects".to_owned()
    } else {
        "wait until more has changed, or release other rows with --where".to_owned()
    });
    lines.join("\n")
}
