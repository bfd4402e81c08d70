//! Keeping tables quick to read: checkpoints, fewer and larger files, and old files let go.

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use deltalake::{DeltaTable, checkpoints};
use telemetry::metric;

use crate::{Error, Lake, Result, files, state::State};

/// A checkpoint is made when this many commits have come since the last.
const CHECKPOINT_EVERY: i64 = 50;

/// Files are put together up to this size.
const COMPACT_BYTES: u64 = 96 << 20;

/// What [`Lake::tidy`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tidied {
    /// Small files put together.
    pub merged: u64,
    /// Files no version kept needs any more, removed.
    pub removed: u64,
}

impl Lake {
    /// Puts small files of a table together and removes files that left it more than `keep` ago.
    ///
    /// Rows and positions stay what they are. Versions in `pinned` stay readable whatever their age.
    /// `keep` must exceed the longest query and the longest upload.
    pub async fn tidy(&self, table: &str, keep: Duration, pinned: &[i64]) -> Result<Tidied> {
        let begun = Instant::now();
        let failed = |err: &dyn std::fmt::Display| Error::storage(&format!("tidying {table}"), err);
        let mut opened = DeltaTable::new(self.log_store(table));
        opened.load().await.map_err(|err| failed(&err))?;
        let Some(rows) = self.provider(table, None).await? else {
            return Ok(Tidied::default());
        };
        // Without them the log would get the least and greatest of every text.
        let properties = files::properties(&rows.schema()).map_err(|err| failed(&err))?;
        let target = NonZeroU64::new(COMPACT_BYTES).unwrap_or(NonZeroU64::MIN);
        let (opened, compacted) = opened
            .optimize()
            .with_target_size(target)
            .with_writer_properties(properties)
            .with_max_concurrent_tasks(1)
            .await
            .map_err(|err| failed(&err))?;
        let keep = chrono::Duration::from_std(keep).map_err(|err| failed(&err))?;
        let pinned: Vec<u64> = pinned
            .iter()
            .filter_map(|at| u64::try_from(*at).ok())
            .collect();
        let (_, vacuumed) = opened
            .vacuum()
            .with_retention_period(keep)
            .with_enforce_retention_duration(false)
            .with_keep_versions(&pinned)
            .await
            .map_err(|err| failed(&err))?;
        metric::TABLE_TIDY.record([table], begun.elapsed().as_secs_f64());
        Ok(Tidied {
            merged: compacted.num_files_removed,
            removed: vacuumed.files_deleted.len() as u64,
        })
    }
}

/// Makes a checkpoint when one is due, and lets go of log files older than the table's log
/// retention (30 days unless set) that the checkpoint covers. Failing that, the next commit tries again.
pub(crate) async fn checkpoint_if_due(
    lake: &Lake,
    table: &str,
    version: i64,
    known: &mut Option<Arc<State>>,
) {
    let last = known.as_ref().and_then(|state| state.checkpoint);
    if version - last.unwrap_or(-1) < CHECKPOINT_EVERY {
        return;
    }
    match checkpoint(lake, table, version).await {
        Ok(()) => {
            if let Some(state) = known {
                Arc::make_mut(state).checkpoint = Some(version);
            }
        }
        Err(err) => tracing::warn!(table, version, error = %err, "no checkpoint made"),
    }
}

async fn checkpoint(lake: &Lake, table: &str, version: i64) -> Result<()> {
    let failed = |err| Error::storage(&format!("checkpointing {table}"), err);
    let at = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
    let mut opened = DeltaTable::new(lake.log_store(table));
    opened.load_version(at).await.map_err(failed)?;
    checkpoints::create_checkpoint(&opened, None)
        .await
        .map_err(failed)?;
    let removed = checkpoints::cleanup_metadata(&opened, None)
        .await
        .map_err(failed)?;
    tracing::debug!(table, version, removed, "checkpoint made");
    Ok(())
}
