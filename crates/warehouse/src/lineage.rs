//! Column lineage: what every column of every table is computed from, read from the plans of the models.

mod paths;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::catalog::empty::EmptyTable;
use serde::Serialize;

use crate::{Error, Result, models::Catalog, reference, session};

pub use paths::Branch;

/// What every table of `core` and `mart` is computed from.
#[derive(Debug)]
pub struct Lineage {
    tables: BTreeMap<String, TableLineage>,
    schemas: BTreeMap<String, SchemaRef>,
}

/// What one table is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLineage {
    /// Every column with what its values come from; nothing where it is a constant.
    pub columns: Vec<(String, Sources)>,
    /// What decides which rows there are, and so touches every column.
    pub rows: Sources,
}

/// Columns that something comes from.
pub type Sources = BTreeSet<Source>;

/// A column that another comes from, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Source {
    /// The table it is in.
    pub table: String,
    /// The column; `None` where only the number of rows plays a part.
    pub column: Option<String>,
    /// How.
    pub kind: Kind,
}

/// How a column comes from another. The first three carry its values, the others only steer them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its values as they are; a cast changes nothing.
    Copy,
    /// Computed from it, row by row.
    Computed,
    /// Aggregated from several of its rows.
    Aggregated,
    /// It decides which value is taken.
    Condition,
    /// It parts or orders the rows that a window function sees.
    Window,
    /// Rows are kept or left out by it.
    Filter,
    /// Rows are joined by it.
    Join,
    /// Rows are grouped by it.
    Group,
    /// Rows are put in order by it, and only the first are taken.
    Sort,
    /// Its table's rows are there, whatever is in them: what a count counts.
    Rows,
}

impl Kind {
    /// Every kind, as listed.
    pub const ALL: [Self; 10] = [
        Self::Copy,
        Self::Computed,
        Self::Aggregated,
        Self::Condition,
        Self::Window,
        Self::Filter,
        Self::Join,
        Self::Group,
        Self::Sort,
        Self::Rows,
    ];

    /// Whether values come through.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Copy | Self::Computed | Self::Aggregated)
    }

    /// Whether values come through, or are chosen by it: what a way through the lineage follows.
    pub fn is_followed(self) -> bool {
        self.is_direct() || self == Self::Condition
    }

    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Computed => "computed",
            Self::Aggregated => "aggregated",
            Self::Condition => "condition",
            Self::Window => "window",
            Self::Filter => "filter",
            Self::Join => "join",
            Self::Group => "group",
            Self::Sort => "sort",
            Self::Rows => "rows",
        }
    }
}

impl Source {
    /// `core.offer.name`, or `core.offer` where only its rows play a part.
    pub fn name(&self) -> String {
        match &self.column {
            Some(column) => format!("{}.{column}", self.table),
            None => self.table.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name())
    }
}

impl TableLineage {
    /// What a column comes from; `None` when the table has no such column.
    pub fn column(&self, name: &str) -> Option<&Sources> {
        let mut columns = self.columns.iter();
        columns.find(|it| it.0 == name).map(|it| &it.1)
    }

    /// Every source with the column that has it; `None` is what decides which rows there are.
    fn all(&self) -> impl Iterator<Item = (Option<&str>, &Source)> {
        let columns = self.columns.iter();
        let columns =
            columns.flat_map(|(name, sources)| sources.iter().map(|it| (Some(name.as_str()), it)));
        columns.chain(self.rows.iter().map(|it| (None, it)))
    }
}

impl Lineage {
    /// Plans every model over empty tables, and reads the plans.
    ///
    /// # Errors
    /// [`Error::Models`] where a query cannot be planned.
    pub async fn read(catalog: &Catalog) -> Result<Self> {
        let failed = |err| Error::query("opening a session without rows", err);
        let ctx = session::blank(catalog.definitions()).map_err(failed)?;
        let mut schemas = BTreeMap::new();
        for name in session::landed_names() {
            let table = format!("raw.{name}");
            schemas.extend(session::landed(&table).map(|it| (table, it)));
        }
        for (table, schema) in &schemas {
            let rows = Arc::new(EmptyTable::new(Arc::clone(schema)));
            ctx.register_table(table.as_str(), rows).map_err(failed)?;
        }
        for (name, rows) in reference::tables(catalog.definitions()) {
            schemas.insert(format!("ref.{name}"), rows.schema());
        }
        let mut tables = BTreeMap::new();
        for (table, node) in catalog
            .order()
            .iter()
            .filter_map(|it| Some((it, catalog.node(it)?)))
        {
            let rows = node.rows(&ctx).await?;
            let schema: SchemaRef = Arc::new(rows.schema().as_arrow().clone());
            let flow = plan::flow(rows.logical_plan())
                .map_err(|err| Error::query(format!("tracing {table}"), err))?;
            let names = schema.fields().iter().map(|it| it.name().clone());
            let lineage = TableLineage {
                columns: names.zip(flow.columns).collect(),
                rows: flow.rows,
            };
            let rows = Arc::new(EmptyTable::new(Arc::clone(&schema)));
            ctx.register_table(table.as_str(), rows).map_err(failed)?;
            schemas.insert(table.clone(), schema);
            tables.insert(table.clone(), lineage);
        }
        Ok(Self { tables, schemas })
    }

    /// Every table that is built, by name.
    pub fn tables(&self) -> &BTreeMap<String, TableLineage> {
        &self.tables
    }

    /// What one table comes from; `None` when it is not built here.
    pub fn table(&self, name: &str) -> Option<&TableLineage> {
        self.tables.get(name)
    }

    /// The columns of every table, also those of `raw` and `ref`.
    pub fn schemas(&self) -> &BTreeMap<String, SchemaRef> {
        &self.schemas
    }

    /// Whether there is such a table, and in it such a column.
    pub fn has(&self, table: &str, column: Option<&str>) -> bool {
        let schema = self.schemas.get(table);
        schema.is_some_and(|it| column.is_none_or(|name| it.field_with_name(name).is_ok()))
    }

    /// The rows of `ops.column_lineage`: table, column (null where every column is meant), input table, input
    /// column (null where only its rows are meant), kind.
    pub fn batch(&self) -> RecordBatch {
        let mut columns: [Vec<Option<String>>; 5] = Default::default();
        for (table, lineage) in &self.tables {
            for (column, source) in lineage.all() {
                let row = [
                    Some(table.clone()),
                    column.map(str::to_owned),
                    Some(source.table.clone()),
                    source.column.clone(),
                    Some(source.kind.as_str().to_owned()),
                ];
                for (to, value) in columns.iter_mut().zip(row) {
                    to.push(value);
                }
            }
        }
        let schema = schema();
        let columns = columns.map(|it| Arc::new(StringArray::from(it)) as ArrayRef);
        // All columns are as long as the list, so this cannot fail.
        RecordBatch::try_new(Arc::clone(&schema), columns.into())
            .unwrap_or_else(|_| RecordBatch::new_empty(schema))
    }
}

/// The columns of `ops.column_lineage`.
pub fn schema() -> SchemaRef {
    let names = ["table", "column", "input_table", "input_column", "kind"];
    let fields = names.map(|it| Field::new(it, DataType::Utf8, true));
    Arc::new(Schema::new(fields.to_vec()))
}

/// Planning deep SQL recurses; a test's own thread has too little for that.
#[cfg(test)]
pub(crate) fn read_deeply(catalog: Catalog) -> (Catalog, Lineage) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let read = runtime.unwrap().block_on(Lineage::read(&catalog));
        (catalog, read.unwrap())
    };
    let thread = std::thread::Builder::new().stack_size(32 << 20);
    thread.spawn(work).unwrap().join().unwrap()
}

#[cfg(test)]
mod tests;
