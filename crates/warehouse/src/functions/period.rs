//! Months and periods: `add_months`, `half_year`, `half_year_start`, `half_year_end`, `period_start`, `period_end`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, StringArray},
    datatypes::Date32Type,
};
use chrono::{Datelike, Months, NaiveDate};
use contract::Period;
use datafusion::{common::exec_err, error::Result};

use super::scalar::{Columns, Kind, Signed, at};

pub(super) static ALL: &[Signed] = &[
    Signed {
        name: "add_months",
        arguments: &[
            ("day", Kind::Date, "the anchor"),
            (
                "months",
                Kind::Int,
                "how many months later; negative is earlier",
            ),
        ],
        returns: Kind::Date,
        doc: "The same day of the month so many months later, or the last day of that month where it is \
              shorter. Always count from the anchor, never month by month: 31 Jan + 2 is 31 Mar. \
              Source: indicators, common rules.",
        example: "add_months(date '2010-11-30', 3) = 2011-02-28",
        eval: eval_add_months,
    },
    Signed {
        name: "half_year",
        arguments: &[("day", Kind::Date, "any day of it")],
        returns: Kind::Text,
        doc: "The half-year of a day: H1 is 1 Jan to 30 Jun, H2 is 1 Jul to 31 Dec. Sorts as time does. \
              Source: indicators, common rules.",
        example: "half_year(date '2010-07-01') = 2010H2",
        eval: eval_half_year,
    },
    Signed {
        name: "half_year_start",
        arguments: &[(
            "period",
            Kind::Text,
            "a half-year such as 2010H1; anything else is an error",
        )],
        returns: Kind::Date,
        doc: "The first day of a half-year.",
        example: "half_year_start('2010H2') = 2010-07-01",
        eval: |columns| {
            half_year_ends("half_year_start", columns, |year, half| {
                NaiveDate::from_ymd_opt(year, if half == 1 { 1 } else { 7 }, 1)
            })
        },
    },
    Signed {
        name: "half_year_end",
        arguments: &[(
            "period",
            Kind::Text,
            "a half-year such as 2010H1; anything else is an error",
        )],
        returns: Kind::Date,
        doc: "The last day of a half-year.",
        example: "half_year_end('2010H1') = 2010-06-30",
        eval: |columns| {
            half_year_ends("half_year_end", columns, |year, half| {
                NaiveDate::from_ymd_opt(
                    year,
                    if half == 1 { 6 } else { 12 },
                    if half == 1 { 30 } else { 31 },
                )
            })
        },
    },
    Signed {
        name: "period_start",
        arguments: &[("period", Kind::Text, PERIOD)],
        returns: Kind::Date,
        doc: "The first day of a period; null where the text is no period.",
        example: "period_start('2010Q3') = 2010-07-01",
        eval: |columns| period_ends(columns, Period::first_day),
    },
    Signed {
        name: "period_end",
        arguments: &[("period", Kind::Text, PERIOD)],
        returns: Kind::Date,
        doc: "The last day of a period; null where the text is no period.",
        example: "period_end('2010-W05') = 2010-02-07",
        eval: |columns| period_ends(columns, Period::last_day),
    },
];

const PERIOD: &str = "2010, 2010H1, 2010Q1, 2010-03 or 2010-W05, or as Statistics Denmark writes it: 2010K1, 2010M03, 2010U05";

/// `day` so many months later, clamped to the end of the month; days since 1970.
pub(super) fn add_months(day: i32, months: i64) -> Result<i32> {
    let step = u32::try_from(months.unsigned_abs()).ok().map(Months::new);
    let moved = date_of(day).zip(step).and_then(|(date, step)| {
        if months < 0 {
            date.checked_sub_months(step)
        } else {
            date.checked_add_months(step)
        }
    });
    match moved {
        Some(date) => Ok(Date32Type::from_naive_date(date)),
        None => exec_err!("add_months: {months} months from day {day} is outside the calendar"),
    }
}

/// The civil date of a day number.
pub(super) fn date_of(day: i32) -> Option<NaiveDate> {
    Date32Type::to_naive_date_opt(day)
}

fn eval_add_months(columns: &Columns) -> Result<ArrayRef> {
    let (days, months) = (columns.dates(0)?, columns.ints(1)?);
    let moved = (0..columns.rows())
        .map(|row| match (at(days, row), at(months, row)) {
            (Some(day), Some(months)) => add_months(day, months).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<Date32Array>>()?;
    Ok(Arc::new(moved))
}

fn eval_half_year(columns: &Columns) -> Result<ArrayRef> {
    let days = columns.dates(0)?;
    let periods: StringArray = (0..columns.rows())
        .map(|row| {
            let date = at(days, row).and_then(date_of)?;
            let half = if date.month() <= 6 { 1 } else { 2 };
            Some(format!("{:04}H{half}", date.year()))
        })
        .collect();
    Ok(Arc::new(periods))
}

fn half_year_ends(
    name: &str,
    columns: &Columns,
    end: fn(i32, u8) -> Option<NaiveDate>,
) -> Result<ArrayRef> {
    let periods = columns.texts(0)?;
    let days = (0..columns.rows())
        .map(|row| {
            let Some(period) = at(periods, row) else {
                return Ok(None);
            };
            match parse_half_year(period).and_then(|(year, half)| end(year, half)) {
                Some(date) => Ok(Some(Date32Type::from_naive_date(date))),
                None => exec_err!("{name}: `{period}` is not a half-year such as 2010H1"),
            }
        })
        .collect::<Result<Date32Array>>()?;
    Ok(Arc::new(days))
}

fn period_ends(columns: &Columns, end: fn(Period) -> NaiveDate) -> Result<ArrayRef> {
    let periods = columns.texts(0)?;
    let days: Date32Array = (0..columns.rows())
        .map(|row| {
            let period = Period::parse(at(periods, row)?)?;
            Some(Date32Type::from_naive_date(end(period)))
        })
        .collect();
    Ok(Arc::new(days))
}

fn parse_half_year(period: &str) -> Option<(i32, u8)> {
    let (year, half) = period.split_once('H')?;
    let half = match half {
        "1" => 1,
        "2" => 2,
        _ => return None,
    };
    let is_year = year.len() == 4 && year.bytes().all(|it| it.is_ascii_digit());
    is_year.then(|| year.parse().ok())?.map(|year| (year, half))
}

#[cfg(test)]
mod tests {
    use super::{super::check::answers, *};

    #[test]
    fn months_are_clamped_to_the_end_of_the_month() {
        answers(&[
            ("add_months(date '2010-11-30', 3)", "2011-02-28"),
            ("add_months(date '2011-11-30', 3)", "2012-02-29"),
            ("add_months(date '2010-01-31', 1)", "2010-02-28"),
            ("add_months(date '2010-01-31', 2)", "2010-03-31"),
            ("add_months(date '2010-08-31', 1)", "2010-09-30"),
            ("add_months(date '2012-02-29', 12)", "2013-02-28"),
            ("add_months(date '2010-03-31', -1)", "2010-02-28"),
            ("add_months(date '2010-12-15', 1)", "2011-01-15"),
            ("add_months(date '2010-12-15', 0)", "2010-12-15"),
            ("add_months(null, 1)", "NULL"),
            ("add_months(date '2010-12-15', null)", "NULL"),
            ("add_months('2010-11-30', 3)", "2011-02-28"),
        ]);
    }

    #[test]
    fn half_years_begin_in_january_and_july() {
        answers(&[
            ("half_year(date '2010-01-01')", "2010H1"),
            ("half_year(date '2010-06-30')", "2010H1"),
            ("half_year(date '2010-07-01')", "2010H2"),
            ("half_year(date '2010-12-31')", "2010H2"),
            ("half_year(null)", "NULL"),
            ("half_year_start('2010H1')", "2010-01-01"),
            ("half_year_start('2010H2')", "2010-07-01"),
            ("half_year_end('2010H1')", "2010-06-30"),
            ("half_year_end('2010H2')", "2010-12-31"),
            ("half_year_end(null)", "NULL"),
        ]);
    }

    #[test]
    fn periods_begin_and_end() {
        answers(&[
            ("period_start('2010')", "2010-01-01"),
            ("period_end('2010')", "2010-12-31"),
            ("period_start('2026K3')", "2026-07-01"),
            ("period_end('2012-02')", "2012-02-29"),
            ("period_end('2009U53')", "2010-01-03"),
            ("period_end('unknown')", "NULL"),
            ("period_start(null)", "NULL"),
        ]);
    }

    #[test]
    fn what_is_no_half_year_is_named() {
        for wrong in ["2010Q1", "2010H3", "10H1", "", "2010H", "+010H1"] {
            assert_eq!(parse_half_year(wrong), None, "{wrong}");
        }
        let message = super::super::check::error("half_year_end('2010Q1')");
        assert!(message.contains("`2010Q1` is not a half-year"), "{message}");
    }

    #[test]
    fn a_date_outside_the_calendar_is_an_error_not_a_panic() {
        assert!(add_months(0, i64::MAX).is_err());
        assert!(add_months(i32::MAX, 1).is_err());
    }
}
