//! `suppressed_across`: hidden counts that stand in several totals at once.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use datafusion::{
    common::{
        cast::{as_boolean_array, as_int64_array, as_list_array},
        exec_err,
    },
    error::Result,
};

use super::super::{
    scalar::{Kind, at},
    window::Windowed,
};

pub(super) const SUPPRESSED_ACROSS: Windowed = Windowed {
    name: "suppressed_across",
    arguments: &[
        ("hidden", Kind::Bool, "whether the count is hidden already"),
        (
            "count",
            Kind::Int,
            "the count; zero is never chosen and never counted",
        ),
        (
            "least",
            Kind::Int,
            "the smallest it can be, as far as anybody can tell from what is shown; 1 where nothing tells more",
        ),
        (
            "lines",
            Kind::Ints,
            "the totals it stands in, itself as a part or as the total; null entries are none",
        ),
        (
            "priorities",
            Kind::Ints,
            "for each line, how late it is chosen there; usually the count in all of them",
        ),
        (
            "position",
            Kind::Int,
            "its place by name; ties are broken by it",
        ),
    ],
    doc: "WINDOW. Which counts must not be shown where each stands in several totals at once, such as a target \
          group's row and its age group's column. A line, that is a total with its parts, gives a number away when exactly one of its \
          counts is hidden, or several that are all as small as they can be; then the shown count with the lowest \
          priority is hidden too. That one stands in other lines as well, so it is repeated, all lines at a time, until \
          no line gives a number away. Source: indicators, small cells; domain report D4 (secondary suppression).",
    example: "suppressed_across(hidden, n, 1, [row, col], [n, n], position) over (partition by period, offer_id)",
    eval: suppressed_across,
};

/// A count in its lines.
struct Cell {
    count: i64,
    least: i64,
    position: i64,
    /// Line and priority.
    lines: Vec<(i64, i64)>,
}

/// Hides more of `cells` until no line gives a number away.
fn close(cells: &[Cell], hidden: &mut [bool]) {
    // Every line with its cells in the order they are chosen.
    let mut lines: BTreeMap<i64, Vec<(i64, i64, usize)>> = BTreeMap::new();
    for (at, cell) in cells.iter().enumerate().filter(|(_, it)| it.count > 0) {
        for (line, priority) in &cell.lines {
            let choice = (*priority, cell.position, at);
            lines.entry(*line).or_default().push(choice);
        }
    }
    for line in lines.values_mut() {
        line.sort_unstable();
    }
    loop {
        let chosen: Vec<usize> = lines
            .values()
            .filter_map(|line| choice(line, cells, hidden))
            .collect();
        if chosen.is_empty() {
            return;
        }
        for at in chosen {
            hidden[at] = true;
        }
    }
}

/// The cell to hide next in a line that gives a number away.
fn choice(line: &[(i64, i64, usize)], cells: &[Cell], hidden: &[bool]) -> Option<usize> {
    let secret = || line.iter().map(|it| it.2).filter(|at| hidden[*at]);
    let slack: i64 = secret().map(|at| cells[at].count - cells[at].least).sum();
    match secret().count() {
        0 => return None,
        1 => {}
        _ if slack == 0 => {}
        _ => return None,
    }
    line.iter().map(|it| it.2).find(|at| !hidden[*at])
}

fn suppressed_across(values: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
    let given = as_boolean_array(values[0].as_ref())?;
    let (counts, leasts) = (
        as_int64_array(values[1].as_ref())?,
        as_int64_array(values[2].as_ref())?,
    );
    let (lines, priorities) = (
        as_list_array(values[3].as_ref())?,
        as_list_array(values[4].as_ref())?,
    );
    let positions = as_int64_array(values[5].as_ref())?;
    let mut hidden: Vec<bool> = (0..rows).map(|row| at(given, row) == Some(true)).collect();
    let mut cells = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut cell = Cell {
            count: at(counts, row).unwrap_or_default(),
            least: at(leasts, row).unwrap_or(1),
            position: at(positions, row).unwrap_or_default(),
            lines: Vec::new(),
        };
        if !lines.is_null(row) && !priorities.is_null(row) {
            let (lines, priorities) = (lines.value(row), priorities.value(row));
            let (lines, priorities) = (as_int64_array(&lines)?, as_int64_array(&priorities)?);
            if lines.len() != priorities.len() {
                return exec_err!(
                    "suppressed_across: {} lines with {} priorities",
                    lines.len(),
                    priorities.len()
                );
            }
            let pairs = (0..lines.len())
                .filter_map(|it| Some((at(lines, it)?, at(priorities, it).unwrap_or_default())));
            cell.lines.extend(pairs);
        }
        cells.push(cell);
    }
    close(&cells, &mut hidden);
    Ok(hidden)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use proptest::prelude::*;

    use super::{super::super::check::ask, *};

    /// Counts in a table with a total at the end of every row and column, as lines of rows and columns.
    fn table(counts: &[Vec<i64>]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for (row, counts) in counts.iter().enumerate() {
            for (column, count) in counts.iter().enumerate() {
                cells.push(Cell {
                    count: *count,
                    least: 1,
                    position: cells.len() as i64,
                    lines: vec![(row as i64, *count), (100 + column as i64, *count)],
                });
            }
        }
        cells
    }

    /// Adds the totals.
    fn with_totals(mut parts: Vec<Vec<i64>>) -> Vec<Vec<i64>> {
        for row in &mut parts {
            row.push(row.iter().sum());
        }
        let columns = parts[0].len();
        parts.push(
            (0..columns)
                .map(|at| parts.iter().map(|row| row[at]).sum())
                .collect(),
        );
        parts
    }

    #[test]
    fn one_hidden_count_takes_one_in_its_row_its_column_and_their_crossing() {
        let counts = with_totals(vec![vec![3, 20, 30], vec![25, 21, 31], vec![40, 50, 60]]);
        let cells = table(&counts);
        let mut hidden: Vec<bool> = cells.iter().map(|it| (1..=4).contains(&it.count)).collect();
        close(&cells, &mut hidden);
        let found: Vec<i64> = cells
            .iter()
            .zip(&hidden)
            .filter(|it| *it.1)
            .map(|it| it.0.count)
            .collect();
        assert_eq!(found, [3, 20, 25, 21]);
    }

    #[test]
    fn counts_as_small_as_they_can_be_are_not_enough_for_each_other() {
        let counts = [1, 1, 9, 20, 31].map(|it| vec![it]).to_vec();
        let mut cells = table(&counts);
        for cell in &mut cells {
            cell.lines.truncate(2);
            cell.lines.remove(0);
        }
        let mut hidden = vec![true, true, false, false, false];
        close(&cells, &mut hidden);
        assert_eq!(hidden, [true, true, true, false, false]);
    }

    #[test]
    fn it_is_asked_in_sql() {
        let sql = "select concat(name, ' ', suppressed_across(n < 5, n, 1, [line, null], [n, n], 0) over (partition by 1))
            from (values ('a', 3, 1), ('b', 9, 1), ('c', 7, 1), ('d', 19, 1), ('e', 0, 2), ('f', 9, 2)) t(name, n, line) order by 1";
        let expected = [
            "a true", "b false", "c true", "d false", "e true", "f false",
        ];
        assert_eq!(ask(sql).unwrap(), expected);
        let wrong =
            ask("select suppressed_across(true, 1, 1, [1, 2], [1], 0) over ()").unwrap_err();
        assert!(wrong.contains("2 lines with 1 priorities"), "{wrong}");
    }

    proptest! {
        /// Whoever subtracts what is shown from what is shown, again and again, finds nothing hidden.
        #[test]
        fn no_line_leaves_one_hidden_count_alone(
            parts in proptest::collection::vec(proptest::collection::vec(0..15_i64, 4), 1..5)
        ) {
            let counts = with_totals(parts);
            let cells = table(&counts);
            let mut hidden: Vec<bool> = cells.iter().map(|it| (1..=4).contains(&it.count)).collect();
            let primary = hidden.clone();
            close(&cells, &mut hidden);
            let width = counts[0].len();
            let is_hidden = |row: usize, column: usize| hidden[row * width + column];
            for row in 0..counts.len() {
                let line: Vec<usize> = (0..width).filter(|it| is_hidden(row, *it)).collect();
                let shown = (0..width).filter(|it| !is_hidden(row, *it) && counts[row][*it] > 0).count();
                prop_assert!(line.len() != 1 || shown == 0, "row {} of {:?}", row, counts);
            }
            for column in 0..width {
                let line: Vec<usize> = (0..counts.len()).filter(|it| is_hidden(*it, column)).collect();
                let shown = (0..counts.len()).filter(|it| !is_hidden(*it, column) && counts[*it][column] > 0).count();
                prop_assert!(line.len() != 1 || shown == 0, "column {} of {:?}", column, counts);
            }
            for (cell, (before, after)) in cells.iter().zip(primary.iter().zip(&hidden)) {
                prop_assert!(*after || !before, "what was hidden stays hidden");
                prop_assert!(cell.count > 0 || !after, "zeros are shown");
            }
        }
    }
}
