//! Keeping tables quick to read: fewer and larger files, and checkpoints.

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

/// What is put together is committed this often, so that work broken off is not lost.
const COMMIT_EVERY: Duration = Duration::from_secs(60);

impl Lake {
    /// Tidies a table of small files: [merges](Self::merge) them, and then [cleans](Self::clean). How many files were merged, and
    /// how many removed; what was merged stays for readers until the next time.
    ///
    /// # Errors
    /// Those of either.
    pub async fn tidy(&self, table: &str, keep: Duration, pinned: &[i64]) -> Result<(u64, u64)> {
        let merged = self.merge(table, files::FILE_BYTES).await?;
        Ok((merged, self.clean(table, keep, pinned).await?))
    }

    /// Puts files of a table together that are smaller than `target` bytes, up to about that size, and tells
    /// how many. Rows and positions stay what they are; see [`Head::rows_since`](crate::Head::rows_since).
    ///
    /// Neighbours are merged: of any two that are left side by side, one cannot take in the other's first file.
    /// One merged file is written at a time, as its rows are read.
    ///
    /// # Errors
    /// An append meanwhile is no conflict; a replacement or another merge is, and then nothing is merged.
    pub async fn merge(&self, table: &str, target: NonZeroU64) -> Result<u64> {
        let begun = Instant::now();
        let doing = format!("merging files of {table}");
        let Some(rows) = self.provider(table, None).await? else {
            return Ok(0);
        };
        let mut opened = DeltaTable::new(self.log_store(table));
        let loaded = opened.load().await;
        loaded.map_err(|err| Error::storage(&doing, err))?;
        // Without them the log would get the least and greatest of every text.
        let compression = files::small().map_err(|err| Error::storage(&doing, err))?;
        let properties = files::properties(&rows.schema(), compression);
        let (_, merged) = opened
            .optimize()
            .with_target_size(target)
            .with_writer_properties(properties)
            .with_max_concurrent_tasks(1)
            .with_min_commit_interval(COMMIT_EVERY)
            .await
            .map_err(|err| Error::storage(&doing, err))?;
        metric::TABLE_TIDY.record([table], begun.elapsed().as_secs_f64());
        Ok(merged.num_files_removed)
    }
}

/// Makes a checkpoint when one is due. Failing that, the next commit tries again.
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
    tracing::debug!(table, version, "checkpoint made");
    Ok(())
}
