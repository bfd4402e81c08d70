//! Which commits and checkpoints a table's log holds.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path};
use serde::Deserialize;

use crate::{Error, Result};

/// The commits and checkpoints a listing found.
#[derive(Debug, Default)]
pub(crate) struct LogFiles {
    commits: BTreeSet<i64>,
    /// By version: parts found, and how many make the checkpoint whole.
    checkpoints: BTreeMap<i64, (Vec<Path>, usize)>,
}

impl LogFiles {
    fn add(&mut self, path: Path) {
        let name = path.filename().unwrap_or_default().to_owned();
        let mut parts = name.split('.');
        let Some(version) = parts
            .next()
            .filter(|it| it.len() == 20)
            .and_then(|it| it.parse().ok())
        else {
            return;
        };
        // `N.json`, `N.checkpoint.parquet`, `N.checkpoint.<part>.<parts>.parquet`,
        // `N.checkpoint.<uuid>.parquet`: Delta protocol, "Delta Log Entries" and "Checkpoints".
        match parts.collect::<Vec<_>>().as_slice() {
            ["json"] => {
                self.commits.insert(version);
            }
            ["checkpoint", "parquet"] | ["checkpoint", _, "parquet"] => {
                self.checkpoints.insert(version, (vec![path], 1));
            }
            ["checkpoint", _, of, "parquet"] => {
                let whole = of.parse().unwrap_or(usize::MAX);
                let entry = self.checkpoints.entry(version).or_default();
                entry.1 = whole;
                entry.0.push(path);
            }
            _ => {}
        }
    }

    /// The last whole checkpoint up to `version`.
    fn checkpoint_at(&self, version: i64) -> Option<(i64, &[Path])> {
        let whole = |(_, (parts, of)): &(&i64, &(Vec<Path>, usize))| parts.len() >= *of;
        let up_to = self.checkpoints.range(..=version);
        let (version, (parts, _)) = up_to.rev().find(whole)?;
        Some((*version, parts))
    }

    pub(super) fn checkpoint(&self) -> Option<i64> {
        self.checkpoint_at(i64::MAX).map(|(version, _)| version)
    }

    pub(super) fn checkpoint_parts(&self) -> &[Path] {
        self.checkpoint_at(i64::MAX).map_or(&[], |(_, parts)| parts)
    }

    pub(super) fn version(&self) -> Option<i64> {
        self.commits.last().copied().max(self.checkpoint())
    }

    /// Whether the table can be read as it was at `version`: from a checkpoint, or the first commit, on
    /// none is missing.
    pub(crate) fn reach(&self, version: i64) -> bool {
        let base = self.checkpoint_at(version).map_or(-1, |(base, _)| base);
        (base + 1..=version).all(|it| self.commits.contains(&it))
    }

    /// Those a reader of the latest version needs, and maybe some before them.
    pub(super) async fn since_checkpoint(table: &str, store: &dyn ObjectStore) -> Result<Self> {
        #[derive(Deserialize)]
        struct Hint {
            version: i64,
        }
        let hint = match store.get(&folder().join("_last_checkpoint")).await {
            Ok(found) => {
                let bytes = found.bytes().await.map_err(|err| failed(table, err))?;
                serde_json::from_slice::<Hint>(&bytes).ok()
            }
            Err(StoreError::NotFound { .. }) => None,
            Err(err) => return Err(failed(table, err)),
        };
        Self::listed(table, store, hint.map(|it| it.version)).await
    }

    /// All of them.
    pub(crate) async fn all(table: &str, store: &dyn ObjectStore) -> Result<Self> {
        Self::listed(table, store, None).await
    }

    async fn listed(table: &str, store: &dyn ObjectStore, from: Option<i64>) -> Result<Self> {
        let mut listed = match from {
            // Names sort by version, so everything from there on comes after this one.
            Some(version) => {
                let before = folder().join(format!("{version:020}"));
                store.list_with_offset(Some(&folder()), &before)
            }
            None => store.list(Some(&folder())),
        };
        let mut files = Self::default();
        while let Some(meta) = listed.next().await {
            match meta {
                Ok(meta) => files.add(meta.location),
                Err(StoreError::NotFound { .. }) => break,
                Err(err) => return Err(failed(table, err)),
            }
        }
        Ok(files)
    }
}

fn folder() -> Path {
    Path::from("_delta_log")
}

fn failed(table: &str, err: StoreError) -> Error {
    Error::storage(&format!("listing the log of {table}"), err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> LogFiles {
        let mut files = LogFiles::default();
        for name in names {
            files.add(Path::from(format!("_delta_log/{name}")));
        }
        files
    }

    #[test]
    fn a_checkpoint_counts_only_when_all_its_parts_are_there() {
        let one = "00000000000000000010.checkpoint.parquet";
        let half = "00000000000000000020.checkpoint.0000000001.0000000002.parquet";
        let rest = "00000000000000000020.checkpoint.0000000002.0000000002.parquet";
        let commit = "00000000000000000021.json";
        assert_eq!(files(&[one, half, commit]).checkpoint(), Some(10));
        assert_eq!(files(&[one, half, rest, commit]).checkpoint(), Some(20));
        assert_eq!(
            files(&[one, half, rest, commit]).checkpoint_parts().len(),
            2
        );
    }

    #[test]
    fn a_version_is_in_reach_while_no_commit_is_missing_behind_a_checkpoint() {
        let names = [
            "00000000000000000003.json",
            "00000000000000000005.checkpoint.parquet",
            "00000000000000000006.json",
            "00000000000000000007.json",
            "00000000000000000009.json",
        ];
        let in_reach = (0..10).filter(|version| files(&names).reach(*version));
        assert_eq!(in_reach.collect::<Vec<_>>(), [5, 6, 7]);
        let fresh = files(&["00000000000000000000.json", "00000000000000000001.json"]);
        assert!(fresh.reach(0) && fresh.reach(1) && !fresh.reach(2));
    }

    #[test]
    fn other_files_in_the_log_are_no_versions() {
        let names = [
            "_last_checkpoint",
            "00000000000000000003.crc",
            ".tmp",
            "7.json",
        ];
        assert_eq!(files(&names).version(), None);
        assert_eq!(files(&["00000000000000000003.json"]).version(), Some(3));
    }
}
