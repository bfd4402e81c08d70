//! `pejl query`: one SQL statement against the current publication, or against what an audience sees.

use arrow::array::RecordBatch;
use telemetry::SPANS;
use tracing::{Instrument, Span, field::Empty};
use warehouse::Warehouse;

use crate::{args::Format, output, settings::Settings, wiring};

pub(crate) async fn run(
    settings: &Settings,
    sql: &str,
    audience: Option<&str>,
    format: Format,
) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let span = tracing::info_span!(target: SPANS, "statement", publication = Empty, rows = Empty);
    let batches = answer(&warehouse, sql, audience).instrument(span).await?;
    output::line(&output::batches(format, &batches)?)?;
    Ok(0)
}

async fn answer(
    warehouse: &Warehouse,
    sql: &str,
    audience: Option<&str>,
) -> anyhow::Result<Vec<RecordBatch>> {
    let session = match audience {
        Some(audience) => warehouse.session_of(audience)?,
        None => warehouse.session().await?,
    };
    let answer = session
        .sql_with_options(sql, warehouse::read_only_options())
        .await?;
    let schema = std::sync::Arc::new(answer.schema().as_arrow().clone());
    let mut batches = answer.collect().await?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    Span::current().record("rows", rows);
    Ok(batches)
}
