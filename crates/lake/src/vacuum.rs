//! Letting go of what no version that may still be read needs: data files, and the log of long ago.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deltalake::{
    DeltaTable,
    checkpoints::cleanup_expired_logs_for,
    kernel::{Action, Snapshot},
    logstore::{LogStore, LogStoreRef},
    protocol::DeltaOperation,
    table::config::TablePropertiesExt,
};
use futures::{StreamExt, TryStreamExt};
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, path::Path};
use telemetry::metric;

use crate::{
    Error, Lake, Result,
    commit::{Change, commit, reconfiguration},
    durable,
    state::{LogFiles, State},
};

const DAY: u64 = 86_400;

/// The log tells of at least so many days.
const LOG_DAYS: u64 = 30;

impl Lake {
    /// Removes data files that no version needs which is current, named in `pinned`, or was current less than
    /// `keep` ago, and tells how many. Files that never came into any version go when they are older than `keep`:
    /// uploads that were broken off, and races that were lost. The log is kept for `keep`, 30 days, and as far
    /// back as `pinned` goes, whichever is longest.
    ///
    /// `keep` must exceed the longest upload, from its first file to its commit, and the longest query.
    /// A pinned version that can no longer be read is passed over, and told once.
    pub async fn clean(&self, table: &str, keep: Duration, pinned: &[i64]) -> Result<u64> {
        let begun = Instant::now();
        let Some(version) = self.version(table).await? else {
            return Ok(0);
        };
        let log = self.log_store(table);
        self.keep_log(table, &log, version, keep).await?;
        let doing = format!("cleaning {table}");
        let mut opened = DeltaTable::new(Arc::clone(&log));
        let loaded = opened.load().await;
        loaded.map_err(|err| Error::storage(&doing, err))?;
        let pinned = self.readable(table, &log, pinned).await?;

        let now = Utc::now();
        let before =
            now - chrono::Duration::from_std(keep).map_err(|err| Error::rows(table, err))?;
        let needed = needed(table, &log, &opened, &pinned, before).await?;
        let removed = remove_others(table, self.folder_of(table).as_ref(), &needed, before).await?;
        let left_behind = durable::remove_unfinished(self, table, keep).await?;

        let oldest = pinned.iter().next().copied();
        clean_log(&doing, &log, &opened, oldest, now).await?;
        metric::TABLE_TIDY.record([table], begun.elapsed().as_secs_f64());
        Ok(removed + left_behind)
    }

    /// Has the table's log tell of removed files until those are gone, and of versions as long as they may be
    /// read. And has no other writer clean it: only who cleans here knows what is pinned.
    async fn keep_log(
        &self,
        table: &str,
        log: &LogStoreRef,
        version: i64,
        keep: Duration,
    ) -> Result<()> {
        let snapshot = snapshot(table, log, version).await?;
        let set = snapshot.table_properties();
        // A day more, since a file whose removal is forgotten counts as one that never came into a version.
        let days = keep.as_secs().div_ceil(DAY) + 1;
        let removed_files = set.deleted_file_retention_duration();
        let versions = set.log_retention_duration();
        let properties = Properties {
            removed_files: removed_files.max(Duration::from_secs(days * DAY)),
            versions: versions.max(Duration::from_secs(days.max(LOG_DAYS) * DAY)),
        };
        let is_set = removed_files == properties.removed_files && versions == properties.versions;
        if !is_set || set.enable_expired_log_cleanup() {
            let slot = self.slot(table);
            let mut known = slot.state.lock().await;
            commit(self, table, &properties, &mut known).await?;
        }
        Ok(())
    }

    /// Those of `pinned` that can be read.
    async fn readable(
        &self,
        table: &str,
        log: &LogStoreRef,
        pinned: &[i64],
    ) -> Result<BTreeSet<i64>> {
        if pinned.is_empty() {
            return Ok(BTreeSet::new());
        }
        let files = LogFiles::all(table, log.object_store(None).as_ref()).await?;
        let (readable, gone): (BTreeSet<i64>, BTreeSet<i64>) =
            pinned.iter().partition(|it| files.reach(**it));
        let slot = self.slot(table);
        let mut told = slot.gone.lock().await;
        for version in gone.difference(&told) {
            tracing::warn!(
                table,
                version,
                "a publication names this version, but the table's log no longer goes back to it: \
                 that publication cannot be read any more, and files that only it needs are removed"
            );
        }
        told.extend(gone);
        Ok(readable)
    }
}

/// Table properties.
struct Properties {
    /// How long checkpoints tell of files that were removed.
    removed_files: Duration,
    /// How long commits stay.
    versions: Duration,
}

impl Properties {
    fn all(&self) -> [(String, String); 3] {
        let interval = |it: Duration| format!("interval {} seconds", it.as_secs());
        [
            (
                "delta.deletedFileRetentionDuration",
                interval(self.removed_files),
            ),
            ("delta.logRetentionDuration", interval(self.versions)),
            ("delta.enableExpiredLogCleanup", "false".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
    }
}

#[async_trait]
impl Change for Properties {
    fn operation(&self) -> DeltaOperation {
        DeltaOperation::SetTableProperties {
            properties: self.all().into(),
        }
    }

    async fn actions(
        &self,
        table: &str,
        _: &LogStoreRef,
        state: Option<&State>,
    ) -> Result<Option<Vec<Action>>> {
        let Some(state) = state else {
            return Ok(None);
        };
        state.check_writable(table)?;
        Ok(Some(vec![reconfiguration(table, state, self.all())?]))
    }
}

/// The files that must stay: of the current version, of those `pinned`, and those removed after `before`.
async fn needed(
    table: &str,
    log: &LogStoreRef,
    opened: &DeltaTable,
    pinned: &BTreeSet<i64>,
    before: DateTime<Utc>,
) -> Result<Needed> {
    let failed = |err| Error::storage(&format!("reading the files of {table}"), err);
    let state = opened.snapshot().map_err(failed)?;
    let current: HashSet<Path> = (state.snapshot().file_views(log.as_ref(), None))
        .map_ok(|file| file.object_store_path())
        .try_collect()
        .await
        .map_err(failed)?;
    let mut others = HashSet::new();
    let mut removed = state.all_tombstones(log.as_ref());
    while let Some(file) = removed.next().await {
        let file = file.map_err(failed)?;
        if file.deletion_timestamp().unwrap_or(0) > before.timestamp_millis() {
            others.insert(path_of(&file.path()));
        }
    }
    for version in pinned {
        let snapshot = snapshot(table, log, *version).await?;
        let mut files = snapshot.file_views(log.as_ref(), None);
        while let Some(file) = files.next().await {
            others.insert(file.map_err(failed)?.object_store_path());
        }
    }
    Ok(Needed { current, others })
}

struct Needed {
    current: HashSet<Path>,
    others: HashSet<Path>,
}

/// Removes the data files of a table's folder that are not `needed` and were written up to `before`.
async fn remove_others(
    table: &str,
    folder: &dyn ObjectStore,
    needed: &Needed,
    before: DateTime<Utc>,
) -> Result<u64> {
    let doing = format!("listing {table}");
    let mut missing = needed.current.len();
    let mut unneeded = Vec::new();
    let mut listed = folder.list(None);
    while let Some(file) = listed.next().await {
        let file = file.map_err(|err| Error::storage(&doing, err))?;
        if needed.current.contains(&file.location) {
            missing -= 1;
        } else if is_data(&file)
            && !needed.others.contains(&file.location)
            && file.last_modified <= before
        {
            unneeded.push(Ok(file.location));
        }
    }
    if missing > 0 {
        // Either they are gone, and then the rest is all there is, or they are listed by other names.
        let reason = format!(
            "{missing} files of its current version are not in its folder; nothing is removed"
        );
        return Err(Error::damaged(table, reason));
    }
    let mut removed = 0;
    let mut removals = folder.delete_stream(futures::stream::iter(unneeded).boxed());
    while let Some(removal) = removals.next().await {
        match removal {
            Ok(_) => removed += 1,
            Err(StoreError::NotFound { .. }) => {}
            Err(err) => return Err(Error::storage(&format!("removing files of {table}"), err)),
        }
    }
    Ok(removed)
}

/// Whether it is one of the table's Parquet files: the log's lie in a hidden folder, as other tools' own files do.
fn is_data(file: &ObjectMeta) -> bool {
    let path = file.location.as_ref();
    let top = path.split('/').next().unwrap_or_default();
    // A partition folder may be named after a column that begins like a hidden one.
    let hidden = top.starts_with(['_', '.']) && !top.contains('=');
    path.ends_with(".parquet") && !hidden
}

/// Removes commits and checkpoints older than the table's log retention, up to the last checkpoint that neither
/// `oldest`, nor any version younger than that, needs.
async fn clean_log(
    doing: &str,
    log: &LogStoreRef,
    opened: &DeltaTable,
    oldest: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let state = opened
        .snapshot()
        .map_err(|err| Error::storage(doing, err))?;
    let retention = state.table_config().log_retention_duration().as_millis();
    let before = now.timestamp_millis() - i64::try_from(retention).unwrap_or(i64::MAX / 2);
    let version = state.version();
    let from = oldest
        .and_then(|it| u64::try_from(it).ok())
        .map_or(version, |it| it.min(version));
    let removed = cleanup_expired_logs_for(from, log.as_ref(), before, None).await;
    let removed = removed.map_err(|err| Error::storage(doing, err))?;
    tracing::debug!(doing, removed, "log cleaned");
    Ok(())
}

async fn snapshot(table: &str, log: &LogStoreRef, version: i64) -> Result<Snapshot> {
    let at = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
    let found = Snapshot::try_new(log.as_ref(), Some(at)).await;
    found.map_err(|err| Error::storage(&format!("reading {table} at version {version}"), err))
}

/// A path as the log has it, which may be escaped as in a URL.
fn path_of(path: &str) -> Path {
    Path::parse(path).unwrap_or_else(|_| Path::from(path))
}
