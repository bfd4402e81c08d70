//! Outcomes of a participation: success, failure, pending or lost.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use datafusion::{common::exec_err, error::Result};

use super::{
    calendar::{Calendars, Spell, supported_between, supported_on},
    period::add_months,
    scalar::{Columns, Kind, Signed, at},
};

type Argument = (&'static str, Kind, &'static str);

const CALENDAR: Argument = (
    "calendar",
    Kind::Calendar,
    "the citizen's support calendar; null is never supported",
);
const EXIT: Argument = (
    "exit_date",
    Kind::Date,
    "the day the citizen died, emigrated or was pensioned; null is never",
);
const HORIZON: Argument = (
    "horizon",
    Kind::Date,
    "the last day that spells are known for; null is none, and what is not lost is pending",
);
const ANCHOR: Argument = (
    "anchor",
    Kind::Date,
    "the day counted from, usually end_date; null has no outcome",
);
const MONTHS: Argument = (
    "months",
    Kind::Int,
    "length of the window in months, 0 or more",
);

pub(super) static ALL: &[Signed] = &[
    Signed {
        name: "outcome_at",
        arguments: &[CALENDAR, EXIT, HORIZON, ANCHOR, MONTHS],
        returns: Kind::Text,
        doc: "The state on one day, D = add_months(anchor, months): 'lost' when exit_date ≤ D, else \
              'pending' when D > horizon, else 'success' when not supported on D, else 'failure'. \
              Source: indicators, effect_1m and effect_3m.",
        example: "outcome_at(calendar, exit_date, horizon, end_date, 3)",
        eval: |columns| {
            let months = Lengths::new("outcome_at: months", columns, 4)?;
            outcomes(columns, |case, row| {
                let Some(months) = months.at(row)? else {
                    return Ok(None);
                };
                let end = add_months(case.anchor, months)?;
                Ok(Some(case.decide(end, || !supported_on(case.calendar, end))))
            })
        },
    },
    Signed {
        name: "outcome_throughout",
        arguments: &[CALENDAR, EXIT, HORIZON, ANCHOR, MONTHS],
        returns: Kind::Text,
        doc: "The state through the window (anchor, D], D = add_months(anchor, months): as outcome_at, but \
              'success' only when no day of the window is supported. \
              Source: indicators, effect_3m_sustained.",
        example: "outcome_throughout(calendar, exit_date, horizon, end_date, 3)",
        eval: |columns| {
            let months = Lengths::new("outcome_throughout: months", columns, 4)?;
            outcomes(columns, |case, row| {
                let Some(months) = months.at(row)? else {
                    return Ok(None);
                };
                let end = add_months(case.anchor, months)?;
                let first = case.anchor.saturating_add(1);
                Ok(Some(case.decide(end, || {
                    !supported_between(case.calendar, first, end)
                })))
            })
        },
    },
    Signed {
        name: "outcome_windows",
        arguments: &[
            CALENDAR,
            EXIT,
            HORIZON,
            (
                "start",
                Kind::Date,
                "the day the first window begins; null has no outcome",
            ),
            (
                "windows",
                Kind::Int,
                "how many windows of one month follow each other, 0 or more",
            ),
            (
                "needed",
                Kind::Int,
                "how many of them must be without support",
            ),
        ],
        returns: Kind::Text,
        doc: "The state over months counted from a start: window k = 0 … windows − 1 is \
              [add_months(start, k), add_months(start, k + 1)), and 'success' needs so many windows without a \
              supported day. 'lost' when exit_date ≤ E = add_months(start, windows) − 1 day, else 'pending' when \
              E > horizon: never decided early. Source: indicators, effect_7m.",
        example: "outcome_windows(calendar, exit_date, horizon, start_date, 7, 3)",
        eval: |columns| {
            let windows = Lengths::new("outcome_windows: windows", columns, 4)?;
            let needed = Lengths::new("outcome_windows: needed", columns, 5)?;
            outcomes(columns, |case, row| {
                let (Some(windows), Some(needed)) = (windows.at(row)?, needed.at(row)?) else {
                    return Ok(None);
                };
                let end = add_months(case.anchor, windows)?.saturating_sub(1);
                let free = free_windows(case.calendar, case.anchor, windows)?;
                Ok(Some(case.decide(end, || free >= needed)))
            })
        },
    },
];

/// What an outcome is decided from.
struct Case<'a> {
    calendar: &'a [Spell],
    exit: Option<i32>,
    horizon: Option<i32>,
    anchor: i32,
}

impl Case<'_> {
    /// The outcome of a window that ends on `end`. An exit is a fact whatever the horizon, so it comes first.
    fn decide(&self, end: i32, succeeds: impl FnOnce() -> bool) -> &'static str {
        if self.exit.is_some_and(|exit| exit <= end) {
            "lost"
        } else if self.horizon.is_none_or(|horizon| end > horizon) {
            "pending"
        } else if succeeds() {
            "success"
        } else {
            "failure"
        }
    }
}

fn outcomes(
    columns: &Columns,
    outcome: impl Fn(Case<'_>, usize) -> Result<Option<&'static str>>,
) -> Result<ArrayRef> {
    let calendars = Calendars::new(columns, 0)?;
    let (exits, horizons, anchors) = (columns.dates(1)?, columns.dates(2)?, columns.dates(3)?);
    let outcomes = (0..columns.rows())
        .map(|row| {
            let Some(anchor) = at(anchors, row) else {
                return Ok(None);
            };
            let case = Case {
                calendar: calendars.at(row),
                exit: at(exits, row),
                horizon: at(horizons, row),
                anchor,
            };
            outcome(case, row)
        })
        .collect::<Result<StringArray>>()?;
    Ok(Arc::new(outcomes))
}

/// How many of the months from `start` have no supported day.
fn free_windows(calendar: &[Spell], start: i32, windows: i64) -> Result<i64> {
    let mut free = 0;
    let mut first = start;
    for k in 1..=windows {
        let next = add_months(start, k)?;
        if !supported_between(calendar, first, next.saturating_sub(1)) {
            free += 1;
        }
        first = next;
    }
    Ok(free)
}

/// A column of lengths, none below 0.
struct Lengths<'a> {
    argument: &'static str,
    values: &'a arrow::array::Int64Array,
}

impl<'a> Lengths<'a> {
    fn new(argument: &'static str, columns: &'a Columns, at: usize) -> Result<Self> {
        let values = columns.ints(at)?;
        Ok(Self { argument, values })
    }

    fn at(&self, row: usize) -> Result<Option<i64>> {
        match at(self.values, row) {
            Some(length) if length < 0 => exec_err!("{}: {length} is below 0", self.argument),
            length => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests;
