//! Two releases side by side, worked out by hand.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use spec::{Sum, Total};

use super::*;

fn table() -> ReleaseTable {
    let text = "
- kind: overview
  tables:
  - table: mart.offer_overview
    counts: [n, pending, lost]
    totals: [{column: target_group, value: all}]
    sums: [n = pending + lost]
  audiences: [{name: committee}]
";
    let mut table = spec::parse_releases("releases.yaml", text)
        .unwrap()
        .remove(0)
        .tables
        .remove(0);
    table.counts.truncate(1);
    table.sums.clear();
    table
}

/// One offer: target groups with their count, hidden where there is none.
fn offer(counts: &[(&str, Option<i64>)]) -> Cells {
    let hidden = counts.iter().any(|it| it.1.is_none());
    let groups: StringArray = counts.iter().map(|it| Some(it.0)).collect();
    let offers: StringArray = counts.iter().map(|_| Some("A")).collect();
    let n: Int64Array = counts.iter().map(|it| it.1).collect();
    let suppressed: BooleanArray = counts.iter().map(|_| Some(hidden)).collect();
    let batch = RecordBatch::try_from_iter([
        ("offer_id", Arc::new(offers) as ArrayRef),
        ("target_group", Arc::new(groups)),
        ("n", Arc::new(n)),
        ("suppressed", Arc::new(suppressed)),
    ])
    .unwrap();
    Cells::new(batch, &["offer_id".to_owned(), "target_group".to_owned()]).unwrap()
}

/// `danger group`, one for each finding.
fn found(earlier: &[&Cells], new: &Cells) -> Vec<String> {
    let names = ["first", "second", "third"];
    let earlier: Vec<(&str, &Cells)> = names.into_iter().zip(earlier.iter().copied()).collect();
    let findings = compare(&table(), &earlier, new).unwrap();
    let told = findings.iter().map(|it| {
        let (_, group) = it.cell.rsplit_once('=').unwrap();
        format!("{:?} {group}", it.danger)
    });
    told.collect()
}

#[test]
fn the_same_numbers_tell_nothing_and_neither_do_changes_of_five() {
    let first = offer(&[("all", Some(21)), ("a", Some(9)), ("b", Some(12))]);
    assert!(found(&[&first], &first).is_empty());
    let second = offer(&[("all", Some(26)), ("a", Some(14)), ("b", Some(12))]);
    assert!(found(&[&first], &second).is_empty());
    assert!(found(&[], &first).is_empty());
}

#[test]
fn a_count_that_moved_by_one_to_four_is_a_small_count() {
    let first = offer(&[("all", Some(21)), ("a", Some(9)), ("b", Some(12))]);
    let second = offer(&[("all", Some(22)), ("a", Some(9)), ("b", Some(13))]);
    assert_eq!(
        found(&[&first], &second),
        ["SmallDifference all", "SmallDifference b"]
    );
    let fewer = offer(&[("all", Some(17)), ("a", Some(5)), ("b", Some(12))]);
    assert_eq!(
        found(&[&first], &fewer),
        ["SmallDifference a", "SmallDifference all"]
    );
    // The release before the last counts too: 12 and 17 are 5 apart, 14 and 17 are not.
    let third = offer(&[("all", Some(26)), ("a", Some(9)), ("b", Some(17))]);
    let later = offer(&[("all", Some(23)), ("a", Some(9)), ("b", Some(14))]);
    assert!(found(&[&first], &third).is_empty());
    assert_eq!(found(&[&first, &third], &later).len(), 4);
}

#[test]
fn what_is_left_of_a_total_must_not_move_by_one_to_four() {
    // a and b are hidden in both; 30 - 20 = 10 and 36 - 25 = 11 citizens are in them.
    let first = offer(&[("all", Some(30)), ("a", None), ("b", None), ("c", Some(20))]);
    let second = offer(&[("all", Some(36)), ("a", None), ("b", None), ("c", Some(25))]);
    assert_eq!(found(&[&first], &second), ["SmallDifference all"]);
    let second = offer(&[("all", Some(41)), ("a", None), ("b", None), ("c", Some(25))]);
    assert!(found(&[&first], &second).is_empty());
}

#[test]
fn what_hid_a_small_count_must_not_be_shown_in_another_release() {
    // First a = 3 and b = 7, both hidden in 10. Then a = 8: nothing is small, and b is shown. 10 - 7 tells that a was 3.
    let first = offer(&[("all", Some(10)), ("a", None), ("b", None)]);
    let second = offer(&[("all", Some(15)), ("a", Some(8)), ("b", Some(7))]);
    assert_eq!(found(&[&first], &second), ["HiddenThen a", "HiddenThen b"]);
    // The other way round: a = 9 and b = 12 are shown, then a is 3 and both are hidden in 15. 15 - 12 tells it.
    let first = offer(&[("all", Some(21)), ("a", Some(9)), ("b", Some(12))]);
    let second = offer(&[("all", Some(15)), ("a", None), ("b", None)]);
    assert_eq!(
        found(&[&first], &second),
        ["HiddenNow a", "AlreadyPublic a", "AlreadyPublic b"]
    );
}

#[test]
fn a_number_hidden_later_was_public_already() {
    // Seven, corrected to four: hidden now with b; the total moved by three.
    let first = offer(&[("all", Some(19)), ("a", Some(7)), ("b", Some(12))]);
    let second = offer(&[("all", Some(16)), ("a", None), ("b", None)]);
    assert_eq!(
        found(&[&first], &second),
        [
            "SmallDifference all",
            "HiddenNow a",
            "AlreadyPublic a",
            "AlreadyPublic b"
        ]
    );
    // A zero that somebody joined was no number of citizens.
    let first = offer(&[("all", Some(0)), ("a", Some(0))]);
    let second = offer(&[("all", None), ("a", None)]);
    assert!(found(&[&first], &second).is_empty());
}

#[test]
fn a_group_without_a_row_counts_nobody() {
    let first = offer(&[("all", Some(20)), ("a", Some(20))]);
    let second = offer(&[("all", Some(26)), ("a", Some(20)), ("b", Some(6))]);
    assert!(found(&[&first], &second).is_empty());
    // Two citizens of a new group show as the total's difference even though the group is hidden.
    let second = offer(&[("all", Some(22)), ("a", None), ("b", None)]);
    assert!(found(&[&first], &second).contains(&"SmallDifference all".to_owned()));
}

#[test]
fn sums_within_a_row_are_lines_too() {
    let mut table = table();
    table.counts = ["n", "pending", "lost"].map(str::to_owned).to_vec();
    table.sums = vec![Sum {
        whole: "n".to_owned(),
        parts: vec!["pending".to_owned(), "lost".to_owned()],
    }];
    table.totals = Vec::<Total>::new();
    let row = |n: Option<i64>, pending: Option<i64>, lost: Option<i64>| {
        let count = |it: Option<i64>| Arc::new(Int64Array::from(vec![it])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            (
                "offer_id",
                Arc::new(StringArray::from(vec!["A"])) as ArrayRef,
            ),
            ("n", count(n)),
            ("pending", count(pending)),
            ("lost", count(lost)),
        ]);
        Cells::new(batch.unwrap(), &["offer_id".to_owned()]).unwrap()
    };
    let first = row(Some(12), None, None);
    let second = row(Some(17), Some(9), Some(8));
    let findings = compare(&table, &[("first", &first)], &second).unwrap();
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "mart.offer_overview offer_id=A: `pending` was hidden in first, and is given away now",
            "mart.offer_overview offer_id=A: `lost` was hidden in first, and is given away now"
        ]
    );
}

proptest! {
    /// Whoever has two releases that pass, and takes all but one hidden part to be as the other release shows it, finds no small part;
    /// and no count shown twice moved by 1 to 4.
    #[test]
    fn releases_that_pass_withstand_the_attack(
        then in proptest::collection::vec((0_i64..30, any::<bool>()), 3),
        now in proptest::collection::vec((0_i64..30, any::<bool>()), 3),
    ) {
        let release = |parts: &[(i64, bool)]| {
            let all: i64 = parts.iter().map(|it| it.0).sum();
            let mut rows = vec![("all", Some(all))];
            let names = ["a", "b", "c"];
            rows.extend(names.into_iter().zip(parts).map(|(name, it)| (name, (!it.1 || it.0 == 0).then_some(it.0))));
            rows
        };
        let (old, new) = (release(&then), release(&now));
        let refused = found(&[&offer(&old)], &offer(&new));
        prop_assume!(!refused.iter().any(|it| !it.starts_with("AlreadyPublic")));
        for ((_, a), (_, b)) in old.iter().zip(&new) {
            if let (Some(a), Some(b)) = (a, b) {
                prop_assert!(a == b || (a - b).abs() > 4);
            }
        }
        for (one, other, truth) in [(&old, &new, &then), (&new, &old, &now)] {
            for at in 1..4 {
                let rest: Option<i64> = (1..4).filter(|it| *it != at).map(|it| one[it].1.or(other[it].1)).sum();
                let hidden = one[1..].iter().filter(|it| it.1.is_none()).count();
                if one[at].1.is_none() && hidden > 1 && let (Some(all), Some(rest)) = (one[0].1, rest) {
                    let came = all - rest;
                    prop_assert!(came != truth[at - 1].0 || came > 4, "{one:?} and {other:?} tell part {at}");
                }
            }
        }
    }
}
