//! Business periods: years, half-years, quarters, months and ISO weeks, as files and statistics name them.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc, Weekday};
use chrono_tz::Europe::Copenhagen;
use serde::Deserialize;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeriodKind {
    /// Monday to Sunday, ISO 8601: week 1 holds the year's first Thursday.
    Week,
    /// A calendar month.
    Month,
    /// Three months, from January, April, July or October.
    Quarter,
    /// 1 January to 30 June, or 1 July to 31 December.
    HalfYear,
    /// A calendar year.
    Year,
}

/// One period. Shown as `2010-W05`, `2010-03`, `2010Q1`, `2010H1`, `2010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    first: NaiveDate,
    kind: PeriodKind,
}

impl Period {
    /// The period of a kind that holds `day`.
    pub fn containing(kind: PeriodKind, day: NaiveDate) -> Self {
        let first = match kind {
            PeriodKind::Week => {
                day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))
            }
            _ => {
                let length = kind.months();
                NaiveDate::from_ymd_opt(day.year(), day.month0() / length * length + 1, 1)
            }
        };
        Self {
            // Only a day in the calendar's very first week has no Monday before it.
            first: first.unwrap_or(day),
            kind,
        }
    }

    /// Reads a period as it is shown, and as Statistics Denmark writes it: `2010M03`, `2010K1`, `2010Q1`, `2010U05`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, rest) = year_and_rest(text)?;
        if rest.is_empty() {
            return Self::numbered(PeriodKind::Year, year, 1);
        }
        let (found, left) = match lettered(year, rest) {
            Some(found) => found,
            None => month(year, rest.strip_prefix('-')?)?,
        };
        left.is_empty().then_some(found)
    }

    /// The first period that a file name speaks of: as [`Period::parse`] reads it, or `201003`, `2010_03`, `20100315`. A
    /// bare year counts only where nothing finer is named.
    pub fn named_in(name: &str) -> Option<Self> {
        let years = || {
            let starts = name.char_indices().filter(|(at, it)| {
                it.is_ascii_digit() && !name[..*at].ends_with(|it: char| it.is_ascii_digit())
            });
            starts
                .filter_map(|(at, _)| year_and_rest(&name[at..]))
                .filter(|(year, _)| (1900..2100).contains(year))
        };
        let finer = years().find_map(|(year, rest)| {
            let parted = rest.strip_prefix(['-', '_', ' ']).unwrap_or(rest);
            lettered(year, parted)
                .or_else(|| month(year, parted))
                .map(|(found, _)| found)
        });
        finer.or_else(|| {
            let mut bare = years().filter(|(_, rest)| {
                let parted = rest.strip_prefix(['-', '_', ' ']).unwrap_or(rest);
                !parted.starts_with(|it: char| it.is_ascii_digit())
            });
            let (year, _) = bare.next()?;
            Self::numbered(PeriodKind::Year, year, 1)
        })
    }

    /// The period with a number in its year, from 1; `None` where the year has no such.
    pub fn numbered(kind: PeriodKind, year: i32, number: u32) -> Option<Self> {
        let first = match kind {
            PeriodKind::Week => NaiveDate::from_isoywd_opt(year, number, Weekday::Mon)?,
            _ => {
                let month = number.checked_sub(1)?.checked_mul(kind.months())?;
                NaiveDate::from_ymd_opt(year, month.checked_add(1)?, 1)?
            }
        };
        Some(Self { first, kind })
    }

    /// How long it is.
    pub fn kind(self) -> PeriodKind {
        self.kind
    }

    /// Its first day.
    pub fn first_day(self) -> NaiveDate {
        self.first
    }

    /// Its last day.
    pub fn last_day(self) -> NaiveDate {
        self.next().first.pred_opt().unwrap_or(NaiveDate::MAX)
    }

    /// The one that follows.
    #[must_use]
    pub fn next(self) -> Self {
        let first = match self.kind {
            PeriodKind::Week => self.first.checked_add_days(Days::new(7)),
            kind => self.first.checked_add_months(Months::new(kind.months())),
        };
        Self {
            first: first.unwrap_or(NaiveDate::MAX),
            ..self
        }
    }
}

impl PeriodKind {
    /// Months in one; a week has none.
    fn months(self) -> u32 {
        match self {
            Self::Week => 0,
            Self::Month => 1,
            Self::Quarter => 3,
            Self::HalfYear => 6,
            Self::Year => 12,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month0) = (self.first.year(), self.first.month0());
        match self.kind {
            PeriodKind::Week => {
                let week = self.first.iso_week();
                write!(f, "{:04}-W{:02}", week.year(), week.week())
            }
            PeriodKind::Month => write!(f, "{year:04}-{:02}", month0 + 1),
            PeriodKind::Quarter => write!(f, "{year:04}Q{}", month0 / 3 + 1),
            PeriodKind::HalfYear => write!(f, "{year:04}H{}", month0 / 6 + 1),
            PeriodKind::Year => write!(f, "{year:04}"),
        }
    }
}

/// The day it is in Denmark.
pub fn civil_day(at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&Copenhagen).date_naive()
}

/// Four digits and what follows them.
fn year_and_rest(text: &str) -> Option<(i32, &str)> {
    let (year, rest) = text.split_at_checked(4)?;
    let is_year = year.bytes().all(|it| it.is_ascii_digit());
    is_year.then(|| Some((year.parse().ok()?, rest)))?
}

/// `Q1`, `K1`, `H1`, `M03`, `W05`, `U05`, `-W05` after a year, and what follows.
fn lettered(year: i32, rest: &str) -> Option<(Period, &str)> {
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    let (kind, digits) = match rest.chars().next()?.to_ascii_uppercase() {
        'Q' | 'K' => (PeriodKind::Quarter, 1),
        'H' => (PeriodKind::HalfYear, 1),
        'M' => (PeriodKind::Month, 2),
        'W' | 'U' => (PeriodKind::Week, 2),
        _ => return None,
    };
    let (number, left) = number(&rest[1..], digits)?;
    if left.starts_with(|it: char| it.is_ascii_alphanumeric()) {
        return None;
    }
    Some((Period::numbered(kind, year, number)?, left))
}

fn month(year: i32, rest: &str) -> Option<(Period, &str)> {
    let (number, left) = number(rest, 2)?;
    Some((Period::numbered(PeriodKind::Month, year, number)?, left))
}

fn number(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, left) = text.split_at_checked(digits)?;
    let is_number = number.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| Some((number.parse().ok()?, left)))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days(text: &str) -> Option<String> {
        let period = Period::parse(text)?;
        Some(format!("{}..{}", period.first_day(), period.last_day()))
    }

    #[test]
    fn periods_are_read_as_shown_and_as_statistics_denmark_writes_them() {
        for (text, expected) in [
            ("2010", "2010-01-01..2010-12-31"),
            ("2010H2", "2010-07-01..2010-12-31"),
            ("2010Q1", "2010-01-01..2010-03-31"),
            ("2026K3", "2026-07-01..2026-09-30"),
            ("2012-02", "2012-02-01..2012-02-29"),
            ("2026M09", "2026-09-01..2026-09-30"),
            // 1 January 2010 belongs to the last week of 2009, which has 53.
            ("2009U53", "2009-12-28..2010-01-03"),
            ("2010-W01", "2010-01-04..2010-01-10"),
        ] {
            assert_eq!(days(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "2010-13",
            "2010Q5",
            "2010H3",
            "2010-W53",
            "2010M03D15",
            "2010:2011",
            "2010/2011",
            "10",
            "201003",
            "2010-",
            "unknown",
            "2010Q",
            "２０１０",
        ] {
            assert_eq!(days(text), None, "{text}");
        }
    }

    #[test]
    fn file_names_name_periods() {
        for (name, expected) in [
            ("fremmoede-2010-03.csv", Some("2010-03")),
            ("fremmoede_201012.csv", Some("2010-12")),
            ("beregning20250101.csv", Some("2025-01")),
            ("tilsyn 2010H1.csv", Some("2010H1")),
            ("2010-q2 rapport.csv", Some("2010Q2")),
            ("rapport_2010_K4.csv", Some("2010Q4")),
            ("uge-2010-W05.csv", Some("2010-W05")),
            ("fremmoede-101-p3-2010-03.csv", Some("2010-03")),
            ("2011-plan-2010-03.csv", Some("2010-03")),
            ("survey-2010.csv", Some("2010")),
            ("attendance.csv", None),
            ("120101.csv", None),
            ("2010-13.csv", None),
            ("2010801234.csv", None),
            ("1850.csv", None),
            ("blåbær-år.csv", None),
        ] {
            let found = Period::named_in(name).map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn the_danish_day_begins_before_the_utc_one() {
        let day = |at: &str| civil_day(at.parse().unwrap()).to_string();
        assert_eq!(day("2010-01-31T22:59:59Z"), "2010-01-31");
        assert_eq!(day("2010-01-31T23:00:00Z"), "2010-02-01");
        assert_eq!(day("2010-06-30T22:00:00Z"), "2010-07-01");
    }

    proptest! {
        #[test]
        fn periods_part_the_calendar_and_are_read_as_they_are_shown(
            day in 0u64..60_000,
            kind in prop::sample::select(vec![
                PeriodKind::Week, PeriodKind::Month, PeriodKind::Quarter, PeriodKind::HalfYear, PeriodKind::Year,
            ]),
        ) {
            let day = NaiveDate::from_ymd_opt(1950, 1, 1).unwrap() + Days::new(day);
            let period = Period::containing(kind, day);
            prop_assert!(period.first_day() <= day && day <= period.last_day());
            prop_assert_eq!(Period::containing(kind, period.last_day()), period);
            prop_assert_eq!(period.next().first_day(), period.last_day() + Days::new(1));
            prop_assert_eq!(Period::parse(&period.to_string()), Some(period));
        }
    }
}
