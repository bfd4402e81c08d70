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

use super::tables::outside;

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
    // A table of before a column was thought of gets it with the next row that lands.
    if table.schema().fields().len() < schema.fields().len() {
        return with_columns(table, &schema);
    }
    Ok(table)
}

/// The table with the columns of `schema` that it lacks, as nulls.
fn with_columns(
    table: Arc<dyn TableProvider>,
    schema: &SchemaRef,
) -> Result<Arc<dyn TableProvider>> {
    use datafusion::{
        prelude::{ident, lit},
        scalar::ScalarValue,
    };
    let has = table.schema();
    let columns = schema.fields().iter().map(|field| {
        Ok(match has.field_with_name(field.name()) {
            Ok(_) => ident(field.name()),
            Err(_) => lit(ScalarValue::try_from(field.data_type())?).alias(field.name()),
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let rows = SessionContext::new().read_table(table)?.select(columns)?;
    Ok(rows.into_view())
}
