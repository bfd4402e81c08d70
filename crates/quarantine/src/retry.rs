//! What each row would be now: mapped again where ingest had set it aside, judged again where landing had refused it.

use std::collections::HashMap;

use bus::{Assignment, Delivered, Log, Record, Topic};
use contract::Entity;
use ingest::{Ingest, Remapped, SetAsideRow};
use lake::Lake;
use landing::Judged;
use spec::Pipeline;
use telemetry::Traceparent;

use crate::{Result, Row};

/// How long one wait for a refused record takes, and how often it is waited for.
const WAIT: std::time::Duration = std::time::Duration::from_secs(1);
const WAITS: usize = 20;

/// What a row is now.
#[derive(Debug)]
pub(crate) enum Again {
    Good(Box<Candidate>),
    Filtered,
    Bad(String),
}

/// A record that could be sent.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) record: Record,
    /// Microseconds since 1970.
    pub(crate) updated_at: Option<i64>,
}

/// Maps rows that ingest set aside by the pipeline as it is now; one answer for each.
pub(crate) fn remap(
    ingest: &Ingest,
    pipeline: &Pipeline,
    rows: &[&Row],
    trace: Traceparent,
) -> Result<Vec<Again>> {
    let mut again: Vec<Again> = Vec::with_capacity(rows.len());
    let mut tried = Vec::new();
    for row in rows {
        let refusal = match row.rule.as_str() {
            "missing_column" => Some(
                "it tells of a column that its file lacked, and no row is missing for it; discard it once the sender knows".to_owned(),
            ),
            "unreadable" => {
                Some("it could not be read as a row when it came; have it sent again".to_owned())
            }
            _ if row.entity != pipeline.entity.name => Some(format!(
                "it was to be a {}, and {} makes {} now",
                row.entity, pipeline.name, pipeline.entity.name
            )),
            _ => None,
        };
        again.push(match refusal {
            Some(why) => Again::Bad(why),
            None => {
                tried.push((again.len(), row));
                Again::Filtered
            }
        });
    }
    let set_aside: Vec<SetAsideRow> = tried
        .iter()
        .map(|(_, row)| SetAsideRow {
            origin: row.origin.clone(),
            raw: row.raw.clone(),
            read_at: row.quarantined_at,
        })
        .collect();
    let remapped = ingest.remap(pipeline, &set_aside, trace)?;
    for ((at, _), remapped) in tried.iter().zip(remapped) {
        again[*at] = match remapped {
            Remapped::Good { record, updated_at } => {
                Again::Good(Box::new(Candidate { record, updated_at }))
            }
            Remapped::Filtered => Again::Filtered,
            Remapped::Bad(why) => Again::Bad(why),
        };
    }
    Ok(again)
}

/// Reads records that landing refused out of the log, and has them judged again; one answer for each.
pub(crate) async fn rejudge(
    log: &dyn Log,
    lake: &Lake,
    entity: &Entity,
    rows: &[&Row],
) -> Result<Vec<Again>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut topics: HashMap<String, Topic> = HashMap::new();
    for topic in log.topics(&entity.topic()).await? {
        if topic.name == entity.topic() {
            topics.insert(landing::row_topic(lake, &topic).await?, topic);
        }
    }
    let mut records = Vec::new();
    for row in rows {
        let id = row.id()?;
        records.push(match topics.get(&id.topic) {
            Some(topic) => read(log, topic, id.partition, id.offset).await?,
            None => None,
        });
    }
    let there: Vec<&Delivered> = records.iter().flatten().collect();
    let mut judged = landing::judge(lake, &entity.topic(), &there)
        .await?
        .into_iter();
    let again = |record: Option<Delivered>| {
        let Some(delivered) = record else {
            let why = "the log no longer has the record; have it sent again";
            return Again::Bad(why.to_owned());
        };
        match judged.next() {
            Some(Judged::Lands(updated_at)) => Again::Good(Box::new(Candidate {
                record: delivered.record,
                updated_at,
            })),
            Some(Judged::Refused(why)) => Again::Bad(why),
            None => Again::Bad("landing does not know this topic".to_owned()),
        }
    };
    Ok(records.into_iter().map(again).collect())
}

async fn read(
    log: &dyn Log,
    topic: &Topic,
    partition: i32,
    offset: i64,
) -> Result<Option<Delivered>> {
    let range = log.range(&topic.name, partition).await?;
    if !(range.low..range.high).contains(&offset) {
        return Ok(None);
    }
    let start = Assignment {
        topic: topic.name.clone(),
        partition,
        offset,
    };
    let mut consumer = log.consumer(&[start]).await?;
    for _ in 0..WAITS {
        let polled = consumer.poll(1, WAIT).await?;
        if let Some(first) = polled.into_iter().flat_map(|it| it.records).next() {
            return Ok((first.offset == offset).then_some(first));
        }
    }
    Err(bus::Error::Unavailable(format!(
        "{}/{partition}: the record at {offset} did not come",
        topic.name
    ))
    .into())
}
