//! `suppressed_across` and `recoverable`: hidden counts that stand in several totals at once, closed and attacked.

use std::ops::Range;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray},
    datatypes::ArrowNativeType,
};
use datafusion::{
    common::{
        cast::{as_boolean_array, as_int64_array, as_list_array},
        exec_datafusion_err, exec_err,
    },
    error::Result,
};

use super::{
    super::{
        scalar::{Kind, at},
        window::Windowed,
    },
    attack, closing,
    table::{Cell, Standing, Table},
};

pub(super) const SUPPRESSED_ACROSS: Windowed = Windowed {
    name: "suppressed_across",
    arguments: &[
        (
            "hidden",
            Kind::Bool,
            "whether the count is hidden already; null where it is known whatever is done, as one shown in an \
             earlier release is, so that hiding it is no use",
        ),
        (
            "count",
            Kind::Int,
            "the count; zero is chosen last, where a total shown elsewhere leaves nothing else",
        ),
        (
            "least",
            Kind::Int,
            "the smallest it can be, as far as anybody can tell from what is shown; 1 where nothing tells more",
        ),
        (
            "lines",
            Kind::Ints,
            "the numbers of the totals it stands in: a number where it is a part, the same with a minus where it is \
             the total itself (where no count of a line has a minus, its total is taken to be shown elsewhere, unless it \
             is 1 to 4); null entries are none",
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
          no line gives a number away. Then all lines are attacked together, as recoverable does: while a hidden count \
          can be told, the shown one with the lowest priority in its lines is hidden, and the next is looked at with what is hidden by then. \
          Source: indicators, small cells; domain report D4 (secondary suppression).",
    example: "suppressed_across(hidden, n, 1, [row, case when part = 'all' then -col else col end], [n, n], position) over (partition by period, offer_id)",
    eval: suppressed_across,
};

pub(super) const RECOVERABLE: Windowed = Windowed {
    name: "recoverable",
    arguments: &[
        ("hidden", Kind::Bool, "whether the count is not shown"),
        ("count", Kind::Int, "the count; null is in no line"),
        (
            "least",
            Kind::Int,
            "the smallest it can be where it is hidden, as far as anybody can tell; 1 where zeros are shown",
        ),
        (
            "most",
            Kind::Int,
            "the largest it can be where it is hidden, such as 4 where only small counts are; null is no limit",
        ),
        (
            "lines",
            Kind::Ints,
            "the numbers of the totals it stands in, as for suppressed_across",
        ),
    ],
    doc: "WINDOW. Whether a hidden count can be worked out by somebody who knows every shown count of the partition, that \
          counts are whole and within their bounds, and that every line adds up, whatever several lines tell together. \
          True is said where no other table looks the same, for certain. Where none was found with bounded effort this says false, \
          and suppressed_across has hidden more. Zeros could be shown and are never recoverable. A line whose counts do \
          not add up, because somebody is counted in two parts, only bounds its total. Bounds follow from lines, so least need not \
          repeat them. Source: domain report D4 (verification of secondary suppression).",
    example: "recoverable(hidden, n, 1, null, [row, case when part = 'all' then -col else col end]) over (partition by period, offer_id)",
    eval: recoverable,
};

fn suppressed_across(values: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
    let given = as_boolean_array(values[0].as_ref())?;
    let columns = Columns {
        function: "suppressed_across",
        counts: as_int64_array(values[1].as_ref())?,
        least: as_int64_array(values[2].as_ref())?,
        most: None,
        lines: Lists::of(&values[3])?,
        priorities: Some(Lists::of(&values[4])?),
        positions: Some(as_int64_array(values[5].as_ref())?),
    };
    let order = columns.order(given, rows)?;
    let mut hidden = truths(given, &order);
    let is_fixed: Vec<bool> = order.iter().map(|row| given.is_null(*row)).collect();
    closing::close(&columns.table(&order)?, &is_fixed, &mut hidden);
    Ok(in_rows(&order, &hidden))
}

fn recoverable(values: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
    let columns = Columns {
        function: "recoverable",
        counts: as_int64_array(values[1].as_ref())?,
        least: as_int64_array(values[2].as_ref())?,
        most: Some(as_int64_array(values[3].as_ref())?),
        lines: Lists::of(&values[4])?,
        priorities: None,
        positions: None,
    };
    let given = as_boolean_array(values[0].as_ref())?;
    let order = columns.order(given, rows)?;
    let hidden = truths(given, &order);
    Ok(in_rows(
        &order,
        &attack::proven(&columns.table(&order)?, &hidden),
    ))
}

fn truths(values: &BooleanArray, order: &[usize]) -> Vec<bool> {
    let rows = order.iter();
    rows.map(|row| at(values, *row) == Some(true)).collect()
}

/// Answers that are given in an `order` of the rows, row by row.
fn in_rows(order: &[usize], answers: &[bool]) -> Vec<bool> {
    let mut by_row = vec![false; order.len()];
    for (row, answer) in order.iter().zip(answers) {
        by_row[*row] = *answer;
    }
    by_row
}

/// What a table is read from.
struct Columns<'a> {
    function: &'static str,
    counts: &'a Int64Array,
    least: &'a Int64Array,
    most: Option<&'a Int64Array>,
    lines: Lists<'a>,
    priorities: Option<Lists<'a>>,
    positions: Option<&'a Int64Array>,
}

impl Columns<'_> {
    /// The rows in an order that hangs on nothing but what is in them: the engine gives them in any, and what is chosen and found
    /// hangs on who comes first.
    fn order(&self, hidden: &BooleanArray, rows: usize) -> Result<Vec<usize>> {
        let mut keys = Vec::with_capacity(rows);
        for row in 0..rows {
            let standings = self.standings(row)?.into_iter();
            let lines: Vec<(i64, i64)> = standings.map(|it| (it.line, it.priority)).collect();
            let position = self.positions.and_then(|it| at(it, row));
            let bounds = (at(self.least, row), self.most.and_then(|it| at(it, row)));
            let key = (
                position,
                lines,
                at(self.counts, row),
                bounds,
                at(hidden, row),
            );
            keys.push((key, row));
        }
        keys.sort_unstable();
        Ok(keys.into_iter().map(|(_, row)| row).collect())
    }

    fn table(&self, order: &[usize]) -> Result<Table> {
        let mut cells = Vec::with_capacity(order.len());
        for row in order.iter().copied() {
            let count = at(self.counts, row);
            let cell = Cell {
                count: count.unwrap_or_default(),
                least: at(self.least, row).unwrap_or(1),
                most: self.most.and_then(|it| at(it, row)),
                position: self
                    .positions
                    .and_then(|it| at(it, row))
                    .unwrap_or_default(),
            };
            let standings = match count {
                Some(_) => self.standings(row)?,
                None => Vec::new(),
            };
            cells.push((cell, standings));
        }
        Table::new(cells).map_err(|two| {
            exec_datafusion_err!(
                "{}: two totals in line {}; give each total a line of its own",
                self.function,
                two.line
            )
        })
    }

    fn standings(&self, row: usize) -> Result<Vec<Standing>> {
        let Some(lines) = self.lines.at(row) else {
            return Ok(Vec::new());
        };
        let given = self.priorities.as_ref();
        let priorities = given.and_then(|it| Some((it, it.at(row)?)));
        if let Some((_, priorities)) = &priorities
            && lines.len() != priorities.len()
        {
            return exec_err!(
                "{}: {} lines with {} priorities",
                self.function,
                lines.len(),
                priorities.len()
            );
        }
        let standings = lines.enumerate().filter_map(|(place, line)| {
            let priority = priorities.as_ref();
            let priority = priority.and_then(|(all, of_row)| at(all.values, of_row.start + place));
            Some(Standing {
                line: at(self.lines.values, line)?,
                priority: priority.unwrap_or_default(),
            })
        });
        Ok(standings.collect())
    }
}

/// A column of lists, read in place: rows are many, and a list is short.
struct Lists<'a> {
    list: &'a ListArray,
    values: &'a Int64Array,
}

impl<'a> Lists<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self> {
        let list = as_list_array(column.as_ref())?;
        let values = as_int64_array(list.values().as_ref())?;
        Ok(Self { list, values })
    }

    /// Where the values of a row's list are; `None` where there is no list.
    fn at(&self, row: usize) -> Option<Range<usize>> {
        if self.list.is_null(row) {
            return None;
        }
        let ends = self.list.value_offsets();
        Some(ends[row].as_usize()..ends[row + 1].as_usize())
    }
}

#[cfg(test)]
mod tests;
