//! Releases: numbers frozen as they were presented, which every audience sees from its day on and nothing ever changes.
//!
//! A release is a record, put where none is, and a file of rows for each table it freezes, named by its content. It keeps the table
//! versions behind it readable, so that it can be computed again; the copy needs none of them.

mod audience;
mod cause;
mod cells;
mod create;
mod disclosure;
mod docs;
mod kinds;
mod revision;
mod rows;
mod shelf;
mod table;
mod verify;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use lake::Lake;
use serde::{Deserialize, Serialize};

use crate::{Result, publication};

pub(crate) use audience::{Frozen as FrozenTables, Shown};
pub use create::{Draft, Made};
pub(crate) use create::{Maker, create};
pub use disclosure::{Danger, Finding};
pub(crate) use docs::docs;
pub(crate) use kinds::read;
pub(crate) use revision::{REVISION, revise, schema as revision_schema};
pub(crate) use shelf::Shelf;
pub(crate) use table::batch;
pub(crate) use verify::verify;
pub use verify::{Outcome, Verified};

/// Where releases lie in the lake.
const RELEASES: &str = "_releases";

/// The column that says which release a row was kept from.
const KEPT_FROM: &str = "kept_from";

/// The column that says which release a row is of.
const RELEASE: &str = "release";

/// Numbers as they were presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its name, `overview-2010H2`.
    pub name: String,
    /// Its kind, `overview`.
    pub kind: String,
    /// The period in its name.
    pub period: String,
    /// The release it corrects.
    pub corrects: Option<String>,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Who made it.
    pub by: String,
    /// Why, in the words of who made it.
    pub note: Option<String>,
    /// The publication its numbers are from.
    pub publication_id: u64,
    /// When that was published.
    pub published_at: DateTime<Utc>,
    /// What it froze, by the table it is from.
    pub frozen: BTreeMap<String, Frozen>,
    /// The version of every table of `core` and `mart` behind it.
    pub tables: BTreeMap<String, i64>,
    /// The version of every landed table behind it.
    pub inputs: BTreeMap<String, i64>,
    /// The fingerprint of every model behind it.
    pub models: BTreeMap<String, String>,
    /// For every model behind it, what it read; see [`Publication`](crate::Publication).
    pub reads: BTreeMap<String, BTreeMap<String, String>>,
    /// The definitions behind it, `effect_3m@1`.
    pub definitions: Vec<String>,
    /// Who sees it from when, in the order in which they may.
    pub audiences: Vec<Showing>,
}

/// The frozen rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The version they are from.
    pub version: i64,
    /// Which of its rows, as a condition in SQL; all of them where there is none.
    pub condition: Option<String>,
    /// Whether its rows have no period, and are of another window once data reach further.
    #[serde(default)]
    pub rolling: bool,
    /// What columns hold in rows that are the total of others.
    #[serde(default)]
    pub totals: BTreeMap<String, Option<String>>,
    /// The columns that tell rows apart.
    pub grain: Vec<String>,
    /// Name and type of every column, in order.
    pub columns: Vec<(String, String)>,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 of the file that holds them.
    pub sha256: String,
}

/// From when somebody sees a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showing {
    /// Who.
    pub audience: String,
    /// The first day, in Denmark.
    pub from: NaiveDate,
}

impl Release {
    /// Whether an audience sees it on a day.
    pub fn is_shown_to(&self, audience: &str, on: NaiveDate) -> bool {
        let mut all = self.audiences.iter();
        all.any(|it| it.audience == audience && it.from <= on)
    }

    /// Its record, where there is one of this name.
    async fn find(lake: &Lake, name: &str) -> Result<Option<Self>> {
        publication::read(lake, &path(name)).await
    }
}

/// The names of all releases.
async fn names(lake: &Lake) -> Result<BTreeSet<String>> {
    let files = lake.list(RELEASES).await?;
    let names = files.iter().filter_map(|it| {
        let name = it.strip_prefix(RELEASES)?.strip_prefix('/')?;
        name.strip_suffix(".json")
    });
    Ok(names.map(str::to_owned).collect())
}

/// The table versions that releases name: those must stay readable for as long as there is Pejl.
pub(crate) async fn pinned(lake: &Lake) -> Result<Vec<(String, i64)>> {
    let mut pinned = Vec::new();
    for name in names(lake).await? {
        if let Some(release) = Release::find(lake, &name).await? {
            pinned.extend(release.tables.into_iter().chain(release.inputs));
        }
    }
    Ok(pinned)
}

fn path(name: &str) -> String {
    format!("{RELEASES}/{name}.json")
}
