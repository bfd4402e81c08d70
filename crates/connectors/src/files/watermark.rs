//! How far a folder's files are complete: by the periods in their names, or by the dates in a column.

use arrow::array::{AsArray, RecordBatch};
use chrono::NaiveDate;
use contract::{Period, PeriodKind};
use schemars::JsonSchema;
use serde::Deserialize;

/// What tells through which business day the files hold everything.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Watermark {
    /// The periods that the names speak of: complete through the last day before the first gap. A period that is not over
    /// does not count, nor does a file that could not be read as rows. Only where one file holds all of a period.
    Name {
        /// Where the period stands in a name: `{year}` and one of `{half}`, `{quarter}`, `{month}`, `{week}` or none, among `*` and `?`, as
        /// in `rapport-{quarter}kv-{year}.csv`; case is ignored. Without it names such as `a-2010-03.csv`, `a_201003.csv`,
        /// `a-2010Q1.csv`, `a-2010H1.csv`, `a-2010-W05.csv` and `a-2010.csv` are understood.
        #[serde(default)]
        pattern: Option<NamePattern>,
    },
    /// The latest date in a column of the file read last. Only where each file holds everything up to then. Dates to come and
    /// what is no date are passed over; a file without the column tells nothing.
    Column {
        /// The column, as the header has it; dates as `2010-03-31` or `31-03-2010`.
        column: String,
    },
}

impl Watermark {
    /// The period a file was delivered for, where its name is what tells.
    pub(super) fn period_of(&self, name: &str) -> Option<Period> {
        match self {
            Self::Name { pattern: None } => Period::named_in(name),
            Self::Name {
                pattern: Some(pattern),
            } => pattern.period_of(name),
            Self::Column { .. } => None,
        }
    }
}

/// The last day through which the periods follow one another without a gap, from the earliest on. Those that are not over by
/// `today` are left out.
pub(super) fn unbroken(
    periods: impl Iterator<Item = Period>,
    today: NaiveDate,
) -> Option<NaiveDate> {
    let mut days: Vec<(NaiveDate, NaiveDate)> = periods
        .map(|it| (it.first_day(), it.last_day()))
        .filter(|it| it.1 <= today)
        .collect();
    days.sort_unstable();
    days.into_iter().fold(
        None,
        |reached: Option<NaiveDate>, (first, last)| match reached {
            None => Some(last),
            Some(end) if end.succ_opt().is_some_and(|next| first <= next) => Some(end.max(last)),
            // A gap: what comes after it does not count either, for it begins later still.
            end => end,
        },
    )
}

/// The latest date in a column that is not after `today`; none where there is no such column.
pub(super) fn latest(rows: &RecordBatch, column: &str, today: NaiveDate) -> Option<NaiveDate> {
    let texts = rows.column_by_name(column)?.as_string_opt::<i32>()?;
    let dates = texts.iter().flatten().filter_map(contract::day_in);
    dates.filter(|it| *it <= today).max()
}

/// A pattern of file names with places for a period.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", inline)]
pub(super) struct NamePattern(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    /// `*`
    Any,
    /// `?`
    One,
    Exactly(char),
    Year,
    Part(PeriodKind),
}

/// What a place is called, and what it holds.
const PLACES: [(&str, Piece); 5] = [
    ("{year}", Piece::Year),
    ("{half}", Piece::Part(PeriodKind::HalfYear)),
    ("{quarter}", Piece::Part(PeriodKind::Quarter)),
    ("{month}", Piece::Part(PeriodKind::Month)),
    ("{week}", Piece::Part(PeriodKind::Week)),
];

impl TryFrom<String> for NamePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let lower = text.to_lowercase();
        let mut pieces = Vec::new();
        let mut rest = lower.as_str();
        while let Some(next) = rest.chars().next() {
            let place = PLACES.iter().find(|(name, _)| rest.starts_with(name));
            let (piece, length) = match (place, next) {
                (Some((name, piece)), _) => (*piece, name.len()),
                (None, '{') => {
                    let known: Vec<&str> = PLACES.iter().map(|it| it.0).collect();
                    return Err(format!(
                        "`{text}`: a place in a name is one of {}",
                        known.join(", ")
                    ));
                }
                (None, '*') => (Piece::Any, 1),
                (None, '?') => (Piece::One, 1),
                (None, other) => (Piece::Exactly(other), other.len_utf8()),
            };
            pieces.push(piece);
            rest = &rest[length..];
        }
        let years = pieces.iter().filter(|it| **it == Piece::Year).count();
        let parts = pieces
            .iter()
            .filter(|it| matches!(it, Piece::Part(_)))
            .count();
        if years != 1 || parts > 1 {
            return Err(format!(
                "`{text}`: name `{{year}}` once, and at most one of `{{half}}`, `{{quarter}}`, `{{month}}`, `{{week}}`"
            ));
        }
        Ok(Self(pieces))
    }
}

impl NamePattern {
    fn period_of(&self, name: &str) -> Option<Period> {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        fit(&self.0, &name, None, None)
    }
}

/// Fits the rest of a name to the rest of a pattern; the first way that gives a period.
fn fit(
    pieces: &[Piece],
    name: &[char],
    year: Option<i32>,
    part: Option<(PeriodKind, u32)>,
) -> Option<Period> {
    let Some((piece, pieces)) = pieces.split_first() else {
        let (kind, number) = part.unwrap_or((PeriodKind::Year, 1));
        return Period::numbered(kind, year?, number).filter(|_| name.is_empty());
    };
    match piece {
        Piece::Any => (0..=name.len()).find_map(|taken| fit(pieces, &name[taken..], year, part)),
        Piece::One => fit(pieces, name.get(1..)?, year, part),
        Piece::Exactly(wanted) => {
            let rest = name.split_first().filter(|it| it.0 == wanted)?.1;
            fit(pieces, rest, year, part)
        }
        Piece::Year => {
            let year = i32::try_from(number(name, 4)?).ok()?;
            fit(pieces, &name[4..], Some(year), part)
        }
        Piece::Part(kind) => {
            let digits: &[usize] = match kind {
                PeriodKind::Month | PeriodKind::Week => &[2, 1],
                _ => &[1],
            };
            digits.iter().find_map(|length| {
                let part = Some((*kind, number(name, *length)?));
                fit(pieces, &name[*length..], year, part)
            })
        }
    }
}

/// The number that so many digits make.
fn number(name: &[char], digits: usize) -> Option<u32> {
    let digits = name.get(..digits)?.iter();
    digits
        .map(|it| it.to_digit(10))
        .try_fold(0, |number, it| Some(10 * number + it?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<NamePattern, String> {
        NamePattern::try_from(text.to_owned())
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_says_where_the_period_stands() {
        for (text, name, expected) in [
            (
                "rapport-{quarter}kv-{year}.csv",
                "Rapport-3KV-2026.csv",
                Some("2026Q3"),
            ),
            ("{month}-{year}*", "03-2010-vejle.csv", Some("2010-03")),
            ("{month}-{year}*", "3-2010.csv", Some("2010-03")),
            ("uge{week}_{year}.csv", "uge5_2010.csv", Some("2010-W05")),
            ("uge{week}_{year}.csv", "uge53_2010.csv", None),
            (
                "*_{half}. halvår {year}.csv",
                "tilsyn_2. halvår 2010.csv",
                Some("2010H2"),
            ),
            ("år-{year}.csv", "År-2010.csv", Some("2010")),
            ("{year}{month}??.csv", "20100315.csv", Some("2010-03")),
            ("{year}{month}??.csv", "2010031.csv", None),
            ("{year}{month}.csv", "2010.csv", None),
            ("a-{year}.csv", "b-2010.csv", None),
        ] {
            let found = pattern(text)
                .unwrap()
                .period_of(name)
                .map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{text} {name}");
        }
        for (wrong, expected) in [
            ("{quarter}.csv", "name `{year}` once"),
            ("{year}{month}{week}", "at most one of"),
            ("{year}-{day}.csv", "one of {year}, {half}"),
        ] {
            assert!(pattern(wrong).unwrap_err().contains(expected), "{wrong}");
        }
    }

    #[test]
    fn periods_count_up_to_the_first_gap_and_while_they_are_over() {
        let through = |periods: &[&str], today: &str| {
            unbroken(
                periods.iter().map(|it| Period::parse(it).unwrap()),
                day(today),
            )
            .map(|it| it.to_string())
        };
        let all = ["2010-04", "2010-01", "2010-02", "2010Q1", "2010-06"];
        assert_eq!(through(&all, "2026-01-01").as_deref(), Some("2010-04-30"));
        assert_eq!(
            through(&["2010-01", "2010-03", "2010-04"], "2026-01-01").as_deref(),
            Some("2010-01-31")
        );
        assert_eq!(
            through(&["2010-01", "2010-02"], "2010-02-27").as_deref(),
            Some("2010-01-31")
        );
        assert_eq!(
            through(&["2010-01", "2010-02"], "2010-02-28").as_deref(),
            Some("2010-02-28")
        );
        assert_eq!(through(&["2099-01"], "2026-01-01"), None);
        assert_eq!(through(&[], "2026-01-01"), None);
    }
}
