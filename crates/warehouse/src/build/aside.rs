//! Rows that fail are taken out of a stream on their way to the table, and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::{filter_record_batch, is_not_null, is_null},
    datatypes::Int32Type,
};
use datafusion::{
    common::exec_err, error::Result, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::StreamExt;
use lake::Part;

use super::parts::MUNICIPALITY;
use crate::{SetAside, checks::keys_of, models::FAILED};

/// How many rows of a check and municipality are shown.
const SAMPLE: usize = 5;

/// What was taken out, by check and part.
pub(super) type Aside = Arc<Mutex<BTreeMap<(String, Part), Taken>>>;

/// Rows taken out for the same reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    rows: u64,
    sample: Vec<String>,
}

/// The rows of a stream whose last column, [`FAILED`], is null, without that column; what is taken out is known once the stream has
/// ended. `grain` are the columns that name a row.
pub(super) fn taken_out(
    rows: SendableRecordBatchStream,
    is_split: bool,
    grain: &[String],
) -> Result<(SendableRecordBatchStream, Aside)> {
    let schema = rows.schema();
    let Some(last) = schema.fields().len().checked_sub(1) else {
        return exec_err!("no column `{FAILED}`");
    };
    if schema.field(last).name() != FAILED {
        return exec_err!("the last column is `{}`", schema.field(last).name());
    }
    let kept: Vec<usize> = (0..last).collect();
    let left = Arc::new(schema.project(&kept)?);
    let keys: Vec<usize> = grain
        .iter()
        .map(|it| schema.index_of(it))
        .collect::<Result<_, _>>()?;
    let aside = Aside::default();
    let told = Arc::clone(&aside);
    let passed = rows.map(move |batch| {
        let batch = batch?;
        let failed = batch.column(last);
        let stays = is_null(failed)?;
        if failed.null_count() < batch.num_rows() {
            let out = filter_record_batch(&batch, &is_not_null(failed)?)?;
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            count(&mut told, &out, last, &keys, is_split)?;
        }
        Ok(filter_record_batch(&batch.project(&kept)?, &stays)?)
    });
    let passed = Box::pin(RecordBatchStreamAdapter::new(left, passed));
    Ok((passed, aside))
}

fn count(
    told: &mut BTreeMap<(String, Part), Taken>,
    out: &RecordBatch,
    failed: usize,
    keys: &[usize],
    is_split: bool,
) -> Result<()> {
    let Some(names) = out.column(failed).as_string_opt::<i32>() else {
        return exec_err!("`{FAILED}` is {}", out.column(failed).data_type());
    };
    let codes = out.column_by_name(MUNICIPALITY).filter(|_| is_split);
    let codes = codes.and_then(|it| it.as_primitive_opt::<Int32Type>());
    for row in 0..out.num_rows() {
        let code = codes.filter(|it| it.is_valid(row));
        let part = code.map(|it| it.value(row).to_string());
        let taken = told.entry((names.value(row).to_owned(), part)).or_default();
        taken.rows += 1;
        if taken.sample.len() < SAMPLE {
            taken
                .sample
                .extend(keys_of(&[out.slice(row, 1).project(keys)?]));
        }
    }
    Ok(())
}

/// What a table leaves out, when it was computed anew for some parts or, `None`, for all. `before` is what it left out until then.
pub(super) fn together(
    before: &[SetAside],
    computed: Option<&BTreeSet<Part>>,
    aside: &Aside,
) -> Vec<SetAside> {
    let is_older = |it: &&SetAside| computed.is_some_and(|parts| !parts.contains(&it.part));
    let mut all: Vec<SetAside> = before.iter().filter(is_older).cloned().collect();
    let aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend(aside.iter().map(|((check, part), taken)| SetAside {
        check: check.clone(),
        part: part.clone(),
        rows: taken.rows,
        sample: taken.sample.clone(),
    }));
    all.sort_by(|a, b| (&a.check, &a.part).cmp(&(&b.check, &b.part)));
    all
}
