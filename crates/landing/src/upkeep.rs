//! Keeping landed tables quick to read: each is tidied now and then by the lander that has its slot.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use lake::Lake;
use tokio_util::sync::CancellationToken;

use crate::share::Share;

/// Tells which versions of which tables must stay readable whatever their age; the error is for the log.
pub type Pinned =
    Arc<dyn Fn() -> BoxFuture<'static, Result<BTreeMap<String, Vec<i64>>, String>> + Send + Sync>;

/// How tables are kept.
#[derive(Clone)]
pub struct Upkeep {
    /// How often each table is tidied.
    pub every: Duration,
    /// How long files stay that no current version needs; longer than any query and any upload.
    pub keep: Duration,
    /// Versions that stay readable.
    pub pinned: Pinned,
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep")
            .field("every", &self.every)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// Tidies the landed tables of this lander's share until `stop`. What fails is tried again the next time.
pub(crate) async fn keep_tidy(lake: Lake, share: Share, upkeep: Upkeep, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(upkeep.every) => {}
        }
        let pinned = match (upkeep.pinned)().await {
            Ok(pinned) => pinned,
            Err(err) => {
                tracing::warn!(
                    err,
                    "tables are not tidied: it is not known which versions are in use"
                );
                continue;
            }
        };
        let tables = lake.tables().await.unwrap_or_else(|err| {
            tracing::warn!(%err, "tables not listed");
            Vec::new()
        });
        for table in tables
            .iter()
            .filter(|it| it.starts_with("raw.") && share.has(it))
        {
            let in_use = pinned.get(table).map_or(&[][..], Vec::as_slice);
            // A tidying that is broken off leaves files that the next removes.
            let tidied = tokio::select! {
                () = stop.cancelled() => return,
                tidied = lake.tidy(table, upkeep.keep, in_use) => tidied,
            };
            match tidied {
                Ok((merged, removed)) => tracing::info!(table, merged, removed, "tidied"),
                Err(err) => tracing::warn!(table, %err, "not tidied; tried again later"),
            }
        }
    }
}
