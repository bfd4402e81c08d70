//! Rows to Parquet files, with the statistics that let a reader skip them.

use std::{num::NonZeroU64, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use deltalake::{
    datafile::writer::{DeltaWriter, WriterConfig},
    kernel::Add,
};
use futures::{StreamExt, stream::BoxStream};
use object_store::{ObjectStoreExt, path::Path};
use parquet::{
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use telemetry::metric;

use crate::{Error, Lake, Result};

/// A file is closed at this size: large enough to read in one go, small enough to write again.
pub const FILE_BYTES: NonZeroU64 = match NonZeroU64::new(96 << 20) {
    Some(bytes) => bytes,
    None => NonZeroU64::MIN,
};

/// A row group is closed at this many rows, since it is held in memory until then, one for each partition.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Filters that tell which ids a row group may hold are made for this many; of more they tell less well.
const FILTERED_IDS: u64 = 64 << 10;

/// How often such a filter may be wrong about an id: a file is read for nothing. Ten thousand are looked for at once ([`crate::one_of`]).
const FILTER_MISSES: f64 = 0.000_01;

/// A column of which more differs is written as it is: identifiers gain nothing by a dictionary, and making one is work.
const DICTIONARY_BYTES: usize = 128 << 10;

/// How landed rows are compressed: they are written once and kept for long.
pub(crate) fn small() -> Result<Compression, ParquetError> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(1)?))
}

/// How the rows of models are compressed: they are written again and again, in many small files.
pub(crate) const QUICK: Compression = Compression::SNAPPY;

/// Writes `batches` (columns exactly `schema`) as new files of the table that no version names yet.
pub(crate) async fn write(
    lake: &Lake,
    table: &str,
    schema: &SchemaRef,
    partition_by: &[String],
    compression: Compression,
    mut batches: BoxStream<'_, Result<RecordBatch>>,
) -> Result<Vec<Add>> {
    let doing = format!("writing {table}");
    let properties = properties(schema, compression);
    let config = WriterConfig::new(
        Arc::clone(schema),
        partition_by.to_vec(),
        Some(properties),
        Some(FILE_BYTES),
        Some(8192),
        Default::default(),
        Some(indexed(schema)),
    );
    let mut writer = DeltaWriter::new(lake.folder_of(table), config);
    while let Some(batch) = batches.next().await {
        let written = match batch {
            Ok(batch) if batch.num_rows() == 0 => Ok(()),
            Ok(batch) => {
                let written = writer.write(&batch).await;
                written.map_err(|err| Error::storage(&doing, err))
            }
            Err(err) => Err(err),
        };
        if let Err(err) = written {
            if let Err(err) = writer.abort().await {
                tracing::warn!(table, error = %err, "unfinished upload left behind");
            }
            return Err(err);
        }
    }
    let adds = writer.close().await;
    let adds = adds.map_err(|err| Error::storage(&doing, err))?;
    let bytes: u64 = adds.iter().map(|it| it.size.unsigned_abs()).sum();
    metric::TABLE_FILES.add([table], adds.len() as u64);
    metric::TABLE_BYTES.add([table], bytes);
    metric::TABLE_RETRIES.add([table], 0);
    Ok(adds)
}

/// How files are written. Columns that are not [`indexed`] get no statistics at all, so that no writer can put their values in the log;
/// those that name things get a filter, which stays in the file: a few things are found without reading where they are not.
pub(crate) fn properties(schema: &SchemaRef, compression: Compression) -> WriterProperties {
    let kept = indexed(schema);
    let mut properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in schema.fields() {
        if !kept.contains(&format!("\"{}\"", field.name())) {
            let column = ColumnPath::from(field.name().as_str());
            if contract::is_id(field.name()) && field.data_type() == &DataType::Utf8 {
                properties = properties
                    .set_column_bloom_filter_fpp(column.clone(), FILTER_MISSES)
                    .set_column_bloom_filter_max_ndv(column.clone(), FILTERED_IDS);
            }
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    properties.build()
}

/// Removes files that no version will ever name. Failing that they are garbage, not harm.
pub(crate) async fn discard(lake: &Lake, table: &str, adds: &[Add]) {
    let folder = lake.folder_of(table);
    for add in adds {
        if let Err(err) = folder.delete(&Path::from(add.path.as_str())).await {
            tracing::debug!(table, path = add.path, error = %err, "unused file left behind");
        }
    }
}

/// The columns whose least and greatest values are kept in the log. Texts are not: free text would
/// swell the log, and people's words have no business in it.
fn indexed(schema: &SchemaRef) -> Vec<String> {
    let fields = schema.fields().iter();
    fields
        .filter(|field| {
            field.data_type().is_primitive() || matches!(field.data_type(), DataType::Boolean)
        })
        .map(|field| format!("\"{}\"", field.name()))
        .collect()
}
