//! A table of which more and more is hidden, and the search for another one that looks the same.

use super::{is_small, table::Table};

/// Beyond every count: a bound there is none.
const NONE: i64 = 1 << 40;

/// How often an equation is looked at, on average, before guessing goes on.
const ROUNDS: usize = 64;

/// How many hidden counts are changed together at most, and how many guesses are made in one direction. More than a hundred counts are
/// never needed in practice, and so the effort stays in proportion to the size of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort(pub(super) usize, pub(super) u32);

/// Whether another table looks the same and has another count in a place.
pub(super) enum Another {
    /// It does; these hidden counts are different there.
    Differs(Vec<usize>),
    /// There is none for certain.
    Impossible,
    /// None was found with the effort made.
    NotFound,
}

/// A table, and what of it is hidden.
pub(super) struct Hidden<'a> {
    table: &'a Table,
    is_hidden: Vec<bool>,
    /// By count, the lines that tell something of it.
    lines_of: Vec<Vec<usize>>,
    /// By line, what its parts make above its total; none where it tells nothing.
    excess: Vec<Option<i64>>,
    /// By line, whether a zero is hidden in it.
    is_clouded: Vec<bool>,
    /// By count, and after them by line for what it does not add up by: its place among those that are tried.
    place: Vec<Option<usize>>,
    /// By line, whether those that are tried stand in it.
    is_seen: Vec<bool>,
}

impl<'a> Hidden<'a> {
    /// What is `hidden` of a table.
    pub(super) fn of(table: &'a Table, hidden: &[bool]) -> Self {
        let (cells, lines) = (table.cells.len(), table.lines.len());
        let mut it = Self {
            table,
            is_hidden: vec![false; cells],
            lines_of: vec![Vec::new(); cells],
            excess: Vec::with_capacity(lines),
            is_clouded: vec![false; lines],
            place: vec![None; cells + lines],
            is_seen: vec![false; lines],
        };
        for (at, line) in table.lines.iter().enumerate() {
            let parts = line.members.iter();
            let sum: i64 = parts
                .map(|it| sign(it.is_total) * table.cells[it.cell].count)
                .sum();
            let is_elsewhere = line.members.iter().all(|it| !it.is_total);
            let excess = match line.members.len() {
                0 | 1 => None,
                // A total that stands elsewhere is known, unless it is too small to be shown there.
                _ if is_elsewhere => (!is_small(sum)).then_some(0),
                _ => Some(sum),
            };
            it.excess.push(excess);
            if excess.is_some() {
                for member in &line.members {
                    it.lines_of[member.cell].push(at);
                }
            }
        }
        for cell in (0..cells).filter(|cell| hidden[*cell]) {
            it.hide(cell);
        }
        it
    }

    /// The table.
    pub(super) fn table(&self) -> &'a Table {
        self.table
    }

    /// Which counts are hidden.
    pub(super) fn is_hidden(&self) -> &[bool] {
        &self.is_hidden
    }

    /// By how much more than its total the parts of a line are, as somebody is counted twice; `None` where a line tells nothing.
    pub(super) fn excess(&self, line: usize) -> Option<i64> {
        self.excess[line]
    }

    /// Hides one more.
    pub(super) fn hide(&mut self, cell: usize) {
        self.is_hidden[cell] = true;
        if self.table.cells[cell].count == 0 {
            for line in &self.lines_of[cell] {
                self.is_clouded[*line] = true;
            }
        }
    }

    /// How far a hidden count can be from the truth.
    pub(super) fn range(&self, cell: usize) -> Range {
        // Where a zero is hidden nobody can tell which of the hidden counts it is.
        let is_clouded = self.lines_of[cell].iter().any(|it| self.is_clouded[*it]);
        let cell = &self.table.cells[cell];
        Range {
            low: if is_clouded {
                -cell.count
            } else {
                cell.least.min(cell.count) - cell.count
            },
            high: cell.most.map_or(NONE, |it| it.max(cell.count) - cell.count),
        }
    }

    /// How far what a line does not add up by can be from the truth.
    pub(super) fn range_of_excess(&self, line: usize) -> Range {
        Range {
            low: -self.excess[line].unwrap_or_default().abs(),
            high: NONE,
        }
    }

    /// Looks for another table that looks the same, in which `cell` is different.
    pub(super) fn another(&mut self, cell: usize, Effort(count, guesses): Effort) -> Another {
        let near = self.near(cell, count);
        let ranges: Vec<Range> = near
            .members
            .iter()
            .map(|it| match it.checked_sub(self.is_hidden.len()) {
                Some(line) => self.range_of_excess(line),
                None => self.range(*it),
            })
            .collect();
        let mut is_certain = near.is_all;
        for is_more in [true, false] {
            let mut ranges = ranges.clone();
            let range = &mut ranges[0];
            if is_more {
                range.low = range.low.max(1);
            } else {
                range.high = range.high.min(-1);
            }
            if range.low > range.high {
                continue;
            }
            let mut search = Search {
                near: &near,
                left: guesses,
            };
            if let Some(other) = search.other(ranges, &near.equations_of[0]) {
                let differs = near.members.iter().zip(other).filter(|it| it.1 != 0);
                let cells = differs.map(|it| *it.0);
                return Another::Differs(cells.filter(|it| *it < self.is_hidden.len()).collect());
            }
            is_certain &= search.left > 0;
        }
        if is_certain {
            Another::Impossible
        } else {
            Another::NotFound
        }
    }

    /// The unknowns that the fewest equations lie between and `cell`, which comes first; all others stay as they are.
    fn near(&mut self, cell: usize, count: usize) -> Near {
        let cells = self.is_hidden.len();
        let mut members = vec![cell];
        self.place[cell] = Some(0);
        let mut lines = Vec::new();
        let mut is_all = true;
        let mut next = 0;
        while let Some(member) = members.get(next).copied() {
            next += 1;
            // What a line does not add up by stands in no other. Those within still take part in all their equations.
            for line in self.lines_of.get(member).into_iter().flatten() {
                if std::mem::replace(&mut self.is_seen[*line], true) {
                    continue;
                }
                lines.push(*line);
                let secret = self.table.lines[*line].members.iter().map(|it| it.cell);
                let secret = secret.filter(|it| self.is_hidden[*it]);
                let excess = self.excess[*line].filter(|it| *it != 0);
                for unknown in secret.chain(excess.map(|_| cells + line)) {
                    if self.place[unknown].is_some() {
                        continue;
                    }
                    if members.len() == count {
                        is_all = false;
                        break;
                    }
                    self.place[unknown] = Some(members.len());
                    members.push(unknown);
                }
            }
        }
        let mut near = Near {
            equations: Vec::with_capacity(lines.len()),
            equations_of: vec![Vec::new(); members.len()],
            members,
            is_all,
        };
        for line in lines {
            self.is_seen[line] = false;
            let secret = self.table.lines[line].members.iter();
            let secret = secret.filter_map(|it| Some((self.place[it.cell]?, sign(it.is_total))));
            let excess = self.excess[line].unwrap_or_default();
            let excess = self.place[cells + line].map(|it| (it, -excess.signum()));
            let terms: Vec<(usize, i64)> = secret.chain(excess).collect();
            for (member, _) in &terms {
                near.equations_of[*member].push(near.equations.len());
            }
            near.equations.push(terms);
        }
        for member in &near.members {
            self.place[*member] = None;
        }
        near
    }
}

/// How a count stands in its line: the total against its parts.
pub(super) fn sign(is_total: bool) -> i64 {
    if is_total { -1 } else { 1 }
}

/// How far a hidden count can be from the truth, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Range {
    pub(super) const ZERO: Self = Self { low: 0, high: 0 };

    fn nearest_to_truth(self) -> i64 {
        0.clamp(self.low, self.high)
    }
}

/// Narrows the ranges in an equation and tells whose it narrowed; `None` where nothing is left for one.
pub(super) fn narrow(
    equation: &[(usize, i64)],
    ranges: &mut [Range],
    mut narrowed: impl FnMut(usize),
) -> Option<bool> {
    let ends = |range: Range, sign: i64| {
        if sign > 0 {
            (range.low, range.high)
        } else {
            (-range.high, -range.low)
        }
    };
    let (mut low, mut high) = (0, 0);
    for (unknown, sign) in equation {
        let (least, most) = ends(ranges[*unknown], *sign);
        low += least;
        high += most;
    }
    let mut is_narrower = false;
    for (unknown, sign) in equation {
        let range = &mut ranges[*unknown];
        let (least, most) = ends(*range, *sign);
        // What the others make together is made up for by this one. Where one of them has no bound, the
        // sum is beyond every count and says nothing.
        let new_least = Some(most - high).filter(|it| *it > -NONE / 2);
        let new_most = Some(least - low).filter(|it| *it < NONE / 2);
        let new_least = new_least.map_or(least, |it| it.max(least));
        let new_most = new_most.map_or(most, |it| it.min(most));
        let (new_low, new_high) = if *sign > 0 {
            (new_least, new_most)
        } else {
            (-new_most, -new_least)
        };
        if new_low > new_high {
            return None;
        }
        if (new_low, new_high) != (range.low, range.high) {
            low += new_least - least;
            high += new_most - most;
            *range = Range {
                low: new_low,
                high: new_high,
            };
            is_narrower = true;
            narrowed(*unknown);
        }
    }
    Some(is_narrower)
}

/// Unknowns that are tried together, with the equations among them.
struct Near {
    /// Counts, and after all counts lines for what they do not add up by.
    members: Vec<usize>,
    /// Places of members with their signs, which make nothing together.
    equations: Vec<Vec<(usize, i64)>>,
    equations_of: Vec<Vec<usize>>,
    /// Whether these are all that the first one hangs together with.
    is_all: bool,
}

/// The search for another table.
struct Search<'a> {
    near: &'a Near,
    left: u32,
}

impl Search<'_> {
    /// Differences from the truth, not all none, within `ranges`; `changed` are the equations to begin with.
    fn other(&mut self, mut ranges: Vec<Range>, changed: &[usize]) -> Option<Vec<i64>> {
        self.left = self.left.checked_sub(1)?;
        self.settle(&mut ranges, changed)?;
        let Some(Move {
            unknown,
            from,
            step,
            ..
        }) = self.mend(&ranges)?
        else {
            return Some(ranges.into_iter().map(Range::nearest_to_truth).collect());
        };
        let (near, far) = if step > 0 {
            let Range { low, high } = ranges[unknown];
            let to = (from + step).min(high);
            (Range { low: to, high }, Range { low, high: to - 1 })
        } else {
            let Range { low, high } = ranges[unknown];
            let to = (from + step).max(low);
            (Range { low, high: to }, Range { low: to + 1, high })
        };
        let touched = &self.near.equations_of[unknown];
        for choice in [near, far] {
            if choice.low <= choice.high {
                let mut ranges = ranges.clone();
                ranges[unknown] = choice;
                if let Some(found) = self.other(ranges, touched) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Narrows until nothing changes; `None` where nothing is possible.
    fn settle(&self, ranges: &mut [Range], changed: &[usize]) -> Option<()> {
        let mut waiting: Vec<usize> = changed.to_vec();
        let mut is_waiting = vec![false; self.near.equations.len()];
        for equation in changed {
            is_waiting[*equation] = true;
        }
        // Two without bounds can drive each other upwards without end; guessing goes on from there.
        let mut left = ROUNDS * (self.near.equations.len() + 1);
        while let Some(equation) = waiting.pop() {
            if left == 0 {
                return Some(());
            }
            left -= 1;
            is_waiting[equation] = false;
            narrow(&self.near.equations[equation], ranges, |unknown| {
                for other in &self.near.equations_of[unknown] {
                    if *other != equation && !std::mem::replace(&mut is_waiting[*other], true) {
                        waiting.push(*other);
                    }
                }
            })?;
        }
        Some(())
    }

    /// With everything as near to the truth as it can be: who should move so that an equation holds. `Some(None)` where
    /// all hold, `None` where one cannot.
    fn mend(&self, ranges: &[Range]) -> Option<Option<Move>> {
        let mut best: Option<(usize, Move)> = None;
        for equation in &self.near.equations {
            let excess: i64 = equation
                .iter()
                .map(|(unknown, sign)| sign * ranges[*unknown].nearest_to_truth())
                .sum();
            if excess == 0 {
                continue;
            }
            let ways = || {
                equation.iter().filter_map(|(unknown, sign)| {
                    let (range, step) = (ranges[*unknown], -excess * sign);
                    let from = range.nearest_to_truth();
                    let room = if step > 0 {
                        range.high - from
                    } else {
                        from - range.low
                    };
                    let way = Move {
                        unknown: *unknown,
                        from,
                        step,
                        is_short: room < step.abs(),
                    };
                    (room > 0).then_some(way)
                })
            };
            // Best is one that can take it all and stands in few other equations.
            let cost = |it: &Move| (it.is_short, self.near.equations_of[it.unknown].len());
            let choice = ways().min_by_key(cost)?;
            let ways = ways().count();
            if best.as_ref().is_none_or(|it| ways < it.0) {
                best = Some((ways, choice));
            }
        }
        Some(best.map(|it| it.1))
    }
}

/// A count that could be another, so that an equation holds.
struct Move {
    unknown: usize,
    from: i64,
    step: i64,
    /// Whether it cannot go all the way.
    is_short: bool,
}
