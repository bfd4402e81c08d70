//! What rows amount to, part by part and whatever their order: two tables with the same digests hold the same rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch},
    datatypes::{DataType, Float64Type, Int32Type, Schema},
    row::{RowConverter, SortField},
};
use datafusion::{
    common::exec_err, error::Result, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{StreamExt, TryStreamExt, stream};
use lake::Part;
use twox_hash::XxHash3_128;

use super::parts::MUNICIPALITY;

/// How many rows, and the sum of what each hashes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    sum: u128,
}

/// The digest of every part that has rows.
pub(super) type Digests = BTreeMap<Part, Digest>;

/// Sums of numbers in another order differ in their last bits: these many of the 52 are not looked at.
const NOISE_BITS: u32 = 12;

/// Adds up rows as they come.
#[derive(Debug)]
pub(super) struct Digester {
    converter: RowConverter,
    columns: Vec<usize>,
    is_split: bool,
    digests: Digests,
}

impl Digester {
    /// For rows of a schema; `is_split` says whether by municipality, else all are one part.
    pub(super) fn new(schema: &Schema, is_split: bool) -> Result<Self> {
        let columns = telling(schema);
        let fields = columns.iter().map(|at| schema.field(*at));
        let fields = fields.map(|it| SortField::new(it.data_type().clone()));
        Ok(Self {
            converter: RowConverter::new(fields.collect())?,
            columns,
            is_split,
            digests: Digests::new(),
        })
    }

    /// Adds the rows of a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = self.columns.iter();
        let columns: Vec<ArrayRef> = columns.map(|at| quiet(batch.column(*at))).collect();
        let rows = self.converter.convert_columns(&columns)?;
        let codes = match batch.column_by_name(MUNICIPALITY) {
            Some(column) if self.is_split => match column.as_primitive_opt::<Int32Type>() {
                Some(codes) => Some(codes),
                None => return exec_err!("`{MUNICIPALITY}` is {}", column.data_type()),
            },
            _ => None,
        };
        // Rows of one municipality mostly come together.
        let mut run: Option<(Option<i32>, Digest)> = None;
        for (at, row) in rows.iter().enumerate() {
            let code = codes.and_then(|it| it.is_valid(at).then(|| it.value(at)));
            let hash = XxHash3_128::oneshot(row.as_ref());
            match &mut run {
                Some((of, digest)) if *of == code => digest.add(1, hash),
                _ => {
                    let begun = Digest { rows: 1, sum: hash };
                    self.close(run.replace((code, begun)));
                }
            }
        }
        self.close(run);
        Ok(())
    }

    /// What it came to.
    pub(super) fn finish(self) -> Digests {
        self.digests
    }

    fn close(&mut self, run: Option<(Option<i32>, Digest)>) {
        let Some((code, digest)) = run else { return };
        let part = code.map(|it| it.to_string());
        let sum = self.digests.entry(part).or_default();
        sum.add(digest.rows, digest.sum);
    }
}

impl Digest {
    fn add(&mut self, rows: u64, sum: u128) {
        self.rows += rows;
        self.sum = self.sum.wrapping_add(sum);
    }
}

/// The rows of a stream, added up as they pass; the digests are there once the stream has ended.
pub(super) fn watched(
    rows: SendableRecordBatchStream,
    is_split: bool,
) -> Result<(SendableRecordBatchStream, Arc<Mutex<Digests>>)> {
    let schema = rows.schema();
    let mut digester = Digester::new(&schema, is_split)?;
    let digests = Arc::new(Mutex::new(Digests::new()));
    let told = Arc::clone(&digests);
    let mut rows = rows;
    let passed = stream::poll_fn(move |context| {
        let next = rows.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) => {
                if let Err(err) = digester.add(batch) {
                    return Poll::Ready(Some(Err(err)));
                }
            }
            Poll::Ready(None) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.append(&mut digester.digests);
            }
            _ => {}
        }
        next
    });
    let passed = RecordBatchStreamAdapter::new(schema, passed);
    Ok((Box::pin(passed), digests))
}

/// What all rows of a stream amount to.
pub(super) async fn digests_of(
    mut rows: SendableRecordBatchStream,
    is_split: bool,
) -> Result<Digests> {
    let mut digester = Digester::new(&rows.schema(), is_split)?;
    while let Some(batch) = rows.try_next().await? {
        digester.add(&batch)?;
    }
    Ok(digester.finish())
}

/// What all rows of some batches amount to.
pub(super) fn digests_in(batches: &[RecordBatch], is_split: bool) -> Result<Digests> {
    let Some(first) = batches.first() else {
        return Ok(Digests::new());
    };
    let mut digester = Digester::new(&first.schema(), is_split)?;
    for batch in batches {
        digester.add(batch)?;
    }
    Ok(digester.finish())
}

/// The parts that do not amount to the same on both sides.
pub(super) fn different(before: &Digests, after: &Digests) -> BTreeSet<Part> {
    let both = before.keys().chain(after.keys());
    both.filter(|part| before.get(*part) != after.get(*part))
        .cloned()
        .collect()
}

/// The columns that say something: those that begin with an underscore say where a row came from. A row that comes again with the same
/// values is the same row.
pub(super) fn telling(schema: &Schema) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    fields
        .filter(|(_, field)| !field.name().starts_with('_'))
        .map(|(at, _)| at)
        .collect()
}

/// Numbers without the last bits of their fractions; other columns as they are.
fn quiet(column: &ArrayRef) -> ArrayRef {
    if column.data_type() != &DataType::Float64 {
        return Arc::clone(column);
    }
    let rounded: Float64Array = column.as_primitive::<Float64Type>().unary(|value| {
        // Zero has two signs and one meaning.
        let bits = (value + 0.0).to_bits();
        f64::from_bits(bits.saturating_add(1 << (NOISE_BITS - 1)) >> NOISE_BITS << NOISE_BITS)
    });
    Arc::new(rounded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use arrow::{
        array::{Int32Array, StringArray},
        datatypes::Field,
    };

    use super::*;

    type Row<'a> = (Option<i32>, Option<&'a str>, Option<&'a str>, f64);

    fn batch(rows: &[Row<'_>]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new(MUNICIPALITY, DataType::Int32, true),
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Utf8, true),
            Field::new("x", DataType::Float64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter(rows.iter().map(|it| it.0))),
            Arc::new(StringArray::from_iter(rows.iter().map(|it| it.1))),
            Arc::new(StringArray::from_iter(rows.iter().map(|it| it.2))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|it| it.3))),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn digests(batches: &[RecordBatch]) -> Digests {
        digests_in(batches, true).unwrap()
    }

    const A: (Option<i32>, Option<&str>, Option<&str>, f64) = (Some(101), Some("a"), None, 1.0);
    const B: (Option<i32>, Option<&str>, Option<&str>, f64) = (Some(147), Some("b"), None, 2.0);
    const C: (Option<i32>, Option<&str>, Option<&str>, f64) = (None, None, None, 0.0);

    #[test]
    fn order_and_batches_do_not_matter() {
        let whole = digests(&[batch(&[A, B, C, A])]);
        assert_eq!(whole, digests(&[batch(&[C, A]), batch(&[A, B])]));
        let parts: Vec<_> = whole.keys().map(Option::as_deref).collect();
        assert_eq!(parts, [None, Some("101"), Some("147")]);
        assert_eq!(whole[&Some("101".to_owned())].rows, 2);
    }

    #[test]
    fn a_value_in_the_next_column_a_row_twice_and_a_row_less_are_seen() {
        let one = digests(&[batch(&[A, B])]);
        let moved = (Some(101), None, Some("a"), 1.0);
        for other in [&[moved, B][..], &[A, B, B], &[A]] {
            assert_ne!(one, digests(&[batch(other)]));
        }
    }

    #[test]
    fn the_last_bits_of_a_sum_are_not_seen_and_a_millionth_is() {
        let with = |x: f64| digests(&[batch(&[(Some(101), None, None, x)])]);
        assert_eq!(with(0.1 + 0.2), with(0.3));
        assert_eq!(with(0.0), with(-0.0));
        assert_ne!(with(0.3), with(0.300_000_3));
    }
}
