//! What somebody can work out who knows everything shown and how it adds up.
//!
//! All is said as the difference from the truth: an equation then says that differences make nothing
//! together, no difference solves them all, and a hidden count is told when it can have no other.

use super::{
    hidden::{Another, Effort, Hidden, Range, narrow, sign},
    table::Table,
};

/// A prime to eliminate by, so that no fraction and no overflow occurs.
const PRIME: i64 = (1 << 31) - 1;

/// Equations of more hidden counts than this are not solved together.
const NEAR: usize = 120;

/// What is tried first for a hidden count, and what is where that finds no other table. Most have one close by.
const QUICK: [Effort; 2] = [Effort(12, 40), Effort(40, 150)];
const THOROUGH: [Effort; 1] = [Effort(NEAR, 60)];

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
    let mut attack = Attack::on(table, hidden);
    let mut told = vec![false; table.cells.len()];
    for mut group in attack.groups() {
        // More cannot be searched through.
        if group.unknowns.len() <= NEAR {
            attack.search(&mut group, &|_| true);
        } else {
            group.narrow();
        }
        for unknown in group.unknowns.iter().filter(|it| it.is_told) {
            if let Some(cell) = unknown.cell {
                told[cell] = table.cells[cell].count > 0;
            }
        }
    }
    told
}

/// An attack on a table of which more and more is hidden.
pub(super) struct Attack<'a> {
    hidden: Hidden<'a>,
    /// Another table is known in which it is different. It looks the same, too, when more is hidden.
    is_safe: Vec<bool>,
}

impl<'a> Attack<'a> {
    /// Nothing is known yet.
    pub(super) fn on(table: &'a Table, hidden: &[bool]) -> Self {
        Self {
            hidden: Hidden::of(table, hidden),
            is_safe: vec![false; table.cells.len()],
        }
    }

    /// Which counts are hidden.
    pub(super) fn hidden(&self) -> &[bool] {
        self.hidden.is_hidden()
    }

    /// Hides one more.
    pub(super) fn hide(&mut self, cell: usize) {
        self.hidden.hide(cell);
    }

    /// The hidden counts for which no other table was found, in doubt one too many; the others are safe, and that is certain. Those
    /// that are not `asked` for are left out.
    pub(super) fn told(&mut self, asked: impl Fn(usize) -> bool) -> Vec<usize> {
        self.open(asked, Self::search)
    }

    /// Those for which none was found close by, [told](Self::told) among them.
    pub(super) fn suspected(&mut self, asked: impl Fn(usize) -> bool) -> Vec<usize> {
        self.open(asked, Self::search_nearby)
    }

    fn open<A: Fn(usize) -> bool>(
        &mut self,
        asked: A,
        search: impl Fn(&mut Self, &mut Group, &A),
    ) -> Vec<usize> {
        let mut open = Vec::new();
        for mut group in self.groups() {
            if self.is_open(&group, &asked) {
                search(self, &mut group, &asked);
            }
            let cells = group.unknowns.iter().filter_map(|it| it.cell);
            open.extend(cells.filter(|it| self.is_wanted(*it, &asked)));
        }
        open
    }

    /// Whether another table is known in which a hidden count is different, or is found close by.
    pub(super) fn is_safe(&mut self, cell: usize) -> bool {
        self.guess(cell, &QUICK);
        self.is_safe[cell]
    }

    /// Looks for another table for each count of a group that is asked for, the cheapest ways first.
    fn search(&mut self, group: &mut Group, asked: &impl Fn(usize) -> bool) {
        self.search_nearby(group, asked);
        if self.is_open(group, asked) {
            group.eliminate();
            self.guess_all(group, asked, &THOROUGH);
        }
    }

    fn search_nearby(&mut self, group: &mut Group, asked: &impl Fn(usize) -> bool) {
        group.narrow();
        self.double(group);
        self.guess_all(group, asked, &QUICK);
    }

    /// Whether anybody wants to know if a count is safe.
    fn is_wanted(&self, cell: usize, asked: impl Fn(usize) -> bool) -> bool {
        asked(cell) && !self.is_safe[cell] && self.hidden.table().cells[cell].count > 0
    }

    /// Whether anybody wants to know more of a group.
    fn is_open(&self, group: &Group, asked: impl Fn(usize) -> bool) -> bool {
        let mut open = group.unknowns.iter().filter(|it| !it.is_told);
        open.any(|it| it.cell.is_some_and(|it| self.is_wanted(it, &asked)))
    }

    /// Where nothing but zeros is shown, everything could be twice what it is.
    fn double(&mut self, group: &Group) {
        let fits = |it: &Unknown| it.truth == 0 || it.range.high >= it.truth;
        if !group.is_anchored && group.unknowns.iter().all(fits) {
            let more = group.unknowns.iter().filter(|it| it.truth > 0);
            for cell in more.filter_map(|it| it.cell) {
                self.is_safe[cell] = true;
            }
        }
    }

    fn guess_all(&mut self, group: &mut Group, asked: impl Fn(usize) -> bool, efforts: &[Effort]) {
        for unknown in group.unknowns.iter_mut().filter(|it| !it.is_told) {
            if let Some(cell) = unknown.cell.filter(|it| self.is_wanted(*it, &asked)) {
                unknown.is_told = self.guess(cell, efforts);
            }
        }
    }

    /// Looks for another table in which a hidden count is different, with growing effort; whether there is none for certain.
    fn guess(&mut self, cell: usize, efforts: &[Effort]) -> bool {
        for effort in efforts {
            if self.is_safe[cell] {
                return false;
            }
            match self.hidden.another(cell, *effort) {
                Another::Differs(cells) => {
                    for cell in cells {
                        self.is_safe[cell] = true;
                    }
                }
                Another::Impossible => return true,
                Another::NotFound => {}
            }
        }
        false
    }

    /// The hidden counts of a table, in groups that do not touch each other.
    fn groups(&self) -> Vec<Group> {
        let (table, hidden) = (self.hidden.table(), self.hidden.is_hidden());
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
                range: self.hidden.range(at),
                is_told: false,
            });
        }
        for (at, line) in table.lines.iter().enumerate() {
            let secret = || line.members.iter().filter(|it| hidden[it.cell]);
            let group = secret().next().and_then(|it| group_of[it.cell]);
            let (Some(group), Some(excess)) = (group, self.hidden.excess(at)) else {
                continue;
            };
            let group = &mut groups[group];
            let is_elsewhere = line.members.iter().all(|it| !it.is_total);
            group.is_anchored |= is_elsewhere
                || line
                    .members
                    .iter()
                    .any(|it| !hidden[it.cell] && table.cells[it.cell].count != 0);
            let mut terms: Vec<(usize, i64)> = secret()
                .map(|it| (place[it.cell], sign(it.is_total)))
                .collect();
            if excess != 0 {
                terms.push((group.unknowns.len(), -excess.signum()));
                group.unknowns.push(Unknown {
                    cell: None,
                    truth: excess.abs(),
                    range: self.hidden.range_of_excess(at),
                    is_told: false,
                });
            }
            group.equations.push(terms);
        }
        groups
    }
}

/// A hidden count.
struct Unknown {
    /// Which; none for what a line does not add up by.
    cell: Option<usize>,
    truth: i64,
    range: Range,
    /// Whether it can be no other for certain.
    is_told: bool,
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
}

fn find(leader: &mut [usize], mut at: usize) -> usize {
    while leader[at] != at {
        leader[at] = leader[leader[at]];
        at = leader[at];
    }
    at
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

#[cfg(test)]
mod tests;
