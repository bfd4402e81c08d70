//! Suppression against its rules and against somebody who knows them.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;

use super::{super::check::ask, *};

/// The line as published: hidden parts as `None`.
fn published(parts: &[i64]) -> (Option<i64>, Vec<Option<i64>>) {
    let total: i64 = parts.iter().sum();
    let shown = parts
        .iter()
        .zip(hidden_parts(Some(total), parts))
        .map(|(part, hidden)| (!hidden).then_some(*part))
        .collect();
    ((!is_small(total)).then_some(total), shown)
}

#[track_caller]
fn check(parts: &[i64], total: Option<i64>, shown: &[Option<i64>]) {
    assert_eq!(published(parts), (total, shown.to_vec()), "{parts:?}");
}

#[test]
fn one_to_four_are_hidden_zero_and_five_are_not() {
    check(&[0, 5, 20], Some(25), &[Some(0), Some(5), Some(20)]);
    check(&[1, 4, 20], Some(25), &[None, None, Some(20)]);
    check(&[0, 0, 0], Some(0), &[Some(0), Some(0), Some(0)]);
}

#[test]
fn a_lone_hidden_part_takes_the_next_smallest_with_it() {
    check(
        &[3, 9, 7, 20, 0],
        Some(39),
        &[None, Some(9), None, Some(20), Some(0)],
    );
}

#[test]
fn ties_are_broken_by_name() {
    check(&[9, 2, 9, 9], Some(29), &[None, None, Some(9), Some(9)]);
}

#[test]
fn two_hidden_parts_protect_each_other() {
    check(&[2, 3, 9, 20], Some(34), &[None, None, Some(9), Some(20)]);
}

#[test]
fn a_small_total_is_hidden_with_its_parts() {
    check(&[3, 0], None, &[None, Some(0)]);
    check(&[1, 2, 0], None, &[None, None, Some(0)]);
    check(&[4], None, &[None]);
}

#[test]
fn ones_under_a_shown_total_take_the_next_size_with_them() {
    check(&[1, 1, 9, 20], Some(31), &[None, None, None, Some(20)]);
    check(
        &[1, 1, 9, 9, 20],
        Some(40),
        &[None, None, None, None, Some(20)],
    );
}

#[test]
fn a_split_that_could_be_no_other_hides_the_line() {
    // 8 is 4 + 4: had it been 3 + 5, the 5 that comes first by name would be the hidden one.
    check(&[5, 4, 4, 9], Some(22), &[None, None, None, None]);
    check(
        &[4, 4, 4, 9, 0],
        Some(21),
        &[None, None, None, None, Some(0)],
    );
}

#[test]
fn zeros_cloud_ones_where_nothing_else_can() {
    check(&[1, 1, 1, 1, 0], None, &[None; 5]);
    check(&[1, 1, 1, 1, 1, 0], Some(5), &[None; 6]);
}

#[test]
fn without_a_published_total_small_parts_alone_are_hidden() {
    assert_eq!(hidden_parts(None, &[1, 9, 0]), [true, false, false]);
}

/// Every list of `count` parts that makes at most `limit`.
fn worlds(count: usize, limit: i64) -> Vec<Vec<i64>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    (0..=limit)
        .flat_map(|part| {
            worlds(count - 1, limit - part)
                .into_iter()
                .map(move |mut rest| {
                    rest.push(part);
                    rest
                })
        })
        .collect()
}

/// The attacker knows the rules, makes every possible line, publishes each, and keeps those that
/// look as the one in the paper. No hidden number may be the same in all of them.
#[test]
fn no_hidden_number_can_be_worked_out_by_someone_who_knows_the_rules() {
    for (count, limit) in [(1, 40), (2, 40), (3, 36), (4, 28), (5, 20), (6, 14)] {
        let mut seen: HashMap<_, Vec<Vec<i64>>> = HashMap::new();
        for parts in worlds(count, limit) {
            seen.entry(published(&parts)).or_default().push(parts);
        }
        for ((total, shown), worlds) in seen {
            for at in (0..count).filter(|at| shown[*at].is_none()) {
                let first = worlds[0][at];
                assert!(
                    worlds.iter().any(|world| world[at] != first),
                    "{total:?} = {shown:?} can only be {:?}",
                    worlds[0]
                );
            }
            let sum = |world: &Vec<i64>| world.iter().sum::<i64>();
            assert!(
                total.is_some() || worlds.iter().any(|world| sum(world) != sum(&worlds[0])),
                "a hidden total can only be {}",
                sum(&worlds[0])
            );
        }
    }
}

#[test]
fn the_window_function_finds_the_total_and_sorts_by_name() {
    let sql = "select concat(offer, ' ', part, ' ', suppressed(n, part, part = 'all') over (partition by offer))
        from (values
            ('a', 'all', 29), ('a', 'z', 9), ('a', 'b', 9), ('a', 'c', 2), ('a', 'd', 9),
            ('b', 'all', 2), ('b', 'c', 2), ('b', 'd', 0),
            ('c', 'x', 3), ('c', 'y', null)) t(offer, part, n)
        order by 1";
    assert_eq!(
        ask(sql).unwrap(),
        [
            "a all false",
            "a b true",
            "a c true",
            "a d false",
            "a z false",
            "b all true",
            "b c true",
            "b d false",
            "c x true",
            "c y false"
        ]
    );
    let two =
        ask("select suppressed(n, 'x', true) over () from (values (1), (2)) t(n)").unwrap_err();
    assert!(two.contains("two totals in one partition"), "{two}");
}

/// The same lines streamed in sorted pieces, and beside an aggregate that needs them whole.
#[test]
fn a_line_is_seen_whole_however_it_comes() {
    let lines = "select line, part, (line * 31 + part * 17) % 13 as n
        from (select value % 4000 as line, value / 4000 as part from generate_series(0, 19999) t(value))";
    let ask_all = |column: &str| {
        ask(&format!(
            "with parts as ({lines}),
            rows as (
                select line, cast(part as text) as part, n, false as is_total from parts
                union all select line, 'all', sum(n), true from parts group by line
            ),
            told as (select line, part, n, suppressed(n, part, is_total) over (partition by line) as hidden{column} from rows)
            select concat(line, ' ', part, ' ', n, ' ', hidden) from told order by 1"
        ))
        .unwrap()
    };
    let (streamed, whole) = (
        ask_all(""),
        ask_all(", count(*) over (partition by line) as c"),
    );
    assert_eq!(streamed.len(), 24_000);
    assert_eq!(streamed, whole);
    for line in [0_i64, 1, 17, 3999] {
        let parts: Vec<i64> = (0..5).map(|part| (line * 31 + part * 17) % 13).collect();
        let hidden = hidden_parts(Some(parts.iter().sum()), &parts);
        for (part, hidden) in hidden.iter().enumerate() {
            let row = format!("{line} {part} {} {hidden}", parts[part]);
            assert!(streamed.contains(&row), "{row}");
        }
    }
}

#[test]
fn parts_in_one_row_follow_the_same_rules() {
    for (call, expected) in [
        ("suppressed_parts(20, [3, 7, 10])", "[true, true, false]"),
        (
            "suppressed_parts(20, make_array(0, 10, 10))",
            "[false, false, false]",
        ),
        (
            "suppressed_parts(null, [3, 7, null])",
            "[true, false, false]",
        ),
        ("suppressed_parts(20, null)", "NULL"),
    ] {
        assert_eq!(
            ask(&format!("select {call}")).unwrap(),
            [expected],
            "{call}"
        );
    }
}
