//! Local files that are on the disk once a write has returned.
//!
//! The log lets go of records once they are landed, so a landed row must outlast a power cut; and a
//! commit file must never be seen half written, which a file made visible before it is synced can be.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind, Write},
    path::{Path as FsPath, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, local::LocalFileSystem, path::Path,
};
use uuid::Uuid;

use crate::Lake;

/// [`LocalFileSystem`] with its writes synced.
#[derive(Debug)]
pub(crate) struct Durable {
    files: LocalFileSystem,
}

impl Durable {
    pub(crate) fn new() -> Self {
        Self {
            files: LocalFileSystem::new(),
        }
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.files.put_opts(at, payload, opts).await,
        };
        let path = self.files.path_to_filesystem(at)?;
        blocking(move || put(&path, &payload, create)).await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.files.path_to_filesystem(at)?;
        let folder = path.parent().unwrap_or(&path).to_owned();
        blocking(move || make_folder(&folder).map_err(failed)).await?;
        let upload = self.files.put_multipart_opts(at, opts).await?;
        Ok(Box::new(DurableUpload { upload, path }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(at, options).await
    }

    async fn get_ranges(
        &self,
        at: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.files.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, synced", self.files)
    }
}

#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.upload.complete().await?;
        let path = self.path.clone();
        // No commit names the file yet, so it may be synced after it is visible.
        blocking(move || {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.and_then(|()| sync_folder(&path)).map_err(failed)
        })
        .await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// Removes files of a table that were not finished, where the lake is on a disk, and tells how many: those
/// written last more than `keep` ago under the name of an upload. No listing shows them.
pub(crate) async fn remove_unfinished(
    lake: &Lake,
    table: &str,
    keep: Duration,
) -> crate::Result<u64> {
    let Some(folder) = lake.local_folder_of(table) else {
        return Ok(0);
    };
    let removed = blocking(move || remove_staged(&folder, keep).map_err(failed)).await;
    removed
        .map_err(|err| crate::Error::storage(&format!("removing unfinished files of {table}"), err))
}

fn remove_staged(folder: &FsPath, keep: Duration) -> io::Result<u64> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Another has finished it, or removed it.
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            Err(err) => return Err(err),
        };
        if metadata.is_dir() {
            removed += remove_staged(&entry.path(), keep)?;
        } else if is_staged(&entry.file_name().to_string_lossy())
            && metadata.modified()?.elapsed().is_ok_and(|age| age >= keep)
        {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether [`LocalFileSystem`] passes over a file when it lists.
fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
}

/// Writes a file whole, syncs it, and only then gives it its name.
fn put(path: &FsPath, payload: &PutPayload, create: bool) -> Result<()> {
    make_folder(path.parent().unwrap_or(path)).map_err(failed)?;
    // `LocalFileSystem` passes over names that end in # and digits when it lists.
    let mut staged = path.as_os_str().to_owned();
    staged.push(format!("#{}", Uuid::new_v4().as_u128()));
    let staged = PathBuf::from(staged);
    let written = write(&staged, payload).and_then(|()| {
        if create {
            std::fs::hard_link(&staged, path)
        } else {
            std::fs::rename(&staged, path)
        }
    });
    if create || written.is_err() {
        // Left behind it is garbage that no listing shows.
        let _ = std::fs::remove_file(&staged);
    }
    match written {
        Ok(()) => sync_folder(path).map_err(failed),
        Err(err) if create && err.kind() == ErrorKind::AlreadyExists => Err(Error::AlreadyExists {
            path: path.display().to_string(),
            source: err.into(),
        }),
        Err(err) => Err(failed(err)),
    }
}

fn write(path: &FsPath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    payload.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

/// Makes the folder and syncs those that gained an entry by it.
fn make_folder(folder: &FsPath) -> io::Result<()> {
    let missing: Vec<&FsPath> = folder.ancestors().take_while(|it| !it.exists()).collect();
    std::fs::create_dir_all(folder)?;
    missing.into_iter().try_for_each(sync_folder)
}

/// Syncs the folder that `path` is in.
fn sync_folder(path: &FsPath) -> io::Result<()> {
    match path.parent() {
        // A folder can be opened as a file on Unix only; elsewhere its entries are durable as they are.
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn failed(err: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "local files",
        source: Box::new(err),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn a_file_is_created_once_overwritten_at_will_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            Path::from_absolute_path(folder.path().join("deep/down").join(name)).unwrap()
        };
        let create = || PutOptions::from(PutMode::Create);
        let store = Durable::new();
        store
            .put_opts(&at("a"), "first".into(), create())
            .await
            .unwrap();
        let again = store.put_opts(&at("a"), "second".into(), create()).await;
        assert!(
            matches!(again, Err(Error::AlreadyExists { .. })),
            "{again:?}"
        );
        store.put(&at("b"), "x".into()).await.unwrap();
        store.put(&at("b"), "yz".into()).await.unwrap();
        let mut upload = store.put_multipart(&at("c")).await.unwrap();
        upload.put_part("part".into()).await.unwrap();
        upload.complete().await.unwrap();

        let read = async |name| store.get(&at(name)).await.unwrap().bytes().await.unwrap();
        assert_eq!(
            (read("a").await, read("b").await),
            ("first".into(), "yz".into())
        );
        assert_eq!(read("c").await, "part");
        let entries = std::fs::read_dir(folder.path().join("deep/down")).unwrap();
        assert_eq!(entries.count(), 3);
        let root = Path::from_absolute_path(folder.path()).unwrap();
        let listed: Vec<_> = store.list(Some(&root)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 3);
    }
}
