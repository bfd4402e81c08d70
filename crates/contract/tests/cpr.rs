//! CPR numbers are read however they are written, never printed, and found wherever they hide.
//!
//! The numbers here cannot exist: their day is 61 to 91.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::borrow::Cow;

use contract::{ContractError, Cpr, FixBy, PseudonymKey, scrub};
use proptest::prelude::*;

#[test]
fn a_number_is_read_however_it_is_written() {
    let plain = Cpr::parse("6101900001").unwrap();
    for text in [
        "610190-0001",
        "610190 0001",
        " 6101900001 ",
        "61 01 90 0001",
        "610190 - 0001",
        "610190\u{2013}0001",
        "610190\u{a0}0001",
    ] {
        assert!(Cpr::parse(text) == Some(plain.clone()), "{text}");
    }
}

#[test]
fn nine_digits_get_their_zero_back() {
    // Nine digits leave no room for a day above 9; nobody born in 1900 has a number failing modulus 11.
    let whole = Cpr::parse("0112000000").unwrap();
    assert!(Cpr::parse("112000000") == Some(whole.clone()));
    assert!(Cpr::parse("11200-0000") == Some(whole));
}

#[test]
fn what_cannot_be_a_number_is_none() {
    for text in [
        "",
        "0000000000",
        "61019000",
        "61019000010",
        "9201900001",
        "6000900001",
        "6113900001",
        "6100900001",
        "3213900001",
        "61-01-90-0001",
        "6101-900001",
        "6101900001.0",
        "610190-000x",
        "64942212",
        "６101900001",
    ] {
        assert!(Cpr::parse(text).is_none(), "{text}");
    }
}

#[test]
fn modulus_11_is_not_asked_for() {
    let weights = [4, 3, 2, 7, 6, 5, 4, 3, 2, 1];
    let number = "6101900003";
    let digits = number.bytes().map(|digit| u32::from(digit - b'0'));
    let sum: u32 = digits
        .zip(weights)
        .map(|(digit, weight)| digit * weight)
        .sum();
    assert_ne!(sum % 11, 0, "the number is to fail the check");
    assert!(Cpr::parse(number).is_some());
}

#[test]
fn pseudonyms_are_keyed_hmac_sha_256() {
    let key = PseudonymKey::new(b"0123456789abcdef0123456789abcdef").unwrap();
    let cpr = Cpr::parse("610190-0001").unwrap();
    // printf 6101900001 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    let expected = "5340b639d947e4ff20d3e59f8c98ff9ff84a5d1bf25d59c00eebc92c0be9f246";
    assert_eq!(cpr.pseudonym(&key), expected);
    assert_eq!(cpr.pseudonym(&key.clone()), expected);

    let other = PseudonymKey::new(b"1123456789abcdef0123456789abcdef").unwrap();
    assert_ne!(cpr.pseudonym(&other), expected);
    let neighbour = Cpr::parse("610190-0002").unwrap();
    assert_ne!(neighbour.pseudonym(&key), expected);
}

#[test]
fn a_short_secret_is_refused_by_its_length_alone() {
    let secret = b"too short to keep a secret";
    let err = PseudonymKey::new(secret).unwrap_err();
    assert_eq!(err, ContractError::Secret { found: 26 });
    assert_eq!(err.fix_by(), FixBy::Settings);
    assert!(!err.to_string().contains("keep"));
}

#[test]
fn nothing_printable_leaks() {
    let cpr = Cpr::parse("610190-0001").unwrap();
    assert_eq!(
        format!("{cpr:?} {:#?}", Some(&cpr)),
        "Cpr(..) Some(\n    Cpr(..),\n)"
    );
    let key = PseudonymKey::new(&[7; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "PseudonymKey(..)");
}

#[test]
fn scrub_finds_numbers_and_leaves_the_rest() {
    for (text, clean) in [
        ("610190-0001", "[cpr]"),
        ("6101900001", "[cpr]"),
        ("610190 0001", "[cpr]"),
        ("610190 - 0001", "[cpr]"),
        ("610190\u{2013}0001", "[cpr]"),
        ("610190\u{a0}0001", "[cpr]"),
        ("61.01.90-0001", "[cpr]"),
        ("61 01 90 0001", "[cpr]"),
        ("cpr:6101900001.", "cpr:[cpr]."),
        ("CPR6101900001x", "CPR[cpr]x"),
        ("æ6101900001ø", "æ[cpr]ø"),
        ("a 6101900001 b 620290-0002 c", "a [cpr] b [cpr] c"),
        ("6101900001,6101900002", "[cpr],[cpr]"),
        (
            r#"{"cpr":"6101900001","d":"2010-01-31"}"#,
            r#"{"cpr":"[cpr]","d":"2010-01-31"}"#,
        ),
        // The zero lost in a spreadsheet.
        (r#"{"cpr":"112000000"}"#, r#"{"cpr":"[cpr]"}"#),
        ("11200-0000", "[cpr]"),
    ] {
        assert_eq!(scrub(text), clean, "{text}");
    }
    for text in [
        "",
        "64942212",
        "CVR 64942212, tlf. 33 66 33 66",
        "31-12-2010",
        "2010-12-31T12:00:00.123456Z",
        "61019000010",
        "161019000011",
        "9999999999",
        "1299120000000",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6101900001f0",
        "01234567-89ab-4101-9000-6101900001ab",
        "ab610190-0001-4000-8000-000000000000",
        "11200 2010",
        "1200.50",
        "blåbærgrød",
    ] {
        assert!(
            matches!(scrub(text), Cow::Borrowed(same) if same == text),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn a_number_in_any_text_is_scrubbed(
        before in "[a-zæøå ,:(\"]{0,20}",
        day in 61..=91_u32,
        month in 1..=12_u32,
        year in 0..=99_u32,
        serial in 0..=99_u32,
        separator in prop::sample::select(vec!["", "-", " ", " - ", "\u{2010}", "\u{202f}"]),
        after in "[g-zæøå ,:)\"]{0,20}",
    ) {
        let number = format!("{day:02}{month:02}{year:02}{separator}{serial:04}");
        let text = format!("{before}{number}{after}");
        prop_assert_eq!(scrub(&text), format!("{before}[cpr]{after}"));
    }

    #[test]
    fn scrubbing_any_text_ends_and_leaves_nothing(text in "[0-9 a-c./\\-\u{2010}æ]{0,60}") {
        let once = scrub(&text).into_owned();
        prop_assert_eq!(scrub(&once), once.as_str());
    }

    #[test]
    fn what_parses_is_scrubbed(text in "[0-9]{6} [0-9]{4}|[0-9]{5,6}-?[0-9]{4}") {
        if Cpr::parse(&text).is_some() {
            prop_assert_eq!(scrub(&text), "[cpr]");
        }
    }

    #[test]
    fn the_pseudonym_does_not_depend_on_the_spelling(
        day in 61..=91_u32, month in 1..=12_u32, year in 0..=99_u32, serial in 0..=99_u32,
    ) {
        let key = PseudonymKey::new(&[1; 32]).unwrap();
        let pseudonym = |text: String| Cpr::parse(&text).unwrap().pseudonym(&key);
        let plain = pseudonym(format!("{day}{month:02}{year:02}{serial:04}"));
        let hyphenated = pseudonym(format!("{day}{month:02}{year:02}-{serial:04}"));
        prop_assert_eq!(plain.len(), 64);
        prop_assert!(plain.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        prop_assert_eq!(plain, hyphenated);
    }
}
