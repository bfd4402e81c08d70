//! From a published number to what it means and where it comes from: definition, publication, rows, offsets, files.

mod answer;
mod rows;
mod tag;
mod walk;

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::{
    Result,
    publication::Publication,
    session::{At, Versions, landed},
};

pub use answer::{
    ColumnSources, DeliveredFile, Explanation, Found, Into, Meaning, Published, Row, Step, Told,
};
pub(crate) use walk::Walk;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// A table of `core` or `mart`.
    pub table: String,
    /// Which of its rows: SQL over its columns.
    pub predicate: String,
    /// Which of its columns; all that are no key where left out.
    pub columns: Vec<String>,
    /// How many rows of each table are shown.
    pub limit: usize,
}

/// The tables as one publication names them.
#[derive(Debug)]
pub(crate) struct AsPublished(pub(crate) Publication);

#[async_trait]
impl Versions for AsPublished {
    fn names(&self, schema: &str) -> Vec<String> {
        let tables = self.0.tables.keys().chain(self.0.inputs.keys());
        let names = tables.filter_map(|it| it.split_once('.'));
        let names = names.filter(|it| it.0 == schema).map(|it| it.1.to_owned());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    async fn at(&self, table: &str) -> Result<Option<At>> {
        let version = self
            .0
            .tables
            .get(table)
            .or_else(|| self.0.inputs.get(table));
        Ok(match version {
            Some(version) => Some(At::Version(*version)),
            None => landed(table).map(At::Empty),
        })
    }
}

#[cfg(test)]
mod tests;
