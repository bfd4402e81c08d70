//! Rows that name a topic or a partition the log does not have.

use std::collections::{BTreeMap, HashMap};

use arrow::{
    array::AsArray,
    datatypes::{Int32Type, Int64Type},
};
use bus::{Log, Topic};
use contract::{OFFSET, PARTITION, TOPIC};
use datafusion::{
    functions_aggregate::expr_fn::{count, max, min},
    prelude::{SessionContext, cast, col, lit},
};
use lake::Lake;
use serde::Serialize;

use crate::{
    Error, Result,
    progress::label,
    reader::{PREFIX, table_of},
    refused::QUARANTINE_TABLE,
};

/// Rows of a table that name a topic or partition which is not the log's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stranger {
    /// The table.
    pub table: String,
    /// The topic they name.
    pub topic: String,
    /// The partition they name.
    pub partition: i32,
    /// How many.
    pub rows: i64,
    /// Their least offset.
    pub first: i64,
    /// Their greatest.
    pub last: i64,
    /// Whether they are of an earlier topic by the same name, which was deleted and made again: no fault.
    pub earlier: bool,
}

/// Looks at every landed table once.
pub(super) async fn find(log: &dyn Log, lake: &Lake) -> Result<Vec<Stranger>> {
    let mut strangers = Vec::new();
    for table in lake.tables().await? {
        if table.starts_with("raw.") {
            strangers.extend(named(lake, &table).await?);
        }
    }
    // Asked for after the rows: a topic made meanwhile is known by now.
    let mut labels = HashMap::new();
    let topics = log.topics(PREFIX).await?;
    for topic in &topics {
        if let Some(table) = table_of(&topic.name) {
            let label = label(topic, &lake.txns(&table).await?);
            labels.insert(label, topic);
        }
    }
    strangers.retain(|it| !is_known(it, &labels));
    for it in &mut strangers {
        it.earlier = is_earlier(it, &topics, &labels);
    }
    Ok(strangers)
}

fn is_known(rows: &Stranger, labels: &HashMap<String, &Topic>) -> bool {
    let topic = labels.get(&rows.topic);
    topic.is_some_and(|topic| {
        let table = table_of(&topic.name);
        let at_home = table.as_deref() == Some(&rows.table) || rows.table == QUARANTINE_TABLE;
        at_home && (0..topic.partitions).contains(&rows.partition)
    })
}

/// Whether the topic they name comes before the one there is now: `pejl.offer` before `pejl.offer@2`.
fn is_earlier(rows: &Stranger, topics: &[Topic], labels: &HashMap<String, &Topic>) -> bool {
    let (name, number) = numbered(&rows.topic);
    let home = table_of(name);
    let at_home = home.as_deref() == Some(&rows.table) || rows.table == QUARANTINE_TABLE;
    let now = labels.iter().find(|(_, topic)| topic.name == name);
    let now = now.map(|(label, _)| numbered(label).1);
    let is_there = topics.iter().any(|topic| topic.name == name);
    at_home && is_there && now.is_some_and(|now| number < now)
}

fn numbered(label: &str) -> (&str, u64) {
    let (name, number) = label.split_once('@').unwrap_or((label, "1"));
    (name, number.parse().unwrap_or(u64::MAX))
}

/// Everything the rows of a table name, as if all of it were strange.
async fn named(lake: &Lake, table: &str) -> Result<Vec<Stranger>> {
    let failed = |err| Error::query(table, err);
    let Some(rows) = lake.provider(table, None).await? else {
        return Ok(Vec::new());
    };
    let groups = SessionContext::new()
        .read_table(rows)
        .and_then(|rows| {
            // A view of a text and a text are told apart by their readers.
            let topic = cast(col(TOPIC), arrow::datatypes::DataType::Utf8).alias(TOPIC);
            rows.select(vec![topic, col(PARTITION), col(OFFSET)])
        })
        .and_then(|rows| {
            let counts = vec![count(lit(1)), min(col(OFFSET)), max(col(OFFSET))];
            rows.aggregate(vec![col(TOPIC), col(PARTITION)], counts)
        })
        .map_err(failed)?;
    let mut named = BTreeMap::new();
    for batch in groups.collect().await.map_err(failed)? {
        let topics = batch.column(0).as_string::<i32>();
        let partitions = batch.column(1).as_primitive::<Int32Type>();
        let whole = |at: usize| batch.column(at).as_primitive::<Int64Type>().clone();
        let (counts, firsts, lasts) = (whole(2), whole(3), whole(4));
        for row in 0..batch.num_rows() {
            let topic = topics.value(row).to_owned();
            let partition = partitions.value(row);
            let rows = Stranger {
                table: table.to_owned(),
                topic: topic.clone(),
                partition,
                rows: counts.value(row),
                first: firsts.value(row),
                last: lasts.value(row),
                earlier: false,
            };
            named.insert((topic, partition), rows);
        }
    }
    Ok(named.into_values().collect())
}
