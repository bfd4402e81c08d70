//! Reading records of an entity: values, deletions, and those that break the contract.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array},
    compute::{cast, filter_record_batch},
    datatypes::{Int32Type, SchemaRef},
    error::ArrowError,
};
use bus::Delivered;
use codec::{Decoded, Decoder};
use contract::{Entity, Violation, check, raw_schema};

use crate::{
    Error, Result, coordinates,
    reader::Rows,
    refused::{self, Refusal},
};

/// Why a record cannot be read as a row: its schema is not known, its value is not of it, its key is none.
pub(crate) const UNREADABLE: &[&str] = &["schema", "encoding", "key"];

/// Reads the records of one entity's topic.
#[derive(Debug)]
pub(crate) struct EntityReader {
    entity: &'static Entity,
    schema: SchemaRef,
    decoder: Decoder,
}

impl EntityReader {
    pub(crate) fn new(entity: &'static Entity) -> Result<Self> {
        Ok(Self {
            entity,
            schema: raw_schema(entity),
            decoder: Decoder::new(entity)?,
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn entity(&self) -> &'static Entity {
        self.entity
    }

    pub(crate) fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// Reads `records`, which lie in `topic`.
    pub(crate) fn read(&mut self, topic: &str, records: &[&Delivered]) -> Result<Rows> {
        let values: Vec<Option<&[u8]>> = records
            .iter()
            .map(|it| it.record.value.as_deref())
            .collect();
        let decoded = self.decoder.decode(&values)?;
        let unknown = decoded.failures.iter().filter_map(|it| it.unknown_schema);
        let unknown = unknown.collect();
        let mut refused: Vec<(&Delivered, Refusal)> = Vec::new();
        for failure in &decoded.failures {
            let record = records[failure.row];
            let rule = if failure.unknown_schema.is_some() {
                "schema"
            } else {
                "encoding"
            };
            let reason = failure.reason.clone();
            refused.push((
                record,
                Refusal::here(&self.entity.name, record, rule, reason),
            ));
        }
        let made = |err: ArrowError| Error::rows(topic, err);
        let mut good = Vec::new();
        good.extend(
            self.values(topic, records, &decoded, &mut refused)
                .map_err(made)?,
        );
        good.extend(self.deletions(topic, records, &mut refused).map_err(made)?);
        refused.sort_by_key(|(record, _)| (record.partition, record.offset));
        let refused = (!refused.is_empty())
            .then(|| refused::batch(topic, &refused))
            .transpose()
            .map_err(made)?;
        Ok(Rows {
            good,
            refused,
            unknown,
        })
    }

    fn values<'a>(
        &self,
        topic: &str,
        records: &[&'a Delivered],
        decoded: &Decoded,
        refused: &mut Vec<(&'a Delivered, Refusal)>,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let mut broken: BTreeMap<usize, Vec<Violation>> = BTreeMap::new();
        for violation in check(self.entity, &decoded.batch) {
            broken.entry(violation.row).or_default().push(violation);
        }
        for (row, violations) in &broken {
            let record = records[decoded.rows[*row]];
            refused.push((
                record,
                self.refusal(record, &decoded.batch, *row, violations),
            ));
        }
        let count = decoded.batch.num_rows();
        if broken.len() == count {
            return Ok(None);
        }
        let kept: Vec<&Delivered> = (0..count)
            .filter(|row| !broken.contains_key(row))
            .map(|row| records[decoded.rows[row]])
            .collect();
        let batch = if broken.is_empty() {
            decoded.batch.clone()
        } else {
            let keep: BooleanArray = (0..count)
                .map(|row| Some(!broken.contains_key(&row)))
                .collect();
            filter_record_batch(&decoded.batch, &keep)?
        };
        let mut columns = batch.columns().to_vec();
        columns.extend(coordinates::columns(topic, &kept));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map(Some)
    }

    /// A deletion holds its key and nothing else.
    fn deletions<'a>(
        &self,
        topic: &str,
        records: &[&'a Delivered],
        refused: &mut Vec<(&'a Delivered, Refusal)>,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let mut deleted: Vec<&Delivered> = Vec::new();
        let mut keys: Vec<Vec<String>> = Vec::new();
        for record in records
            .iter()
            .copied()
            .filter(|it| it.record.value.is_none())
        {
            let key = record.record.key.as_deref().unwrap_or_default();
            match self.entity.key_values(key) {
                Ok(values) => {
                    deleted.push(record);
                    keys.push(values);
                }
                Err(err) => refused.push((record, self.bad_key(record, err.to_string()))),
            }
        }
        let mut readable = vec![true; deleted.len()];
        let columns = self
            .schema
            .fields()
            .iter()
            .take(self.entity.fields.len())
            .map(|field| {
                let Some(at) = self.entity.key.iter().position(|name| name == field.name()) else {
                    return Ok(new_null_array(field.data_type(), deleted.len()));
                };
                let texts = StringArray::from_iter_values(keys.iter().map(|key| &key[at]));
                let column = cast(&texts, field.data_type())?;
                for (row, readable) in readable.iter_mut().enumerate() {
                    *readable &= column.is_valid(row);
                }
                Ok(column)
            });
        let mut columns = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        columns.extend(coordinates::columns(topic, &deleted));
        for (record, _) in deleted
            .iter()
            .zip(&readable)
            .filter(|(_, readable)| !**readable)
        {
            let reason = "a value in the key of this deletion has another type than its column";
            refused.push((record, self.bad_key(record, reason.to_owned())));
        }
        let all = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let kept = filter_record_batch(&all, &BooleanArray::from(readable))?;
        Ok((kept.num_rows() > 0).then_some(kept))
    }

    fn bad_key(&self, record: &Delivered, reason: String) -> Refusal {
        let mut refusal = Refusal::here(&self.entity.name, record, "key", reason);
        let key = record.record.key.as_deref().unwrap_or_default();
        refusal.raw = String::from_utf8_lossy(key).into_owned();
        refusal
    }

    /// One row for one record, however many rules it breaks.
    fn refusal(
        &self,
        record: &Delivered,
        batch: &RecordBatch,
        row: usize,
        violations: &[Violation],
    ) -> Refusal {
        let reasons: Vec<&str> = violations.iter().map(|it| it.message.as_str()).collect();
        let rule = violations.first().map_or("contract", |it| it.rule);
        let mut refusal = Refusal::here(&self.entity.name, record, rule, reasons.join("; "));
        refusal.field = violations.first().map(|it| it.field.clone());
        refusal.value = violations.first().and_then(|it| it.value.clone());
        refusal.violations = serde_json::to_string(violations).ok();
        refusal.raw = as_json(&batch.slice(row, 1));
        refusal.municipality_code = batch
            .column_by_name("municipality_code")
            .and_then(|it| it.as_primitive_opt::<Int32Type>())
            .and_then(|it| it.is_valid(row).then(|| it.value(row)));
        refusal
    }
}

fn as_json(row: &RecordBatch) -> String {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    let written = writer.write(row).and_then(|()| writer.finish());
    match written {
        Ok(()) => String::from_utf8_lossy(&writer.into_inner())
            .trim_end()
            .to_owned(),
        Err(err) => format!("(not shown: {err})"),
    }
}
