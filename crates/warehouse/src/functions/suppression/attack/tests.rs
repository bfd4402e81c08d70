//! Attack and closing against somebody with time: every table that looks like the published one is tried.
#![allow(clippy::unwrap_used, reason = "test code")]

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{
        closing::close,
        hidden_parts, is_small,
        table::{Cell, Standing},
    },
    *,
};

/// Counts with the lines they stand in, negative where they are the total.
fn table(cells: Vec<(i64, Vec<i64>)>) -> Table {
    let with_priorities = cells.into_iter().enumerate().map(|(at, (count, lines))| {
        let cell = Cell {
            count,
            least: 1,
            most: None,
            position: at as i64,
        };
        let standing = |line| Standing {
            line,
            priority: count,
        };
        (cell, lines.into_iter().map(standing).collect())
    });
    Table::new(with_priorities.collect()).unwrap()
}

/// Which of the hidden counts no other table was found for.
fn told(table: &Table, hidden: &[bool]) -> Vec<bool> {
    let mut told = vec![false; hidden.len()];
    for at in Attack::on(table, hidden).told(|_| true) {
        told[at] = true;
    }
    told
}

/// Parts and their total.
fn line(parts: &[i64]) -> Table {
    let mut cells: Vec<_> = parts.iter().map(|it| (*it, vec![1])).collect();
    cells.push((parts.iter().sum(), vec![-1]));
    table(cells)
}

/// Adds a total to the end of every row, and a row of totals to the end.
fn with_totals(mut rows: Vec<Vec<i64>>) -> Vec<Vec<i64>> {
    for row in &mut rows {
        row.push(row.iter().sum());
    }
    let width = rows[0].len();
    let totals = (0..width).map(|at| rows.iter().map(|row| row[at]).sum());
    rows.push(totals.collect());
    rows
}

/// Rows and columns with totals on both sides; `beside` gives further lines for a row and column.
fn crossing(rows: &[Vec<i64>]) -> Vec<(i64, Vec<i64>)> {
    let (height, width) = (rows.len(), rows[0].len());
    let mut cells = Vec::new();
    for (row, counts) in rows.iter().enumerate() {
        for (column, count) in counts.iter().enumerate() {
            let (of_row, of_column) = (row as i64 + 1, column as i64 + 101);
            let is_last = |at: usize, of: usize| if at + 1 == of { -1 } else { 1 };
            let lines = vec![
                is_last(column, width) * of_row,
                is_last(row, height) * of_column,
            ];
            cells.push((*count, lines));
        }
    }
    cells
}

/// Units in districts in a municipality, each by two ages: three levels one way, two the other.
fn levels(units: &[(i64, i64)]) -> Table {
    let mut rows: Vec<Vec<i64>> = units.iter().map(|it| vec![it.0, it.1]).collect();
    let of_pair = |pair: &[Vec<i64>]| -> Vec<i64> {
        (0..2)
            .map(|age| pair.iter().map(|it| it[age]).sum())
            .collect()
    };
    let districts: Vec<Vec<i64>> = rows.chunks(2).map(of_pair).collect();
    let top = of_pair(&districts);
    let (units, districts_begin) = (rows.len(), rows.len());
    rows.extend(districts);
    let top_at = rows.len();
    rows.push(top);
    let mut cells = Vec::new();
    for (row, ages) in rows.iter().enumerate() {
        let all = ages.iter().sum();
        for (age, count) in ages.iter().copied().chain([all]).enumerate() {
            let within = 1000 + row as i64;
            let mut lines = vec![if age == 2 { -within } else { within }];
            let column = 100 * (age as i64 + 1);
            if row < units {
                lines.push(column + (row / 2) as i64);
            } else if row < top_at {
                lines.push(-(column + (row - districts_begin) as i64));
                lines.push(column + 50);
            } else {
                lines.push(-(column + 50));
            }
            cells.push((count, lines));
        }
    }
    table(cells)
}

/// Months of two half-years of a year, for two populations and both of them together.
fn year(months: &[(i64, i64)]) -> Table {
    let mut columns: Vec<Vec<i64>> = vec![
        months.iter().map(|it| it.0).collect(),
        months.iter().map(|it| it.1).collect(),
        months.iter().map(|it| it.0 + it.1).collect(),
    ];
    let half = months.len() / 2;
    for column in &mut columns {
        let first: i64 = column[..half].iter().sum();
        let second: i64 = column[half..].iter().sum();
        column.extend([first, second, first + second]);
    }
    let mut cells = Vec::new();
    for (population, column) in columns.iter().enumerate() {
        for (period, count) in column.iter().enumerate() {
            let of = 100 * (population as i64 + 1);
            let mut lines = vec![match period {
                it if it < half => of + 1,
                it if it < 2 * half => of + 2,
                it if it == 2 * half => -(of + 1),
                it if it == 2 * half + 1 => -(of + 2),
                _ => -(of + 3),
            }];
            if period == 2 * half || period == 2 * half + 1 {
                lines.push(of + 3);
            }
            let both = 1000 + period as i64;
            lines.push(if population == 2 { -both } else { both });
            cells.push((*count, lines));
        }
    }
    table(cells)
}

/// What a row of the overview is made from: citizens by age, those who finished by outcome, and how many of
/// those are in the offer again.
#[derive(Debug, Clone)]
struct Group {
    outcomes: [i64; 3],
    undecided: i64,
    in_offer: i64,
    again: i64,
    under_30: i64,
}

fn group() -> impl Strategy<Value = Group> {
    let small = || select(vec![0, 0, 1, 2, 3, 5, 6, 9, 14]);
    let outcomes = [small(), small(), small()];
    (outcomes, 0..3_i64, small(), 0..2_i64, 0..10_i64).prop_map(
        |(outcomes, undecided, in_offer, again, under_30)| {
            let finished: i64 = outcomes.iter().sum();
            let again = again.min(finished).min(in_offer);
            Group {
                outcomes,
                undecided: undecided.min(finished),
                in_offer,
                again,
                under_30: under_30.min(finished + in_offer - again),
            }
        },
    )
}

/// The overview's measures for groups and all of them, with the lines of `core.small_cell`.
fn overview(groups: &[Group]) -> Table {
    let mut rows: Vec<Vec<i64>> = groups
        .iter()
        .map(|it| {
            let finished: i64 = it.outcomes.iter().sum();
            let citizens = finished + it.in_offer - it.again;
            let [known, pending, lost] = it.outcomes;
            vec![
                citizens,
                it.under_30,
                citizens - it.under_30,
                it.in_offer,
                finished,
                finished - it.undecided,
                it.undecided,
                known,
                pending,
                lost,
            ]
        })
        .collect();
    let all = (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at]).sum());
    rows.push(all.collect());
    // Within a row: citizens over ages, citizens over those in the offer and finished, finished over one month, over three.
    let within: [&[i64]; 10] = [
        &[-1, -2],
        &[1],
        &[1],
        &[2],
        &[2, -3, -4],
        &[3],
        &[3],
        &[4],
        &[4],
        &[4],
    ];
    let mut cells = Vec::new();
    for (row, counts) in rows.iter().enumerate() {
        for (measure, count) in counts.iter().enumerate() {
            let of_row = 10 * (row as i64 + 1);
            let over_groups = 1000 + measure as i64;
            let is_all = row + 1 == rows.len();
            let mut lines: Vec<i64> = within[measure]
                .iter()
                .map(|it| it.signum() * (of_row + it.abs()))
                .collect();
            lines.push(if is_all { -over_groups } else { over_groups });
            cells.push((*count, lines));
        }
    }
    table(cells)
}

fn primary(table: &Table) -> Vec<bool> {
    table.cells.iter().map(|it| is_small(it.count)).collect()
}

fn closed(table: &Table) -> Vec<bool> {
    let mut hidden = primary(table);
    close(table, &vec![false; hidden.len()], &mut hidden);
    hidden
}

/// Whether a table that looks the same has another count in `cell`: tries every hidden count from `reach` below to `reach`
/// above the truth, the truth first, and the last unknown of a line as what the line leaves for it.
fn differs(table: &Table, hidden: &[bool], cell: usize, reach: i64) -> bool {
    (1..=reach).flat_map(|it| [it, -it]).any(|difference| {
        let mut tried: Vec<Option<i64>> = table
            .cells
            .iter()
            .zip(hidden)
            .map(|(it, hidden)| (!hidden).then_some(it.count))
            .collect();
        let count = table.cells[cell].count + difference;
        if count < least(table, hidden, cell) {
            return false;
        }
        tried[cell] = Some(count);
        is_possible(table, hidden, &mut tried, reach)
    })
}

fn least(table: &Table, hidden: &[bool], cell: usize) -> i64 {
    let beside_zero = table.lines.iter().any(|line| {
        let secret = || line.members.iter().filter(|it| hidden[it.cell]);
        secret().any(|it| it.cell == cell) && secret().any(|it| table.cells[it.cell].count == 0)
    });
    if beside_zero { 0 } else { 1 }
}

fn is_possible(table: &Table, hidden: &[bool], tried: &mut Vec<Option<i64>>, reach: i64) -> bool {
    let sign = |is_total: bool| if is_total { -1 } else { 1 };
    let mut next: Option<(usize, usize, Option<i64>)> = None;
    for line in table.lines.iter().filter(|it| it.members.len() > 1) {
        let truly: i64 = line
            .members
            .iter()
            .map(|it| sign(it.is_total) * table.cells[it.cell].count)
            .sum();
        let (mut unknown, mut excess) = (Vec::new(), 0);
        for it in &line.members {
            match tried[it.cell] {
                Some(count) => excess += sign(it.is_total) * count,
                None => unknown.push(it),
            }
        }
        match *unknown {
            // A line that truly adds up must; another only must not lean the other way.
            [] if truly == 0 && excess != 0 || truly * excess < 0 => return false,
            [] => {}
            [one] if truly == 0 => {
                next = Some((0, one.cell, Some(-sign(one.is_total) * excess)));
            }
            _ => {
                if next.is_none_or(|it| it.0 > unknown.len()) {
                    next = Some((unknown.len(), unknown[0].cell, None));
                }
            }
        }
    }
    let (cell, values) = match next {
        None => return true,
        Some((_, cell, Some(only))) => (cell, vec![only]),
        Some((_, cell, None)) => {
            let count = table.cells[cell].count;
            let others = (1..=reach).flat_map(|it| [count + it, count - it]);
            (cell, std::iter::once(count).chain(others).collect())
        }
    };
    let smallest = least(table, hidden, cell);
    for value in values.into_iter().filter(|it| *it >= smallest) {
        tried[cell] = Some(value);
        if is_possible(table, hidden, tried, reach) {
            return true;
        }
    }
    tried[cell] = None;
    false
}

/// Asserts that closing leaves no hidden count with only one possible value, and does no more than it may.
fn survives(table: &Table, reach: i64) -> Result<(), TestCaseError> {
    let hidden = closed(table);
    let counts: Vec<i64> = table.cells.iter().map(|it| it.count).collect();
    for (at, cell) in table.cells.iter().enumerate() {
        prop_assert!(hidden[at] || !is_small(cell.count), "small ones are hidden");
        prop_assert!(!hidden[at] || cell.count > 0, "zeros are shown");
        prop_assert!(
            !hidden[at] || differs(table, &hidden, at, reach),
            "{at} of {counts:?} with {hidden:?} can only be {}",
            cell.count
        );
    }
    for line in &table.lines {
        let parts = || line.members.iter().filter(|it| !it.is_total);
        let total = line.members.iter().find(|it| it.is_total).unwrap();
        let is_one = parts().filter(|it| hidden[it.cell]).count() == 1;
        prop_assert!(
            !is_one
                || hidden[total.cell]
                || parts().all(|it| hidden[it.cell] || counts[it.cell] == 0),
            "a line of {counts:?} hides one part under a shown total"
        );
    }
    prop_assert_eq!(closed(table), hidden, "the same again");
    Ok(())
}

fn count() -> impl Strategy<Value = i64> {
    select(vec![0, 0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 9, 12, 20])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_count_of_a_line_can_be_worked_out(parts in vec(count(), 1..6)) {
        survives(&line(&parts), 6)?;
    }

    #[test]
    fn no_count_where_two_ways_of_adding_up_cross_can_be_worked_out(rows in vec(vec(count(), 3), 1..5)) {
        survives(&table(crossing(&with_totals(rows))), 4)?;
    }

    #[test]
    fn no_count_on_three_levels_can_be_worked_out(units in vec((count(), count()), 2..7)) {
        survives(&levels(&units), 4)?;
    }

    #[test]
    fn no_count_of_months_half_years_and_a_year_can_be_worked_out(months in vec((count(), count()), 4)) {
        survives(&year(&months), 4)?;
    }

    #[test]
    fn no_count_of_the_overview_can_be_worked_out(groups in vec(group(), 1..3)) {
        survives(&overview(&groups), 4)?;
    }

    /// Whatever is hidden, however badly chosen, the attack finds what trying everything finds, and nothing else.
    #[test]
    fn the_attack_tells_what_trying_every_table_tells(
        rows in vec(vec(0..5_i64, 2), 1..3),
        pattern in vec(any::<bool>(), 9),
    ) {
        let table = table(crossing(&with_totals(rows)));
        let hidden: Vec<bool> = table.cells.iter().zip(pattern).map(|(it, hidden)| hidden && it.count > 0).collect();
        let told = told(&table, &hidden);
        // No count can be further from the truth than all of them together, but where everything is hidden.
        let reach = 2 + 2 * table.cells.iter().map(|it| it.count).max().unwrap();
        for at in (0..hidden.len()).filter(|at| hidden[*at]) {
            prop_assert_eq!(told[at], !differs(&table, &hidden, at, reach), "{} of {:?}", at, hidden);
        }
    }
}

#[test]
fn rows_and_columns_together_tell_what_neither_tells() {
    // Two are hidden in each row and column, and the total of all; what the rows make with what the columns make tells that.
    let rows = with_totals(vec![vec![3, 20, 30], vec![25, 21, 31], vec![40, 50, 60]]);
    let table = table(crossing(&rows));
    let mut hidden = vec![false; 16];
    for at in [0, 1, 4, 5, 15] {
        hidden[at] = true;
    }
    let mut expected = vec![false; 16];
    expected[15] = true;
    assert_eq!(told(&table, &hidden), expected);
}

#[test]
fn bounds_tell_through_several_lines() {
    // 1 + 1 = 2 in a row whose total is hidden, which a column bounds: 2 + 9 = 11 where 9 is shown.
    let cells = vec![
        (1, vec![1]),
        (1, vec![1]),
        (2, vec![-1, 2]),
        (9, vec![2]),
        (11, vec![-2]),
    ];
    let hidden = [true, true, true, false, false];
    assert_eq!(told(&table(cells), &hidden), hidden);
}

#[test]
fn a_line_with_somebody_twice_bounds_and_does_not_tell() {
    // Ten citizens, six and five: one in both.
    let cells = || vec![(6, vec![1]), (5, vec![1]), (10, vec![-1])];
    assert_eq!(told(&table(cells()), &[true, false, false]), [false; 3]);
    // As many as there can be at most: six of the six that five and one make.
    let mut exact = cells();
    exact[2].0 = 11;
    assert_eq!(
        told(&table(exact), &[true, false, false]),
        [true, false, false]
    );
}

/// In a single line the window function `suppressed` already holds against somebody who knows the rules
/// (see its tests), so closing has nothing to add, but where nothing but ones is left.
#[test]
fn closing_adds_nothing_to_the_rules_of_a_single_line() {
    fn lists(count: usize, limit: i64) -> Vec<Vec<i64>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let longer = |part: i64| {
            let rest = lists(count - 1, limit - part).into_iter();
            rest.map(move |it| [vec![part], it].concat())
        };
        (0..=limit).flat_map(longer).collect()
    }
    for (count, limit) in [(1, 30), (2, 30), (3, 18), (4, 12), (5, 9), (6, 8)] {
        for parts in lists(count, limit) {
            let total: i64 = parts.iter().sum();
            let mut hidden = hidden_parts(Some(total), &parts);
            hidden.push(is_small(total));
            let before = hidden.clone();
            close(&line(&parts), &vec![false; count + 1], &mut hidden);
            if parts.iter().any(|it| *it != 1) {
                assert_eq!(hidden, before, "{parts:?}");
            }
        }
    }
}
