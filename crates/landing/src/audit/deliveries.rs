//! Delivered files against their rows: what the sender's file held, is in the tables.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Int64Type},
};
use datafusion::{error::DataFusionError, prelude::SessionContext};
use lake::{Changes, History, Lake};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::{Error, Result, refused::QUARANTINE_TABLE};

/// A delivered file whose rows are not as many as its delivery says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAudit {
    /// The delivery.
    pub delivery_id: String,
    /// The file.
    pub file_name: String,
    /// The entity its rows became.
    pub entity: String,
    /// Rows that went on the entity's topic.
    pub accepted: i64,
    /// Rows of it in the entity's table, and those that landing refused.
    pub landed: i64,
    /// Rows that were set aside when it was read.
    pub quarantined: i64,
    /// Rows of it among the refused, from when it was read.
    pub set_aside: i64,
}

const DELIVERIES: &str = "raw.delivery";

/// What names the file in `page.csv:17`, and how its rows are counted. A row that landing refused has the same place as one that landed;
/// a column that the file lacks is told as one more refusal and is no row.
fn counts(entity: &str, table: bool) -> String {
    let landed = if table {
        format!(
            "select _source, _trace_id, regexp_replace(_source_position, ':[0-9]+$', '') as file from \"raw.{entity}\" where not _deleted
             union all "
        )
    } else {
        String::new()
    };
    format!(
        "with rows as (
             {landed}
             select _source, _trace_id, regexp_replace(_source_position, ':[0-9]+$', '') from \"{QUARANTINE_TABLE}\"
             where stage = 'landing' and entity = '{entity}'
         ), landed as (
             select _source, _trace_id, file, count(*) as n from rows group by _source, _trace_id, file
         ), aside as (
             select _source, _trace_id, regexp_replace(_source_position, ':[0-9]+$', '') as file, count(*) as n
             from \"{QUARANTINE_TABLE}\" where stage = 'ingest' and entity = '{entity}' and rule <> 'missing_column'
             group by _source, _trace_id, regexp_replace(_source_position, ':[0-9]+$', '')
         )
         select d.delivery_id, d.file_name, cast(d.rows_accepted as bigint) as accepted, coalesce(l.n, 0) as landed,
             cast(d.rows_quarantined as bigint) as quarantined, coalesce(a.n, 0) as set_aside
         from \"{DELIVERIES}\" d
         left join landed l on l._source = d._source and l._trace_id = d._trace_id and l.file = d.file_name
         left join aside a on a._source = d._source and a._trace_id = d._trace_id and a.file = d.file_name
         where d.entity = '{entity}' and not d._deleted"
    )
}

/// Counts the rows of every delivery at `moment`, or only of those that came after the versions in `counted`, with what came
/// after them: a delivery and its rows are one transaction. Those that differ, and how many were counted.
pub(super) async fn count(
    lake: &Lake,
    moment: &Moment,
    counted: Option<&BTreeMap<String, i64>>,
) -> Result<(Vec<DeliveryAudit>, u64)> {
    if let Some(counted) = counted {
        let mut came = BTreeMap::new();
        for (table, since) in counted {
            let Some(standing) = moment.tables.get(table) else {
                return count_in(lake, moment, None).await;
            };
            match lake.changes(table, *since, standing.version).await? {
                History::Known(changes) => came.insert(table.as_str(), changes),
                History::Unknown(_) => return count_in(lake, moment, None).await,
            };
        }
        return count_in(lake, moment, Some(&came)).await;
    }
    count_in(lake, moment, None).await
}

async fn count_in(
    lake: &Lake,
    moment: &Moment,
    came: Option<&BTreeMap<&str, Changes>>,
) -> Result<(Vec<DeliveryAudit>, u64)> {
    let failed = |err: DataFusionError| Error::query(DELIVERIES, err);
    let context = SessionContext::new();
    for table in [DELIVERIES, QUARANTINE_TABLE] {
        if !register(lake, moment, came, table, &context).await? {
            return Ok((Vec::new(), 0));
        }
    }
    let entities = context
        .sql("select distinct cast(entity as varchar) from \"raw.delivery\" where not _deleted");
    let entities = entities
        .await
        .map_err(failed)?
        .collect()
        .await
        .map_err(failed)?;
    let mut names = BTreeSet::new();
    for batch in &entities {
        names.extend(texts(batch.column(0)).map_err(failed)?);
    }
    let (mut differing, mut counted) = (Vec::new(), 0);
    for entity in names.iter().filter(|it| contract::entity(it).is_some()) {
        let table = format!("raw.{entity}");
        let is_there =
            table == DELIVERIES || register(lake, moment, came, &table, &context).await?;
        let answer = context
            .sql(&counts(entity, is_there))
            .await
            .map_err(failed)?;
        for batch in answer.collect().await.map_err(failed)? {
            counted += batch.num_rows() as u64;
            let audits = read(entity, &batch).map_err(failed)?;
            differing.extend(
                audits
                    .into_iter()
                    .filter(|it| it.accepted != it.landed || it.quarantined != it.set_aside),
            );
        }
    }
    Ok((differing, counted))
}

/// Makes a table known to `context` by its name: its rows at `moment`, or those that came to it; whether there is such a table.
async fn register(
    lake: &Lake,
    moment: &Moment,
    came: Option<&BTreeMap<&str, Changes>>,
    table: &str,
    context: &SessionContext,
) -> Result<bool> {
    let Some(standing) = moment.tables.get(table) else {
        return Ok(false);
    };
    let Some(mut rows) = lake.provider(table, Some(standing.version)).await? else {
        return Ok(false);
    };
    if let Some(changes) = came.and_then(|came| came.get(table)) {
        // Each new row once, wherever it was put later.
        let files = [changes.added.as_slice(), &changes.merged].concat();
        rows = lake.rows_of(table, &files, rows.schema());
    }
    let name = datafusion::common::TableReference::bare(table);
    let registered = context.register_table(name, rows);
    registered.map_err(|err| Error::query(table, err))?;
    Ok(true)
}

/// The rows of an answer to [`counts`].
fn read(entity: &str, batch: &RecordBatch) -> Result<Vec<DeliveryAudit>, DataFusionError> {
    let ids = texts(batch.column(0))?;
    let files = texts(batch.column(1))?;
    let whole = |at: usize, row: usize| {
        let column = batch.column(at).as_primitive_opt::<Int64Type>();
        column
            .filter(|it| it.is_valid(row))
            .map_or(0, |it| it.value(row))
    };
    let audit = |(row, (delivery_id, file_name))| DeliveryAudit {
        delivery_id,
        file_name,
        entity: entity.to_owned(),
        accepted: whole(2, row),
        landed: whole(3, row),
        quarantined: whole(4, row),
        set_aside: whole(5, row),
    };
    let named = ids.into_iter().zip(files).enumerate();
    Ok(named.map(audit).collect())
}

/// A column of texts, in whatever way Arrow keeps them; null is empty.
fn texts(column: &ArrayRef) -> Result<Vec<String>, DataFusionError> {
    let plain = arrow::compute::cast(column, &DataType::Utf8)?;
    let plain = plain.as_string_opt::<i32>();
    let texts = plain.map(|it| {
        it.iter()
            .map(|it| it.unwrap_or_default().to_owned())
            .collect()
    });
    Ok(texts.unwrap_or_default())
}
