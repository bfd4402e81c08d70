//! What somebody can work out who knows everything shown and how it adds up.
//!
//! All is said as the difference from the truth: an equation then says that differences make nothing
//! together, no difference solves them all, and a hidden count is told when it can have no other.

use std::collections::{BTreeSet, HashMap};

use super::{is_small, table::Table};

/// Beyond every count: a bound there is none.
const NONE: i64 = 1 << 40;

/// A prime to eliminate by, so that no fraction and no overflow occurs.
const PRIME: i64 = (1 << 31) - 1;

/// How many hidden counts are changed together at most. More are never needed in practice, and so the effort stays in
/// proportion to the size of a table.
const NEAR: usize = 120;

/// How many are changed together at first and then, where that finds no other table, and how many guesses are made then for one
/// hidden count in one direction. Most have one close by.
const EFFORTS: [(usize, u32); 3] = [(12, 40), (40, 150), (NEAR, 500)];

/// How often bounds are narrowed by all equations of a group before guessing begins.
const ROUNDS: usize = 64;

/// Which hidden counts can have no other value than they have, given all shown ones, that counts are
/// whole and within their bounds, and that every line adds up. Only what is proven is said: where no other table was found with
/// bounded effort the answer is no.
///
/// A zero is never told, it could be shown.
/// A line that does not add up, because somebody is counted in two of its parts, only bounds: by how much it
/// does not is unknown, but not in which direction.
pub(super) fn proven(table: &Table, hidden: &[bool]) -> Vec<bool> {
    let mut told = vec![false; table.cells.len()];
    for mut group in groups(table, hidden) {
        group.narrow();
        // More cannot be searched through.
        if group.unknowns.len() <= NEAR {
            group.search();
        }
        for unknown in &group.unknowns {
            if let Some(cell) = unknown.cell {
                told[cell] = unknown.is_told && table.cells[cell].count > 0;
            }
        }
    }
    told
}

/// What is known of the hidden counts of a table, while more and more of them are hidden.
pub(super) struct Known {
    /// Another table is known in which it is different. It looks the same, too, when more is hidden.
    is_safe: Vec<bool>,
}

impl Known {
    /// Nothing yet.
    pub(super) fn of(table: &Table) -> Self {
        Self {
            is_safe: vec![false; table.cells.len()],
        }
    }

    /// The hidden counts for which no other table was found, in doubt one too many; the others are safe, and that is certain. Those
    /// that are not `asked` for are left out.
    pub(super) fn told(
        &mut self,
        table: &Table,
        hidden: &[bool],
        asked: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let mut told = Vec::new();
        for mut group in groups(table, hidden) {
            let mut is_open = false;
            for unknown in &mut group.unknowns {
                let Some(cell) = unknown.cell else { continue };
                unknown.is_safe = self.is_safe[cell];
                unknown.is_asked = asked(cell) && table.cells[cell].count > 0;
                is_open |= unknown.is_asked && !unknown.is_safe;
            }
            if !is_open {
                continue;
            }
            group.narrow();
            group.search();
            for unknown in &group.unknowns {
                let Some(cell) = unknown.cell else { continue };
                self.is_safe[cell] |= unknown.is_safe;
                if unknown.is_asked && !unknown.is_safe {
                    told.push(cell);
                }
            }
        }
        told
    }
}

/// A hidden count.
struct Unknown {
    /// Which; none for what a line does not add up by.
    cell: Option<usize>,
    truth: i64,
    range: Range,
    equations: Vec<usize>,
    /// Whether anybody wants to know.
    is_asked: bool,
    /// Whether another table is known in which it is different.
    is_safe: bool,
    /// Whether there is none.
    is_told: bool,
}

impl Unknown {
    /// Whether it is asked for, and neither told nor safe.
    fn is_open(&self) -> bool {
        self.is_asked && !self.is_told && !self.is_safe
    }
}

/// How far a hidden count can be from the truth, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    low: i64,
    high: i64,
}

impl Range {
    const ZERO: Self = Self { low: 0, high: 0 };

    fn nearest_to_truth(self) -> i64 {
        0.clamp(self.low, self.high)
    }
}

/// Hidden counts that equations connect.
#[derive(Default)]
struct Group {
    unknowns: Vec<Unknown>,
    /// Unknowns with their signs, which make nothing together.
    equations: Vec<Vec<(usize, i64)>>,
    /// Whether a count that is shown and not zero stands in one of its lines.
    is_anchored: bool,
}

/// The hidden counts of a table, in groups that do not touch each other.
fn groups(table: &Table, hidden: &[bool]) -> Vec<Group> {
    let mut leader: Vec<usize> = (0..table.cells.len()).collect();
    for line in &table.lines {
        let mut secret = line.members.iter().filter(|it| hidden[it.cell]);
        if let Some(first) = secret.next() {
            let first = find(&mut leader, first.cell);
            for it in secret {
                let other = find(&mut leader, it.cell);
                leader[other] = first;
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: Vec<Option<usize>> = vec![None; table.cells.len()];
    let mut place: Vec<usize> = vec![0; table.cells.len()];
    for (at, cell) in table.cells.iter().enumerate().filter(|it| hidden[it.0]) {
        let leader = find(&mut leader, at);
        let group = *group_of[leader].get_or_insert_with(|| {
            groups.push(Group::default());
            groups.len() - 1
        });
        group_of[at] = Some(group);
        let unknowns = &mut groups[group].unknowns;
        place[at] = unknowns.len();
        unknowns.push(Unknown {
            cell: Some(at),
            truth: cell.count,
            range: Range {
                low: cell.least.min(cell.count) - cell.count,
                high: cell.most.map_or(NONE, |it| it.max(cell.count) - cell.count),
            },
            equations: Vec::new(),
            is_asked: cell.count > 0,
            is_safe: false,
            is_told: false,
        });
    }
    for line in table.lines.iter().filter(|it| it.members.len() > 1) {
        let secret = || line.members.iter().filter(|it| hidden[it.cell]);
        let Some(group) = secret().next().and_then(|it| group_of[it.cell]) else {
            continue;
        };
        let group = &mut groups[group];
        let sign = |is_total: bool| if is_total { -1 } else { 1 };
        let sum: i64 = line
            .members
            .iter()
            .map(|it| sign(it.is_total) * table.cells[it.cell].count)
            .sum();
        // A total that stands elsewhere is known, unless it is too small to be shown there.
        let is_elsewhere = line.members.iter().all(|it| !it.is_total);
        if is_elsewhere && is_small(sum) {
            continue;
        }
        let excess = if is_elsewhere { 0 } else { sum };
        group.is_anchored |= is_elsewhere
            || line
                .members
                .iter()
                .any(|it| !hidden[it.cell] && table.cells[it.cell].count != 0);
        let mut terms: Vec<(usize, i64)> = secret()
            .map(|it| (place[it.cell], sign(it.is_total)))
            .collect();
        // Where a zero is hidden nobody can tell which of the hidden counts it is.
        if secret().any(|it| table.cells[it.cell].count == 0) {
            for (unknown, _) in &terms {
                let unknown = &mut group.unknowns[*unknown];
                unknown.range.low = -unknown.truth;
            }
        }
        if excess != 0 {
            terms.push((group.unknowns.len(), -excess.signum()));
            group.unknowns.push(Unknown {
                cell: None,
                truth: excess.abs(),
                range: Range {
                    low: -excess.abs(),
                    high: NONE,
                },
                equations: Vec::new(),
                is_asked: false,
                is_safe: false,
                is_told: false,
            });
        }
        for (unknown, _) in &terms {
            let equation = group.equations.len();
            group.unknowns[*unknown].equations.push(equation);
        }
        group.equations.push(terms);
    }
    groups
}

fn find(leader: &mut [usize], mut at: usize) -> usize {
    while leader[at] != at {
        leader[at] = leader[leader[at]];
        at = leader[at];
    }
    at
}

impl Group {
    /// Narrows what is possible for each by what is possible for the others of its lines.
    fn narrow(&mut self) {
        let mut ranges: Vec<Range> = self.unknowns.iter().map(|it| it.range).collect();
        for _ in 0..ROUNDS {
            let mut is_narrower = false;
            for equation in &self.equations {
                // The truth is always possible, so nothing can contradict itself here.
                is_narrower |= narrow(equation, &mut ranges, |_| {}).unwrap_or_default();
            }
            if !is_narrower {
                break;
            }
        }
        for (unknown, range) in self.unknowns.iter_mut().zip(ranges) {
            unknown.range = range;
            unknown.is_told |= range == Range::ZERO;
        }
    }

    /// Finds those that the equations alone determine: in the reduced form they stand by themselves.
    fn eliminate(&mut self) {
        let columns = self.unknowns.len();
        if columns > NEAR {
            return;
        }
        let mut rows: Vec<Vec<i64>> = Vec::with_capacity(self.equations.len());
        for equation in &self.equations {
            let mut row = vec![0; columns];
            for (unknown, sign) in equation {
                row[*unknown] = sign.rem_euclid(PRIME);
            }
            rows.push(row);
        }
        let mut done = 0;
        for column in 0..columns {
            let Some(pivot) = (done..rows.len()).find(|row| rows[*row][column] != 0) else {
                continue;
            };
            rows.swap(done, pivot);
            let inverse = inverse(rows[done][column]);
            for value in &mut rows[done] {
                *value = *value * inverse % PRIME;
            }
            let (pivot, others) = {
                let (before, rest) = rows.split_at_mut(done);
                let Some((pivot, after)) = rest.split_first_mut() else {
                    return;
                };
                (pivot, before.iter_mut().chain(after))
            };
            for row in others {
                let factor = row[column];
                if factor == 0 {
                    continue;
                }
                for (value, of_pivot) in row.iter_mut().zip(pivot.iter()) {
                    *value = (*value - factor * of_pivot % PRIME).rem_euclid(PRIME);
                }
            }
            done += 1;
        }
        for row in rows.iter().take(done) {
            let mut others = (0..columns).filter(|column| row[*column] != 0);
            if let (Some(alone), None) = (others.next(), others.next()) {
                self.unknowns[alone].is_told = true;
            }
        }
    }

    /// Where nothing but zeros is shown, everything could be twice what it is.
    fn double(&mut self) {
        let fits = |it: &Unknown| it.truth == 0 || it.range.high >= it.truth;
        if !self.is_anchored && self.unknowns.iter().all(fits) {
            for unknown in self.unknowns.iter_mut().filter(|it| it.truth > 0) {
                unknown.is_safe = true;
            }
        }
    }

    /// Looks for another table for each that is asked for, the cheapest ways first.
    fn search(&mut self) {
        self.double();
        let (quick, thorough) = EFFORTS.split_at(1);
        self.guess(quick);
        if self.is_open() {
            self.eliminate();
            self.guess(thorough);
        }
    }

    fn is_open(&self) -> bool {
        self.unknowns.iter().any(Unknown::is_open)
    }

    /// Guesses with growing effort.
    fn guess(&mut self, efforts: &[(usize, u32)]) {
        for at in 0..self.unknowns.len() {
            for (count, guesses) in efforts {
                if !self.unknowns[at].is_open() {
                    break;
                }
                self.guess_near(at, *count, *guesses);
            }
        }
    }

    /// Looks for a table in which `at` is another, and so at most are `count`.
    fn guess_near(&mut self, at: usize, count: usize, guesses: u32) {
        let (members, near) = self.near(at, count);
        let mut is_searched_through = members.len() == self.unknowns.len();
        for is_more in [true, false] {
            let mut ranges: Vec<Range> =
                members.iter().map(|it| self.unknowns[*it].range).collect();
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
                for (member, difference) in members.into_iter().zip(other) {
                    self.unknowns[member].is_safe |= difference != 0;
                }
                return;
            }
            is_searched_through &= search.left > 0;
        }
        self.unknowns[at].is_told |= is_searched_through;
    }

    /// The unknowns that the fewest equations lie between and `at`, which comes first; all others stay as they are.
    fn near(&self, at: usize, count: usize) -> (Vec<usize>, Near) {
        let mut members = vec![at];
        let mut place: HashMap<usize, usize> = HashMap::from([(at, 0)]);
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        let mut next = 0;
        while let Some(member) = members.get(next).copied() {
            next += 1;
            // Those within still take part in all their equations.
            for equation in &self.unknowns[member].equations {
                if !seen.insert(*equation) {
                    continue;
                }
                for (unknown, _) in &self.equations[*equation] {
                    if members.len() < count && !place.contains_key(unknown) {
                        place.insert(*unknown, members.len());
                        members.push(*unknown);
                    }
                }
            }
        }
        let mut near = Near {
            equations: Vec::with_capacity(seen.len()),
            equations_of: vec![Vec::new(); members.len()],
        };
        for equation in seen {
            let terms = self.equations[equation].iter();
            let terms: Vec<(usize, i64)> = terms
                .filter_map(|(unknown, sign)| Some((*place.get(unknown)?, *sign)))
                .collect();
            for (member, _) in &terms {
                near.equations_of[*member].push(near.equations.len());
            }
            near.equations.push(terms);
        }
        (members, near)
    }
}

/// The number that makes one with `value`, by Fermat's little theorem.
fn inverse(value: i64) -> i64 {
    let (mut power, mut left, mut answer) = (value, PRIME - 2, 1);
    while left > 0 {
        if left & 1 == 1 {
            answer = answer * power % PRIME;
        }
        power = power * power % PRIME;
        left >>= 1;
    }
    answer
}

/// Narrows the ranges in an equation and tells whose it narrowed; `None` where nothing is left for one.
fn narrow(
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
    equations: Vec<Vec<(usize, i64)>>,
    equations_of: Vec<Vec<usize>>,
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
        // Two without bounds can drive each other upwards without end; guessing goes on from there.
        let mut left = ROUNDS * (self.near.equations.len() + 1);
        while let Some(equation) = waiting.pop() {
            if left == 0 {
                return Some(());
            }
            left -= 1;
            narrow(&self.near.equations[equation], ranges, |unknown| {
                for other in &self.near.equations_of[unknown] {
                    if *other != equation && !waiting.contains(other) {
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

#[cfg(test)]
mod tests;
