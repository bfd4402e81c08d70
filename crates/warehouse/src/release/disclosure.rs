//! What somebody finds who lays two releases side by side: differences that count a few citizens, and hidden numbers given away.
//!
//! Each release by itself has been closed by the models: nothing hidden in it follows from what it shows. Two of them can still give
//! a number away, since most cells are the same in both. docs/releases.md has the reasoning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use spec::ReleaseTable;

use super::cells::{Cells, Key};
use crate::Result;

/// Counts up to this are hidden, and differences up to this refused. Source: indicators, small cells.
const SMALL: i64 = 4;

/// Something in numbers and what an earlier release showed of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub danger: Danger,
    /// The table.
    pub table: String,
    /// The row: the values that tell it from others.
    pub cell: String,
    /// The count.
    pub column: String,
    /// The earlier release.
    pub release: String,
    /// The rows that are kept or replaced together.
    pub(super) block: Key,
}

/// How numbers are told by two releases that neither tells alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// Both show a count, or a total and all parts but some, and the difference is 1 to 4.
    SmallDifference,
    /// Hidden in the new numbers; it follows from what the earlier release shows.
    HiddenNow,
    /// Hidden in the earlier release; it follows from the new numbers.
    HiddenThen,
    /// Hidden in the new numbers and shown in the earlier release: it was public already.
    AlreadyPublic,
}

impl Danger {
    /// Whether the numbers must not come out so.
    pub fn is_refused(self) -> bool {
        self != Self::AlreadyPublic
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            cell,
            column,
            release,
            ..
        } = self;
        write!(f, "{table} {cell}: `{column}` ")?;
        match self.danger {
            Danger::SmallDifference => {
                write!(f, "differs from {release} by 1 to {SMALL} citizens")
            }
            Danger::HiddenNow => write!(f, "is hidden, and {release} gives it away"),
            Danger::HiddenThen => write!(f, "was hidden in {release}, and is given away now"),
            Danger::AlreadyPublic => write!(f, "is hidden, and was shown in {release}"),
        }
    }
}

/// A count: the key of its row and which of the counts.
type Node<'a> = (&'a Key, usize);

/// What is shown of the counts of one release: the number, or `None` where it is hidden.
type Shown<'a> = BTreeMap<Node<'a>, Option<i64>>;

/// A total and its parts. The number tells lines apart that have the same total.
type Lines<'a> = BTreeMap<(usize, Node<'a>), BTreeSet<Node<'a>>>;

/// The counts of one release and how they hang together.
struct Side<'a> {
    shown: Shown<'a>,
    lines: Lines<'a>,
}

/// What new rows of a table and those of earlier releases, the oldest first, tell together.
pub(super) fn compare(
    table: &ReleaseTable,
    earlier: &[(&str, &Cells)],
    new: &Cells,
) -> Result<Vec<Finding>> {
    let now = Side::of(table, new)?;
    let mut found: BTreeSet<(Danger, &str, Node<'_>)> = BTreeSet::new();
    let mut public: Shown<'_> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for (release, cells) in earlier {
        let then = Side::of(table, cells)?;
        found.extend(differences(&then, &now).map(|it| (Danger::SmallDifference, *release, it)));
        let given = given_away(&then, &now.shown);
        found.extend(
            given
                .into_iter()
                .map(|it| (Danger::HiddenThen, *release, it)),
        );
        for (node, value) in then.shown {
            let Some(value) = value else { continue };
            public.insert(node, Some(value));
            last.insert(node, *release);
            if value > 0 && now.shown.get(&node) == Some(&None) {
                found.insert((Danger::AlreadyPublic, release, node));
            }
        }
    }
    let newest = earlier.last().map_or("", |it| it.0);
    for node in given_away(&now, &public) {
        let release = last.get(&node).copied().unwrap_or(newest);
        found.insert((Danger::HiddenNow, release, node));
    }
    let finding = |(danger, release, (key, count)): (Danger, &str, Node<'_>)| Finding {
        danger,
        table: table.table.clone(),
        cell: new.told(key),
        column: table.counts[count].clone(),
        release: release.to_owned(),
        block: block(table, &new.grain, key),
    };
    Ok(found.into_iter().map(finding).collect())
}

/// The rows that belong together: those of a total and its parts.
pub(super) fn block(table: &ReleaseTable, grain: &[String], key: &Key) -> Key {
    let Some(total) = table.totals.first() else {
        return key.clone();
    };
    let is_shared = |column: &String| match total.within.as_slice() {
        [] => *column != total.column,
        within => within.contains(column),
    };
    let pairs = grain.iter().zip(key);
    pairs
        .filter(|(column, _)| is_shared(column))
        .map(|(_, value)| value.clone())
        .collect()
}

impl<'a> Side<'a> {
    fn of(table: &ReleaseTable, cells: &'a Cells) -> Result<Self> {
        let nothing_hidden = cells.is_false("suppressed");
        let mut shown = BTreeMap::new();
        for (count, column) in table.counts.iter().enumerate() {
            let Some(values) = cells.counts(column)? else {
                continue;
            };
            for (key, row) in &cells.rows {
                // Where nothing is hidden, a count that is not there counts nothing.
                let value = values[*row].or_else(|| nothing_hidden[*row].then_some(0));
                shown.insert((key, count), value);
            }
        }
        Ok(Self {
            shown,
            lines: lines(table, cells)?,
        })
    }
}

fn lines<'a>(table: &ReleaseTable, cells: &'a Cells) -> Result<Lines<'a>> {
    let mut lines: Lines<'a> = BTreeMap::new();
    let at = |name: &String| table.counts.iter().position(|it| it == name);
    for (number, sum) in table.sums.iter().enumerate() {
        let parts: Vec<usize> = sum.parts.iter().filter_map(at).collect();
        let Some(whole) = at(&sum.whole) else {
            continue;
        };
        for key in cells.rows.keys() {
            let parts = parts.iter().map(|it| (key, *it)).collect();
            lines.insert((number, (key, whole)), parts);
        }
    }
    for (number, total) in table.totals.iter().enumerate() {
        let number = table.sums.len() + number;
        let within: Vec<&String> = match total.within.as_slice() {
            [] => cells
                .grain
                .iter()
                .filter(|it| **it != total.column)
                .collect(),
            within => within.iter().collect(),
        };
        let mut groups: BTreeMap<Key, (Option<&Key>, Vec<&Key>)> = BTreeMap::new();
        for (key, row) in &cells.rows {
            let shared = within.iter().map(|it| cells.text(*row, it));
            let group = groups.entry(shared.collect::<Result<Key>>()?).or_default();
            if cells.text(*row, &total.column)? == total.value {
                group.0 = Some(key);
            } else {
                group.1.push(key);
            }
        }
        for (whole, parts) in groups.into_values() {
            let Some(whole) = whole.filter(|_| !parts.is_empty()) else {
                continue;
            };
            for count in 0..table.counts.len() {
                let parts = parts.iter().map(|it| (*it, count)).collect();
                lines.insert((number, (whole, count)), parts);
            }
        }
    }
    Ok(lines)
}

/// Counts whose difference can be told and is small; and totals whose parts that are not shown twice differ by so much together.
fn differences<'a>(then: &Side<'a>, now: &Side<'a>) -> impl Iterator<Item = Node<'a>> {
    let difference = |node: &Node<'a>| {
        let value = |side: &Side<'a>| side.shown.get(node).copied().flatten();
        Some(value(now)? - value(then)?)
    };
    let mut found = BTreeSet::new();
    for node in now.shown.keys() {
        if difference(node).is_some_and(is_small) {
            found.insert(*node);
        }
    }
    for (line, parts) in &now.lines {
        let Some(whole) = difference(&line.1) else {
            continue;
        };
        let none = BTreeSet::new();
        let parts = parts.union(then.lines.get(line).unwrap_or(&none));
        // A part without a row counts nobody.
        let value = |side: &Side<'a>, node| side.shown.get(node).copied().unwrap_or(Some(0));
        let told = parts.filter_map(|it| Some(value(now, it)? - value(then, it)?));
        if is_small(whole - told.sum::<i64>()) {
            found.insert(line.1);
        }
    }
    found.into_iter()
}

/// The hidden counts of `side` that come out as 1 to 4 for somebody who takes the other hidden ones of a line to be what `other` shows.
fn given_away<'a>(side: &Side<'a>, other: &Shown<'a>) -> BTreeSet<Node<'a>> {
    let mut found = BTreeSet::new();
    let mut derived: BTreeMap<Node<'a>, i64> = BTreeMap::new();
    let substitute = |node: &Node<'a>| other.get(node).copied().flatten();
    loop {
        let before = derived.len();
        for ((_, whole), parts) in &side.lines {
            let is_hidden = |it: &&Node<'a>| side.shown.get(*it) == Some(&None);
            let hidden: Vec<&Node<'a>> = parts.iter().chain([whole]).filter(is_hidden).collect();
            for one in &hidden {
                let value = |it: &Node<'a>| {
                    let shown = side.shown.get(it).copied().unwrap_or(Some(0));
                    shown
                        .or_else(|| derived.get(it).copied())
                        .or_else(|| substitute(it))
                };
                let others = parts.iter().filter(|it| it != one).map(value);
                let Some(others) = others.sum::<Option<i64>>() else {
                    continue;
                };
                let came = if *one == whole {
                    others
                } else {
                    let Some(whole) = value(whole) else { continue };
                    whole - others
                };
                // Alone in its line it is told without the other release; the models see to that.
                if hidden.len() > 1 && is_small(came) && came > 0 {
                    found.insert(**one);
                }
                if came > 0 && substitute(one).is_none() {
                    derived.entry(**one).or_insert(came);
                }
            }
        }
        if derived.len() == before {
            return found;
        }
    }
}

fn is_small(difference: i64) -> bool {
    (1..=SMALL).contains(&difference.abs())
}

#[cfg(test)]
mod tests;
