//! A schema whose tables are versions in the lake, looked up when a query names them.

use std::{fmt::Debug, sync::Arc};

use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{SchemaProvider, TableProvider, empty::EmptyTable},
    common::DFSchema,
    error::{DataFusionError, Result},
    logical_expr::{Expr, cast},
    prelude::{ident, lit},
    scalar::ScalarValue,
};
use lake::Lake;

/// Which tables there are, and at which version.
#[async_trait]
pub(crate) trait Versions: Debug + Send + Sync {
    /// The tables of a schema, without it.
    fn names(&self, schema: &str) -> Vec<String>;

    /// Where the rows of `schema.name` are; `None` when there is no such table.
    async fn at(&self, table: &str) -> crate::Result<Option<At>>;
}

/// Where a table's rows are.
#[derive(Debug, Clone)]
pub(crate) enum At {
    /// In this version.
    Version(i64),
    /// In whatever version is newest; with none yet there are none, in these columns.
    Newest(SchemaRef),
    /// Nowhere yet.
    Empty(SchemaRef),
}

/// The landed tables: one for every entity, the quarantine, and what was done about its rows.
pub(crate) fn landed_names() -> Vec<String> {
    let entities = contract::entities().iter().map(|it| it.name.clone());
    let others = ["quarantine", "quarantine_mark"].map(str::to_owned);
    let mut names: Vec<String> = entities.chain(others).collect();
    names.sort();
    names
}

/// The columns of a landed table; `None` when there is no such.
pub(crate) fn landed(table: &str) -> Option<SchemaRef> {
    match table.strip_prefix("raw.")? {
        "quarantine" => Some(contract::quarantine_raw_schema()),
        "quarantine_mark" => Some(contract::mark_raw_schema()),
        name => contract::entity(name).map(contract::raw_schema),
    }
}

/// A column of a landed table, in the field's type: nulls where the rows that landed so far are of before it was thought of. The next
/// one adds it to the table.
pub(crate) fn landed_column(landed: &DFSchema, field: &Field) -> Result<Expr> {
    let column = if landed.has_column_with_unqualified_name(field.name()) {
        cast(ident(field.name()), field.data_type().clone())
    } else {
        lit(ScalarValue::try_from(field.data_type())?)
    };
    Ok(column.alias(field.name()))
}

/// One schema of a session.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Its name.
    pub(crate) schema: &'static str,
    /// The lake its tables are in.
    pub(crate) lake: Lake,
    /// Which version of each.
    pub(crate) versions: Arc<dyn Versions>,
    /// Whether other processes have to be able to read them, too.
    pub(crate) is_sent: bool,
}

/// A table of the lake, for queries of this process or, `is_sent`, for such as run in others.
pub(crate) async fn provider(
    lake: &Lake,
    table: &str,
    version: Option<i64>,
    is_sent: bool,
) -> lake::Result<Option<Arc<dyn TableProvider>>> {
    if is_sent {
        lake.plain_provider(table, version).await
    } else {
        lake.provider(table, version).await
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.versions.names(self.schema)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|it| it == name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = format!("{}.{name}", self.schema);
        let found = match self.versions.at(&table).await.map_err(outside)? {
            None => return Ok(None),
            Some(At::Version(version)) => {
                provider(&self.lake, &table, Some(version), self.is_sent).await
            }
            Some(At::Newest(schema)) => {
                match provider(&self.lake, &table, None, self.is_sent).await {
                    Ok(None) => return Ok(Some(Arc::new(EmptyTable::new(schema)))),
                    found => found,
                }
            }
            Some(At::Empty(schema)) => return Ok(Some(Arc::new(EmptyTable::new(schema)))),
        };
        found.map_err(|err| outside(err.into()))
    }
}

pub(crate) fn outside(err: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(err))
}
