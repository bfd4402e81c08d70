//! Every edge of the outcomes: horizon, exit, clamped months, overlaps, re-entry, open spells.
#![allow(clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;

use super::{super::check::ask, *};

/// The outcome for a citizen with these spells, written `from..to` and `from..` where it is open.
fn outcome(spells: &[&str], exit: &str, horizon: &str, call: &str) -> String {
    let day = |text: &str| match text {
        "" => "cast(null as date)".to_owned(),
        text => format!("date '{text}'"),
    };
    let rows: Vec<String> = spells
        .iter()
        .map(|spell| {
            let (from, to) = spell.split_once("..").unwrap();
            format!("({}, {})", day(from), day(to))
        })
        .chain(["(cast(null as date), cast(null as date))".to_owned()])
        .collect();
    let call = call.replace(
        "_, ",
        &format!("calendar, {}, {}, ", day(exit), day(horizon)),
    );
    let sql = format!(
        "select {call} from (select support_calendar(a, b) as calendar from (values {}) t(a, b))",
        rows.join(", ")
    );
    ask(&sql).unwrap().remove(0)
}

const AT_3: &str = "outcome_at(_, date '2010-11-30', 3)";
const THROUGHOUT_3: &str = "outcome_throughout(_, date '2010-11-30', 3)";
const WINDOWS_7: &str = "outcome_windows(_, date '2010-01-31', 7, 3)";
const LATE: &str = "2012-01-01";

#[test]
fn the_day_itself_decides_a_point_outcome() {
    // 30 November and three months is 28 February.
    for (spells, expected) in [
        (&["2010-12-01..2011-02-27"][..], "success"),
        (&["2010-12-01..2011-02-28"], "failure"),
        (&["2011-02-28..2011-02-28"], "failure"),
        (&["2011-03-01.."], "success"),
        (&["2010-01-01.."], "failure"),
        (&[], "success"),
        // Overlapping spells, and one after the other.
        (
            &["2010-12-01..2011-01-15", "2011-01-10..2011-03-15"],
            "failure",
        ),
        // Off support and on it again before the day.
        (
            &["2010-01-01..2010-12-15", "2011-02-01..2011-03-01"],
            "failure",
        ),
    ] {
        assert_eq!(outcome(spells, "", LATE, AT_3), expected, "{spells:?}");
    }
}

#[test]
fn every_day_counts_for_a_sustained_outcome() {
    for (spells, expected) in [
        (&[][..], "success"),
        // The anchor itself is outside the window; the next day is inside.
        (&["2010-01-01..2010-11-30"], "success"),
        (&["2010-01-01..2010-12-01"], "failure"),
        (&["2011-01-10..2011-01-10"], "failure"),
        (&["2011-02-28..2011-02-28"], "failure"),
        (&["2011-03-01.."], "success"),
    ] {
        assert_eq!(
            outcome(spells, "", LATE, THROUGHOUT_3),
            expected,
            "{spells:?}"
        );
    }
}

#[test]
fn a_window_that_ends_on_the_horizon_is_decided() {
    for call in [AT_3, THROUGHOUT_3] {
        assert_eq!(outcome(&[], "", "2011-02-28", call), "success");
        assert_eq!(outcome(&[], "", "2011-02-27", call), "pending");
        assert_eq!(outcome(&[], "", "", call), "pending", "no horizon at all");
    }
    // The seven months from 31 January end on 30 August.
    assert_eq!(outcome(&[], "", "2010-08-30", WINDOWS_7), "success");
    assert_eq!(outcome(&[], "", "2010-08-29", WINDOWS_7), "pending");
}

#[test]
fn an_exit_inside_the_window_loses_the_citizen_before_anything_else() {
    for call in [AT_3, THROUGHOUT_3] {
        assert_eq!(outcome(&[], "2011-02-28", LATE, call), "lost");
        assert_eq!(outcome(&[], "2011-03-01", LATE, call), "success");
        assert_eq!(
            outcome(&[], "2010-12-24", "2010-12-01", call),
            "lost",
            "not pending"
        );
        assert_eq!(outcome(&[], "2010-12-24", "", call), "lost", "not pending");
    }
    assert_eq!(outcome(&[], "2010-08-30", LATE, WINDOWS_7), "lost");
    assert_eq!(outcome(&[], "2010-08-31", LATE, WINDOWS_7), "success");
}

#[test]
fn three_of_seven_months_from_the_start() {
    // The windows begin on 31/1, 28/2, 31/3, 30/4, 31/5, 30/6 and 31/7.
    for (spells, expected) in [
        (&["2010-01-01..2010-05-30"][..], "success"),
        (&["2010-01-01..2010-05-31"], "failure"),
        // Every other month is free.
        (
            &[
                "2010-02-28..2010-03-30",
                "2010-04-30..2010-05-30",
                "2010-06-30..2010-07-30",
            ],
            "success",
        ),
        // One day in each of five windows.
        (
            &[
                "2010-01-31..2010-01-31",
                "2010-03-30..2010-03-31",
                "2010-05-01..2010-05-01",
                "2010-08-30..",
            ],
            "failure",
        ),
        (&["2010-08-31.."], "success"),
    ] {
        assert_eq!(outcome(spells, "", LATE, WINDOWS_7), expected, "{spells:?}");
    }
    // Decided at the end only, even where three free months have passed.
    assert_eq!(outcome(&[], "", "2010-06-30", WINDOWS_7), "pending");
}

#[test]
fn without_an_anchor_there_is_no_outcome() {
    assert_eq!(outcome(&[], "", LATE, "outcome_at(_, null, 3)"), "NULL");
    assert_eq!(
        outcome(&[], "2010-01-01", LATE, "outcome_throughout(_, null, 3)"),
        "NULL"
    );
    assert_eq!(
        outcome(&[], "", LATE, "outcome_windows(_, null, 7, 3)"),
        "NULL"
    );
    assert_eq!(
        outcome(&[], "", LATE, "outcome_at(_, date '2010-11-30', null)"),
        "NULL"
    );
    let message = ask("select outcome_at(null, null, null, date '2010-11-30', -1)").unwrap_err();
    assert!(
        message.contains("outcome_at: months: -1 is below 0"),
        "{message}"
    );
}

proptest! {
    /// For one cohort, who is self-supporting throughout is so at the end.
    #[test]
    fn sustained_is_within_point(
        spells in proptest::collection::vec((14_600..15_000_i32, 0..60_i32), 0..6),
        exit in proptest::option::of(14_600..15_000_i32),
        horizon in 14_600..15_200_i32,
        anchor in 14_600..15_000_i32,
        months in 0..8_i64,
    ) {
        let mut calendar: Vec<Spell> = Vec::new();
        let mut sorted = spells;
        sorted.sort_unstable();
        for (from, length) in sorted {
            match calendar.last_mut() {
                Some(last) if from <= last[1] + 1 => last[1] = last[1].max(from + length),
                _ => calendar.push([from, from + length]),
            }
        }
        let case = Case { calendar: &calendar, exit, horizon: Some(horizon), anchor };
        let end = add_months(anchor, months).unwrap();
        let at = case.decide(end, || !supported_on(&calendar, end));
        let throughout = case.decide(end, || !supported_between(&calendar, anchor + 1, end));
        if months > 0 && throughout == "success" {
            prop_assert_eq!(at, "success");
        }
        prop_assert_eq!(at == "pending", throughout == "pending");
        prop_assert_eq!(at == "lost", throughout == "lost");
    }
}
