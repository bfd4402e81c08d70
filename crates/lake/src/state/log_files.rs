//! Which commits and checkpoints a table's log holds.

use std::collections::BTreeMap;

use futures::StreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path};
use serde::Deserialize;

use crate::{Error, Result};

/// The files of a log from its last checkpoint on.
#[derive(Debug, Default)]
pub(super) struct LogFiles {
    commits: Vec<i64>,
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
            ["json"] => self.commits.push(version),
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

    fn last_checkpoint(&self) -> Option<(i64, &[Path])> {
        let whole = |(_, (parts, of)): &(&i64, &(Vec<Path>, usize))| parts.len() >= *of;
        let (version, (parts, _)) = self.checkpoints.iter().rev().find(whole)?;
        Some((*version, parts))
    }

    pub(super) fn checkpoint(&self) -> Option<i64> {
        self.last_checkpoint().map(|(version, _)| version)
    }

    pub(super) fn checkpoint_parts(&self) -> &[Path] {
        self.last_checkpoint().map_or(&[], |(_, parts)| parts)
    }

    pub(super) fn version(&self) -> Option<i64> {
        self.commits.iter().max().copied().max(self.checkpoint())
    }
}

pub(super) async fn log_files(table: &str, store: &dyn ObjectStore) -> Result<LogFiles> {
    #[derive(Deserialize)]
    struct Hint {
        version: u64,
    }
    let failed = |err: StoreError| Error::storage(&format!("listing the log of {table}"), err);
    let folder = Path::from("_delta_log");
    let hint = match store.get(&folder.clone().join("_last_checkpoint")).await {
        Ok(found) => {
            let bytes = found.bytes().await.map_err(failed)?;
            serde_json::from_slice::<Hint>(&bytes).ok()
        }
        Err(StoreError::NotFound { .. }) => None,
        Err(err) => return Err(failed(err)),
    };
    let listed = match hint {
        // Names sort by version, so everything from the checkpoint on comes after this one.
        Some(Hint { version }) => {
            let before = folder.clone().join(format!("{version:020}"));
            store.list_with_offset(Some(&folder), &before)
        }
        None => store.list(Some(&folder)),
    };
    let mut files = LogFiles::default();
    let mut listed = std::pin::pin!(listed);
    while let Some(meta) = listed.next().await {
        match meta {
            Ok(meta) => files.add(meta.location),
            Err(StoreError::NotFound { .. }) => break,
            Err(err) => return Err(failed(err)),
        }
    }
    Ok(files)
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
