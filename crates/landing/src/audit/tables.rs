//! The tables' side of the audit: every row's coordinates, in one pass over the files, in any order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef},
};
use contract::{OFFSET, PARTITION, TOPIC};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use lake::{DataFile, Lake};

use super::{
    TableAudit,
    scope::{AllSettled, Scope, Settled},
    seen::Seen,
};
use crate::{Error, Result};

/// What a table has, by topic label and partition.
pub(super) type Found = HashMap<String, BTreeMap<i32, Seen>>;

/// Where rows come from, which decides what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All files of the table.
    Any,
    /// Files of new rows.
    Added,
    /// Files of new rows that were put together with others since: their rows are among the rewritten.
    Merged,
    /// Files put together: rows old and new.
    Rewritten,
}

/// Reads of a table what `scope` says.
pub(super) async fn read(
    lake: &Lake,
    table: &str,
    version: i64,
    scope: Scope,
    settled: &AllSettled,
) -> Result<(TableAudit, Found)> {
    let mut audit = TableAudit {
        table: table.to_owned(),
        version,
        since: None,
        reason: None,
        files_read: 0,
        rows_read: 0,
    };
    let parts = match scope {
        Scope::All(reason) => {
            audit.reason = reason;
            vec![(Kind::Any, lake.files(table, version).await?)]
        }
        Scope::Since(since, changes) => {
            audit.since = Some(since);
            vec![
                (Kind::Added, changes.added),
                (Kind::Merged, changes.merged),
                (Kind::Rewritten, changes.rewritten),
            ]
        }
    };
    let mut found = Found::new();
    for (kind, files) in parts {
        audit.files_read += files.len() as u64;
        audit.rows_read += scan(lake, table, &files, kind, settled, &mut found).await?;
    }
    for seen in found.values_mut().flat_map(BTreeMap::values_mut) {
        seen.pack();
    }
    Ok((audit, found))
}

/// Reads files; how many rows they have.
async fn scan(
    lake: &Lake,
    table: &str,
    files: &[DataFile],
    kind: Kind,
    settled: &AllSettled,
    found: &mut Found,
) -> Result<u64> {
    if files.is_empty() {
        return Ok(0);
    }
    let failed = |err| Error::query(table, err);
    let rows = lake.rows_of(table, files, coordinates());
    let rows = SessionContext::new().read_table(rows).map_err(failed)?;
    let mut batches = rows.execute_stream().await.map_err(failed)?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        count += batch.num_rows() as u64;
        runs(&batch, &mut |topic, partition, first, last| {
            if !found.contains_key(topic) {
                found.insert(topic.to_owned(), BTreeMap::new());
            }
            let Some(seen) = found.get_mut(topic) else {
                return;
            };
            let seen = seen.entry(partition).or_default();
            let settled = settled.get(topic).and_then(|it| it.get(&partition));
            admit(kind, settled, first, last, seen);
        });
    }
    Ok(count)
}

/// Counts the rows of a run for what they are in files of this kind.
fn admit(kind: Kind, settled: Option<&Settled>, first: i64, last: i64, seen: &mut Seen) {
    let settled = match (kind, settled) {
        (Kind::Any, _) => return seen.add(first, last),
        // Rows of no topic there is. The old ones among them passed as such.
        (Kind::Rewritten, None) => return,
        (Kind::Added | Kind::Merged, None) => return seen.add(first, last),
        (_, Some(settled)) => settled,
    };
    let mut one = |is_settled: bool, first: i64, last: i64| match (kind, is_settled) {
        (Kind::Added | Kind::Merged, true) => seen.add_again(first, last),
        (Kind::Added | Kind::Rewritten, false) => seen.add(first, last),
        _ => {}
    };
    if first < settled.below {
        one(true, first, last.min(settled.below - 1));
    }
    let first = first.max(settled.below);
    if first > last {
        return;
    }
    if settled.ahead.is_empty() {
        return one(false, first, last);
    }
    for offset in first..=last {
        one(settled.ahead.contains(offset), offset, offset);
    }
}

/// The columns that are read. A topic's name is compared, not copied.
fn coordinates() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(TOPIC, DataType::Utf8View, true),
        Field::new(PARTITION, DataType::Int32, true),
        Field::new(OFFSET, DataType::Int64, true),
    ]))
}

/// Tells each run of rows at offsets that follow each other: topic, partition, first and last offset. A row that lacks
/// one of them is told as offset -1 of partition -1 of a topic without a name.
fn runs(batch: &RecordBatch, each: &mut dyn FnMut(&str, i32, i64, i64)) {
    let topics = batch.column(0).as_string_view();
    let partitions = batch.column(1).as_primitive::<Int32Type>();
    let offsets = batch.column(2).as_primitive::<Int64Type>();
    let columns: [&dyn Array; 3] = [topics, partitions, offsets];
    let has_nulls = columns.iter().any(|it| it.null_count() > 0);
    // Equal views are equal texts; unequal ones may be, and then a run is told as two.
    let (views, partitions, offsets) = (topics.views(), partitions.values(), offsets.values());
    let mut start = 0;
    for row in 0..offsets.len() {
        if has_nulls && columns.iter().any(|it| it.is_null(row)) {
            each("", -1, -1, -1);
            start = row + 1;
            continue;
        }
        let goes_on = row + 1 < offsets.len()
            && !(has_nulls && columns.iter().any(|it| it.is_null(row + 1)))
            && views[row + 1] == views[row]
            && partitions[row + 1] == partitions[row]
            && offsets[row].checked_add(1) == Some(offsets[row + 1]);
        if !goes_on {
            each(
                topics.value(start),
                partitions[start],
                offsets[start],
                offsets[row],
            );
            start = row + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn rows_are_told_in_runs_and_those_that_lack_a_coordinate_one_by_one() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(vec![
                Some("a"),
                Some("a"),
                Some("a"),
                None,
                Some("a"),
                Some("b"),
                Some("b"),
            ])),
            Arc::new(Int32Array::from(vec![0, 0, 0, 0, 0, 0, 1])),
            Arc::new(Int64Array::from(vec![5, 6, 8, 9, 9, 10, 11])),
        ];
        let batch = RecordBatch::try_new(coordinates(), columns).expect("a batch");
        let mut told = Vec::new();
        runs(&batch, &mut |topic, partition, first, last| {
            told.push((topic.to_owned(), partition, first, last));
        });
        let told: Vec<_> = told
            .iter()
            .map(|(topic, partition, first, last)| (topic.as_str(), *partition, *first, *last))
            .collect();
        let expected = [
            ("a", 0, 5, 6),
            ("a", 0, 8, 8),
            ("", -1, -1, -1),
            ("a", 0, 9, 9),
            ("b", 0, 10, 10),
            ("b", 1, 11, 11),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_was_settled_counts_again_only_where_it_was_added_again() {
        let mut settled = Settled {
            below: 10,
            ..Settled::default()
        };
        settled.ahead.insert(12, 12);
        let seen = |kind| {
            let mut seen = Seen::default();
            admit(kind, Some(&settled), 8, 14, &mut seen);
            (seen.offsets.runs(), seen.doubled.runs())
        };
        let settled = vec![(8, 9), (12, 12)];
        let new = vec![(10, 11), (13, 14)];
        assert_eq!(seen(Kind::Any), (vec![(8, 14)], vec![]));
        assert_eq!(seen(Kind::Added), (new.clone(), settled.clone()));
        assert_eq!(seen(Kind::Merged), (vec![], settled));
        assert_eq!(seen(Kind::Rewritten), (new, vec![]));
    }
}
