//! Rows that were set aside, mapped once more: by the pipeline as it is now.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, TimestampMicrosecondType},
};
use bus::Record;
use chrono::{DateTime, SecondsFormat, Utc};
use connector_api::Batch;
use contract::{PseudonymKey, is_of_another_key};
use serde_json::{Map, Value};
use spec::Pipeline;
use telemetry::Traceparent;

use crate::{
    Error, Ingest, Result,
    mapping::{Mapping, READ_AT},
    record::{Stamp, entity_records},
};

/// A row that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAsideRow {
    /// The place it had in its source.
    pub origin: String,
    /// What was kept of it: a JSON object of its columns.
    pub raw: String,
    /// When it was read.
    pub read_at: DateTime<Utc>,
}

/// What a row that was set aside is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remapped {
    /// A record for its entity's topic.
    Good {
        /// The record, with the place in the source it always had.
        record: Record,
        /// Its `updated_at`, microseconds since 1970.
        updated_at: Option<i64>,
    },
    /// The pipeline passes over it.
    Filtered,
    /// It still breaks its contract, or cannot be tried again; in words.
    Bad(String),
}

impl Ingest {
    /// Maps rows of one source again, in order; one answer for each. The records carry `trace`.
    ///
    /// Nothing is written.
    ///
    /// # Errors
    /// [`Error::Settings`] where the pipeline is wrong as a whole.
    pub fn remap(
        &self,
        pipeline: &Pipeline,
        rows: &[SetAsideRow],
        trace: Traceparent,
    ) -> Result<Vec<Remapped>> {
        let key = self.key.as_ref();
        let mut mapping = Mapping::of_set_aside(pipeline, key)?;
        let stamp = Stamp::new(&pipeline.name, trace, Utc::now());
        let mut answers: Vec<Option<Remapped>> = vec![None; rows.len()];
        // A mapping is bound to one set of columns; rows of one file share theirs.
        let mut alike: BTreeMap<Vec<String>, Vec<Member>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            match columns(&row.raw, key) {
                Ok(columns) => {
                    let mut names: Vec<String> = columns.keys().cloned().collect();
                    names.sort_unstable();
                    alike.entry(names).or_default().push((at, columns));
                }
                Err(why) => answers[at] = Some(Remapped::Bad(why.to_owned())),
            }
        }
        for (names, members) in &alike {
            let batch = batch(names, members, rows)?;
            let mapped = mapping.apply(&batch)?;
            let good = &mapped.coerced.batch;
            let origin = |row: usize| batch.origins[mapped.coerced.rows[row]].as_str();
            let records = entity_records(pipeline.entity, good, origin, &stamp)?;
            let updated = good
                .column_by_name("updated_at")
                .and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
            for (row, record) in records.into_iter().enumerate() {
                let updated_at = updated.and_then(|it| it.is_valid(row).then(|| it.value(row)));
                let (at, _) = members[mapped.coerced.rows[row]];
                answers[at] = Some(Remapped::Good { record, updated_at });
            }
            for violation in &mapped.coerced.violations {
                let (at, _) = members[violation.row];
                answers[at] = Some(match answers[at].take() {
                    Some(Remapped::Bad(before)) => {
                        Remapped::Bad(format!("{before}; {}", violation.message))
                    }
                    _ => Remapped::Bad(violation.message.clone()),
                });
            }
        }
        // What is neither good nor bad was passed over.
        let answers = answers.into_iter();
        Ok(answers.map(|it| it.unwrap_or(Remapped::Filtered)).collect())
    }
}

/// A row by its place in the call, and its columns.
type Member = (usize, Map<String, Value>);

/// The columns of a row that was set aside, or why it cannot be tried again.
fn columns(raw: &str, key: Option<&PseudonymKey>) -> Result<Map<String, Value>, &'static str> {
    let Ok(Value::Object(columns)) = serde_json::from_str(raw) else {
        return Err("it could not be read as a row when it came; have it sent again");
    };
    let of_another_key = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        key.is_some_and(|key| is_of_another_key(text, key))
    };
    if columns.values().any(of_another_key) {
        return Err(
            "its CPR number was turned into a pseudonym with another key than this one; read its source again",
        );
    }
    Ok(columns)
}

fn batch(names: &[String], members: &[Member], rows: &[SetAsideRow]) -> Result<Batch> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for name in names {
        let values = members.iter().map(|(_, columns)| columns[name].as_str());
        fields.push(Field::new(name, DataType::Utf8, true));
        arrays.push(Arc::new(values.collect::<StringArray>()));
    }
    let read_at = members.iter().map(|(at, _)| {
        let at = rows[*at].read_at;
        Some(at.to_rfc3339_opts(SecondsFormat::Micros, true))
    });
    fields.push(Field::new(READ_AT, DataType::Utf8, true));
    arrays.push(Arc::new(read_at.collect::<StringArray>()));
    let rows_again = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    Ok(Batch {
        rows: rows_again.map_err(|err| Error::Encode {
            source_name: "rows set aside".to_owned(),
            reason: err.to_string(),
        })?,
        origins: members
            .iter()
            .map(|(at, _)| rows[*at].origin.clone())
            .collect(),
        rejects: Vec::new(),
        position: None,
        delivery: None,
        complete_through: None,
    })
}
