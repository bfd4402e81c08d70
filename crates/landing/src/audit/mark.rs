//! The mark a passed audit leaves in the lake, from which the next can go on.
//!
//! Marks are numbered files, each put only if there is none of its number: of two audits at a time the one of the later
//! moment stands last.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lake::{Lake, Standing};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::Result;

const FOLDER: &str = "_audit";

/// How many marks are kept, for people to look at.
const KEPT: usize = 10;

/// What an audit has found in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) made_at: DateTime<Utc>,
    pub(super) tables: BTreeMap<String, MarkedTable>,
    pub(super) partitions: Vec<MarkedPartition>,
    /// The versions of the tables when delivered files were last counted; by table.
    pub(super) counted: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MarkedTable {
    /// Delta's id of the table.
    pub(super) id: String,
    pub(super) version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MarkedPartition {
    pub(super) topic: String,
    pub(super) topic_id: String,
    pub(super) partition: i32,
    /// Every record below is in its place.
    pub(super) offset: i64,
    /// Records from there on that were among the refused already, as first and last of each run: refusing comes before landing.
    pub(super) ahead: Vec<(i64, i64)>,
}

/// The mark to go on from, and its number.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) number: u64,
    /// Or why there is none.
    pub(super) mark: Result<Mark, String>,
}

impl Mark {
    /// Of the tables as they were at `moment`.
    pub(super) fn of(moment: &Moment) -> Self {
        let table = |(name, it): (&String, &Standing)| {
            let marked = MarkedTable {
                id: it.id.clone(),
                version: it.version,
            };
            (name.clone(), marked)
        };
        Self {
            made_at: Utc::now(),
            tables: moment.tables.iter().map(table).collect(),
            partitions: Vec::new(),
            counted: BTreeMap::new(),
        }
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&MarkedPartition> {
        let mut all = self.partitions.iter();
        all.find(|it| it.topic == topic && it.partition == partition)
    }

    /// Whether some table had come further by the time of `other`.
    fn is_before(&self, other: &Self) -> bool {
        self.tables.iter().any(|(name, ours)| {
            let theirs = other.tables.get(name).filter(|it| it.id == ours.id);
            theirs.is_some_and(|theirs| ours.version < theirs.version)
        })
    }
}

/// The last mark.
pub(super) async fn last(lake: &Lake) -> Result<Last> {
    let numbers = numbers(lake).await?;
    let Some(number) = numbers.last().copied() else {
        let mark = Err("no audit has passed yet".to_owned());
        return Ok(Last { number: 0, mark });
    };
    Ok(Last {
        number,
        mark: read(lake, number).await?,
    })
}

/// Leaves `mark` unless another audit, of a later moment, left one meanwhile: after number `known`. Whether it was left.
pub(super) async fn leave(lake: &Lake, mark: &Mark, known: u64) -> Result<bool> {
    let bytes = serde_json::to_vec(mark).map_err(|err| crate::Error::rows(FOLDER, err))?;
    loop {
        let last = last(lake).await?;
        if last.number > known && last.mark.is_ok_and(|last| mark.is_before(&last)) {
            return Ok(false);
        }
        let path = path(last.number + 1);
        if lake.put_new(&path, bytes.clone().into()).await? {
            break;
        }
    }
    let numbers = numbers(lake).await?;
    for old in numbers.iter().rev().skip(KEPT) {
        lake.delete(&path(*old)).await?;
    }
    Ok(true)
}

async fn read(lake: &Lake, number: u64) -> Result<Result<Mark, String>> {
    let path = path(number);
    let Some(bytes) = lake.get(&path).await? else {
        return Ok(Err(format!("{path} has been removed")));
    };
    Ok(serde_json::from_slice(&bytes).map_err(|err| format!("{path} cannot be read: {err}")))
}

async fn numbers(lake: &Lake) -> Result<Vec<u64>> {
    let paths = lake.list(FOLDER).await?;
    let number = |path: &String| {
        let name = path.strip_prefix(FOLDER)?.strip_prefix('/')?;
        name.strip_suffix(".json")?.parse().ok()
    };
    Ok(paths.iter().filter_map(number).collect())
}

fn path(number: u64) -> String {
    format!("{FOLDER}/{number:020}.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::collections::HashMap;

    use super::*;

    fn mark(id: &str, version: i64) -> Mark {
        let table = MarkedTable {
            id: id.to_owned(),
            version,
        };
        Mark {
            made_at: Utc::now(),
            tables: BTreeMap::from([("raw.unit".to_owned(), table)]),
            partitions: Vec::new(),
            counted: BTreeMap::new(),
        }
    }

    async fn version(lake: &Lake) -> i64 {
        let last = last(lake).await.unwrap().mark.unwrap();
        last.tables["raw.unit"].version
    }

    #[tokio::test]
    async fn of_audits_at_a_time_the_one_of_the_later_moment_stands() {
        let lake = Lake::open("memory://", HashMap::new()).unwrap();
        let known = last(&lake).await.unwrap();
        assert!(known.number == 0 && known.mark.is_err());
        assert!(leave(&lake, &mark("a", 5), 0).await.unwrap());
        assert!(!leave(&lake, &mark("a", 4), 0).await.unwrap());
        assert_eq!(version(&lake).await, 5);
        assert!(leave(&lake, &mark("a", 6), 0).await.unwrap());
        assert_eq!(version(&lake).await, 6);
        // The table was made again.
        assert!(leave(&lake, &mark("b", 1), 0).await.unwrap());
        assert_eq!(version(&lake).await, 1);
    }

    #[tokio::test]
    async fn the_last_few_marks_are_kept() {
        let lake = Lake::open("memory://", HashMap::new()).unwrap();
        for version in 0..15 {
            assert!(leave(&lake, &mark("a", version), 0).await.unwrap());
        }
        assert_eq!(numbers(&lake).await.unwrap(), Vec::from_iter(6..=15));
    }

    #[tokio::test]
    async fn a_mark_that_cannot_be_read_is_none() {
        let lake = Lake::open("memory://", HashMap::new()).unwrap();
        lake.put_new(&path(3), "{}".into()).await.unwrap();
        let found = last(&lake).await.unwrap();
        assert_eq!(found.number, 3);
        assert!(found.mark.unwrap_err().contains("cannot be read"));
        assert!(leave(&lake, &mark("a", 1), 3).await.unwrap());
    }
}
