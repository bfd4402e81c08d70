//! Sessions: one catalog, six schemas, functions registered, nothing to change.

mod lineage;
mod ops;
mod quarantine;
mod reader;
mod tables;

use std::sync::Arc;

use datafusion::{
    catalog::{
        CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
    },
    error::Result,
    execution::{
        SessionStateBuilder,
        context::{QueryPlanner, SQLOptions},
        runtime_env::RuntimeEnv,
    },
    prelude::{SessionConfig, SessionContext},
};
use lake::Lake;
use spec::Definition;

use crate::{functions, reference};

pub(crate) use lineage::Traced;
pub(crate) use ops::{Ops, json, moments, numbers, rows, texts};
pub use reader::Hold;
pub(crate) use reader::{Current, EndOfPlanning, Pin};
pub(crate) use tables::{
    At, Tables, Versions, landed, landed_column, landed_names, outside, provider,
};

/// The catalog of every session.
pub const CATALOG: &str = "pejl";

/// Its schemas.
pub const SCHEMAS: [&str; 6] = ["raw", "core", "mart", "release", "ref", "ops"];

/// What a reader may run: queries, and nothing that makes, fills, drops or sets.
pub fn read_only_options() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

/// The configuration of every session; `threads` is how many parts a query runs in.
pub(crate) fn config(threads: Option<usize>) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, "mart")
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    // The planner then tells the line of what it complains about.
    config.options_mut().sql_parser.collect_spans = true;
    match threads {
        Some(threads) => config.with_target_partitions(threads.max(1)),
        None => config,
    }
}

/// A session over the given schemas, with every function.
pub(crate) fn open(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    schemas: Vec<(&str, Arc<dyn SchemaProvider>)>,
) -> Result<SessionContext> {
    over(SessionContext::new_with_config_rt(config, runtime), schemas)
}

/// The same, with its queries run where `planner` has them run.
pub(crate) fn open_elsewhere(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    planner: Arc<dyn QueryPlanner + Send + Sync>,
    schemas: Vec<(&str, Arc<dyn SchemaProvider>)>,
) -> Result<SessionContext> {
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_query_planner(planner)
        .build();
    over(SessionContext::new_with_state(state), schemas)
}

/// What another process needs to run parts of a build: every function, and the lake's store. It has no tables.
pub fn hand(lake: &Lake) -> SessionContext {
    let ctx = SessionContext::new_with_config(config(None));
    functions::register(&ctx);
    lake.make_known_to(&ctx.runtime_env());
    ctx
}

/// The same session, holding little in memory: joins sort both sides, and sort on disk what is too much, where they would hold one of
/// them. That is slower.
pub(crate) fn sparing(ctx: &SessionContext) -> SessionContext {
    let config = ctx.copied_config();
    // In one part alone joins are never planned that way.
    let parts = config.target_partitions().max(2);
    // A sort that went to disk is put together from a batch of each of its runs.
    let mut config = config
        .with_target_partitions(parts)
        .with_batch_size(256)
        .with_sort_spill_reservation_bytes(1 << 20);
    config.options_mut().optimizer.prefer_hash_join = false;
    let state = SessionStateBuilder::new_from_existing(ctx.state()).with_config(config);
    SessionContext::new_with_state(state.build())
}

fn over(
    ctx: SessionContext,
    schemas: Vec<(&str, Arc<dyn SchemaProvider>)>,
) -> Result<SessionContext> {
    functions::register(&ctx);
    let catalog = MemoryCatalogProvider::new();
    for (name, schema) in schemas {
        catalog.register_schema(name, schema)?;
    }
    ctx.register_catalog(CATALOG, Arc::new(catalog));
    Ok(ctx)
}

/// A session whose tables are yet to be registered; only `ref` has its own.
pub(crate) fn blank(definitions: &[Definition]) -> Result<SessionContext> {
    let mut schemas: Vec<(&str, Arc<dyn SchemaProvider>)> = Vec::new();
    for name in SCHEMAS {
        let schema: Arc<dyn SchemaProvider> = match name {
            "ref" => reference_schema(definitions)?,
            _ => Arc::new(MemorySchemaProvider::new()),
        };
        schemas.push((name, schema));
    }
    open(config(None), Arc::default(), schemas)
}

/// The schema `ref`.
pub(crate) fn reference_schema(definitions: &[Definition]) -> Result<Arc<dyn SchemaProvider>> {
    let schema = MemorySchemaProvider::new();
    for (name, rows) in reference::tables(definitions) {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        schema.register_table(name, Arc::new(table))?;
    }
    Ok(Arc::new(schema))
}
