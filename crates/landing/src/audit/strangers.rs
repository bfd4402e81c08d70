//! Rows that name a topic or a partition the log does not have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{moment::Moment, tables::Found};
use crate::{reader::table_of, refused::QUARANTINE_TABLE};

/// Rows of a table that name a topic or partition which is not the log's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    /// The table.
    pub table: String,
    /// The topic they name.
    pub topic: String,
    /// The partition they name.
    pub partition: i32,
    /// How many.
    pub rows: u64,
    /// Their least offset.
    pub first: i64,
    /// Their greatest.
    pub last: i64,
    /// Whether they are of an earlier topic by the same name, which was deleted and made again: no fault.
    pub earlier: bool,
}

/// Those among what was found, by table.
pub(super) fn among(moment: &Moment, found: &BTreeMap<String, Found>) -> Vec<Stranger> {
    let mut strangers = Vec::new();
    for (table, found) in found {
        for (topic, partitions) in found {
            for (partition, seen) in partitions {
                let (Some(first), Some(last)) = (seen.offsets.min(), seen.offsets.max()) else {
                    continue;
                };
                if !moment.knows(table, topic, *partition) {
                    strangers.push(Stranger {
                        table: table.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        rows: seen.rows,
                        first,
                        last,
                        earlier: is_earlier(moment, table, topic),
                    });
                }
            }
        }
    }
    strangers.sort_by(|a, b| {
        let key = |it: &Stranger| (it.table.clone(), it.topic.clone(), it.partition);
        key(a).cmp(&key(b))
    });
    strangers
}

/// Whether the topic they name comes before the one there is now: `pejl.offer` before `pejl.offer@2`.
fn is_earlier(moment: &Moment, table: &str, topic: &str) -> bool {
    let (name, number) = numbered(topic);
    let home = table_of(name);
    let at_home = home.as_deref() == Some(table) || table == QUARANTINE_TABLE;
    let now = moment.partitions.iter().find(|it| it.topic.name == name);
    at_home && home.is_some() && now.is_some_and(|now| number < numbered(&now.label).1)
}

fn numbered(label: &str) -> (&str, u64) {
    let (name, number) = label.split_once('@').unwrap_or((label, "1"));
    (name, number.parse().unwrap_or(u64::MAX))
}
