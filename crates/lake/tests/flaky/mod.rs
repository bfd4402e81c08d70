//! An object store whose answers to commits can be lost, late or wrong, for tests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test code shared by several test crates"
)]

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{future::BoxFuture, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};

/// What happens to one commit.
pub(crate) struct Fault {
    /// Whether and when the commit file is written.
    pub(crate) writes: Writes,
    /// What happens before the answer.
    pub(crate) meanwhile: Option<BoxFuture<'static, ()>>,
    /// The answer.
    pub(crate) answers: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    Now,
    /// After what happens meanwhile.
    Behind,
    Never,
    /// After the answer: as the next commit is about to be made.
    Late,
    /// After the answer: once it has been looked for and not found.
    AfterLook,
}

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Truth,
    Taken,
    Failed,
}

#[derive(Clone)]
pub(crate) struct Flaky {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    late: Arc<Mutex<Option<Late>>>,
    death: Arc<Mutex<Option<Death>>>,
    died: Arc<tokio::sync::Notify>,
    /// Overwrites what it was asked to make only if there is none.
    careless: bool,
}

/// A write on its way: where to, what, how, and whether it waits to be looked for.
type Late = (Path, PutPayload, PutOptions, bool);

/// The process dies at one of its writes.
struct Death {
    writes_left: usize,
    /// Whether that write still gets through.
    after: bool,
}

impl Default for Flaky {
    fn default() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }
}

impl Flaky {
    /// A store whose objects are in `inner`.
    pub(crate) fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            faults: Arc::default(),
            late: Arc::default(),
            death: Arc::default(),
            died: Arc::default(),
            careless: false,
        }
    }

    /// A store that overwrites whatever it is asked.
    pub(crate) fn careless() -> Self {
        Self {
            careless: true,
            ..Self::default()
        }
    }

    /// The next commit meets `fault`.
    pub(crate) fn next_commit(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    /// Whoever makes the write number `at` from now (from 0) hangs there as if killed: before the
    /// write, or `after` it.
    pub(crate) fn die_at(&self, at: usize, after: bool) {
        *self.death.lock().unwrap() = Some(Death {
            writes_left: at,
            after,
        });
    }

    /// Waits until someone has died.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// Forgets a death that has not happened; whether there was one.
    pub(crate) fn survived(&self) -> bool {
        self.death.lock().unwrap().take().is_some()
    }

    /// `None` to go on; `Some(after)` when this write is the last.
    fn dies_here(&self) -> Option<bool> {
        let mut death = self.death.lock().unwrap();
        let due = death.as_mut()?;
        if due.writes_left > 0 {
            due.writes_left -= 1;
            return None;
        }
        death.take().map(|death| death.after)
    }

    async fn die(&self) -> ! {
        self.died.notify_one();
        std::future::pending().await
    }

    /// The same objects without the faults.
    pub(crate) fn sound(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner)
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        if self.careless {
            opts.mode = PutMode::Overwrite;
        }
        match self.dies_here() {
            None => {}
            Some(false) => self.die().await,
            Some(true) => {
                let _ = self.inner.put_opts(at, payload, opts).await;
                self.die().await
            }
        }
        let commit = at.as_ref().contains("_delta_log/") && at.as_ref().ends_with(".json");
        let late = commit.then(|| self.late.lock().unwrap().take()).flatten();
        if let Some((at, payload, opts, _)) = late {
            // It may come too late, and be refused.
            let _ = self.inner.put_opts(&at, payload, opts).await;
        }
        let fault = commit
            .then(|| self.faults.lock().unwrap().pop_front())
            .flatten();
        let Some(fault) = fault else {
            return self.inner.put_opts(at, payload, opts).await;
        };
        let mut behind = None;
        let mut done = match fault.writes {
            Writes::Now => Some(self.inner.put_opts(at, payload, opts).await),
            Writes::Behind => {
                behind = Some((payload, opts));
                None
            }
            Writes::Never => None,
            Writes::Late | Writes::AfterLook => {
                let looks = fault.writes == Writes::AfterLook;
                *self.late.lock().unwrap() = Some((at.clone(), payload, opts, looks));
                None
            }
        };
        if let Some(meanwhile) = fault.meanwhile {
            meanwhile.await;
        }
        if let Some((payload, opts)) = behind {
            done = Some(self.inner.put_opts(at, payload, opts).await);
        }
        match (fault.answers, done) {
            (Answer::Truth, Some(done)) => done,
            (Answer::Taken, _) => Err(Error::AlreadyExists {
                path: at.to_string(),
                source: "injected".into(),
            }),
            _ => Err(Error::Generic {
                store: "flaky",
                source: "injected: connection reset".into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.inner.get_opts(at, options).await;
        let mut late = self.late.lock().unwrap().take();
        if let Some((looked_for, payload, opts, true)) = &late
            && looked_for == at
            && found.is_err()
        {
            let _ = self.inner.put_opts(at, payload.clone(), opts.clone()).await;
            late = None;
        }
        *self.late.lock().unwrap() = late;
        found
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}
