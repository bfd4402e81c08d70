//! Stand-ins for CPR numbers in rows that are set aside: enough to try the row again, and no CPR number.
//!
//! A stand-in is `[cpr:<key>:<pseudonym>]`, with the fingerprint of the key the pseudonym was made with. Only a worker writes
//! them; text of a source that looks like one is [blotted out](stand_in), so that nobody can put a pseudonym in a file.

use std::borrow::Cow;

use crate::{Cpr, PseudonymKey, scrub};

const OPENS: &str = "[cpr:";

/// What stands for `text` in a row set aside: a stand-in where all of it is a CPR number and there is a key, else the text
/// without CPR numbers. A `secret` text, which the pipeline takes for a CPR number, is never shown.
pub fn stand_in<'a>(text: &'a str, key: Option<&PseudonymKey>, secret: bool) -> Cow<'a, str> {
    let clean = scrub(text);
    let hides = secret || clean != text;
    if hides
        && let Some(key) = key
        && let Some(cpr) = Cpr::parse(text)
    {
        let (key, pseudonym) = (key.fingerprint(), cpr.pseudonym(key));
        return Cow::Owned(format!("{OPENS}{key}:{pseudonym}]"));
    }
    if secret || text.contains(OPENS) {
        return Cow::Borrowed("[cpr]");
    }
    clean
}

/// The pseudonym in a stand-in that was made with `key`.
pub fn pseudonym_in<'a>(text: &'a str, key: &PseudonymKey) -> Option<&'a str> {
    let (made_with, pseudonym) = parts(text)?;
    (made_with == key.fingerprint()).then_some(pseudonym)
}

/// Whether `text` is a stand-in that was made with another key.
pub fn is_of_another_key(text: &str, key: &PseudonymKey) -> bool {
    parts(text).is_some_and(|(made_with, _)| made_with != key.fingerprint())
}

fn parts(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(OPENS)?.strip_suffix(']')?.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PseudonymKey {
        PseudonymKey::new(text.repeat(32).as_bytes()).unwrap()
    }

    #[test]
    fn a_stand_in_gives_the_pseudonym_to_its_own_key_only() {
        let (ours, theirs) = (key("a"), key("b"));
        let made = stand_in(" 610170-0001", Some(&ours), true);
        let pseudonym = Cpr::parse("6101700001").unwrap().pseudonym(&ours);
        assert_eq!(pseudonym_in(&made, &ours), Some(pseudonym.as_str()));
        assert_eq!(pseudonym_in(&made, &theirs), None);
        assert!(is_of_another_key(&made, &theirs));
        assert!(!is_of_another_key(&made, &ours));
        assert_eq!(scrub(&made), made, "landing scrubs once more");
        // A column that the pipeline does not know to be secret, as when its name was mistaken.
        assert_eq!(stand_in(" 610170-0001", Some(&ours), false), made);
    }

    #[test]
    fn what_is_no_cpr_number_has_no_stand_in() {
        let key = key("a");
        assert_eq!(stand_in("anna", Some(&key), true), "[cpr]");
        assert_eq!(stand_in("6101700001", None, true), "[cpr]");
        assert_eq!(stand_in("6101700001", None, false), "[cpr]");
        assert_eq!(stand_in("see 610170-0001", Some(&key), false), "see [cpr]");
        assert_eq!(stand_in("37", Some(&key), false), "37");
        let forged = format!("[cpr:{}:{}]", key.fingerprint(), "0".repeat(64));
        assert_eq!(stand_in(&forged, Some(&key), false), "[cpr]");
    }
}
