//! Which things differ between two versions of some parts of a table: the ids in rows that only one of them has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int32Type,
    row::{OwnedRow, RowConverter, SortField},
};
use contract::is_id;
use datafusion::{error::Result as Outcome, logical_expr::Expr, prelude::lit};
use lake::Part;
use tokio::sync::Mutex;

use super::{Changed, FEW_THINGS, digest::telling, one_of::MANY_THINGS, step::Step};
use crate::{Error, Result, publication::Publication};

/// In more parts than this no ids are looked for: rows of both versions are held in memory for it.
const PARTS: usize = 10;

/// By column, the ids in changed rows; `None` for a column that holds too many, or something else.
/// A row without one adds none.
type IdsBy = BTreeMap<String, Option<Ids>>;

/// Ids, each as it is written and as it stands in a condition.
pub(super) type Ids = BTreeMap<String, Expr>;

/// A table, and parts of it.
type Place = (String, BTreeSet<Part>);

/// What is known of the things that changed.
#[derive(Debug, Default)]
pub(super) struct ChangedIds {
    /// By table and parts: several models ask for the same.
    known: Mutex<HashMap<Place, Arc<IdsBy>>>,
    /// The tables in which few things changed.
    few: std::sync::Mutex<BTreeSet<String>>,
}

impl ChangedIds {
    /// What changed in a table.
    pub(super) fn note(&self, table: &str, changed: Option<&Changed>) {
        if changed.is_some_and(|it| it.is_nothing() || it.only.is_some()) {
            let mut few = self.few.lock().unwrap_or_else(PoisonError::into_inner);
            few.insert(table.to_owned());
        }
    }

    /// Whether few things are known to have changed in all of these tables.
    pub(super) fn are_few_in<'a>(&self, mut tables: impl Iterator<Item = &'a String>) -> bool {
        let few = self.few.lock().unwrap_or_else(PoisonError::into_inner);
        tables.all(|it| few.contains(it))
    }
}

impl Step<'_> {
    /// The ids in a column of the rows of a table that were not there, or have gone, since the last publication, all of them in
    /// `parts`; `None` where they are too many.
    pub(super) async fn changed_ids(
        &self,
        previous: &Publication,
        table: &str,
        parts: &BTreeSet<Part>,
        column: &str,
    ) -> Result<Option<Ids>> {
        let (Some(was), Some(now)) = (
            previous.tables.get(table).copied(),
            self.candidates.get(table),
        ) else {
            return Ok(None);
        };
        if parts.len() > PARTS {
            return Ok(None);
        }
        let mut known = self.changed_ids.known.lock().await;
        let key = (table.to_owned(), parts.clone());
        let ids = match known.get(&key) {
            Some(ids) => Arc::clone(ids),
            None => {
                let before = self.part_rows(table, was, parts).await?;
                let after = self.part_rows(table, now.version, parts).await?;
                let ids = async { ids_between(&before.collect().await?, &after.collect().await?) };
                let ids = ids.await;
                let ids = ids.map_err(|err| Error::query(format!("comparing {table}"), err))?;
                Arc::clone(known.entry(key).or_insert(Arc::new(ids)))
            }
        };
        Ok(ids.get(column).cloned().flatten())
    }
}

/// The ids in rows that only one side has.
fn ids_between(before: &[RecordBatch], after: &[RecordBatch]) -> Outcome<IdsBy> {
    let Some(schema) = before.iter().chain(after).map(RecordBatch::schema).next() else {
        return Ok(IdsBy::new());
    };
    let telling = telling(&schema);
    let fields = telling.iter().map(|at| schema.field(*at));
    let fields = fields.map(|it| SortField::new(it.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    // Each row with how many times more it is there now; and where to find one like it.
    let mut counts: HashMap<OwnedRow, (i64, &RecordBatch, usize)> = HashMap::new();
    for (batches, sign) in [(before, -1), (after, 1)] {
        for batch in batches {
            let columns = telling.iter().map(|at| Arc::clone(batch.column(*at)));
            let rows = converter.convert_columns(&columns.collect::<Vec<_>>())?;
            for (at, row) in rows.iter().enumerate() {
                counts.entry(row.owned()).or_insert((0, batch, at)).0 += sign;
            }
        }
    }
    let changed: Vec<(&RecordBatch, usize)> = counts
        .into_values()
        .filter(|it| it.0 != 0)
        .map(|it| (it.1, it.2))
        .collect();
    let names = schema.fields().iter().map(|it| it.name());
    let ids = names.filter(|it| is_id(it));
    Ok(ids.map(|it| (it.clone(), ids_in(&changed, it))).collect())
}

/// The ids in a column of these rows; `None` where they are too many, or of another type.
fn ids_in(rows: &[(&RecordBatch, usize)], column: &str) -> Option<Ids> {
    let mut ids = Ids::new();
    for (batch, at) in rows {
        let column = batch.column_by_name(column)?;
        if column.is_null(*at) {
            continue;
        }
        let (text, number) = (
            column.as_string_opt::<i32>(),
            column.as_primitive_opt::<Int32Type>(),
        );
        let (name, id) = match (text, number) {
            (Some(texts), _) => (texts.value(*at).to_owned(), lit(texts.value(*at))),
            (_, Some(numbers)) => (numbers.value(*at).to_string(), lit(numbers.value(*at))),
            _ => return None,
        };
        ids.insert(name, id);
        // A condition on numbers is written out, which a long one has no place in.
        let most = text.map_or(FEW_THINGS, |_| MANY_THINGS);
        if ids.len() > most {
            return None;
        }
    }
    Some(ids)
}
