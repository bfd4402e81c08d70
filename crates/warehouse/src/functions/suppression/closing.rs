//! Hiding more until nobody can work out what is hidden.

use std::collections::BTreeSet;

use super::{
    attack::Attack,
    table::{Line, Member, Table},
};

/// Hides more of the counts until no line gives one away and no attack succeeds. Those that are `fixed`
/// are known whatever is done.
///
/// A line gives a number away when exactly one of its counts is hidden, or several that are all as small as they
/// can be; then the shown one with the lowest priority goes too. Where lines only together tell a number, the lowest one in its
/// lines goes, or failing that in the lines of those it is connected with. Where every total is in the table that is enough:
/// where all else is hidden, everything could be twice as large. Where a total stands elsewhere, the zeros of its lines go in the end, so
/// that nobody can tell which counts they are; and what such totals tell all the same stays told.
pub(super) fn close(table: &Table, fixed: &[bool], hidden: &mut [bool]) {
    let mut closing = Closing::of(table, fixed, hidden);
    let alone = closing.beside_alone(0..table.lines.len());
    closing.hide(alone);
    let everything: Vec<bool> = (0..hidden.len())
        .map(|at| hidden[at] || !fixed[at])
        .collect();
    let mut at_most = Attack::on(table, &everything);
    // What totals elsewhere tell however much is hidden here is no reason to hide it all.
    let mut hopeless = vec![false; hidden.len()];
    let mut is_looked_at = vec![false; hidden.len()];
    loop {
        let mut is_new = vec![false; hidden.len()];
        for at in closing.attack.suspected(|at| !hopeless[at]) {
            is_new[at] = !std::mem::replace(&mut is_looked_at[at], true);
        }
        for at in at_most.told(|at| is_new[at]) {
            hopeless[at] = true;
        }
        let mut told = closing.attack.told(|at| !hopeless[at]);
        told.sort_unstable_by_key(|at| (table.cells[*at].position, *at));
        let mut is_closed = true;
        for at in told {
            // What was hidden for another may be enough for this one.
            while !closing.attack.is_safe(at) {
                let next = closing.next(at);
                if next.is_empty() {
                    break;
                }
                is_closed = false;
                closing.hide(next);
            }
        }
        if is_closed {
            hidden.copy_from_slice(closing.attack.hidden());
            return;
        }
    }
}

/// A table that is being closed.
struct Closing<'a> {
    table: &'a Table,
    fixed: &'a [bool],
    attack: Attack<'a>,
    /// Every line with what can be hidden of it, in the order that is chosen in.
    lines: Vec<Vec<Member>>,
    /// By line, how many of its first ones are hidden, at least.
    begun: Vec<usize>,
    /// By count, the lines it can be hidden in.
    lines_of: Vec<Vec<usize>>,
    /// By line, whether all that is connected with it is hidden. What is hidden stays so.
    is_spent: Vec<bool>,
}

impl<'a> Closing<'a> {
    fn of(table: &'a Table, fixed: &'a [bool], hidden: &[bool]) -> Self {
        let can_be_hidden = |it: &&Member| !fixed[it.cell] && table.cells[it.cell].count > 0;
        let mut lines_of: Vec<Vec<usize>> = vec![Vec::new(); table.cells.len()];
        let mut lines: Vec<Vec<Member>> = Vec::with_capacity(table.lines.len());
        for (at, Line { members }) in table.lines.iter().enumerate() {
            let mut line: Vec<Member> = members.iter().filter(can_be_hidden).copied().collect();
            line.sort_unstable_by_key(|it| order(table, it));
            for it in &line {
                lines_of[it.cell].push(at);
            }
            lines.push(line);
        }
        Self {
            table,
            fixed,
            attack: Attack::on(table, hidden),
            begun: vec![0; lines.len()],
            is_spent: vec![false; lines.len()],
            lines,
            lines_of,
        }
    }

    /// Hides counts, and more where lines then give numbers away by themselves.
    fn hide(&mut self, cells: Vec<usize>) {
        let mut chosen = cells;
        while !chosen.is_empty() {
            let mut lines = BTreeSet::new();
            for cell in chosen {
                self.attack.hide(cell);
                lines.extend(self.lines_of[cell].iter().copied());
            }
            chosen = self.beside_alone(lines);
        }
    }

    /// What to hide next in `lines` that each give a number away by themselves. All are asked before anything is hidden: one count may be
    /// enough for two that cross.
    fn beside_alone(&mut self, lines: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let lines: Vec<usize> = lines
            .into_iter()
            .filter(|it| self.tells_alone(*it))
            .collect();
        let next = lines.into_iter().filter_map(|it| self.shown(it));
        next.map(|it| it.cell).collect()
    }

    /// Whether a line gives a number away by itself.
    fn tells_alone(&self, line: usize) -> bool {
        let (cells, hidden) = (&self.table.cells, self.attack.hidden());
        let members = self.table.lines[line].members.iter();
        let secret = members.filter(|it| hidden[it.cell]);
        let secret = || secret.clone().map(|it| &cells[it.cell]);
        // Beside a hidden zero each could be one.
        let slack: i64 = secret().map(|it| it.count - it.least.min(it.count)).sum();
        let is_clouded = secret().any(|it| it.count == 0);
        match secret().filter(|it| it.count > 0).count() {
            0 => false,
            1 => true,
            _ => slack == 0 && !is_clouded,
        }
    }

    /// What to hide next so that a count is no longer told; nothing where all is hidden.
    fn next(&mut self, at: usize) -> Vec<usize> {
        if let Some(next) = self.nearest(at) {
            return vec![next];
        }
        let lines = self.lines_of[at].iter().map(|it| &self.table.lines[*it]);
        let beside = lines.flat_map(|it| &it.members).map(|it| it.cell);
        let zeros = beside.filter(|it| self.table.cells[*it].count == 0);
        zeros
            .filter(|it| !self.fixed[*it] && !self.attack.hidden()[*it])
            .collect()
    }

    /// The shown count that comes first in the lines of `at`, or of those connected with it by the fewest lines.
    fn nearest(&mut self, at: usize) -> Option<usize> {
        if self.lines_of[at].iter().any(|it| self.is_spent[*it]) {
            return None;
        }
        let mut is_seen = vec![false; self.lines.len()];
        let mut is_reached = vec![false; self.lines_of.len()];
        let mut reached = vec![at];
        while !reached.is_empty() {
            let lines = reached.iter().flat_map(|at| &self.lines_of[*at]);
            let touched = lines.filter(|it| !std::mem::replace(&mut is_seen[**it], true));
            let touched: Vec<usize> = touched.copied().collect();
            let shown: Vec<Member> = touched.iter().filter_map(|it| self.shown(*it)).collect();
            if let Some(next) = shown.into_iter().min_by_key(|it| order(self.table, it)) {
                return Some(next.cell);
            }
            let members = touched.iter().flat_map(|line| &self.lines[*line]);
            let cells = members.map(|it| it.cell);
            reached = cells
                .filter(|it| !std::mem::replace(&mut is_reached[*it], true))
                .collect();
        }
        for line in (0..is_seen.len()).filter(|it| is_seen[*it]) {
            self.is_spent[line] = true;
        }
        None
    }

    /// The first count of a line that is shown and can be hidden.
    fn shown(&mut self, line: usize) -> Option<Member> {
        let (members, begun) = (&self.lines[line], &mut self.begun[line]);
        let hidden = self.attack.hidden();
        *begun += members[*begun..]
            .iter()
            .take_while(|it| hidden[it.cell])
            .count();
        members.get(*begun).copied()
    }
}

/// In which order the counts of a line are hidden.
fn order(table: &Table, member: &Member) -> (i64, i64, usize) {
    (
        member.priority,
        table.cells[member.cell].position,
        member.cell,
    )
}
