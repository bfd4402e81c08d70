//! Which contents have been read, and under which names.

use std::collections::{BTreeMap, BTreeSet};

use connector_api::{Error, Result};
use contract::Position;
use serde::{Deserialize, Serialize};

/// The position of a folder.
#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// Name to SHA-256 of the content read last under it; of one that gave no rows with what it was after a space.
    files: BTreeMap<String, String>,
    /// Contents that stood under a name before the present one. They are kept so that an old version
    /// sent again under another name does not undo its correction.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    former: BTreeSet<String>,
}

/// What reading a file came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Rows,
    /// There was no row in it.
    Empty,
    /// It could not be read as rows at all.
    Refused,
}

const EMPTY: &str = "empty";
const REFUSED: &str = "refused";

impl Ledger {
    pub(super) fn from_position(Position(value): Position) -> Result<Self> {
        serde_json::from_value(value)
            .map_err(|err| Error::Settings(format!("the position is not one of `files`: {err}")))
    }

    pub(super) fn position(&self) -> Result<Position> {
        let value = serde_json::to_value(self);
        value
            .map(Position)
            .map_err(|err| Error::Settings(format!("the position cannot be stored: {err}")))
    }

    /// Whether this content needs no reading. Going back to a former content under its own name is
    /// a change like any other and is read. Files without rows are alike, and each says something of its own.
    pub(super) fn has(&mut self, name: &str, sha256: &str) -> bool {
        let key = key(name, sha256);
        let own = self.files.get(&key).and_then(|it| it.split(' ').next());
        if own == Some(sha256) {
            return true;
        }
        let is_current = self.files.values().any(|it| it == sha256);
        if is_current || (!self.files.contains_key(&key) && self.former.contains(sha256)) {
            self.set(key, sha256);
            return true;
        }
        false
    }

    /// Notes that the content has been read.
    pub(super) fn add(&mut self, name: &str, sha256: &str, outcome: Outcome) {
        let content = match outcome {
            Outcome::Rows => sha256.to_owned(),
            Outcome::Empty => format!("{sha256} {EMPTY}"),
            Outcome::Refused => format!("{sha256} {REFUSED}"),
        };
        self.set(key(name, sha256), &content);
    }

    /// The names of the files that could be read as rows, with or without any.
    pub(super) fn readable(&self) -> impl Iterator<Item = &str> {
        let all = self.files.iter();
        all.filter(|(_, content)| !content.ends_with(REFUSED))
            .map(|(name, _)| name.as_str())
    }

    fn set(&mut self, key: String, sha256: &str) {
        let before = self.files.insert(key, sha256.to_owned());
        self.former.extend(before.filter(|it| it != sha256));
    }
}

/// The name under which a file is remembered. A name holding a CPR number is not stored; such files
/// are told apart by their content instead.
fn key(name: &str, sha256: &str) -> String {
    let scrubbed = contract::scrub(name);
    if scrubbed == name {
        return name.to_owned();
    }
    format!("{scrubbed}#{}", &sha256[..sha256.len().min(16)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn content_counts_and_a_changed_name_is_read_again() {
        let mut ledger = Ledger::default();
        assert!(!ledger.has("a.csv", "1"));
        ledger.add("a.csv", "1", Outcome::Rows);
        assert!(ledger.has("a.csv", "1"));
        assert!(
            ledger.has("copy.csv", "1"),
            "the same content under a new name"
        );
        assert!(
            !ledger.has("a.csv", "2"),
            "a correction under the same name"
        );
    }

    #[test]
    fn an_old_version_sent_under_another_name_does_not_undo_its_correction() {
        let mut ledger = Ledger::default();
        ledger.add("a.csv", "1", Outcome::Rows);
        ledger.add("a.csv", "2", Outcome::Rows);
        ledger.add("b.csv", "3", Outcome::Rows);
        assert!(
            !ledger.has("b.csv", "1"),
            "a change under a known name is read"
        );
        assert!(ledger.has("late copy.csv", "1"));
    }

    #[test]
    fn files_without_rows_are_each_their_own() {
        let mut ledger = Ledger::default();
        ledger.add("a-2010-01.csv", "0", Outcome::Empty);
        assert!(ledger.has("a-2010-01.csv", "0"));
        assert!(!ledger.has("a-2010-02.csv", "0"));
        ledger.add("b-2010-03.csv", "1", Outcome::Refused);
        assert!(ledger.has("b-2010-03.csv", "1"));
        let names: Vec<&str> = ledger.readable().collect();
        assert_eq!(names, ["a-2010-01.csv"]);
        let again = Ledger::from_position(ledger.position().unwrap()).unwrap();
        assert_eq!(again, ledger);
    }

    #[test]
    fn a_cpr_number_in_a_name_is_not_stored() {
        let mut ledger = Ledger::default();
        ledger.add("0101801234.csv", "aa", Outcome::Rows);
        ledger.add("0202802345.csv", "bb", Outcome::Rows);
        assert!(ledger.has("0101801234.csv", "aa") && ledger.has("0202802345.csv", "bb"));
        assert!(!format!("{ledger:?}").contains("01801234"), "{ledger:?}");
    }
}
