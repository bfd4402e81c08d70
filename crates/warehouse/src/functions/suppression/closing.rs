//! Hiding more until nobody can work out what is hidden.

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
    let chosen = |it: &&Member| !fixed[it.cell] && table.cells[it.cell].count > 0;
    let order = |it: &Member| (it.priority, table.cells[it.cell].position, it.cell);
    // Every line with its cells in the order they are chosen.
    let mut lines_of: Vec<Vec<usize>> = vec![Vec::new(); table.cells.len()];
    let mut lines: Vec<Vec<Member>> = Vec::with_capacity(table.lines.len());
    for (at, Line { members }) in table.lines.iter().enumerate() {
        let mut line: Vec<Member> = members.iter().filter(chosen).copied().collect();
        line.sort_unstable_by_key(order);
        for it in &line {
            lines_of[it.cell].push(at);
        }
        lines.push(line);
    }
    let everything: Vec<bool> = (0..hidden.len())
        .map(|at| hidden[at] || !fixed[at])
        .collect();
    let mut attack = Attack::on(table, hidden);
    let mut attack_at_most = Attack::on(table, &everything);
    for at in 0..lines.len() {
        hide_beside(at, &lines, &lines_of, &mut attack, table);
    }
    // What totals elsewhere tell however much is hidden here is no reason to hide it all.
    let mut hopeless = vec![false; hidden.len()];
    let mut is_looked_at = vec![false; hidden.len()];
    loop {
        let mut told = attack.told(|at| !hopeless[at]);
        let mut is_new = vec![false; hidden.len()];
        for at in &told {
            is_new[*at] = !std::mem::replace(&mut is_looked_at[*at], true);
        }
        for at in attack_at_most.told(|at| is_new[at]) {
            hopeless[at] = true;
        }
        told.retain(|at| !hopeless[*at]);
        told.sort_unstable_by_key(|at| (table.cells[*at].position, *at));
        let mut is_closed = true;
        for at in told {
            // What was hidden for another may be enough for this one.
            while !attack.is_safe(at) {
                let mut chosen: Vec<usize> = nearest(&lines, &lines_of, at, attack.hidden(), order)
                    .into_iter()
                    .collect();
                if chosen.is_empty() {
                    let beside = lines_of[at].iter().flat_map(|it| &table.lines[*it].members);
                    let zeros = beside
                        .map(|it| it.cell)
                        .filter(|it| table.cells[*it].count == 0);
                    chosen.extend(zeros.filter(|it| !fixed[*it] && !attack.hidden()[*it]));
                }
                if chosen.is_empty() {
                    break;
                }
                is_closed = false;
                for next in chosen {
                    attack.hide(next);
                    for line in &lines_of[next] {
                        hide_beside(*line, &lines, &lines_of, &mut attack, table);
                    }
                }
            }
        }
        if is_closed {
            hidden.copy_from_slice(attack.hidden());
            return;
        }
    }
}

/// Hides more where a line gives a number away by itself, and where that makes others do so.
fn hide_beside(
    line: usize,
    lines: &[Vec<Member>],
    lines_of: &[Vec<usize>],
    attack: &mut Attack<'_>,
    table: &Table,
) {
    let mut waiting = vec![line];
    while let Some(line) = waiting.pop() {
        if let Some(next) = alone(&lines[line], &table.lines[line], table, attack.hidden()) {
            attack.hide(next);
            // The line itself is one of them: one more may not be enough.
            waiting.extend(&lines_of[next]);
        }
    }
}

/// The cell to hide next in a line that gives a number away by itself.
fn alone(line: &[Member], whole: &Line, table: &Table, hidden: &[bool]) -> Option<usize> {
    let members = whole.members.iter().filter(|it| hidden[it.cell]);
    let secret = || members.clone().map(|it| &table.cells[it.cell]);
    // Beside a hidden zero each could be one.
    let slack: i64 = secret().map(|it| it.count - it.least.min(it.count)).sum();
    let is_clouded = secret().any(|it| it.count == 0);
    match secret().filter(|it| it.count > 0).count() {
        0 => return None,
        1 => {}
        _ if slack == 0 && !is_clouded => {}
        _ => return None,
    }
    line.iter().map(|it| it.cell).find(|at| !hidden[*at])
}

/// The shown cell that comes first in the lines of cell `at`, or of those connected with it by the fewest lines.
fn nearest<O: Ord>(
    lines: &[Vec<Member>],
    lines_of: &[Vec<usize>],
    at: usize,
    hidden: &[bool],
    order: impl Fn(&Member) -> O,
) -> Option<usize> {
    let mut is_seen = vec![false; lines.len()];
    let mut reached = vec![at];
    while !reached.is_empty() {
        let mut touched: Vec<usize> = Vec::new();
        for line in reached.iter().flat_map(|at| &lines_of[*at]) {
            if !std::mem::replace(&mut is_seen[*line], true) {
                touched.push(*line);
            }
        }
        let shown = touched
            .iter()
            .filter_map(|line| lines[*line].iter().find(|it| !hidden[it.cell]));
        if let Some(next) = shown.min_by_key(|it| order(it)) {
            return Some(next.cell);
        }
        reached = touched
            .iter()
            .flat_map(|line| lines[*line].iter().map(|it| it.cell))
            .collect();
    }
    None
}
