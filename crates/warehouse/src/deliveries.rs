//! The delivery calendar: what is owed, held against what has come. The rows of `ops.delivery_calendar`.
//!
//! The obligations are a file, what has come is the model `core.delivery_coverage`, and whether a thing is late depends on
//! today; so the rows are worked out when they are asked for. A period is judged by the business days that the data
//! cover, never by the day they were loaded.

mod judge;
mod table;

use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};
use contract::Period;
use spec::{Mistake, Obligation, Proof, parse_calendar};

use crate::{Error, Result, models::Catalog};

pub(crate) use judge::{Coverage, judge};
pub use table::batch;
pub(crate) use table::{coverage, schema};

/// The model that says what has come.
pub(crate) const COVERAGE: &str = "core.delivery_coverage";

/// One obligation in one municipality and period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The obligation's name in the calendar.
    pub obligation: String,
    /// The municipality; 0 is the whole country.
    pub municipality_code: i32,
    /// Who owes it.
    pub sender: String,
    /// What is owed.
    pub entity: String,
    /// For which period.
    pub period: Period,
    /// The last day on which it comes in time.
    pub due: NaiveDate,
    /// How it stands.
    pub status: Status,
    /// When all of the period had first come.
    pub received_at: Option<DateTime<Utc>>,
    /// Days past the due date, where it came or is late.
    pub days_late: Option<i64>,
    /// The last day up to which the period has come without a gap.
    pub covered_through: Option<NaiveDate>,
    /// Rows that came for it, each file's last version; a watermark does not tell.
    pub rows: Option<i64>,
    /// The pipeline whose data completed it.
    pub source: Option<String>,
    /// The role to turn to.
    pub contact: String,
}

/// How an obligation stands; the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The due date has passed and nothing has come.
    Overdue,
    /// The due date has passed and only a part has come.
    Partial,
    /// It may still come in time.
    NotDue,
    /// All of it came after the due date.
    Late,
    /// All of it came on the due date or before.
    OnTime,
}

impl Status {
    /// As in `ops.delivery_calendar`: `overdue`, `partial`, `not_due`, `late`, `on_time`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Partial => "partial",
            Self::NotDue => "not_due",
            Self::Late => "late",
            Self::OnTime => "on_time",
        }
    }

    /// Whether somebody has to be asked for it.
    pub fn is_missing(self) -> bool {
        matches!(self, Self::Overdue | Self::Partial)
    }
}

/// Reads the calendar; there need not be one.
pub(crate) fn read(path: &Path, catalog: &Catalog) -> Result<Vec<Obligation>> {
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => {
            return Err(Error::Folder {
                path: file,
                reason: err.to_string(),
            });
        }
    };
    let obligations = parse_calendar(&file, &text).map_err(Error::Models)?;
    let mistakes: Vec<Mistake> = obligations
        .iter()
        .filter_map(|it| Some((it, unprovable(it, catalog)?)))
        .map(|(it, problem)| Mistake {
            file: file.clone(),
            line: Some(it.line),
            column: None,
            message: format!("`{}`: {problem}", it.name),
        })
        .collect();
    if mistakes.is_empty() {
        Ok(obligations)
    } else {
        Err(Error::Models(mistakes))
    }
}

/// Why nothing could ever show that an obligation is met.
fn unprovable(obligation: &Obligation, catalog: &Catalog) -> Option<String> {
    let Some(model) = catalog.node(COVERAGE) else {
        return Some(format!(
            "nothing is known of deliveries without the model {COVERAGE}; put its file back"
        ));
    };
    if obligation.proof != Proof::Rows || model.reads.contains(&obligation.entity.raw_table()) {
        return None;
    }
    let names = model.reads.iter().filter_map(|it| it.strip_prefix("raw."));
    let known: Vec<&str> = names.filter(|it| *it != "delivery").collect();
    Some(format!(
        "proof: {COVERAGE} does not look into rows of `{}`; prove by file or watermark, or add it there beside {}",
        obligation.entity.name,
        known.join(", ")
    ))
}
