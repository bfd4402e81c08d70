//! Where the lake lies: its root, the object store behind it, and plain files beside the tables.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    path::{Path as FsPath, PathBuf},
    sync::Arc,
};

use datafusion::catalog::TableProvider;
use deltalake::logstore::{LogStoreRef, ObjectStoreRef, StorageConfig, default_logstore};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
    prefix::PrefixStore,
};
use tokio::sync::Mutex;
use url::Url;

use crate::{Error, Result, durable::Durable, options::store_options, state::State};

/// A folder of Delta tables. Cheap to clone; clones share what they know of the tables.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    /// Ends with a slash.
    url: Url,
    /// Rooted where the URL's host is, not at the lake.
    store: ObjectStoreRef,
    prefix: Path,
    tables: std::sync::Mutex<HashMap<String, Arc<Slot>>>,
}

/// What is known of one table. Commits of one process to one table take turns at `state`.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) state: Mutex<Option<Arc<State>>>,
    pub(crate) providers: Mutex<Vec<(i64, Arc<dyn TableProvider>)>>,
    /// Pinned versions that were told to be out of reach.
    pub(crate) gone: Mutex<BTreeSet<i64>>,
}

impl Lake {
    /// Opens the lake at `root`: a path, `file://`, `s3://`, `az://`, `abfss://`, `gs://`, or
    /// `memory://` (kept only as long as this value and its clones).
    ///
    /// `options` are those of the object store, such as `aws_endpoint`; [`store_options`](crate::store_options) has
    /// the environment's too. Nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Settings`] when the root is no such place, or a folder that cannot be made, or the store has no such option.
    pub fn open(root: &str, options: HashMap<String, String>) -> Result<Self> {
        let url = parse_root(root)?;
        if url.scheme() == "file" {
            return Self::over(Arc::new(Durable::new()), url);
        }
        let options = store_options(root, &options, [])?;
        let (store, _) = object_store::parse_url_opts(&url, &options)
            .map_err(|err| Error::Settings(format!("root `{root}`: {err}")))?;
        Self::over(Arc::from(store), url)
    }

    /// A lake in a store opened elsewhere; `store` is rooted at the host of `url`.
    pub fn over(store: Arc<dyn ObjectStore>, mut url: Url) -> Result<Self> {
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let prefix = object_store::ObjectStoreScheme::parse(&url)
            .map_err(|err| Error::Settings(format!("root `{url}`: {err}")))?
            .1;
        Ok(Self {
            inner: Arc::new(Inner {
                url,
                store,
                prefix,
                tables: std::sync::Mutex::default(),
            }),
        })
    }

    /// Where a table lies: `raw.offer` is in `<root>/raw/offer`.
    pub fn path_of(&self, table: &str) -> String {
        let url = self.url_of(table);
        let local = self.local_folder_of(table);
        let shown = local.map_or_else(|| url.to_string(), |it| it.display().to_string());
        shown.trim_end_matches('/').to_owned()
    }

    /// The tables under the root, by name: `core.offer`, `raw.offer`.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for schema in self.folders(&self.inner.prefix).await? {
            if schema.filename().is_none_or(|name| name.starts_with('_')) {
                continue;
            }
            let tables = self.folders(&schema).await?;
            let inside =
                stream::iter(tables.clone()).map(|table| async move { self.folders(&table).await });
            let inside: Vec<_> = inside.buffered(16).try_collect().await?;
            for (table, inside) in tables.iter().zip(inside) {
                if inside.iter().any(|it| it.filename() == Some("_delta_log"))
                    && let (Some(schema), Some(table)) = (schema.filename(), table.filename())
                {
                    found.push(format!("{schema}.{table}"));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Writes a file at `path` (relative to the root) unless there is one; `false` says there was.
    pub async fn put_new(&self, path: &str, bytes: bytes::Bytes) -> Result<bool> {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(bytes);
        match self
            .inner
            .store
            .put_opts(&self.path(path), payload, options)
            .await
        {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(err) => Err(Error::storage(&format!("writing {path}"), err)),
        }
    }

    /// Makes sure that the store keeps the promise everything rests on: a file is put only where there is none. A store that
    /// takes the condition and overwrites all the same would lose commits.
    ///
    /// # Errors
    /// [`Error::Settings`] when it does not.
    pub async fn probe(&self) -> Result<()> {
        let path = format!("_probe/{}", uuid::Uuid::new_v4());
        let first = self.put_new(&path, "first".into()).await?;
        let second = self.put_new(&path, "second".into()).await;
        let kept = self.get(&path).await?;
        if let Err(err) = self.inner.store.delete(&self.path(&path)).await {
            tracing::debug!(path, error = %err, "the probe is left behind");
        }
        if first && !second? && kept.as_deref() == Some(b"first") {
            return Ok(());
        }
        Err(Error::Settings(format!(
            "the store at {} overwrites files it was asked to make only if there are none (If-None-Match), so two writers would undo each \
             other; use one that has conditional puts, such as AWS S3, MinIO, Azure or Google Cloud Storage",
            self.inner.url
        )))
    }

    /// The file at `path`, if there is one.
    pub async fn get(&self, path: &str) -> Result<Option<bytes::Bytes>> {
        let failed = |err| Error::storage(&format!("reading {path}"), err);
        match self.inner.store.get(&self.path(path)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(err) => Err(failed(err)),
        }
    }

    /// Removes the file at `path`, if there is one.
    pub async fn delete(&self, path: &str) -> Result<()> {
        match self.inner.store.delete(&self.path(path)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(err) => Err(Error::storage(&format!("removing {path}"), err)),
        }
    }

    /// Paths of all files below `prefix`, relative to the root, sorted.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let below = self.path(prefix);
        let skip = self.inner.prefix.parts().count();
        let mut found: Vec<String> = self
            .inner
            .store
            .list(Some(&below))
            .map_ok(|meta| Path::from_iter(meta.location.parts().skip(skip)).to_string())
            .try_collect()
            .await
            .map_err(|err| Error::storage(&format!("listing {prefix}"), err))?;
        found.sort();
        Ok(found)
    }

    /// The store rooted at the host of the lake's URL, and that URL.
    pub(crate) fn root(&self) -> (&ObjectStoreRef, &Url) {
        (&self.inner.store, &self.inner.url)
    }

    pub(crate) fn slot(&self, table: &str) -> Arc<Slot> {
        let mut tables = self
            .inner
            .tables
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(tables.entry(table.to_owned()).or_default())
    }

    /// The table's own folder as a store.
    pub(crate) fn folder_of(&self, table: &str) -> ObjectStoreRef {
        let path = self.path(&table.replacen('.', "/", 1));
        Arc::new(PrefixStore::new(Arc::clone(&self.inner.store), path))
    }

    /// The table's own folder, where the lake is on a disk.
    pub(crate) fn local_folder_of(&self, table: &str) -> Option<PathBuf> {
        let url = self.url_of(table);
        (url.scheme() == "file")
            .then(|| url.to_file_path().ok())
            .flatten()
    }

    pub(crate) fn log_store(&self, table: &str) -> LogStoreRef {
        default_logstore(
            self.folder_of(table),
            Arc::clone(&self.inner.store),
            &self.url_of(table),
            &StorageConfig::default(),
        )
    }

    fn url_of(&self, table: &str) -> Url {
        let mut url = self.inner.url.clone();
        url.set_path(&format!("{}{}/", url.path(), table.replacen('.', "/", 1)));
        url
    }

    /// Where a file of a table lies in the store.
    pub(crate) fn path_in(&self, table: &str, file: &str) -> Path {
        self.path(&format!("{}/{file}", table.replacen('.', "/", 1)))
    }

    fn path(&self, relative: &str) -> Path {
        let parts = relative.split('/').filter(|part| !part.is_empty());
        parts.fold(self.inner.prefix.clone(), |path, part| path.join(part))
    }

    async fn folders(&self, path: &Path) -> Result<Vec<Path>> {
        let listed = self.inner.store.list_with_delimiter(Some(path)).await;
        Ok(listed
            .map_err(|err| Error::storage(&format!("listing {path}"), err))?
            .common_prefixes)
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lake")
            .field(&self.inner.url.as_str())
            .finish()
    }
}

pub(crate) fn parse_root(root: &str) -> Result<Url> {
    let wrong = |reason: String| Error::Settings(format!("root `{root}`: {reason}"));
    let path = match Url::parse(root) {
        Ok(url) if url.scheme() != "file" && root.contains("://") => return Ok(url),
        Ok(url) if root.contains("://") => url
            .to_file_path()
            .map_err(|()| wrong("not a local path".to_owned()))?,
        _ => FsPath::new(root).to_owned(),
    };
    std::fs::create_dir_all(&path).map_err(|err| wrong(err.to_string()))?;
    let path = path.canonicalize().map_err(|err| wrong(err.to_string()))?;
    Url::from_directory_path(&path).map_err(|()| wrong("not an absolute path".to_owned()))
}
