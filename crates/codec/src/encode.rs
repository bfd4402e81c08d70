//! Batch to values.

use std::collections::HashMap;

use arrow::{array::RecordBatch, datatypes::Schema};
use arrow_avro::{
    schema::{FingerprintStrategy, SCHEMA_METADATA_KEY},
    writer::{WriterBuilder, format::AvroSoeFormat},
};
use bytes::Bytes;
use contract::Entity;

use crate::{Error, Result};

/// Encodes every row of `batch` (columns as in [`Entity::arrow_schema`]) as one value.
///
/// The values are slices of one buffer, so a batch lives as long as any of its values.
///
/// # Errors
/// [`Error::Encode`] when the columns differ from the entity's, or a required one holds a null.
pub fn encode(entity: &Entity, batch: &RecordBatch) -> Result<Vec<Bytes>> {
    let wrong = |reason: String| Error::Encode {
        entity: entity.name.clone(),
        reason,
    };
    let expected = entity.arrow_schema();
    let given = batch.schema();
    let same = expected.fields().len() == given.fields().len()
        && expected
            .fields()
            .iter()
            .zip(given.fields())
            .all(|(want, have)| want.name() == have.name() && want.data_type() == have.data_type());
    if !same {
        return Err(wrong(format!("columns {given:?} instead of {expected:?}")));
    }
    for (field, column) in expected.fields().iter().zip(batch.columns()) {
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(wrong(format!(
                "required column `{}` holds a null",
                field.name()
            )));
        }
    }

    let avro = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), entity.avro().to_owned())]);
    let schema = Schema::new_with_metadata(given.fields().clone(), avro);
    let mut encoder = WriterBuilder::new(schema)
        .with_fingerprint_strategy(FingerprintStrategy::Rabin)
        .build_encoder::<AvroSoeFormat>()
        .map_err(|err| wrong(err.to_string()))?;
    encoder
        .encode(batch)
        .map_err(|err| wrong(err.to_string()))?;
    Ok(encoder.flush().iter().collect())
}
