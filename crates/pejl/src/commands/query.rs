//! `pejl query`: one SQL statement against the current publication.

use crate::{args::Format, output, settings::Settings, wiring};

pub(crate) async fn run(settings: &Settings, sql: &str, format: Format) -> anyhow::Result<u8> {
    let lake = wiring::open_lake(settings)?;
    let warehouse = wiring::open_warehouse(settings, &lake).await?;
    let session = warehouse.session().await?;
    let answer = session
        .sql_with_options(sql, warehouse::read_only_options())
        .await?;
    let schema = std::sync::Arc::new(answer.schema().as_arrow().clone());
    let mut batches = answer.collect().await?;
    if batches.is_empty() {
        batches.push(arrow::array::RecordBatch::new_empty(schema));
    }
    output::line(&output::batches(format, &batches)?)?;
    Ok(0)
}
