//! The kinds of release: which tables each freezes, what in them must not be told by comparing, and who may see them when.

use std::collections::BTreeMap;

use contract::Period;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::{Due, Mistake};

/// One entry of `pipelines/releases.yaml`: what a release whose name begins with `name` is.
#[derive(Debug, Clone)]
pub struct ReleaseKind {
    /// The first part of the names of its releases, unique in the file.
    pub name: String,
    /// The tables it freezes.
    pub tables: Vec<ReleaseTable>,
    /// Who sees it, in the order in which they may.
    pub audiences: Vec<Audience>,
    /// The line it begins on, from 1.
    pub line: u64,
}

/// A table that a release freezes, and how its counts hang together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTable {
    /// The table, `mart.offer_overview`.
    pub table: String,
    /// The column that holds the period in a release's name; without it the whole table is frozen.
    #[serde(default)]
    pub period: Option<String>,
    /// The columns that count citizens, answers or complaints.
    pub counts: Vec<String>,
    /// Rows that are the total of others.
    #[serde(default)]
    pub totals: Vec<Total>,
    /// Counts of a row that are the sum of others: `finished = effect_3m_n + pending + lost`.
    #[serde(default, deserialize_with = "sums")]
    pub sums: Vec<Sum>,
}

/// Rows that are the total of others: those with `value` in `column`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// The column.
    pub column: String,
    /// What it holds in a total; nothing where left out.
    #[serde(default)]
    pub value: Option<String>,
    /// The columns that a total shares with its parts; the others of the grain where left out.
    #[serde(default)]
    pub within: Vec<String>,
}

/// A column that is the sum of others in the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The sum.
    pub whole: String,
    /// What it is the sum of.
    pub parts: Vec<String>,
}

/// Somebody who may see a release from a day on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// Its name, such as `committee`.
    pub name: String,
    /// From when, unless the release says otherwise; without it only then.
    #[serde(default)]
    pub from: Option<Due>,
}

/// A release's name in its parts: `overview-2010H2`, `overview-101-2010H2` of one municipality, `overview-2010H2.1`
/// its first correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseName {
    /// The kind.
    pub kind: String,
    /// The one municipality it is of; all of them where none is named.
    pub municipality_code: Option<i32>,
    /// The period.
    pub period: Period,
    /// 0 for the first release, then which correction it is.
    pub correction: u32,
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    tables: Vec<ReleaseTable>,
    audiences: Vec<Audience>,
}

/// Reads the kinds: a list of entries; an empty file has none. `file` is how mistakes name it.
///
/// # Errors
/// Every mistake in the entries, or the first in the file's shape.
pub fn parse_releases(file: &str, text: &str) -> Result<Vec<ReleaseKind>, Vec<Mistake>> {
    let written: Option<Vec<Spanned<Written>>> = serde_saphyr::from_str(text).map_err(|err| {
        vec![Mistake {
            file: file.to_owned(),
            line: err.location().map(|it| it.line()),
            column: err.location().map(|it| it.column()),
            message: crate::first_line(&err.to_string()),
        }]
    })?;
    let (mut kinds, mut mistakes) = (Vec::new(), Vec::new());
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for entry in written.unwrap_or_default() {
        let line = entry.defined.line();
        let name = entry.value.kind.clone();
        let problem = match names.insert(name.clone(), line) {
            Some(first) => Some(format!(
                "kind: line {first} has the same; give each kind a name of its own"
            )),
            None => entry.value.problem(),
        };
        match problem {
            None => kinds.push(ReleaseKind {
                name,
                tables: entry.value.tables,
                audiences: entry.value.audiences,
                line,
            }),
            Some(problem) => mistakes.push(Mistake {
                file: file.to_owned(),
                line: Some(line),
                column: None,
                message: format!("`{name}`: {problem}"),
            }),
        }
    }
    if mistakes.is_empty() {
        Ok(kinds)
    } else {
        Err(mistakes)
    }
}

impl Written {
    /// The field that is wrong and what would be right.
    fn problem(&self) -> Option<String> {
        if !is_word(&self.kind) || self.kind.ends_with(|it: char| it.is_ascii_digit()) {
            return Some("kind: use lower case letters and `_`".to_owned());
        }
        if self.tables.is_empty() {
            return Some("tables: name at least one".to_owned());
        }
        if self.audiences.is_empty() {
            return Some("audiences: name at least one; nobody else sees a release".to_owned());
        }
        for (at, audience) in self.audiences.iter().enumerate() {
            let name = &audience.name;
            if !is_word(name) {
                return Some(format!(
                    "audiences: `{name}`: use lower case letters, digits and `_`"
                ));
            }
            if self.audiences[..at].iter().any(|it| it.name == *name) {
                return Some(format!("audiences: `{name}` is there twice"));
            }
        }
        for (at, table) in self.tables.iter().enumerate() {
            if self.tables[..at].iter().any(|it| it.table == table.table) {
                return Some(format!("tables: {} is there twice", table.table));
            }
            if let Some(problem) = table.problem() {
                return Some(format!("tables: {}: {problem}", table.table));
            }
        }
        None
    }
}

impl ReleaseTable {
    fn problem(&self) -> Option<String> {
        if !self.table.starts_with("mart.") {
            return Some(
                "only tables of mart are released; core is complete and not for publication"
                    .to_owned(),
            );
        }
        let mut summed = self
            .sums
            .iter()
            .flat_map(|it| it.parts.iter().chain([&it.whole]));
        let unknown = summed.find(|it| !self.counts.contains(it));
        unknown.map(|it| format!("sums: `{it}` is not among its counts"))
    }

    /// Every column that is named, with the key it is named under.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let period = self.period.iter().map(|it| ("period", it.as_str()));
        let counts = self.counts.iter().map(|it| ("counts", it.as_str()));
        let totals = self.totals.iter().flat_map(|it| {
            let within = it.within.iter().map(String::as_str);
            within.chain([it.column.as_str()]).map(|it| ("totals", it))
        });
        period.chain(counts).chain(totals)
    }
}

impl Audience {
    /// From when it sees the release of a period, where the kind says so.
    pub fn day(&self, period: Period) -> Option<chrono::NaiveDate> {
        self.from.map(|it| it.day(period))
    }
}

impl ReleaseName {
    /// Reads a name.
    ///
    /// # Errors
    /// What a name looks like, where this is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        let parsed = || {
            let (kind, rest) = name.split_once('-')?;
            let (rest, correction) = match rest.split_once('.') {
                Some((rest, number)) => (rest, number.parse().ok().filter(|it| *it > 0)?),
                None => (rest, 0),
            };
            let (municipality_code, period) = match Period::parse(rest) {
                Some(period) => (None, period),
                None => {
                    let (code, period) = rest.split_once('-')?;
                    (Some(code.parse().ok()?), Period::parse(period)?)
                }
            };
            Some(Self {
                kind: kind.to_owned(),
                municipality_code,
                period,
                correction,
            })
        };
        parsed().filter(|it| it.to_string() == name).ok_or_else(|| {
            format!(
                "`{name}` is no release's name; write the kind and the period, such as overview-2010H2, overview-101-2010H2 for one \
                 municipality, or overview-2010H2.1 for the first correction"
            )
        })
    }

    /// The name of what it corrects.
    pub fn corrects(&self) -> Option<String> {
        let correction = self.correction.checked_sub(1)?;
        let before = Self {
            correction,
            ..self.clone()
        };
        Some(before.to_string())
    }

    /// The name of the correction that would follow.
    #[must_use]
    pub fn next(&self) -> Self {
        Self {
            correction: self.correction + 1,
            ..self.clone()
        }
    }
}

impl std::fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-", self.kind)?;
        if let Some(code) = self.municipality_code {
            write!(f, "{code}-")?;
        }
        write!(f, "{}", self.period)?;
        match self.correction {
            0 => Ok(()),
            number => write!(f, ".{number}"),
        }
    }
}

fn is_word(text: &str) -> bool {
    let is_letter = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    text.starts_with(|it: char| it.is_ascii_lowercase()) && text.chars().all(is_letter)
}

fn sums<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Sum>, D::Error> {
    let written = Vec::<String>::deserialize(from)?;
    let read = |text: &String| {
        let (whole, parts) = text.split_once('=')?;
        let parts: Vec<String> = parts.split('+').map(|it| it.trim().to_owned()).collect();
        let whole = whole.trim().to_owned();
        let is_right = parts.iter().chain([&whole]).all(|it| is_word(it));
        is_right.then_some(Sum { whole, parts })
    };
    let sums = written.iter().map(|text| {
        read(text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no sum; write `finished = effect_3m_n + pending + lost`"
            ))
        })
    });
    sums.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    const GOOD: &str = "
- kind: overview
  tables:
  - table: mart.offer_overview
    period: period
    counts: [finished, pending, lost]
    totals:
    - {column: target_group, value: all}
    sums: [finished = pending + lost]
  audiences:
  - {name: centre_managers, from: 20 days after the period}
  - {name: committee}
";

    #[test]
    fn a_kind_is_read() {
        let kinds = parse_releases("releases.yaml", GOOD).unwrap();
        let (kind, table) = (&kinds[0], &kinds[0].tables[0]);
        assert_eq!((kind.name.as_str(), kind.line), ("overview", 2));
        assert_eq!(table.sums[0].whole, "finished");
        assert_eq!(table.sums[0].parts, ["pending", "lost"]);
        assert_eq!(table.totals[0].value.as_deref(), Some("all"));
        let period = Period::parse("2010H2").unwrap();
        let days: Vec<_> = kind.audiences.iter().map(|it| it.day(period)).collect();
        assert_eq!(days, ["2011-01-20".parse().ok(), None]);
        assert!(
            parse_releases("releases.yaml", "# None.\n")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn mistakes_name_file_entry_field_and_remedy() {
        for (from, to, expected) in [
            (
                "kind: overview",
                "kind: Overview",
                "releases.yaml:2: `Overview`: kind: use lower case",
            ),
            ("kind: overview", "kind: over-view", "kind: use lower case"),
            (
                "mart.offer_overview",
                "core.offer_overview",
                "only tables of mart are released",
            ),
            (
                "pending + lost]",
                "pending + dead]",
                "sums: `dead` is not among its counts",
            ),
            ("= pending + lost", "", "is no sum; write `finished ="),
            (
                "{name: committee}",
                "{name: centre_managers}",
                "`centre_managers` is there twice",
            ),
            (
                "{name: committee}",
                "{name: BIU}",
                "audiences: `BIU`: use lower case",
            ),
            ("20 days after the period", "soon", "`soon` is no due rule"),
            ("counts:", "count:", "count"),
        ] {
            let mistakes = parse_releases("releases.yaml", &GOOD.replace(from, to)).unwrap_err();
            let said = mistakes[0].to_string();
            assert!(said.contains(expected), "{to}: {said}");
            assert!(said.starts_with("releases.yaml:"), "{said}");
        }
        let twice = parse_releases("releases.yaml", &format!("{GOOD}{GOOD}")).unwrap_err();
        assert!(
            twice[0].to_string().contains("kind: line 2 has the same"),
            "{twice:?}"
        );
    }

    #[test]
    fn names_are_kind_municipality_period_and_correction() {
        for name in [
            "overview-2010H2",
            "guide-2011-12",
            "contract-101-2010",
            "overview-630-2010H2.12",
        ] {
            assert_eq!(ReleaseName::parse(name).unwrap().to_string(), name);
        }
        let name = ReleaseName::parse("contract-101-2010-03.2").unwrap();
        assert_eq!((name.municipality_code, name.correction), (Some(101), 2));
        assert_eq!(name.period.to_string(), "2010-03");
        assert_eq!(name.corrects().unwrap(), "contract-101-2010-03.1");
        assert_eq!(name.next().to_string(), "contract-101-2010-03.3");
        assert_eq!(
            ReleaseName::parse("overview-2010H2").unwrap().corrects(),
            None
        );
        for wrong in [
            "overview",
            "overview-2010H3",
            "overview-2010H2.0",
            "overview-2010H2.01",
            "overview-2010H2.x",
            "../2010",
        ] {
            assert!(
                ReleaseName::parse(wrong)
                    .unwrap_err()
                    .contains("is no release's name"),
                "{wrong}"
            );
        }
    }
}
