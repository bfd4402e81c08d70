//! The moment an audit is of: how far each table has come, and what the log holds.

use std::collections::{BTreeMap, HashMap};

use bus::{Log, Range, Topic};
use futures::{StreamExt, TryStreamExt, stream};
use lake::{Lake, Standing};

use crate::{
    Result,
    progress::{label, landing_id, refusing_id},
    reader::{PREFIX, table_of},
    refused::QUARANTINE_TABLE,
};

/// Tables and ranges asked for at the same time.
const AT_ONCE: usize = 8;

/// All landed tables and all partitions of the log.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) tables: BTreeMap<String, Standing>,
    pub(super) partitions: Vec<Partition>,
}

/// A partition of the log, and how far it has landed.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) topic: Topic,
    pub(super) number: i32,
    /// The topic as its rows name it.
    pub(super) label: String,
    /// Its table; `None` when the topic is of no entity known here.
    pub(super) table: Option<String>,
    pub(super) range: Range,
    /// The table's position: rows of it are below.
    pub(super) position: Option<i64>,
    /// The same of the table of refused records.
    pub(super) refused: Option<i64>,
}

impl Moment {
    /// Tables before refused records before the log: whatever one of them knows of, the next one holds, however busy the landers are.
    pub(super) async fn take(log: &dyn Log, lake: &Lake) -> Result<Self> {
        let names = lake.tables().await?.into_iter();
        let names = names.filter(|it| it.starts_with("raw.") && it != QUARANTINE_TABLE);
        let standing = async |table: String| -> Result<_> {
            let standing = lake.standing(&table).await?;
            Ok(standing.map(|it| (table, it)))
        };
        let found: Vec<_> = stream::iter(names)
            .map(&standing)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut tables: BTreeMap<_, _> = found.into_iter().flatten().collect();
        tables.extend(standing(QUARANTINE_TABLE.to_owned()).await?);

        let none = HashMap::new();
        let txns = |table: &str| tables.get(table).map_or(&none, |it| &it.txns);
        let refused = txns(QUARANTINE_TABLE);
        let mut partitions = Vec::new();
        for topic in log.topics(PREFIX).await? {
            let table = table_of(&topic.name);
            let landed = table.as_deref().map_or(&none, txns);
            let label = label(&topic, landed.keys().chain(refused.keys()));
            for number in 0..topic.partitions {
                partitions.push(Partition {
                    topic: topic.clone(),
                    number,
                    label: label.clone(),
                    table: table.clone(),
                    range: Range { low: 0, high: 0 },
                    position: landed.get(&landing_id(&topic, number)).copied(),
                    refused: refused.get(&refusing_id(&topic, number)).copied(),
                });
            }
        }
        let with_range = |mut it: Partition| async move {
            it.range = log.range(&it.topic.name, it.number).await?;
            Ok::<_, bus::Error>(it)
        };
        let partitions = stream::iter(partitions)
            .map(with_range)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self { tables, partitions })
    }

    /// Whether rows of `table` may name this topic and partition.
    pub(super) fn knows(&self, table: &str, label: &str, number: i32) -> bool {
        self.partitions.iter().any(|it| {
            let at_home = it.table.as_deref() == Some(table) || table == QUARANTINE_TABLE;
            at_home && it.table.is_some() && it.label == label && it.number == number
        })
    }
}
