//! What somebody needs to know who sends a refused record again: how it would be judged now, and what is on its way.

use std::time::Duration;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use bus::{Assignment, Delivered, Log, Topic};
use lake::Lake;

use crate::{
    Error, Result, landed_offsets, progress,
    reader::{Reader, table_of},
    schemas,
};

/// How long one wait for records takes at most.
const WAIT: Duration = Duration::from_millis(500);

/// Records read at a time.
const POLLED: usize = 5_000;

/// What landing would say to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It would land; its `updated_at` in microseconds since 1970, where it has one.
    Lands(Option<i64>),
    /// It would be refused, for this reason.
    Refused(String),
}

/// Says of each record what landing would say to it: by the schemas and code lists of this Pejl, and the schemas in the lake.
pub async fn judge(lake: &Lake, topic: &str, records: &[&Delivered]) -> Result<Vec<Judged>> {
    let mut reader = Reader::of(topic)?
        .ok_or_else(|| Error::rows(topic, "no entity of this Pejl has this topic"))?;
    if let Reader::Entity(reader) = &mut reader {
        schemas::exchange(lake, reader).await?;
    }
    let mut judged = Vec::new();
    for record in records {
        let rows = reader.read(topic, std::slice::from_ref(record))?;
        judged.push(match rows.refused {
            Some(refused) => Judged::Refused(first_text(&refused, "reason")),
            None => Judged::Lands(rows.good.first().and_then(updated_at)),
        });
    }
    Ok(judged)
}

/// How the rows of a topic name it in `_topic`.
pub async fn row_topic(lake: &Lake, topic: &Topic) -> Result<String> {
    let Some(table) = table_of(&topic.name) else {
        return Ok(topic.name.clone());
    };
    progress::label_in(lake, &table, topic).await
}

/// Reads what a topic holds and the lake does not yet, in order within each partition. A topic of none of these names is empty.
///
/// What lands meanwhile may be told too; what has landed before the call is not.
pub async fn unlanded(
    log: &dyn Log,
    lake: &Lake,
    topic: &str,
    mut each: impl FnMut(Vec<Delivered>) -> Result<()>,
) -> Result<()> {
    let Some(topic) = log
        .topics(topic)
        .await?
        .into_iter()
        .find(|it| it.name == topic)
    else {
        return Ok(());
    };
    let landed = landed_offsets(lake, &topic).await?;
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for partition in 0..topic.partitions {
        let range = log.range(&topic.name, partition).await?;
        let next = landed.get(&partition).copied().unwrap_or(range.low);
        let offset = next.clamp(range.low, range.high);
        if offset < range.high {
            starts.push(Assignment {
                topic: topic.name.clone(),
                partition,
                offset,
            });
            ends.push((partition, range.high));
        }
    }
    if starts.is_empty() {
        return Ok(());
    }
    let mut consumer = log.consumer(&starts).await?;
    loop {
        let mut behind = false;
        for (partition, high) in &ends {
            behind |= consumer.position(&topic.name, *partition)? < *high;
        }
        if !behind {
            return Ok(());
        }
        for polled in consumer.poll(POLLED, WAIT).await? {
            each(polled.records)?;
        }
    }
}

fn first_text(batch: &RecordBatch, column: &str) -> String {
    let column = batch.column_by_name(column);
    let texts = column.and_then(|it| it.as_string_opt::<i32>());
    let text = texts.and_then(|it| it.is_valid(0).then(|| it.value(0)));
    text.unwrap_or_default().to_owned()
}

fn updated_at(batch: &RecordBatch) -> Option<i64> {
    let column = batch.column_by_name("updated_at")?;
    let moments = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    (!moments.is_empty() && moments.is_valid(0)).then(|| moments.value(0))
}
