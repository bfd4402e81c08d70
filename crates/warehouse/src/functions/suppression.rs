//! Small cells: which of a published total and its parts must not be shown.

mod across;
mod attack;
mod closing;
mod hidden;
mod table;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanBuilder, ListBuilder};
use datafusion::{
    common::{
        cast::{as_boolean_array, as_int64_array, as_string_array},
        exec_err,
    },
    error::Result,
};

use super::{
    scalar::{Columns, Kind, Signed, at},
    window::Windowed,
};

/// The largest count of citizens (or answers) that is not shown.
const SMALL: i64 = 4;

pub(super) static ALL: &[Signed] = &[Signed {
    name: "suppressed_parts",
    arguments: &[
        ("total", Kind::Int, "the published total; null is none"),
        ("parts", Kind::Ints, "the parts it is made of, by name"),
    ],
    returns: Kind::Bools,
    doc: "Which parts of a total in the same row must not be shown, in the order of the parts: the rules of \
          the window function suppressed, which see. Whether the total itself is hidden is `total between 1 \
          and 4`. A null part is not hidden.",
    example: "suppressed_parts(20, [3, 7, 10]) = [true, true, false]",
    eval: suppressed_parts,
}];

pub(super) static WINDOWS: &[Windowed] = &[
    Windowed {
        name: "suppressed",
        arguments: &[
            (
                "count",
                Kind::Int,
                "citizens or answers in the row; null is never hidden",
            ),
            ("part", Kind::Text, "the part's name; ties are broken by it"),
            (
                "is_total",
                Kind::Bool,
                "whether the row is the total of the others; at most one is",
            ),
        ],
        doc: "WINDOW. Whether a count must not be shown, among one published total and its parts. A count of \
              1 to 4 is hidden; zero is shown; and where exactly one part of a shown total is hidden, so is \
              the next smallest non-zero part (ties: first by name). A total is hidden only when it is 1 to 4. \
              Where that would still give a number away to someone who knows the rules, more is hidden: the \
              next smallest parts when all hidden ones are 1, every non-zero part when only one split of the \
              remainder is possible, and zeros when three or more parts share a hidden total or nothing but \
              ones is left. Source: indicators, small cells; domain report D4.",
        example: "suppressed(n, target_group, target_group = 'all') over (partition by period, offer_id)",
        eval: suppressed,
    },
    across::SUPPRESSED_ACROSS,
    across::RECOVERABLE,
];

/// Which parts are hidden under a total (null where none is published). Parts are in the order of
/// their names, which breaks ties.
///
/// Beyond the two rules of the definition it hides more only where those give a number away to
/// somebody who knows them, because the hidden parts could have no other values than they have.
fn hidden_parts(total: Option<i64>, parts: &[i64]) -> Vec<bool> {
    let mut hidden: Vec<bool> = parts.iter().map(|part| is_small(*part)).collect();
    let Some(total) = total else {
        return hidden;
    };
    if is_small(total) {
        // Four parts of a hidden total can only be ones. Then zeros are hidden with them, and already
        // with three, so that a line hidden from end to end tells neither.
        if parts.iter().filter(|part| **part > 0).count() >= 3 {
            hidden.fill(true);
        }
        return hidden;
    }
    let mut shown: Vec<usize> = (0..parts.len()).filter(|at| parts[*at] > SMALL).collect();
    shown.sort_by_key(|at| (parts[*at], *at));
    if !shown.is_empty() && hidden.iter().filter(|it| **it).count() == 1 {
        hidden[shown.remove(0)] = true;
    }
    let secret: Vec<usize> = (0..parts.len()).filter(|at| hidden[*at]).collect();
    let Some(next) = shown.first().copied() else {
        // Nothing but zeros is shown: five parts that make 5 are ones, so zeros cloud them.
        let sum: i64 = secret.iter().map(|at| parts[*at]).sum();
        if secret.len() >= 4 && sum <= secret.len() as i64 + 1 {
            hidden.fill(true);
        }
        return hidden;
    };
    match leak(parts, &secret, next) {
        Leak::None => {}
        // One more size of part clouds them; all of that size, since a choice among ties would tell.
        Leak::Ones => {
            for at in shown.iter().filter(|at| parts[**at] == parts[next]) {
                hidden[*at] = true;
            }
        }
        Leak::Edge => {
            for at in &shown {
                hidden[*at] = true;
            }
        }
    }
    hidden
}

fn is_small(count: i64) -> bool {
    (1..=SMALL).contains(&count)
}

/// Why hidden parts could be told from their sum.
enum Leak {
    /// They cannot.
    None,
    /// There are as many as they make together, and zeros are shown.
    Ones,
    /// Only one split of the sum is possible under the rules.
    Edge,
}

/// What the sum of the hidden parts tells, where `next` is the smallest part shown.
fn leak(parts: &[i64], secret: &[usize], next: usize) -> Leak {
    let count = secret.len() as i64;
    let sum: i64 = secret.iter().map(|at| parts[*at]).sum();
    if count > 1 && sum == count {
        return Leak::Ones;
    }
    match *secret {
        // One alone has a total that is not the sum of its parts; three and more are all small.
        [] | [_] => Leak::None,
        [a, b] => {
            // The second is small too, or it was the next smallest and so came before `next`.
            let is_next =
                |value: i64, at: usize| value > SMALL && (value, at) < (parts[next], next);
            let splits = (1..=SMALL)
                .map(|small| {
                    let rest = sum - small;
                    usize::from(is_small(rest) || is_next(rest, b)) + usize::from(is_next(rest, a))
                })
                .sum::<usize>();
            if splits > 1 { Leak::None } else { Leak::Edge }
        }
        _ if sum == SMALL * count => Leak::Edge,
        _ => Leak::None,
    }
}

fn suppressed_parts(columns: &Columns) -> Result<ArrayRef> {
    let (totals, lists) = (columns.ints(0)?, columns.lists(1)?);
    let mut answers = ListBuilder::new(BooleanBuilder::new());
    for row in 0..columns.rows() {
        if lists.is_null(row) {
            answers.append(false);
            continue;
        }
        let list = lists.value(row);
        let parts = as_int64_array(list.as_ref())?;
        let counts: Vec<i64> = parts.iter().map(|it| it.unwrap_or(0)).collect();
        for hidden in hidden_parts(at(totals, row), &counts) {
            answers.values().append_value(hidden);
        }
        answers.append(true);
    }
    Ok(Arc::new(answers.finish()))
}

/// Which rows of one total with its parts are hidden.
fn suppressed(values: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
    let counts = as_int64_array(values[0].as_ref())?;
    let names = as_string_array(values[1].as_ref())?;
    let totals = as_boolean_array(values[2].as_ref())?;
    let is_total = |row: usize| at(totals, row) == Some(true);
    let mut total = None;
    let mut parts = Vec::with_capacity(rows);
    for row in 0..rows {
        let Some(count) = at(counts, row) else {
            continue;
        };
        if !is_total(row) {
            parts.push((at(names, row), row, count));
        } else if total.replace(count).is_some() {
            return exec_err!(
                "suppressed: two totals in one partition; partition by what tells them apart"
            );
        }
    }
    parts.sort_unstable();
    let values: Vec<i64> = parts.iter().map(|it| it.2).collect();
    let mut answers: Vec<bool> = (0..rows)
        .map(|row| is_total(row) && total.is_some_and(is_small))
        .collect();
    for ((_, row, _), hidden) in parts.iter().zip(hidden_parts(total, &values)) {
        answers[*row] = hidden;
    }
    Ok(answers)
}

#[cfg(test)]
mod tests;
