//! The rows of one table by the values that tell them apart, for comparing a number with what it was.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::{SortOptions, cast},
    datatypes::{DataType, Float64Type, Int64Type},
    util::display::array_value_to_string,
};

use crate::{Error, Result, build::MUNICIPALITY};

/// How far apart fractions may be and still be the same: sums in another order differ in their last digits.
const TOLERANCE: f64 = 1e-9;

/// The values of the grain, in its order.
pub(super) type Key = Vec<Option<String>>;

/// Rows by key.
#[derive(Debug)]
pub(super) struct Cells {
    /// The columns of the grain.
    pub(super) grain: Vec<String>,
    /// The rows.
    pub(super) batch: RecordBatch,
    /// Where the row of a key is.
    pub(super) rows: BTreeMap<Key, usize>,
}

impl Cells {
    /// Rows of a table with this grain. A column of it that they no longer have holds nothing.
    pub(super) fn new(batch: RecordBatch, grain: &[String]) -> Result<Self> {
        let mut rows = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let key = grain.iter().map(|it| text(&batch, it, row));
            rows.insert(key.collect::<Result<Key>>()?, row);
        }
        Ok(Self {
            grain: grain.to_vec(),
            batch,
            rows,
        })
    }

    /// A value as text; `None` where it is null or there is no such column.
    pub(super) fn text(&self, row: usize, column: &str) -> Result<Option<String>> {
        text(&self.batch, column, row)
    }

    /// The values of a count; `None` where there is no such column.
    pub(super) fn counts(&self, column: &str) -> Result<Option<Vec<Option<i64>>>> {
        let Some(values) = self.batch.column_by_name(column) else {
            return Ok(None);
        };
        let values = cast(values, &DataType::Int64).map_err(failed)?;
        let values = values.as_primitive::<Int64Type>();
        Ok(Some(values.iter().collect()))
    }

    /// Whether a flag is false, row by row; a table without it is false nowhere.
    pub(super) fn is_false(&self, column: &str) -> Vec<bool> {
        let flags = self.batch.column_by_name(column);
        match flags.and_then(|it| it.as_boolean_opt()) {
            Some(flags) => flags.iter().map(|it| it == Some(false)).collect(),
            None => vec![false; self.batch.num_rows()],
        }
    }

    /// The municipality in a key; `None` where it has none.
    pub(super) fn municipality<'a>(&self, key: &'a Key) -> Option<&'a String> {
        let mut pairs = self.grain.iter().zip(key);
        pairs.find(|it| it.0 == MUNICIPALITY)?.1.as_ref()
    }

    /// How a key is told: `offer_id=17, period=2010H1`.
    pub(super) fn told(&self, key: &Key) -> String {
        let pairs = self.grain.iter().zip(key);
        let pairs =
            pairs.map(|(column, value)| format!("{column}={}", value.as_deref().unwrap_or("null")));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

/// Whether two rows differ in a column.
pub(super) type Differ = Box<dyn Fn(usize, usize) -> bool + Send + Sync>;

/// Whether a row of `old` and one of `new` differ in a column that both have; null differs from everything else.
pub(super) fn differ(old: &Cells, new: &Cells, column: &str) -> Result<Option<Differ>> {
    let (Some(old), Some(new)) = (
        old.batch.column_by_name(column),
        new.batch.column_by_name(column),
    ) else {
        return Ok(None);
    };
    if old.data_type() != new.data_type() {
        let text = |it: &dyn Array, row: usize| {
            (!it.is_null(row)).then(|| array_value_to_string(it, row).unwrap_or_default())
        };
        let (old, new) = (Arc::clone(old), Arc::clone(new));
        return Ok(Some(Box::new(move |a, b| text(&old, a) != text(&new, b))));
    }
    if let (Some(old), Some(new)) = (
        old.as_primitive_opt::<Float64Type>(),
        new.as_primitive_opt::<Float64Type>(),
    ) {
        let (old, new) = (old.clone(), new.clone());
        return Ok(Some(Box::new(move |a, b| {
            match (old.is_null(a), new.is_null(b)) {
                (false, false) => !is_same_number(old.value(a), new.value(b)),
                (a, b) => a != b,
            }
        })));
    }
    let compare =
        arrow::array::make_comparator(old, new, SortOptions::default()).map_err(failed)?;
    Ok(Some(Box::new(move |a, b| compare(a, b) != Ordering::Equal)))
}

/// Whether two values told as text are the same, numbers but for their last digits.
pub(super) fn is_same_told(a: Option<&str>, b: Option<&str>) -> bool {
    // Only fractions have last digits; ids and counts are what they are.
    let number = |text: Option<&str>| {
        text.filter(|it| it.contains(['.', 'e']))?
            .parse::<f64>()
            .ok()
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => is_same_number(a, b),
        _ => a == b,
    }
}

fn is_same_number(a: f64, b: f64) -> bool {
    let size = a.abs().max(b.abs()).max(1.0);
    a.total_cmp(&b) == Ordering::Equal
        || !((a - b).abs() > TOLERANCE * size || a.is_nan() != b.is_nan())
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Result<Option<String>> {
    match batch.column_by_name(column) {
        Some(values) if !values.is_null(row) => {
            array_value_to_string(values, row).map(Some).map_err(failed)
        }
        _ => Ok(None),
    }
}

fn failed(err: arrow::error::ArrowError) -> Error {
    Error::query("comparing a release", err.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_told_the_same_but_for_their_last_digits() {
        let same = |a, b| is_same_told(Some(a), Some(b));
        assert!(same("52.339999999999996", "52.34"));
        assert!(!same("52.34", "52.35"));
        assert!(!same("012", "12"));
        assert!(!is_same_told(Some("52.34"), None));
        assert!(is_same_told(None, None));
    }
}
