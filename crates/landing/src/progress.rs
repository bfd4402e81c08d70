//! How far each partition of a topic has come, as the tables have it.

use std::collections::{BTreeSet, HashMap};

use arrow::{array::AsArray, datatypes::Int64Type};
use bus::{Log, Topic};
use contract::{OFFSET, PARTITION, TOPIC};
use datafusion::prelude::{SessionContext, col, lit};
use lake::Lake;

use crate::{Error, Result, reader::table_of, refused::QUARANTINE_TABLE};

/// Where one partition stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The table's `txn`: the next offset to land; `None` before the first commit.
    pub(crate) base: Option<i64>,
    /// The same in the table of refused records.
    pub(crate) refused_base: Option<i64>,
    /// Where reading starts.
    pub(crate) start: i64,
    /// Offsets from `start` on that are among the refused records already: their commit was made
    /// and the table's was not.
    pub(crate) settled: BTreeSet<i64>,
}

/// The application id of a partition in its table.
pub(crate) fn landing_id(topic: &Topic, partition: i32) -> String {
    format!("landing/{}/{}/{partition}", topic.name, topic.id)
}

/// The application id of a partition in the table of refused records.
pub(crate) fn refusing_id(topic: &Topic, partition: i32) -> String {
    format!("quarantine/{}/{}/{partition}", topic.name, topic.id)
}

/// The next offset to land of each partition that has landed anything; by partition.
pub async fn landed_offsets(lake: &Lake, topic: &Topic) -> Result<HashMap<i32, i64>> {
    let Some(table) = table_of(&topic.name) else {
        return Ok(HashMap::new());
    };
    let txns = lake.txns(&table).await?;
    let next = |partition| Some((partition, *txns.get(&landing_id(topic, partition))?));
    Ok((0..topic.partitions).filter_map(next).collect())
}

/// The topic as its rows in `table` name it, now.
pub(crate) async fn label_in(lake: &Lake, table: &str, topic: &Topic) -> Result<String> {
    let landed = lake.txns(table).await?;
    let refused = lake.txns(QUARANTINE_TABLE).await?;
    Ok(label(topic, landed.keys().chain(refused.keys())))
}

/// The topic as its rows name it. A topic that was deleted and made again counts up: its offsets
/// start over, and without the number its rows could not be told from those of the first.
///
/// `app_ids` are those of its table and of the table of refused records: an earlier topic may have come no further than the latter.
pub(crate) fn label<'a>(topic: &Topic, app_ids: impl IntoIterator<Item = &'a String>) -> String {
    let mut earlier = BTreeSet::new();
    for app_id in app_ids {
        let of_topic = ["landing/", "quarantine/"]
            .iter()
            .find_map(|kind| app_id.strip_prefix(kind))
            .and_then(|it| it.strip_prefix(topic.name.as_str()))
            .and_then(|it| it.strip_prefix('/'));
        if let Some((id, _)) = of_topic.and_then(|it| it.rsplit_once('/'))
            && id != topic.id
        {
            earlier.insert(id);
        }
    }
    match earlier.len() {
        0 => topic.name.clone(),
        earlier => format!("{}@{}", topic.name, earlier + 1),
    }
}

/// Where a partition stands now.
///
/// # Errors
/// [`Error::Gap`] when the log does not hold what comes next.
pub(crate) async fn read(
    log: &dyn Log,
    lake: &Lake,
    topic: &Topic,
    table: &str,
    partition: i32,
) -> Result<Progress> {
    let txns = lake.txns(table).await?;
    let base = txns.get(&landing_id(topic, partition)).copied();
    let range = log.range(&topic.name, partition).await?;
    let start = base.unwrap_or(range.low);
    if start < range.low || start > range.high {
        return Err(Error::Gap {
            topic: topic.name.clone(),
            partition,
            landed: start,
            low: range.low,
            high: range.high,
        });
    }
    // Positions before rows: rows that come in between are known as settled, never the other way round.
    let refused = lake.txns(QUARANTINE_TABLE).await?;
    let refused_base = refused.get(&refusing_id(topic, partition)).copied();
    let settled = if refused_base.is_some_and(|refused| refused > start) {
        let label = label(topic, txns.keys().chain(refused.keys()));
        settled(lake, &label, partition, start).await?
    } else {
        BTreeSet::new()
    };
    Ok(Progress {
        base,
        refused_base,
        start,
        settled,
    })
}

async fn settled(lake: &Lake, topic: &str, partition: i32, from: i64) -> Result<BTreeSet<i64>> {
    let failed = |err| Error::query(QUARANTINE_TABLE, err);
    let Some(table) = lake.provider(QUARANTINE_TABLE, None).await? else {
        return Ok(BTreeSet::new());
    };
    let ours = col(TOPIC)
        .eq(lit(topic))
        .and(col(PARTITION).eq(lit(partition)))
        .and(col(OFFSET).gt_eq(lit(from)));
    let found = SessionContext::new()
        .read_table(table)
        .and_then(|rows| rows.filter(ours))
        .and_then(|rows| rows.select_columns(&[OFFSET]))
        .map_err(failed)?;
    let batches = found.collect().await.map_err(failed)?;
    let offsets = batches.iter().flat_map(|batch| {
        let offsets = batch.column(0).as_primitive_opt::<Int64Type>();
        offsets.map(|it| it.values().to_vec()).unwrap_or_default()
    });
    Ok(offsets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_made_again_is_told_from_the_one_before() {
        let topic = |id: &str| Topic {
            name: "pejl.offer".to_owned(),
            id: id.to_owned(),
            partitions: 2,
        };
        let landed = |id: &str| landing_id(&topic(id), 1);
        let refused = |id: &str| refusing_id(&topic(id), 0);
        let mut app_ids = Vec::new();
        assert_eq!(label(&topic("a"), &app_ids), "pejl.offer");
        app_ids.extend([landed("a"), landing_id(&topic("a"), 0), refused("a")]);
        app_ids.extend(["landing/pejl.offer_price/b/0".to_owned()]);
        assert_eq!(label(&topic("a"), &app_ids), "pejl.offer");
        assert_eq!(label(&topic("b"), &app_ids), "pejl.offer@2");
        app_ids.push(landed("b"));
        assert_eq!(label(&topic("b"), &app_ids), "pejl.offer@2");
        app_ids.push(refused("c"));
        assert_eq!(label(&topic("d"), &app_ids), "pejl.offer@4");
    }
}
