//! Publications: which version of every table is served, and the record of every build that checked anything.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lake::{Head, Lake};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Result, checks::CheckResult, release};

/// Where publications lie in the lake.
const PUBLICATIONS: &str = "_publications";

/// Where records of builds lie in the lake.
const RUNS: &str = "_runs";

/// A set of table versions that is served together. The one with the highest id is current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// From 1, one higher each time.
    pub id: u64,
    /// The one before, where there was one.
    pub previous: Option<u64>,
    /// When it was published.
    pub at: DateTime<Utc>,
    /// The build that made it.
    pub run_id: String,
    /// Version of every table of `core` and `mart`.
    pub tables: BTreeMap<String, i64>,
    /// Version of every landed table they were computed from; those not landed yet are left out.
    pub inputs: BTreeMap<String, i64>,
    /// Fingerprint of every model: its text and the functions it could call.
    pub models: BTreeMap<String, String>,
    /// For every model, what it read: the version since which a table's rows are what they are, a code list's
    /// fingerprint. Files put together since then change nothing.
    pub reads: BTreeMap<String, BTreeMap<String, String>>,
    /// For every model, how many checks passed.
    pub checks_passed: BTreeMap<String, usize>,
    /// For every model, the checks that fail and stop nothing.
    #[serde(default)]
    pub failing: BTreeMap<String, BTreeSet<String>>,
    /// For every model, the rows that are left out of it.
    #[serde(default)]
    pub set_aside: BTreeMap<String, Vec<SetAside>>,
    /// Every check that is a query of its own, with the fingerprint of its text.
    #[serde(default)]
    pub questions: BTreeMap<String, String>,
    /// The build's place in its trace, as W3C Trace Context writes it.
    #[serde(default)]
    pub traceparent: Option<String>,
}

/// Rows of a model that failed a check and are left out of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The check; the first that fails, where several do.
    pub check: String,
    /// Whose rows: the municipality's code; `None` where it is none's, or the table is not split.
    pub part: lake::Part,
    /// How many.
    pub rows: u64,
    /// Keys of some of them; personal ones are not shown.
    pub sample: Vec<String>,
}

/// What a build checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Sorts by time.
    pub run_id: String,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What it published, unless something failed.
    pub publication_id: Option<u64>,
    /// What came of each check of what was built anew.
    pub checks: Vec<Checked>,
}

/// A check and since when it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What came of it.
    #[serde(flatten)]
    pub result: CheckResult,
    /// When it first failed, where it has failed ever since.
    pub since: Option<DateTime<Utc>>,
}

impl Publication {
    /// Whether its landed `table` had all rows the table has now.
    pub(crate) fn has_rows_of(&self, table: &str, now: Head) -> bool {
        let read = self.inputs.get(table);
        read.is_some_and(|version| *version >= now.rows_since)
    }

    /// Whether both serve the same: tables, and what they were made from.
    pub(crate) fn serves_same(&self, other: &Self) -> bool {
        self.tables == other.tables && self.reads == other.reads && self.models == other.models
    }
}

/// The current publication. `known` is one that was current once; it saves looking through them all.
pub(crate) async fn current(
    lake: &Lake,
    known: Option<Publication>,
) -> Result<Option<Publication>> {
    let mut current = match known {
        Some(known) => known,
        None => {
            let Some(last) = publications(lake, 1).await?.pop() else {
                return Ok(None);
            };
            last
        }
    };
    while let Some(next) = read(lake, &path(current.id + 1)).await? {
        current = next;
    }
    Ok(Some(current))
}

/// The table versions that the last `count` publications and all releases name, by table: those must stay readable.
pub async fn pinned(lake: &Lake, count: usize) -> Result<BTreeMap<String, Vec<i64>>> {
    let mut pinned: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let last = publications(lake, count).await?.into_iter();
    let last = last.flat_map(|it| it.tables.into_iter().chain(it.inputs));
    for (table, version) in last.chain(release::pinned(lake).await?) {
        let versions = pinned.entry(table).or_default();
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    Ok(pinned)
}

/// Publishes; `false` says that another build has taken the id.
pub(crate) async fn publish(lake: &Lake, publication: &Publication) -> Result<bool> {
    write(lake, &path(publication.id), publication).await
}

/// Stores the record of a build.
pub(crate) async fn store_run(lake: &Lake, run: &Run) -> Result<()> {
    write(lake, &format!("{RUNS}/{}.json", run.run_id), run).await?;
    Ok(())
}

/// The last `count` publications, newest first.
pub(crate) async fn publications(lake: &Lake, count: usize) -> Result<Vec<Publication>> {
    newest(lake, PUBLICATIONS, count).await
}

/// The last `count` runs, newest first.
pub(crate) async fn runs(lake: &Lake, count: usize) -> Result<Vec<Run>> {
    newest(lake, RUNS, count).await
}

/// The last files of a folder, newest first; their names sort as they came.
async fn newest<T: DeserializeOwned>(lake: &Lake, folder: &str, count: usize) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for path in lake.list(folder).await?.iter().rev().take(count) {
        found.extend(read(lake, path).await?);
    }
    Ok(found)
}

/// The record at a path, if there is one.
pub(crate) async fn read<T: DeserializeOwned>(lake: &Lake, path: &str) -> Result<Option<T>> {
    let Some(bytes) = lake.get(path).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|err| Error::Publication {
            path: path.to_owned(),
            reason: err.to_string(),
        })
}

/// Puts a record where there is none; `false` says there was.
pub(crate) async fn write<T: Serialize>(lake: &Lake, path: &str, value: &T) -> Result<bool> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|err| Error::Publication {
        path: path.to_owned(),
        reason: err.to_string(),
    })?;
    Ok(lake.put_new(path, bytes.into()).await?)
}

fn path(id: u64) -> String {
    format!("{PUBLICATIONS}/{id:020}.json")
}
