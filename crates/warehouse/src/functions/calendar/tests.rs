//! Calendars against a day-by-day model, and their edges.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::collections::BTreeSet;

use arrow::array::Int32Array;
use proptest::prelude::*;

use super::{super::check::ask, *};

/// What the aggregate makes of spells, told as one calendar.
fn calendar(spells: &[(i32, Option<i32>)]) -> Vec<Spell> {
    let mut one = One::default();
    one.update_batch(&columns(spells)).unwrap();
    spells_of(&one.evaluate().unwrap())
}

fn columns(spells: &[(i32, Option<i32>)]) -> [ArrayRef; 2] {
    let from: Date32Array = spells.iter().map(|it| Some(it.0)).collect();
    let to: Date32Array = spells.iter().map(|it| it.1).collect();
    [Arc::new(from), Arc::new(to)]
}

fn spells_of(calendar: &ScalarValue) -> Vec<Spell> {
    let ScalarValue::List(list) = calendar else {
        panic!("{calendar} is not a list");
    };
    Calendars::of(list).unwrap().at(0).to_vec()
}

#[test]
fn overlapping_and_adjacent_spells_are_one() {
    assert_eq!(calendar(&[(10, Some(20)), (15, Some(30))]), [[10, 30]]);
    assert_eq!(calendar(&[(10, Some(20)), (21, Some(30))]), [[10, 30]]);
    assert_eq!(calendar(&[(10, Some(30)), (12, Some(15))]), [[10, 30]]);
    assert_eq!(
        calendar(&[(22, Some(30)), (10, Some(20))]),
        [[10, 20], [22, 30]],
        "day 21 is without support"
    );
}

#[test]
fn an_open_spell_lasts() {
    assert_eq!(calendar(&[(10, None), (40, Some(50))]), [[10, OPEN]]);
    assert!(supported_on(&[[10, OPEN]], OPEN));
    let answer = ask(
        "select support_calendar(a, b) from (values (date '2010-01-05', cast(null as date))) t(a, b)",
    );
    assert_eq!(answer.unwrap(), ["[2010-01-05, 9999-12-31]"]);
}

#[test]
fn what_is_no_spell_is_left_out() {
    assert_eq!(calendar(&[(20, Some(10))]), [[0; 2]; 0]);
    let answer = ask(
        "select support_calendar(a, b) from (values (cast(null as date), date '2010-01-05')) t(a, b)",
    );
    assert_eq!(answer.unwrap(), ["NULL"]);
    let nobody = ask("select supported_on(support_calendar(null, null), date '2010-01-05')");
    assert_eq!(
        nobody.unwrap(),
        ["false"],
        "a null calendar is never supported"
    );
}

#[test]
fn groups_are_kept_apart_filters_and_all() {
    let sql = "select cast(support_calendar(a, b) filter (where benefit <> 'su') as text)
        from (values
            (1, 'cash', date '2010-01-01', date '2010-01-31'),
            (2, 'cash', date '2010-01-01', date '2010-01-10'),
            (1, 'cash', date '2010-02-01', date '2010-02-28'),
            (3, 'su', date '2010-02-01', date '2010-02-28'),
            (2, 'su', date '2010-01-11', date '2010-02-28')) t(citizen, benefit, a, b)
        group by citizen order by citizen";
    assert_eq!(
        ask(sql).unwrap(),
        [
            "[2010-01-01, 2010-02-28]",
            "[2010-01-01, 2010-01-10]",
            "NULL"
        ]
    );
}

#[test]
fn both_ends_of_a_spell_are_supported() {
    let calendar = [[10, 20], [30, 30]];
    let days: Vec<i32> = (0..40)
        .filter(|day| supported_on(&calendar, *day))
        .collect();
    let expected: Vec<i32> = (10..=20).chain([30]).collect();
    assert_eq!(days, expected);
    assert!(!supported_between(&calendar, 21, 29));
    assert!(supported_between(&calendar, 20, 29));
    assert!(supported_between(&calendar, 21, 30));
    assert!(supported_between(&calendar, 0, 99));
    assert!(!supported_between(&calendar, 15, 14), "no day at all");
}

#[test]
fn wrong_types_are_named() {
    let message = ask("select supported_on(1, date '2010-01-01')").unwrap_err();
    assert!(
        message.contains("`calendar` is Int64, it must be calendar"),
        "{message}"
    );
    let message = ask("select support_calendar(date '2010-01-01')").unwrap_err();
    assert!(
        message.contains("takes 2 arguments (from_date, to_date), not 1"),
        "{message}"
    );
}

/// The days of a small world, each spell day by day.
fn naive(spells: &[(i32, Option<i32>)]) -> BTreeSet<i32> {
    spells
        .iter()
        .flat_map(|&(from, to)| from..=to.unwrap_or(LAST))
        .collect()
}

/// The last day of the small world.
const LAST: i32 = 120;

fn spells() -> impl Strategy<Value = Vec<(i32, Option<i32>)>> {
    let spell = (0..100_i32, proptest::option::weighted(0.9, -3..30_i32))
        .prop_map(|(from, length)| (from, length.map(|length| from + length)));
    proptest::collection::vec(spell, 0..12)
}

proptest! {
    #[test]
    fn a_calendar_knows_the_same_days_as_a_walk_through_them(spells in spells()) {
        let calendar = calendar(&spells);
        let days = naive(&spells);
        for day in 0..=LAST {
            prop_assert_eq!(supported_on(&calendar, day), days.contains(&day), "day {}", day);
        }
        for pair in calendar.windows(2) {
            prop_assert!(pair[0][1] + 1 < pair[1][0], "merged as far as can be: {:?}", calendar);
        }
        for first in (0..=LAST).step_by(3) {
            for last in (0..=LAST).step_by(7) {
                prop_assert_eq!(
                    supported_between(&calendar, first, last),
                    first <= last && days.range(first..=last).next().is_some()
                );
            }
        }
    }

    #[test]
    fn parts_of_a_group_merge_to_the_whole(
        spells in spells(),
        groups in proptest::collection::vec(0..4_usize, 12),
        cut in 0..12_usize,
        first in 0..5_usize,
    ) {
        let groups = &groups[..spells.len()];
        let cut = cut.min(spells.len());
        let mut left = Many::default();
        left.update_batch(&columns(&spells[..cut]), &groups[..cut], None, 4).unwrap();
        let right = Many::default().convert_to_state(&columns(&spells[cut..]), None).unwrap();
        let mut whole = Many::default();
        let state = left.state(EmitTo::All).unwrap();
        whole.merge_batch(&state, &[0, 1, 2, 3], 4).unwrap();
        whole.merge_batch(&right, &groups[cut..], 4).unwrap();
        // Emitting some groups first renumbers the others.
        let first = first.min(4);
        let head = whole.evaluate(EmitTo::First(first)).unwrap();
        let tail = whole.evaluate(EmitTo::All).unwrap();
        for group in 0..4 {
            let own: Vec<_> = spells.iter().zip(groups).filter(|it| *it.1 == group).map(|it| *it.0).collect();
            let (array, row) = if group < first { (&head, group) } else { (&tail, group - first) };
            let lists = as_list_array(array.as_ref()).unwrap();
            prop_assert_eq!(Calendars::of(lists).unwrap().at(row), calendar(&own));
        }
        prop_assert_eq!(head.len() + tail.len(), 4);
    }
}

#[test]
fn a_list_read_back_from_a_table_is_still_a_calendar() {
    // Parquet names the items of a list `element`.
    let item = Arc::new(Field::new("element", DataType::Date32, false));
    let given = [DataType::List(item), DataType::Date32];
    let arguments = ALL[0].arguments;
    assert_eq!(coerce("supported_on", arguments, &given).unwrap(), given);
    let wrong = [
        Int32Array::from(vec![1]).data_type().clone(),
        DataType::Date32,
    ];
    assert!(coerce("supported_on", arguments, &wrong).is_err());
}
