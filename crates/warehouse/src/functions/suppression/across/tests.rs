//! Closing and attack as they are asked in SQL.
#![allow(clippy::unwrap_used, reason = "test code")]

use super::super::super::check::ask;

/// Three rows and three columns with their totals, as `name, n, row, col`: cell r1c1 is 3, the total is in t.
const CROSSING: &str = "select concat(r, c) as name, n, is_total_of_row, is_total_of_column, cast(r as bigint) as r, cast(c as bigint) as c
    from (values
        ('1', '1', 3, false, false), ('1', '2', 20, false, false), ('1', '3', 30, false, false), ('1', '4', 53, true, false),
        ('2', '1', 25, false, false), ('2', '2', 21, false, false), ('2', '3', 31, false, false), ('2', '4', 77, true, false),
        ('3', '1', 28, false, true), ('3', '2', 41, false, true), ('3', '3', 61, false, true), ('3', '4', 130, true, true)
    ) t(r, c, n, is_total_of_row, is_total_of_column)";

const LINES: &str = "[case when is_total_of_row then -r else r end, case when is_total_of_column then -(c + 10) else c + 10 end]";

fn names(condition: &str) -> Vec<String> {
    ask(&format!(
        "select name from (select name, {condition} as wanted from ({CROSSING})) where wanted order by 1"
    ))
    .unwrap()
}

#[test]
fn one_hidden_count_takes_one_in_its_row_its_column_and_their_crossing() {
    let closed = names(&format!(
        "suppressed_across(n < 5, n, 1, {LINES}, [n, n], 0) over ()"
    ));
    assert_eq!(closed, ["11", "12", "21", "22"]);
}

#[test]
fn a_line_without_a_total_has_it_elsewhere() {
    let attacked = |n: &str| {
        ask(&format!(
            "select recoverable(hidden, n, 1, null, [7]) over () from (values ({n}, true), (1, true), (1, true)) t(n, hidden)"
        ))
        .unwrap()
    };
    assert_eq!(attacked("4"), ["false"; 3]);
    assert_eq!(
        attacked("3, true), (1"),
        ["false"; 4],
        "six that four make can be made otherwise"
    );
    assert_eq!(
        attacked("1, true), (1, true), (1"),
        ["true"; 5],
        "five that five make are ones"
    );
    assert_eq!(
        attacked("1"),
        ["false"; 3],
        "three are too few to be shown elsewhere"
    );
}

#[test]
fn zeros_go_last_and_only_where_a_total_stands_elsewhere() {
    let closed = |counts: &str| {
        ask(&format!(
            "select suppressed_across(n between 1 and 4, n, 1, [7], [n], 0) over () from (values {counts}) t(n)"
        ))
        .unwrap()
    };
    assert_eq!(
        closed("(1), (1), (1), (1), (1), (0)"),
        ["true"; 6],
        "else five that five make would be ones"
    );
    assert_eq!(
        closed("(1), (1), (1), (1), (2), (0)"),
        ["true", "true", "true", "true", "true", "false"]
    );
}

#[test]
fn what_totals_elsewhere_tell_whatever_is_hidden_hides_nothing_more() {
    // 23 and 25 stand elsewhere and the 5 is known, so the 20 is told, and with it the 3. The 7 and 8 would be no use.
    let rows = "(values
        ('a', 3, true, [1, null]), ('b', 20, true, [1, 2]), ('c', 5, null, [null, 2]),
        ('d', 4, true, [3, null]), ('e', 4, true, [3, 4]), ('f', 2, true, [null, 4]), ('g', 7, false, [3, null]), ('h', 8, false, [null, 4])
    ) t(name, n, hidden, lines)";
    let answers = |function: &str| {
        ask(&format!(
            "select name from (select name, {function} over () as wanted from {rows}) where wanted order by 1"
        ))
        .unwrap()
    };
    assert_eq!(
        answers("suppressed_across(hidden, n, 1, lines, [n, n], 0)"),
        ["a", "b", "d", "e", "f"]
    );
    assert_eq!(
        answers("recoverable(hidden, n, 1, null, lines)"),
        ["a", "b"]
    );
}

#[test]
fn what_is_known_anyway_is_not_chosen() {
    let closed = |hidden: &str| {
        ask(&format!(
            "select concat(name, ' ', suppressed_across({hidden}, n, 1, [case when name = 't' then -7 else 7 end], [n], 0) over ())
            from (values ('a', 3), ('b', 7), ('c', 9), ('t', 19)) t(name, n) order by 1"
        ))
        .unwrap()
    };
    assert_eq!(
        closed("n between 1 and 4"),
        ["a true", "b true", "c false", "t false"]
    );
    assert_eq!(
        closed("case when name = 'b' then null else n between 1 and 4 end"),
        ["a true", "b false", "c true", "t false"]
    );
}

#[test]
fn a_count_alone_in_a_line_is_recoverable_and_one_of_four_corners_is_not() {
    let attacked = |hidden: &str| {
        names(&format!(
            "recoverable(name in ({hidden}), n, 1, null, {LINES}) over ()"
        ))
    };
    assert_eq!(attacked("'11'"), ["11"]);
    assert_eq!(attacked("'11', '12'"), ["11", "12"]);
    assert_eq!(attacked("'11', '12', '21', '22'"), [""; 0]);
    assert_eq!(attacked("'11', '34'"), ["11", "34"]);
}

#[test]
fn bounds_tell_what_lines_do_not() {
    let attacked = |least: &str, most: &str| {
        ask(&format!(
            "select concat(name, ' ', recoverable(hidden, n, {least}, {most}, [1]) over ()) from (values
                ('a', 4, true), ('b', 5, true)) t(name, n, hidden) order by 1"
        ))
        .unwrap()
    };
    assert_eq!(attacked("1", "null"), ["a false", "b false"]);
    assert_eq!(attacked("1", "5"), ["a false", "b false"]);
    assert_eq!(attacked("4", "null"), ["a false", "b false"]);
    assert_eq!(
        attacked("n", "null"),
        ["a true", "b true"],
        "nothing can be less, so nothing can be more"
    );
}

#[test]
fn it_is_asked_in_sql() {
    let sql = "select concat(name, ' ', suppressed_across(n < 5, n, 1, [line, null], [n, n], 0) over (partition by 1))
        from (values ('a', 3, 1), ('b', 9, 1), ('c', 7, 1), ('d', 19, 1), ('e', 0, 2), ('f', 9, 2)) t(name, n, line) order by 1";
    let expected = [
        "a true", "b false", "c true", "d false", "e true", "f false",
    ];
    assert_eq!(ask(sql).unwrap(), expected);
    let wrong = ask("select suppressed_across(true, 1, 1, [1, 2], [1], 0) over ()").unwrap_err();
    assert!(wrong.contains("2 lines with 1 priorities"), "{wrong}");
    let wrong =
        ask("select recoverable(true, n, 1, null, [-7]) over () from (values (1), (2)) t(n)")
            .unwrap_err();
    assert!(wrong.contains("two totals in line 7"), "{wrong}");
}
