//! The versions a build computes with: landed tables as they were at its start, models as it makes them.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use async_trait::async_trait;
use lake::Head;

use crate::{
    Result,
    session::{At, Versions, landed},
};

/// What the models of one build read.
#[derive(Debug)]
pub(crate) struct Candidates {
    versions: RwLock<BTreeMap<String, Head>>,
}

impl Candidates {
    /// With the landed tables; those not landed yet are left out.
    pub(crate) fn new(inputs: BTreeMap<String, Head>) -> Self {
        Self {
            versions: RwLock::new(inputs),
        }
    }

    /// A model has this version now.
    pub(crate) fn set(&self, table: &str, version: i64) {
        let mut versions = self
            .versions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let head = Head {
            version,
            rows_since: version,
        };
        versions.insert(table.to_owned(), head);
    }

    /// Where a table is, if it has any version.
    pub(crate) fn get(&self, table: &str) -> Option<Head> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.get(table).copied()
    }
}

#[async_trait]
impl Versions for Candidates {
    fn names(&self, schema: &str) -> Vec<String> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let tables = versions.keys().filter_map(|it| it.split_once('.'));
        tables
            .filter(|it| it.0 == schema)
            .map(|it| it.1.to_owned())
            .collect()
    }

    async fn at(&self, table: &str) -> Result<Option<At>> {
        Ok(match self.get(table) {
            Some(head) => Some(At::Version(head.version)),
            None => landed(table).map(At::Empty),
        })
    }
}
