//! `mart.revision`: every difference between a release and what is published, since when, and why.
//!
//! It is written by the build that publishes what differs, and is a part of that publication. A difference adds a row; when it is gone
//! or becomes another one its row is closed and stays.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::concat_batches,
    datatypes::{
        DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
        TimestampMicrosecondType,
    },
};
use chrono::NaiveDate;
use datafusion::{physical_plan::stream::RecordBatchStreamAdapter, prelude::SessionContext};
use lake::Lake;
use spec::{ReleaseKind, ReleaseTable};

use super::{
    Frozen, KEPT_FROM, Release, Shelf,
    cause::Causes,
    cells::{Cells, Key, differ, is_same_told},
    disclosure::{self, Danger},
    rows,
};
use crate::{Error, Result, checks::CheckResult, publication::Publication};

/// The table.
pub(crate) const REVISION: &str = "mart.revision";

/// Changes with what its rows are.
const VERSION: &str = "1";

/// How many cells a warning names.
const SAMPLE: usize = 5;

/// Columns that say what a number rests on, and are told in `why`.
const EXPLAINING: [&str; 3] = [BASIS, HORIZON, KEPT_FROM];

/// The column with the definitions behind a row.
const BASIS: &str = "definition_version";

/// The column with how far the data behind a row reach.
const HORIZON: &str = "data_through";

/// Its columns, each with what it holds.
pub(super) const COLUMNS: [(&str, &str); 13] = [
    ("release", "The release."),
    ("table_name", "The table the number is from."),
    (
        "municipality_code",
        "Municipality; null where the table has none.",
    ),
    ("cell", "The row: the values that tell it from others."),
    (
        "column_name",
        "The column; null where the whole row came or went.",
    ),
    (
        "old",
        "What the release says; null where it is hidden there or there is nothing.",
    ),
    (
        "new",
        "What is published since; null where that is hidden or nothing.",
    ),
    (
        "why",
        "What changed between the two that this number rests on.",
    ),
    (
        "since_publication",
        "The publication that first had the new value.",
    ),
    ("since_at", "When that was made."),
    (
        "until_publication",
        "The publication that no longer had it; null while it is so.",
    ),
    (
        "definition_version",
        "Definitions behind the new value, as in ref.definition.",
    ),
    (
        "data_through",
        "How far the data behind the new value reach.",
    ),
];

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Revision {
    release: String,
    table: String,
    cell: String,
    column: Option<String>,
    since: i64,
    municipality_code: Option<i32>,
    old: Option<String>,
    new: Option<String>,
    why: Option<String>,
    since_at: i64,
    until: Option<i64>,
    definition_version: Option<String>,
    data_through: Option<i32>,
}

/// Its columns.
pub(crate) fn schema() -> SchemaRef {
    let types = |name: &str| match name {
        "municipality_code" => DataType::Int32,
        "since_publication" | "until_publication" => DataType::Int64,
        "since_at" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "data_through" => DataType::Date32,
        _ => DataType::Utf8,
    };
    let fields = COLUMNS.map(|(name, _)| Field::new(name, types(name), true));
    Arc::new(Schema::new(fields.to_vec()))
}

/// Puts `mart.revision` into the publication that is about to be made, and tells what it and releases show together.
///
/// What keeps it from being worked out, such as the file of a release that is gone, is a warning: the numbers are published, and the
/// revisions stay as they were.
pub(crate) async fn revise(
    lake: &Lake,
    kinds: &[ReleaseKind],
    shelf: &Shelf,
    previous: Option<&Publication>,
    next: &mut Publication,
) -> Result<Vec<CheckResult>> {
    let releases = shelf.all(lake).await?;
    if releases.is_empty() {
        return Ok(Vec::new());
    }
    let mut reads = BTreeMap::new();
    for release in &releases {
        reads.insert(format!("release.{}", release.name), "frozen".to_owned());
        for table in release.frozen.keys() {
            let version = next.tables.get(table);
            let version = version.map_or_else(|| "none".to_owned(), i64::to_string);
            reads.insert(table.clone(), version);
        }
    }
    let known = previous.and_then(|it| it.tables.get(REVISION).copied());
    next.models.insert(REVISION.to_owned(), VERSION.to_owned());
    let same = |it: &&Publication| {
        it.reads.get(REVISION) == Some(&reads)
            && it.models.get(REVISION) == next.models.get(REVISION)
    };
    if let (Some(version), Some(previous)) = (known, previous.filter(same)) {
        let passed = previous.checks_passed.get(REVISION).copied();
        next.tables.insert(REVISION.to_owned(), version);
        next.reads.insert(REVISION.to_owned(), reads);
        next.checks_passed
            .insert(REVISION.to_owned(), passed.unwrap_or_default());
        return Ok(Vec::new());
    }
    let worked = work(lake, kinds, &releases, known, next).await;
    let (version, checks) = match worked {
        Ok((version, checks)) => (Some(version), checks),
        Err(Error::Lake(err)) if err.is_retryable() => return Err(Error::Lake(err)),
        Err(err) => (
            known,
            vec![check("releases_are_readable", vec![err.to_string()])],
        ),
    };
    match version {
        Some(version) => {
            next.tables.insert(REVISION.to_owned(), version);
            next.reads.insert(REVISION.to_owned(), reads);
            let passed = checks.iter().filter(|it| it.passed()).count();
            next.checks_passed.insert(REVISION.to_owned(), passed);
        }
        None => {
            next.models.remove(REVISION);
        }
    }
    Ok(checks)
}

/// The new version of the table, and what came of the checks.
async fn work(
    lake: &Lake,
    kinds: &[ReleaseKind],
    releases: &[Arc<Release>],
    known: Option<i64>,
    next: &Publication,
) -> Result<(i64, Vec<CheckResult>)> {
    let before = match known {
        Some(version) => read(lake, version).await?,
        None => Vec::new(),
    };
    let mut after: Vec<Revision> = Vec::new();
    let mut dangers: BTreeMap<Danger, Vec<String>> = BTreeMap::new();
    let mut earlier: BTreeMap<&str, Vec<(&str, Cells)>> = BTreeMap::new();
    for release in releases {
        for (table, frozen) in &release.frozen {
            let open = before
                .iter()
                .filter(|it| it.release == release.name && it.table == *table);
            let differences = Comparison::new(lake, release, table, frozen, next).await?;
            after.extend(differences.revisions(lake, open).await?);
            if !frozen.rolling {
                let all = earlier.entry(table.as_str()).or_default();
                all.push((release.name.as_str(), differences.old));
            }
        }
    }
    for (table, earlier) in &earlier {
        let spec = kinds
            .iter()
            .flat_map(|it| &it.tables)
            .find(|it| it.table == *table);
        let (Some(spec), Some((_, first))) = (spec, earlier.first()) else {
            continue;
        };
        for finding in found(lake, spec, earlier, first, releases, next).await? {
            dangers
                .entry(finding.danger)
                .or_default()
                .push(finding.to_string());
        }
    }
    after.sort();
    let batch = batch(&after)?;
    let stream = futures::stream::iter([Ok(batch)]);
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema(), stream));
    let version = lake.replace(REVISION, &schema(), stream, &[]).await?;
    let checks = [
        (
            Danger::SmallDifference,
            "no_small_difference_from_a_release",
        ),
        (Danger::HiddenNow, "no_hidden_number_told_by_a_release"),
        (Danger::HiddenThen, "no_hidden_number_of_a_release_told"),
        (Danger::AlreadyPublic, "nothing_hidden_was_public_already"),
    ];
    let checks =
        checks.map(|(danger, name)| check(name, dangers.remove(&danger).unwrap_or_default()));
    Ok((version, checks.into()))
}

/// What the published numbers tell together with releases.
async fn found(
    lake: &Lake,
    spec: &ReleaseTable,
    earlier: &[(&str, Cells)],
    first: &Cells,
    releases: &[Arc<Release>],
    next: &Publication,
) -> Result<Vec<disclosure::Finding>> {
    let Some(version) = next.tables.get(&spec.table) else {
        return Ok(Vec::new());
    };
    // Only rows that some release has: the others tell nothing that was told before.
    let conditions: BTreeSet<&str> = releases
        .iter()
        .filter_map(|it| it.frozen.get(&spec.table))
        .map(|it| it.condition.as_deref().unwrap_or("true"))
        .collect();
    let conditions: Vec<String> = conditions.into_iter().map(|it| format!("({it})")).collect();
    let now = rows::chosen(
        lake,
        &spec.table,
        *version,
        Some(&conditions.join(" or ")),
        &first.grain,
    )
    .await?;
    let now = Cells::new(now, &first.grain)?;
    let earlier: Vec<(&str, &Cells)> = earlier.iter().map(|(name, cells)| (*name, cells)).collect();
    disclosure::compare(spec, &earlier, &now)
}

fn check(name: &str, mut failing: Vec<String>) -> CheckResult {
    let failed_rows = i64::try_from(failing.len()).unwrap_or(i64::MAX);
    failing.truncate(SAMPLE);
    CheckResult {
        model: REVISION.to_owned(),
        check: name.to_owned(),
        is_error: false,
        is_set_aside: false,
        failed_rows,
        sample: failing,
    }
}

/// One table of a release beside what is published.
struct Comparison<'a> {
    release: &'a Release,
    table: &'a str,
    next: &'a Publication,
    rolling: bool,
    old: Cells,
    new: Cells,
}

/// Where two rows differ: key and column, with the old and the new value.
type Differences = BTreeMap<(Key, Option<String>), (Option<String>, Option<String>)>;

impl<'a> Comparison<'a> {
    async fn new(
        lake: &Lake,
        release: &'a Release,
        table: &'a str,
        frozen: &Frozen,
        next: &'a Publication,
    ) -> Result<Self> {
        let old = Cells::new(rows::read(lake, frozen).await?, &frozen.grain)?;
        let condition = frozen.condition.as_deref();
        let new = match next.tables.get(table) {
            Some(version) => rows::chosen(lake, table, *version, condition, &frozen.grain).await?,
            None => RecordBatch::new_empty(old.batch.schema()),
        };
        Ok(Self {
            release,
            table,
            next,
            rolling: frozen.rolling,
            old,
            new: Cells::new(new, &frozen.grain)?,
        })
    }

    /// What is different now.
    fn differences(&self) -> Result<Differences> {
        let mut found = Differences::new();
        let moved = self.moved()?;
        // In a window that moved on, rows come and go without a correction.
        let moved_in: BTreeSet<Option<&String>> =
            moved.iter().map(|key| self.old.municipality(key)).collect();
        let is_still = |key: &&Key| !moved_in.contains(&self.old.municipality(key));
        let present = || Some("present".to_owned());
        let (old, new) = (&self.old.rows, &self.new.rows);
        let gone = old.keys().filter(|it| !new.contains_key(*it));
        for key in gone.filter(is_still) {
            found.insert((key.clone(), None), (present(), None));
        }
        let come = new.keys().filter(|it| !old.contains_key(*it));
        for key in come.filter(is_still) {
            found.insert((key.clone(), None), (None, present()));
        }
        let schema = self.old.batch.schema();
        let columns = schema.fields().iter().map(|it| it.name());
        for column in columns.filter(|it| !EXPLAINING.contains(&it.as_str())) {
            let Some(differ) = differ(&self.old, &self.new, column)? else {
                continue;
            };
            for (key, old) in self.old.rows.iter().filter(|it| !moved.contains(it.0)) {
                let Some(new) = self.new.rows.get(key).filter(|new| differ(*old, **new)) else {
                    continue;
                };
                let values = (self.old.text(*old, column)?, self.new.text(*new, column)?);
                found.insert((key.clone(), Some(column.clone())), values);
            }
        }
        Ok(found)
    }

    /// The rows that are of another window now, and so are no longer what was released.
    fn moved(&self) -> Result<BTreeSet<&Key>> {
        let mut moved = BTreeSet::new();
        if !self.rolling {
            return Ok(moved);
        }
        for (key, old) in &self.old.rows {
            let Some(new) = self.new.rows.get(key) else {
                continue;
            };
            if self.old.text(*old, HORIZON)? != self.new.text(*new, HORIZON)? {
                moved.insert(key);
            }
        }
        Ok(moved)
    }

    /// The rows there were, closed where they no longer hold, and those to add.
    async fn revisions(
        &self,
        lake: &Lake,
        before: impl Iterator<Item = &Revision>,
    ) -> Result<Vec<Revision>> {
        let mut differences = self.differences()?;
        let cells: HashMap<String, &Key> = differences
            .keys()
            .map(|(key, _)| (self.old.told(key), key))
            .collect();
        let publication = i64::try_from(self.next.id).unwrap_or(i64::MAX);
        let (mut all, mut still) = (Vec::new(), Vec::new());
        for revision in before {
            let mut revision = revision.clone();
            if revision.until.is_none() {
                let key = cells
                    .get(&revision.cell)
                    .map(|key| ((*key).clone(), revision.column.clone()));
                let is_as_told = |key: &(Key, Option<String>)| {
                    let now = differences.get(key);
                    now.is_some_and(|it| is_same_told(it.1.as_deref(), revision.new.as_deref()))
                };
                match key.filter(is_as_told) {
                    Some(key) => still.push(key),
                    None => revision.until = Some(publication),
                }
            }
            all.push(revision);
        }
        for key in still {
            differences.remove(&key);
        }
        if differences.is_empty() {
            return Ok(all);
        }
        let causes = Causes::between(lake, self.release, self.next, self.table).await?;
        for ((key, column), (old, new)) in differences {
            let value = |cells: &Cells, column: &str| match cells.rows.get(&key) {
                Some(row) => cells.text(*row, column),
                None => Ok(None),
            };
            let then = (value(&self.old, BASIS)?, value(&self.old, HORIZON)?);
            let now = (value(&self.new, BASIS)?, value(&self.new, HORIZON)?);
            let code = self.old.municipality(&key);
            let through = now.1.as_ref().and_then(|it| it.parse::<NaiveDate>().ok());
            all.push(Revision {
                release: self.release.name.clone(),
                table: self.table.to_owned(),
                cell: self.old.told(&key),
                column,
                since: publication,
                municipality_code: code.and_then(|it| it.parse().ok()),
                old,
                new,
                why: Some(causes.of(&self.old.grain, &key, &then, &now)),
                since_at: self.next.at.timestamp_micros(),
                until: None,
                definition_version: now.0,
                data_through: through.map(arrow::datatypes::Date32Type::from_naive_date),
            });
        }
        Ok(all)
    }
}

async fn read(lake: &Lake, version: i64) -> Result<Vec<Revision>> {
    let Some(found) = lake.provider(REVISION, Some(version)).await? else {
        return Ok(Vec::new());
    };
    let failed = |err| Error::query(format!("reading {REVISION}"), err);
    let rows = SessionContext::new().read_table(found).map_err(failed)?;
    let batches = rows.collect().await.map_err(failed)?;
    let wanted = schema();
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|it| rows::to(it, &wanted))
        .collect::<Result<_, _>>()
        .map_err(|err| failed(err.into()))?;
    let all = concat_batches(&wanted, &batches).map_err(|err| failed(err.into()))?;
    let text = |at: usize, row: usize| {
        let column = all.column(at).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let number = |at: usize, row: usize| {
        let column = all.column(at).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let codes = all.column(2).as_primitive::<Int32Type>();
    let moments = all.column(9).as_primitive::<TimestampMicrosecondType>();
    let days = all
        .column(12)
        .as_primitive::<arrow::datatypes::Date32Type>();
    let revision = |row: usize| Revision {
        release: text(0, row).unwrap_or_default(),
        table: text(1, row).unwrap_or_default(),
        municipality_code: codes.is_valid(row).then(|| codes.value(row)),
        cell: text(3, row).unwrap_or_default(),
        column: text(4, row),
        old: text(5, row),
        new: text(6, row),
        why: text(7, row),
        since: number(8, row).unwrap_or_default(),
        since_at: moments.value(row),
        until: number(10, row),
        definition_version: text(11, row),
        data_through: days.is_valid(row).then(|| days.value(row)),
    };
    Ok((0..all.num_rows()).map(revision).collect())
}

fn batch(all: &[Revision]) -> Result<RecordBatch> {
    let text = |of: fn(&Revision) -> Option<&str>| -> ArrayRef {
        Arc::new(all.iter().map(of).collect::<StringArray>())
    };
    let number = |of: fn(&Revision) -> Option<i64>| -> ArrayRef {
        Arc::new(all.iter().map(of).collect::<Int64Array>())
    };
    let codes: Int32Array = all.iter().map(|it| it.municipality_code).collect();
    let moments: TimestampMicrosecondArray = all.iter().map(|it| Some(it.since_at)).collect();
    let days: Date32Array = all.iter().map(|it| it.data_through).collect();
    let columns: [ArrayRef; 13] = [
        text(|it| Some(it.release.as_str())),
        text(|it| Some(it.table.as_str())),
        Arc::new(codes),
        text(|it| Some(it.cell.as_str())),
        text(|it| it.column.as_deref()),
        text(|it| it.old.as_deref()),
        text(|it| it.new.as_deref()),
        text(|it| it.why.as_deref()),
        number(|it| Some(it.since)),
        Arc::new(moments.with_timezone("UTC")),
        number(|it| it.until),
        text(|it| it.definition_version.as_deref()),
        Arc::new(days),
    ];
    RecordBatch::try_new(schema(), columns.into())
        .map_err(|err| Error::query(format!("writing {REVISION}"), err.into()))
}
