//! Where a read stands, and which of two values is the later one.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate};
use connector_api::{Error, Result};
use contract::Position;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The position of an HTTP source.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The latest value of the incremental field in the reads that came to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// What the source was last known to be complete through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) complete_through: Option<NaiveDate>,
    /// What each page held when it was last read, for sources that are read whole every time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pages: Vec<String>,
    /// The read under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reading: Option<Progress>,
}

/// How far a read has come.
#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Pages read.
    pub(super) done: u64,
    /// What to ask for the next page by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<Value>,
    /// The latest value of the incremental field so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<String>,
    /// The earliest date a page of this read was complete through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) complete_through: Option<NaiveDate>,
}

impl State {
    pub(super) fn from_position(Position(value): Position) -> Result<Self> {
        serde_json::from_value(value)
            .map_err(|err| Error::Settings(format!("the position is not one of `http`: {err}")))
    }

    pub(super) fn position(&self) -> Result<Position> {
        let value = serde_json::to_value(self);
        value
            .map(Position)
            .map_err(|err| Error::Settings(format!("the position cannot be stored: {err}")))
    }

    /// Remembers a page's digest and tells whether it is another than before. Pages count from 1.
    pub(super) fn note_page(&mut self, number: u64, digest: &str) -> bool {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or_default();
        // Pages without records are not noted; their places stay empty.
        if self.pages.len() <= index {
            self.pages.resize(index.saturating_add(1), String::new());
        }
        let is_other = self.pages[index] != digest;
        digest.clone_into(&mut self.pages[index]);
        is_other
    }

    /// Ends a read of `progress.done` pages, the last of them perhaps empty.
    pub(super) fn finish(&mut self, progress: Progress, last_is_empty: bool) {
        later(&mut self.since, progress.seen.as_deref());
        if progress.complete_through.is_some() {
            self.complete_through = progress.complete_through;
        }
        let pages = progress.done.saturating_sub(u64::from(last_is_empty));
        self.pages
            .truncate(usize::try_from(pages).unwrap_or(usize::MAX));
        self.reading = None;
    }
}

/// Replaces `known` by `found` if that is later: as timestamps, else as numbers, else as text.
pub(super) fn later(known: &mut Option<String>, found: Option<&str>) {
    let Some(found) = found else { return };
    if known
        .as_deref()
        .is_none_or(|known| order(found, known) == Ordering::Greater)
    {
        *known = Some(found.to_owned());
    }
}

fn order(a: &str, b: &str) -> Ordering {
    if let (Ok(a), Ok(b)) = (
        DateTime::parse_from_rfc3339(a),
        DateTime::parse_from_rfc3339(b),
    ) {
        return a.cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.parse::<i128>(), b.parse::<i128>()) {
        return a.cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.parse::<f64>(), b.parse::<f64>()) {
        return a.total_cmp(&b);
    }
    a.cmp(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_knows_instants_numbers_and_text() {
        for (earlier, later) in [
            ("2025-01-01T01:30:00+02:00", "2025-01-01T00:00:00Z"),
            ("9", "10"),
            ("9.5", "10"),
            ("20250101_235959", "20250102_000000"),
            ("2025-01-31", "2025-02-01"),
        ] {
            assert_eq!(order(earlier, later), Ordering::Less, "{earlier} {later}");
            assert_eq!(
                order(later, earlier),
                Ordering::Greater,
                "{earlier} {later}"
            );
        }
    }

    #[test]
    fn a_read_that_saw_nothing_leaves_the_state_alone() {
        let mut state = State {
            since: Some("10".into()),
            ..State::default()
        };
        state.finish(
            Progress {
                done: 1,
                ..Progress::default()
            },
            true,
        );
        assert_eq!(
            state,
            State {
                since: Some("10".into()),
                ..State::default()
            }
        );
        state.finish(
            Progress {
                done: 1,
                seen: Some("9".into()),
                ..Progress::default()
            },
            false,
        );
        assert_eq!(state.since.as_deref(), Some("10"));
    }
}
