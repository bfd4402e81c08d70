//! Reads what people write (pipeline files, model headers, the delivery calendar, the kinds of release) into checked values; text in, values and positioned errors out.

mod calendar;
mod model;
mod pipeline;
mod releases;
mod schedule;

use contract::FixBy;

pub use calendar::{Due, Obligation, Proof, parse_calendar};
pub use model::{
    Check, ColumnDoc, Definition, DefinitionRef, Model, Question, Reference, Severity,
    parse_definitions, parse_model, parse_question,
};
pub use pipeline::{Pipeline, parse_pipeline};
pub use releases::{Audience, ReleaseKind, ReleaseName, ReleaseTable, Sum, Total, parse_releases};
pub use schedule::Schedule;

/// A mistake in a file that a person wrote, with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", place(.line, .column))]
pub struct Mistake {
    /// The file as the caller named it.
    pub file: String,
    /// Line from 1, where it is known.
    pub line: Option<u64>,
    /// Column from 1, where it is known.
    pub column: Option<u64>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Mistake {
    /// A mistake whose line is not known.
    pub fn in_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
        }
    }

    /// Always whoever keeps the file.
    pub fn fix_by(&self) -> FixBy {
        FixBy::Settings
    }
}

/// The parser's message without its drawing of the source text, which may hold a secret.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn place(line: &Option<u64>, column: &Option<u64>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        (Some(line), None) => format!(":{line}"),
        _ => String::new(),
    }
}
