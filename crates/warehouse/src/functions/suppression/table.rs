//! Counts and the totals they add up to, as closing and attack see them.

use std::collections::BTreeMap;

/// Counts that are published side by side, and their lines.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The counts.
    pub(super) cells: Vec<Cell>,
    /// The totals with their parts.
    pub(super) lines: Vec<Line>,
}

/// One count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// What it is.
    pub(super) count: i64,
    /// The smallest it can be where it is hidden, as far as anybody can tell.
    pub(super) least: i64,
    /// The largest; `None` is no limit.
    pub(super) most: Option<i64>,
    /// Its place by name, which breaks ties.
    pub(super) position: i64,
}

/// A count that stands in a line, as given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The line's number, negative where the count is its total.
    pub(super) line: i64,
    /// How late it is chosen there.
    pub(super) priority: i64,
}

/// A total with its parts. Where none is the total, that stands elsewhere.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Its counts.
    pub(super) members: Vec<Member>,
}

/// A count in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Which.
    pub(super) cell: usize,
    /// Whether it is the total of the others.
    pub(super) is_total: bool,
    /// How late it is chosen there.
    pub(super) priority: i64,
}

/// Two counts of a line are both marked as its total.
#[derive(Debug)]
pub(super) struct TwoTotals {
    /// The line.
    pub(super) line: u64,
}

impl Table {
    /// The table of `cells`, each with the lines it stands in.
    pub(super) fn new(cells: Vec<(Cell, Vec<Standing>)>) -> Result<Self, TwoTotals> {
        let mut lines: BTreeMap<u64, Vec<Member>> = BTreeMap::new();
        for (at, (_, standings)) in cells.iter().enumerate() {
            for it in standings {
                let members = lines.entry(it.line.unsigned_abs()).or_default();
                if members.last().is_some_and(|last| last.cell == at) {
                    continue;
                }
                members.push(Member {
                    cell: at,
                    is_total: it.line < 0,
                    priority: it.priority,
                });
            }
        }
        let two = |members: &Vec<Member>| members.iter().filter(|it| it.is_total).count() > 1;
        if let Some((line, _)) = lines.iter().find(|it| two(it.1)) {
            return Err(TwoTotals { line: *line });
        }
        Ok(Self {
            cells: cells.into_iter().map(|it| it.0).collect(),
            lines: lines
                .into_values()
                .map(|members| Line { members })
                .collect(),
        })
    }
}
