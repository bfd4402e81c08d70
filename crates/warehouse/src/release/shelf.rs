//! The releases there are, each read once: a release never changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use lake::Lake;

use super::{Release, names};
use crate::Result;

/// The releases a process knows of.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    known: Mutex<BTreeMap<String, Arc<Release>>>,
}

impl Shelf {
    /// All releases, in the order they were made.
    pub(crate) async fn all(&self, lake: &Lake) -> Result<Vec<Arc<Release>>> {
        for name in names(lake).await? {
            if self.seen(&name).is_none()
                && let Some(release) = Release::find(lake, &name).await?
            {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(name, Arc::new(release));
            }
        }
        let mut all = self.all_seen();
        all.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        Ok(all)
    }

    /// All releases seen so far, without looking.
    pub(crate) fn all_seen(&self) -> Vec<Arc<Release>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    fn seen(&self, name: &str) -> Option<Arc<Release>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }
}
