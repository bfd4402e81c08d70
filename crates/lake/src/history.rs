//! Which files a table consists of, and which it has gained since a version.

use std::{collections::BTreeMap, sync::Arc};

use deltalake::kernel::{Add, Remove, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use serde::Deserialize;

use crate::{Error, Lake, Result, state::read_commit};

/// A Parquet file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Where it lies below the table's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// What became of a table between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// Rows were added and files put together, nothing else.
    Known(Changes),
    /// It cannot be told, or more than that happened: the reason.
    Unknown(String),
}

/// Files a table gained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Files of new rows that are still part of the table.
    pub added: Vec<DataFile>,
    /// Files of new rows that have since been put together with others: their rows are in `rewritten`.
    pub merged: Vec<DataFile>,
    /// Files put together from others, of rows new and old.
    pub rewritten: Vec<DataFile>,
}

/// One line of a commit file, as far as files go.
#[derive(Debug, Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
}

impl Lake {
    /// All files of a table at `version`.
    ///
    /// # Errors
    /// [`Error::Foreign`] when the table's protocol lets a file have other rows than the table.
    pub async fn files(&self, table: &str, version: i64) -> Result<Vec<DataFile>> {
        self.check_plain(table).await?;
        let failed = |err| Error::storage(&format!("listing the files of {table}"), err);
        let log = self.log_store(table);
        let at = u64::try_from(version).map_err(|err| Error::damaged(table, err))?;
        let snapshot = Snapshot::try_new(log.as_ref(), Some(at))
            .await
            .map_err(failed)?;
        let views = snapshot.file_views(log.as_ref(), None);
        views
            .map_ok(|view| DataFile {
                path: view.path().into_owned(),
                bytes: u64::try_from(view.size()).unwrap_or_default(),
            })
            .map_err(failed)
            .try_collect()
            .await
    }

    /// The files a table has gained after version `since`, up to `until`. Reads the commits in between and nothing else.
    ///
    /// # Errors
    /// [`Error::Foreign`] as for [`Lake::files`].
    pub async fn changes(&self, table: &str, since: i64, until: i64) -> Result<History> {
        self.check_plain(table).await?;
        let unknown = |reason: String| Ok(History::Unknown(reason));
        if since > until {
            return unknown(format!("it is at version {until}, before {since}"));
        }
        let log = self.log_store(table);
        let mut commits = stream::iter(since + 1..=until)
            .map(|version| read_commit(table, &log, version))
            .buffered(16);
        // By path: the file, and whether its rows were new.
        let mut present: BTreeMap<String, (DataFile, bool)> = BTreeMap::new();
        let mut changes = Changes::default();
        let mut version = since;
        while let Some(commit) = commits.try_next().await? {
            version += 1;
            let Some(commit) = commit else {
                return unknown(format!("its log no longer has version {version}"));
            };
            let lines = serde_json::Deserializer::from_slice(&commit).into_iter::<Line>();
            for line in lines {
                let line =
                    line.map_err(|err| Error::damaged(table, format!("commit {version}: {err}")))?;
                if let Some(add) = line.add {
                    let file = DataFile {
                        path: add.path.clone(),
                        bytes: u64::try_from(add.size).unwrap_or_default(),
                    };
                    present.insert(add.path, (file, add.data_change));
                }
                if let Some(remove) = line.remove {
                    if remove.data_change {
                        return unknown(format!("rows were removed from it in version {version}"));
                    }
                    let gone = present.remove(&remove.path);
                    changes
                        .merged
                        .extend(gone.filter(|(_, new)| *new).map(|(file, _)| file));
                }
            }
        }
        for (file, new) in present.into_values() {
            let of_kind = if new {
                &mut changes.added
            } else {
                &mut changes.rewritten
            };
            of_kind.push(file);
        }
        if let Some(gone) = self.first_gone(table, &changes.merged).await? {
            return unknown(format!(
                "a file that came since was put together with others and removed ({gone})"
            ));
        }
        Ok(History::Known(changes))
    }

    async fn first_gone(&self, table: &str, files: &[DataFile]) -> Result<Option<String>> {
        // Owned: a stream of borrowed things is not `Send` for every lifetime, and what this is part of is spawned.
        let paths: Vec<(String, Path)> = files
            .iter()
            .map(|it| (it.path.clone(), self.path_in(table, &it.path)))
            .collect();
        let store = Arc::clone(self.root().0);
        let mut looks = stream::iter(paths)
            .map(|(file, path)| {
                let store = Arc::clone(&store);
                async move {
                    match store.head(&path).await {
                        Ok(_) => Ok(None),
                        Err(StoreError::NotFound { .. }) => Ok(Some(file)),
                        Err(err) => Err(Error::storage(&format!("looking for {file}"), err)),
                    }
                }
            })
            .buffered(16);
        while let Some(look) = looks.try_next().await? {
            if look.is_some() {
                return Ok(look);
            }
        }
        Ok(None)
    }

    /// Deletion vectors and column mapping would make a file's rows others than the table's.
    pub(crate) async fn check_plain(&self, table: &str) -> Result<()> {
        match self.latest(table).await? {
            Some(state) => state.check_writable(table),
            None => Ok(()),
        }
    }
}
