//! Models over tables made by hand: what `.slt` files run against, without a lake.
//!
//! A table made with `create table` stands for the real one and may list only the columns a test
//! needs. Every other table is there by itself: landed tables empty, code lists real, models
//! computed from their own SQL when first asked for.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion::{
    catalog::{
        CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, TableProvider,
    },
    common::{exec_datafusion_err, exec_err},
    error::{DataFusionError, Result},
    logical_expr::LogicalPlan,
    prelude::SessionContext,
    sql::{
        parser::{DFParser, Statement},
        sqlparser::ast,
    },
};
use futures::future::BoxFuture;

use crate::{
    checks, functions,
    models::{self, Catalog, Node, Origin},
    reference, session,
};

/// One session with its own tables.
pub struct Rehearsal {
    ctx: SessionContext,
    catalog: Arc<Catalog>,
    made: BTreeSet<String>,
    computed: BTreeSet<String>,
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal")
            .field("made", &self.made)
            .field("computed", &self.computed)
            .finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// A session where nothing is made yet.
    pub fn new(catalog: Arc<Catalog>) -> Result<Self> {
        let ctx = SessionContext::new_with_config(session::config(None));
        functions::register(&ctx);
        let tables = MemoryCatalogProvider::new();
        for schema in session::SCHEMAS {
            tables.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        ctx.register_catalog(session::CATALOG, Arc::new(tables));
        for (name, rows) in reference::tables(catalog.definitions()) {
            register(&ctx, &format!("ref.{name}"), &rows.schema(), &[rows])?;
        }
        Ok(Self {
            ctx,
            catalog,
            made: BTreeSet::new(),
            computed: BTreeSet::new(),
        })
    }

    /// Runs the statements of `sql` and gives the answer of the last.
    pub async fn run(&mut self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut statements: VecDeque<Statement> = DFParser::parse_sql(sql)?;
        let mut answer = (Arc::new(Schema::empty()), Vec::new());
        while let Some(statement) = statements.pop_front() {
            answer = self.run_one(statement).await?;
        }
        Ok(answer)
    }

    async fn run_one(&mut self, statement: Statement) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let changed = changed_by(&statement);
        if changed.is_some() {
            self.forget()?;
        }
        for reference in self.ctx.state().resolve_table_references(&statement)? {
            let table = reference.to_string();
            if changed.as_ref() != Some(&table) {
                self.prepare(&table).await?;
            }
        }
        let plan = self.ctx.state().statement_to_plan(statement).await?;
        let is_creation = matches!(plan, LogicalPlan::Ddl(_));
        let rows = self.ctx.execute_logical_plan(plan).await?;
        let schema = Arc::new(rows.schema().as_arrow().clone());
        let batches = rows.collect().await?;
        let Some(table) = changed else {
            return Ok((schema, batches));
        };
        if is_creation && self.ctx.table_exist(table.as_str())? {
            self.complete(&table).await?;
            self.made.insert(table);
        } else if is_creation {
            self.made.remove(&table);
        }
        self.forget()?;
        Ok((schema, batches))
    }

    /// Drops what was computed: it may hang on what changes next.
    fn forget(&mut self) -> Result<()> {
        for table in std::mem::take(&mut self.computed) {
            self.ctx.deregister_table(table.as_str())?;
        }
        Ok(())
    }

    /// Makes a table known that a statement names, if it can be.
    fn prepare<'a>(&'a mut self, table: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.made.contains(table) || self.computed.contains(table) {
                return Ok(());
            }
            let catalog = Arc::clone(&self.catalog);
            if let Some(node) = catalog.node(table) {
                let rows = self.compute(node).await?;
                let schema = Arc::new(rows.schema().as_arrow().clone());
                register(&self.ctx, table, &schema, &rows.collect().await?)?;
            } else if let Some(schema) = session::landed(table) {
                register(&self.ctx, table, &schema, &[])?;
            } else {
                return Ok(());
            }
            self.computed.insert(table.to_owned());
            if let Some(node) = catalog.node(table) {
                self.audit(node).await?;
            }
            Ok(())
        })
    }

    /// The rows of a model over what is made and computed.
    async fn compute(&mut self, node: &Node) -> Result<datafusion::prelude::DataFrame> {
        for read in &node.reads {
            self.prepare(read).await?;
        }
        node.rows(&self.ctx).await.map_err(outside)
    }

    async fn audit(&self, node: &Node) -> Result<()> {
        let results = checks::rows(&self.ctx, node, None).await.map_err(outside)?;
        match results.iter().find(|it| it.stops()) {
            Some(failed) => exec_err!("{failed}"),
            None => Ok(()),
        }
    }

    /// Gives a table made by hand every column of the real one, in its type.
    async fn complete(&mut self, table: &str) -> Result<()> {
        let catalog = Arc::clone(&self.catalog);
        let wanted = match catalog.node(table) {
            Some(Node {
                origin: Origin::Current(entity),
                ..
            }) => models::current_schema(entity),
            Some(node) => {
                let rows = self.compute(node).await?;
                Arc::new(rows.schema().as_arrow().clone())
            }
            None => match session::landed(table) {
                Some(schema) => schema,
                None => return Ok(()),
            },
        };
        let given = self.ctx.table(table).await?.collect().await?;
        let batches = given
            .iter()
            .map(|batch| fill(table, batch, &wanted))
            .collect::<Result<Vec<_>>>()?;
        self.ctx.deregister_table(table)?;
        register(&self.ctx, table, &wanted, &batches)
    }
}

/// The table a statement makes, fills or drops.
fn changed_by(statement: &Statement) -> Option<String> {
    let Statement::Statement(statement) = statement else {
        return None;
    };
    match statement.as_ref() {
        ast::Statement::CreateTable(create) => Some(create.name.to_string()),
        ast::Statement::Insert(insert) => Some(insert.table.to_string()),
        ast::Statement::Drop { names, .. } => names.first().map(ToString::to_string),
        _ => None,
    }
}

fn fill(table: &str, given: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let schema = given.schema();
    if let Some(unknown) = schema
        .fields()
        .iter()
        .find(|it| wanted.field_with_name(it.name()).is_err())
    {
        let known: Vec<&str> = wanted
            .fields()
            .iter()
            .map(|it| it.name().as_str())
            .collect();
        return exec_err!(
            "{table} has no column `{}`; it has {}",
            unknown.name(),
            known.join(", ")
        );
    }
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let columns = wanted
        .fields()
        .iter()
        .map(|field| match given.column_by_name(field.name()) {
            Some(column) => cast_with_options(column, field.data_type(), &options)
                .map_err(|err| exec_datafusion_err!("{table}.{}: {err}", field.name())),
            None => Ok(new_null_array(field.data_type(), given.num_rows())),
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    Ok(RecordBatch::try_new(nullable(wanted), columns)?)
}

/// A table in memory. Whether a column may be null is not what a test is about, so all may.
fn register(
    ctx: &SessionContext,
    table: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<()> {
    let schema = nullable(schema);
    let batches = batches
        .iter()
        .map(|it| {
            Ok(RecordBatch::try_new(
                Arc::clone(&schema),
                it.columns().to_vec(),
            )?)
        })
        .collect::<Result<Vec<_>>>()?;
    let rows: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(schema, vec![batches])?);
    ctx.register_table(table, rows)?;
    Ok(())
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields: Vec<Field> = fields
        .map(|it| it.as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn outside(err: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(err))
}
