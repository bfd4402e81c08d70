//! The delivery calendar: who owes which data for which periods, and by when.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{Days, Months, NaiveDate};
use contract::{Entity, Period, PeriodKind};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_saphyr::Spanned;

use crate::Mistake;

/// One entry of `pipelines/calendar.yaml`: an obligation, the same for each of its municipalities.
#[derive(Debug, Clone)]
pub struct Obligation {
    /// Its name, unique in the calendar.
    pub name: String,
    /// Who owes it: a provider's id, a unit, an authority. Never a person.
    pub sender: String,
    /// The role to turn to when it is late, such as `contract manager`.
    pub contact: String,
    /// What is owed.
    pub entity: &'static Entity,
    /// Owed by or for each of these; 0 is the whole country.
    pub municipality_codes: Vec<i32>,
    /// Only what this pipeline has read counts; without it what any pipeline has.
    pub source: Option<String>,
    /// Only files of these names count: `*` stands for any characters, `?` for one; case is ignored. Only with [`Proof::File`].
    pub files: Option<String>,
    /// What shows that a period has come.
    pub proof: Proof,
    /// How often it is owed.
    pub period: PeriodKind,
    /// By when.
    pub due: Due,
    /// The first day owed.
    pub from: NaiveDate,
    /// The last day owed, where it has ended.
    pub until: Option<NaiveDate>,
    /// The line it begins on, from 1.
    pub line: u64,
}

/// What shows that a period has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Files whose names together name all of it.
    File,
    /// The source said it was complete through its last day.
    Watermark,
    /// Rows that speak of a day or a period in it.
    Rows,
}

/// So long after the last day of a period; the day itself is still in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Days, weekends and holidays included.
    Days(u32),
    /// The same day of a later month, or its last day where that is shorter.
    Months(u32),
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    sender: String,
    contact: String,
    entity: String,
    municipality_code: Codes,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    files: Option<String>,
    proof: Proof,
    period: PeriodKind,
    due: Due,
    from: NaiveDate,
    #[serde(default)]
    until: Option<NaiveDate>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a municipality's code such as 101, or a list of them"
)]
enum Codes {
    One(i32),
    Several(Vec<i32>),
}

/// Reads a calendar: a list of entries; an empty file has none. `file` is how mistakes name it.
///
/// # Errors
/// Every mistake in the entries, or the first in the file's shape.
pub fn parse_calendar(file: &str, text: &str) -> Result<Vec<Obligation>, Vec<Mistake>> {
    let written: Option<Vec<Spanned<Written>>> = serde_saphyr::from_str(text).map_err(|err| {
        vec![Mistake {
            file: file.to_owned(),
            line: err.location().map(|it| it.line()),
            column: err.location().map(|it| it.column()),
            message: crate::first_line(&err.to_string()),
        }]
    })?;
    let (mut obligations, mut mistakes) = (Vec::new(), Vec::new());
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for entry in written.unwrap_or_default() {
        let line = entry.defined.line();
        let name = entry.value.name.clone();
        let twice = names.insert(name.clone(), line).map(|first| {
            format!("name: line {first} has the same; give each entry a name of its own")
        });
        let problem = match (twice, entry.value.check(line)) {
            (None, Ok(obligation)) => {
                obligations.push(obligation);
                continue;
            }
            (Some(twice), _) => twice,
            (None, Err(problem)) => problem,
        };
        mistakes.push(Mistake {
            file: file.to_owned(),
            line: Some(line),
            column: None,
            message: format!("`{name}`: {problem}"),
        });
    }
    if mistakes.is_empty() {
        Ok(obligations)
    } else {
        Err(mistakes)
    }
}

impl Written {
    /// The obligation, or the field that is wrong and what would be right.
    fn check(self, line: u64) -> Result<Obligation, String> {
        let is_name =
            |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_".contains(it);
        if self.name.is_empty() || !self.name.chars().all(is_name) {
            return Err("name: use lower case letters, digits, `-` and `_`".to_owned());
        }
        for (field, text) in [("sender", &self.sender), ("contact", &self.contact)] {
            if let Some(fault) = names_a_person(text) {
                return Err(format!(
                    "{field}: it holds {fault}; name an organisation or a role, such as `contract manager`"
                ));
            }
        }
        let entity = contract::entity(&self.entity).ok_or_else(|| {
            let known: Vec<&str> = contract::entities()
                .iter()
                .map(|it| it.name.as_str())
                .collect();
            format!(
                "entity: `{}` is unknown; one of {}",
                self.entity,
                known.join(", ")
            )
        })?;
        let municipality_codes = match self.municipality_code {
            Codes::One(code) => vec![code],
            Codes::Several(codes) => codes,
        };
        let known = contract::code_list("municipality");
        for (at, code) in municipality_codes.iter().enumerate() {
            if !known.is_some_and(|it| it.is_valid(&code.to_string(), None)) {
                return Err(format!(
                    "municipality_code: {code} is no municipality's; ref.municipality lists them, 0 is the whole country"
                ));
            }
            if municipality_codes[..at].contains(code) {
                return Err(format!(
                    "municipality_code: {code} is there twice; leave one out"
                ));
            }
        }
        if municipality_codes.is_empty() {
            return Err("municipality_code: name at least one; 0 is the whole country".to_owned());
        }
        if self.files.is_some() && self.proof != Proof::File {
            return Err(
                "files: only with `proof: file`; leave it out, or prove by file".to_owned(),
            );
        }
        if let Some(until) = self.until.filter(|it| *it < self.from) {
            return Err(format!(
                "until: {until} is before `from` ({}); write the last day owed",
                self.from
            ));
        }
        Ok(Obligation {
            name: self.name,
            sender: self.sender,
            contact: self.contact,
            entity,
            municipality_codes,
            source: self.source,
            files: self.files.map(|it| it.to_lowercase()),
            proof: self.proof,
            period: self.period,
            due: self.due,
            from: self.from,
            until: self.until,
            line,
        })
    }
}

/// What in a text belongs to a person or is empty: the calendar is read by everyone who may query `ops`.
fn names_a_person(text: &str) -> Option<&'static str> {
    let mut run = 0;
    let has_number = text.chars().any(|it| {
        run = match it {
            _ if it.is_ascii_digit() => run + 1,
            ' ' | '-' => run,
            _ => 0,
        };
        run >= 8
    });
    match text.trim() {
        "" => Some("nothing"),
        text if text.contains('@') => Some("a mail address"),
        _ => has_number.then_some("a telephone or CPR number"),
    }
}

impl Obligation {
    /// The periods owed that have begun by `day`, in order.
    pub fn periods(&self, day: NaiveDate) -> impl Iterator<Item = Period> + use<> {
        let last = self.until.map_or(day, |until| until.min(day));
        let first = Period::containing(self.period, self.from);
        let all = std::iter::successors(Some(first), |it| Some(it.next()));
        all.take_while(move |it| it.first_day() <= last)
    }

    /// The days of a period that are owed: those from `from` through `until`.
    pub fn days(&self, period: Period) -> (NaiveDate, NaiveDate) {
        let last = period.last_day();
        (
            period.first_day().max(self.from),
            self.until.map_or(last, |until| until.min(last)),
        )
    }

    /// The last day on which a period comes in time.
    pub fn due(&self, period: Period) -> NaiveDate {
        self.due.day(period)
    }
}

impl Due {
    /// So long after the last day of `period`.
    pub fn day(self, period: Period) -> NaiveDate {
        let end = period.last_day();
        let due = match self {
            Self::Days(days) => end.checked_add_days(Days::new(days.into())),
            Self::Months(months) => end.checked_add_months(Months::new(months)),
        };
        due.unwrap_or(NaiveDate::MAX)
    }
}

impl Proof {
    /// `file`, `watermark` or `rows`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Watermark => "watermark",
            Self::Rows => "rows",
        }
    }
}

impl FromStr for Due {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no due rule; write `20 days after the period`, `6 weeks after the period` or `11 months after the period`"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [number, unit, "after", "the", "period"] = words[..] else {
            return Err(wrong());
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let due = match unit {
            "day" | "days" => Some(Self::Days(number)),
            "week" | "weeks" => number.checked_mul(7).map(Self::Days),
            "month" | "months" => Some(Self::Months(number)),
            _ => None,
        };
        due.ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Due {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    const GOOD: &str = "
# Monthly registers.
- name: attendance
  sender: providers
  contact: contract manager
  entity: attendance
  municipality_code: [101, 630]
  source: drops-101-attendance
  files: Fremmoede-*
  proof: file
  period: month
  due: 10 days after the period
  from: 2010-07-15
  until: 2010-10-10
";

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn mistake(text: &str) -> String {
        let mistakes = parse_calendar("calendar.yaml", text).unwrap_err();
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn an_entry_is_read() {
        let all = parse_calendar("calendar.yaml", GOOD).unwrap();
        let it = &all[0];
        assert_eq!((all.len(), it.line), (1, 3));
        assert_eq!(it.municipality_codes, [101, 630]);
        assert_eq!(it.files.as_deref(), Some("fremmoede-*"));
        assert_eq!((it.proof, it.period), (Proof::File, PeriodKind::Month));
        assert_eq!(it.due, Due::Days(10));
        for empty in ["", "[]", "# Nothing is owed yet.\n"] {
            assert!(
                parse_calendar("calendar.yaml", empty).unwrap().is_empty(),
                "{empty}"
            );
        }
    }

    #[test]
    fn periods_begin_with_from_and_end_with_until() {
        let it = parse_calendar("calendar.yaml", GOOD).unwrap().remove(0);
        let periods = |by: &str| {
            let shown: Vec<String> = it.periods(day(by)).map(|it| it.to_string()).collect();
            shown.join(" ")
        };
        assert_eq!(periods("2010-06-30"), "");
        assert_eq!(periods("2010-07-31"), "2010-07");
        assert_eq!(periods("2010-08-01"), "2010-07 2010-08");
        assert_eq!(
            periods("2026-01-01"),
            "2010-07 2010-08 2010-09 2010-10",
            "closed"
        );
        let (first, last) = (
            Period::parse("2010-07").unwrap(),
            Period::parse("2010-10").unwrap(),
        );
        assert_eq!(it.days(first), (day("2010-07-15"), day("2010-07-31")));
        assert_eq!(it.days(last), (day("2010-10-01"), day("2010-10-10")));
        assert_eq!(
            it.due(last),
            day("2010-11-10"),
            "the period's end counts, not the last day owed"
        );
    }

    #[test]
    fn a_period_is_due_so_long_after_its_last_day() {
        for (rule, period, expected) in [
            ("0 days after the period", "2010-01", "2010-01-31"),
            ("1 day after the period", "2010H1", "2010-07-01"),
            ("6 weeks after the period", "2010Q1", "2010-05-12"),
            ("1 month after the period", "2010-01", "2010-02-28"),
            ("11 months after the period", "2010", "2011-11-30"),
        ] {
            let text = GOOD.replace("10 days after the period", rule);
            let it = parse_calendar("calendar.yaml", &text).unwrap().remove(0);
            assert_eq!(
                it.due(Period::parse(period).unwrap()),
                day(expected),
                "{rule}"
            );
        }
    }

    #[test]
    fn mistakes_name_file_entry_field_and_remedy() {
        for (from, to, expected) in [
            (
                "entity: attendance",
                "entity: register",
                "calendar.yaml:3: `attendance`: entity: `register` is unknown; one of",
            ),
            (
                "[101, 630]",
                "[101, 99]",
                "`attendance`: municipality_code: 99 is no municipality's",
            ),
            ("[101, 630]", "[101, 101]", "101 is there twice"),
            ("[101, 630]", "[]", "municipality_code: name at least one"),
            ("[101, 630]", "Vejle", "a municipality's code such as 101"),
            (
                "proof: file",
                "proof: watermark",
                "files: only with `proof: file`",
            ),
            (
                "until: 2010-10-10",
                "until: 2010-07-14",
                "until: 2010-07-14 is before `from` (2010-07-15)",
            ),
            (
                "contract manager",
                "kim@example.org",
                "contact: it holds a mail address; name an organisation or a role",
            ),
            (
                "contract manager",
                "tlf. 12 34 56 78",
                "a telephone or CPR number",
            ),
            (
                "sender: providers",
                "sender: ' '",
                "sender: it holds nothing",
            ),
            ("name: attendance", "name: Fremmøde", "name: use lower case"),
            (
                "10 days after the period",
                "soon",
                "`soon` is no due rule; write `20 days after the period`",
            ),
            (
                "10 days after the period",
                "10 working days after the period",
                "is no due rule",
            ),
            ("period: month", "period: fortnight", "half-year"),
            ("2010-07-15", "15-07-2010", "calendar.yaml:13"),
            ("proof: file", "prof: file", "prof"),
        ] {
            let said = mistake(&GOOD.replace(from, to));
            assert!(said.contains(expected), "{to}: {said}");
            assert!(said.starts_with("calendar.yaml:"), "{said}");
        }
        let twice = mistake(&GOOD.replace("\n# Monthly", &format!("{GOOD}# Monthly")));
        assert!(twice.contains("name: line 3 has the same"), "{twice}");
    }

    #[test]
    fn ids_are_no_telephone_numbers() {
        assert_eq!(names_a_person("Leverandør 101-p12, Vejle"), None);
        assert_eq!(
            names_a_person("ring 1234-5678"),
            Some("a telephone or CPR number")
        );
    }
}
