//! What Statistics Denmark says about a table.

use arrow::array::{AsArray, RecordBatch};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Europe::Copenhagen;
use contract::Period;
use serde::Deserialize;

use super::selection::Selected;

/// The answer to `tableinfo`, as far as it is needed.
#[derive(Deserialize)]
pub(super) struct TableInfo {
    pub(super) id: String,
    /// Danish local time: the same moment is 08:00 here and 07:00Z in JSON-stat.
    updated: NaiveDateTime,
    pub(super) variables: Vec<Variable>,
}

#[derive(Deserialize)]
pub(super) struct Variable {
    id: String,
    /// Whether it is summed over when it is not asked for.
    pub(super) elimination: bool,
    pub(super) time: bool,
    pub(super) values: Vec<Code>,
}

#[derive(Deserialize)]
pub(super) struct Code {
    pub(super) id: String,
}

impl TableInfo {
    /// When it was published. A time the change to summer time skips is taken as UTC.
    pub(super) fn updated(&self) -> DateTime<Utc> {
        Copenhagen
            .from_local_datetime(&self.updated)
            .earliest()
            .map_or_else(|| self.updated.and_utc(), |it| it.to_utc())
    }

    /// The last day of the latest period that rows speak of; of periods that are not over, such as forecasts, none.
    pub(super) fn through(&self, rows: &RecordBatch) -> Option<NaiveDate> {
        let time = self.variables.iter().find(|it| it.time)?.code();
        let periods = rows.column_by_name(&time)?.as_string_opt::<i32>()?;
        let published = contract::civil_day(self.updated());
        let ends = periods.iter().flatten().filter_map(Period::parse);
        ends.map(Period::last_day)
            .filter(|it| *it <= published)
            .max()
    }

    /// How many variables an answer has: those selected, and the time whether or not it is.
    pub(super) fn columns_of(&self, selected: &[Selected]) -> usize {
        let time = self.variables.iter().find(|it| it.time);
        let time_is_added =
            time.is_some_and(|time| selected.iter().all(|it| it.code != time.code()));
        selected.len() + usize::from(time_is_added)
    }
}

impl Variable {
    /// The code as it is asked for and as CSV has it: `TID`, where this table says `Tid`.
    pub(super) fn code(&self) -> String {
        self.id.to_uppercase()
    }
}
