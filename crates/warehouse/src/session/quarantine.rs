//! `ops.quarantine`: every row that was set aside, and what was done about it.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{TableProvider, empty::EmptyTable},
    common::TableReference,
    error::Result,
    prelude::SessionContext,
};
use lake::Lake;

use super::tables::{landed_column, outside};

/// A mark is sent by whoever holds the source's one producer for it, after reading all marks: a row has one at most. Should it have
/// more, the first counts.
const ROWS: &str = "
    with marks as (
        select quarantine_id, action, marked_by, note, trace_id, marked_at,
            row_number() over (partition by quarantine_id order by marked_at, _partition, _offset) as nth
        from quarantine_mark
    ), aside as (
        select concat(regexp_replace(_topic, '^pejl[.]', ''), '-', _partition, '-', _offset) as quarantine_id, *
        from quarantine
    )
    select a.quarantine_id, coalesce(m.action, 'open') as state, a.entity, a.municipality_code, a.source, a.origin,
        a.field, a.rule, a.value, a.reason, a.violations, a.raw, a.stage, a.trace_id, a.quarantined_at,
        m.marked_at, m.marked_by, m.note, m.trace_id as retry_trace_id, a._topic, a._partition, a._offset
    from aside a left join marks m on m.quarantine_id = a.quarantine_id and m.nth = 1";

/// The view over what has landed by now.
pub(super) async fn view(lake: &Lake) -> Result<Arc<dyn TableProvider>> {
    let ctx = SessionContext::new();
    for (name, schema) in [
        ("quarantine", contract::quarantine_raw_schema()),
        ("quarantine_mark", contract::mark_raw_schema()),
    ] {
        let table = landed(lake, name, schema).await?;
        ctx.register_table(TableReference::bare(name), table)?;
    }
    Ok(ctx.sql(ROWS).await?.into_view())
}

async fn landed(lake: &Lake, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let found = lake.provider(&format!("raw.{name}"), None).await;
    let found = found.map_err(|err| outside(err.into()))?;
    let Some(table) = found else {
        return Ok(Arc::new(EmptyTable::new(schema)));
    };
    let rows = SessionContext::new().read_table(table)?;
    let columns = schema.fields().iter();
    let columns = columns.map(|field| landed_column(rows.schema(), field));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(rows.select(columns)?.into_view())
}
