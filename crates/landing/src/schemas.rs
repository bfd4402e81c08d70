//! Schemas that records in the topics may have been written with, kept in the lake.
//!
//! A record names its schema by fingerprint only. Every lander leaves the schemas it knows in
//! `_schemas/<entity>/<fingerprint>.avsc`, so that one that comes after a change of schema can still
//! read what was sent before it.

use lake::Lake;

use crate::{Result, entity::EntityReader};

/// Leaves the entity's present schema in the lake and learns the others that are there.
pub(crate) async fn exchange(lake: &Lake, reader: &mut EntityReader) -> Result<()> {
    let entity = reader.entity();
    let folder = format!("_schemas/{}", entity.name);
    let present = codec::fingerprint(entity.avro())?;
    let path = format!("{folder}/{present:016x}.avsc");
    if lake.get(&path).await?.is_none() {
        lake.put_new(&path, entity.avro().to_owned().into()).await?;
    }
    for path in lake.list(&folder).await? {
        let Some(avsc) = lake.get(&path).await? else {
            continue;
        };
        let avsc = String::from_utf8_lossy(&avsc);
        // One bad file must not keep the records of all other schemas from landing.
        if let Err(err) = reader.decoder().learn(&avsc) {
            tracing::warn!(entity = entity.name, path, error = %err, "schema not learnt");
        }
    }
    Ok(())
}
