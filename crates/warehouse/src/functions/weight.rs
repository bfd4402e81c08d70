//! The weight of the task: `prior_weeks`, `age_group`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use chrono::Datelike;
use datafusion::error::Result;

use super::{
    calendar::{Calendars, Spell},
    period::date_of,
    scalar::{Columns, Kind, Signed, at},
};

/// Days without support that do not break the spells before and after apart.
const GAP_DAYS: i64 = 28;

pub(super) static ALL: &[Signed] = &[
    Signed {
        name: "age_group",
        arguments: &[
            (
                "birth_year",
                Kind::Int,
                "the year of birth; null is unknown",
            ),
            ("start_date", Kind::Date, "the first day in the offer"),
        ],
        returns: Kind::Text,
        doc: "'<30', '30+' or 'unknown' by year(start_date) − birth_year; 30 belongs to '30+'. \
              Source: indicators, the weight of the task.",
        example: "age_group(1980, date '2010-01-01') = 30+",
        eval: age_groups,
    },
    Signed {
        name: "prior_weeks",
        arguments: &[
            (
                "calendar",
                Kind::Calendar,
                "the citizen's support calendar; null is never supported",
            ),
            ("start_date", Kind::Date, "the first day in the offer"),
        ],
        returns: Kind::Double,
        doc: "Weeks of unbroken public support ending at the start, with one decimal: from the start back \
              over the spells that began on or before it, bridging gaps of at most 28 days; the bridged \
              gaps count. 0 where no day of the 28 before the start, nor the start, is supported. \
              Source: indicators, the weight of the task.",
        example: "prior_weeks(support_calendar(from_date, to_date), start_date)",
        eval: eval_prior_weeks,
    },
];

/// Weeks of unbroken support up to `start`; see the documentation in [`ALL`].
fn prior_weeks(calendar: &[Spell], start: i32) -> f64 {
    let begun = calendar.partition_point(|&[from, _]| from <= start);
    // Where support is known to begin. The start itself may be the last day of a gap, so before any
    // spell is found that is the day after it.
    let mut first = start.saturating_add(1);
    for &[from, to] in calendar[..begun].iter().rev() {
        if i64::from(first) - i64::from(to) - 1 > GAP_DAYS {
            break;
        }
        first = from;
    }
    let days = (start - first.min(start)).max(0);
    (f64::from(days) * 10.0 / 7.0).round() / 10.0
}

fn eval_prior_weeks(columns: &Columns) -> Result<ArrayRef> {
    let (calendars, starts) = (Calendars::new(columns, 0)?, columns.dates(1)?);
    let weeks: Float64Array = (0..columns.rows())
        .map(|row| Some(prior_weeks(calendars.at(row), at(starts, row)?)))
        .collect();
    Ok(Arc::new(weeks))
}

fn age_groups(columns: &Columns) -> Result<ArrayRef> {
    let (years, starts) = (columns.ints(0)?, columns.dates(1)?);
    let groups: StringArray = (0..columns.rows())
        .map(|row| {
            let start = at(starts, row).and_then(date_of);
            Some(match at(years, row).zip(start) {
                None => "unknown",
                Some((year, start)) if i64::from(start.year()) - year < 30 => "<30",
                Some(_) => "30+",
            })
        })
        .collect();
    Ok(Arc::new(groups))
}

#[cfg(test)]
mod tests {
    use super::{super::check::answers, *};

    #[test]
    fn no_support_is_no_prior_support() {
        assert_eq!(prior_weeks(&[], 100), 0.0);
        assert_eq!(
            prior_weeks(&[[101, 200]], 100),
            0.0,
            "begins after the start"
        );
    }

    #[test]
    fn a_spell_running_at_the_start_counts_from_its_first_day() {
        assert_eq!(prior_weeks(&[[30, 200]], 100), 10.0);
        assert_eq!(prior_weeks(&[[30, 100]], 100), 10.0, "ends on the start");
        assert_eq!(prior_weeks(&[[100, 200]], 100), 0.0, "begins on the start");
        assert_eq!(prior_weeks(&[[97, 200]], 100), 0.4, "3 days are 0.43 weeks");
    }

    #[test]
    fn twenty_eight_days_without_support_are_bridged_and_twenty_nine_are_not() {
        // Days 73 to 100 are the 28 days up to and including the start.
        assert_eq!(prior_weeks(&[[2, 72]], 100), 14.0);
        assert_eq!(prior_weeks(&[[2, 71]], 100), 0.0);
        // Days 52 to 79 are 28 days, 51 to 79 are 29.
        assert_eq!(prior_weeks(&[[9, 51], [80, 200]], 100), 13.0);
        assert_eq!(prior_weeks(&[[9, 50], [80, 200]], 100), 2.9);
        // A spell on the start itself is support: days 72 to 99 are 28 days.
        assert_eq!(prior_weeks(&[[2, 71], [100, 100]], 100), 14.0);
        assert_eq!(prior_weeks(&[[2, 70], [100, 100]], 100), 0.0);
    }

    #[test]
    fn several_gaps_are_bridged_one_by_one() {
        assert_eq!(
            prior_weeks(&[[0, 1], [30, 40], [69, 80], [105, 110]], 105),
            15.0
        );
        assert_eq!(
            prior_weeks(&[[0, 1], [31, 40], [69, 80], [105, 110]], 105),
            10.6
        );
    }

    #[test]
    fn thirty_belongs_to_thirty_plus() {
        answers(&[
            ("age_group(1980, date '2010-01-01')", "30+"),
            ("age_group(1981, date '2010-12-31')", "<30"),
            ("age_group(1940, date '2010-12-31')", "30+"),
            ("age_group(null, date '2010-12-31')", "unknown"),
            ("age_group(1980, null)", "unknown"),
            ("age_group(cast(1981 as int), '2010-12-31')", "<30"),
        ]);
    }
}
