//! Why a number is no longer what a release says: what changed between the two publications that it rests on.
//!
//! Told is what can be proven: which definitions, models, code lists and horizons are others, and which landed records came that have
//! to do with the cell. No count of them: one record is one citizen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
    util::display::array_value_to_string,
};
use chrono::DateTime;
use contract::{DELETED, Entity, OFFSET, PARTITION, TIMESTAMP, TOPIC};
use datafusion::{
    catalog::{TableProvider, empty::EmptyTable},
    prelude::SessionContext,
};
use lake::Lake;

use super::{Frozen, Release, cells::Key, create::reach};
use crate::{Error, Result, publication::Publication};

/// A landed table as it was at the release, in SQL.
const WAS: &str = "landed_then";

/// The same as it is.
const IS: &str = "landed_now";

/// What changed behind one table.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// Models with another text, or read by others than before.
    models: Vec<String>,
    /// Code lists with other rows.
    lists: Vec<String>,
    /// Landed tables with other rows.
    data: Vec<News>,
}

/// What came into one landed table.
#[derive(Debug)]
struct News {
    entity: String,
    /// How far it reaches now, `pejl.offer/0@17`, and the time of its newest record.
    through: String,
    /// Columns that it shares with the table, by which records are told to belong to a cell.
    columns: Vec<String>,
    /// What those hold in rows that are the total of others, and so have to do with all records.
    totals: BTreeMap<String, Option<String>>,
    /// What was done to records with these values: added, corrected, deleted.
    done: BTreeMap<Key, BTreeSet<&'static str>>,
}

/// The definitions and the horizon of a row.
type Basis = (Option<String>, Option<String>);

impl Causes {
    /// What changed behind `table` between a release and a publication.
    pub(super) async fn between(
        lake: &Lake,
        release: &Release,
        next: &Publication,
        table: &str,
    ) -> Result<Self> {
        let table = table.to_owned();
        let mut behind = reach(&next.reads, [&table]);
        behind.extend(reach(&release.reads, [&table]));
        let mut causes = Self::default();
        let mut lists = BTreeSet::new();
        let Some(frozen) = release.frozen.get(&table) else {
            return Ok(causes);
        };
        for name in &behind {
            if let Some(name) = name.strip_prefix("raw.") {
                if let Some(news) = news(lake, release, next, name, frozen).await? {
                    causes.data.push(news);
                }
                continue;
            }
            if release.models.get(name) != next.models.get(name) {
                causes.models.push(name.clone());
            }
            let read = |all: &BTreeMap<String, BTreeMap<String, String>>| {
                let read = all.get(name).cloned().unwrap_or_default();
                let lists = read.into_iter().filter(|it| it.0.starts_with("ref."));
                lists.collect::<BTreeSet<_>>()
            };
            let (then, now) = (read(&release.reads), read(&next.reads));
            lists.extend(then.symmetric_difference(&now).map(|it| it.0.clone()));
        }
        causes.lists = lists.into_iter().collect();
        Ok(causes)
    }

    /// Why a cell differs; `then` and `now` are what its row rests on.
    pub(super) fn of(&self, grain: &[String], key: &Key, then: &Basis, now: &Basis) -> String {
        let mut told = Vec::new();
        if let (Some(then), Some(now)) = (&then.0, &now.0) {
            told.extend(definitions(then, now));
        }
        if !self.models.is_empty() {
            told.push(format!("model changed: {}", self.models.join(", ")));
        }
        if !self.lists.is_empty() {
            told.push(format!("code list changed: {}", self.lists.join(", ")));
        }
        if let (Some(then), Some(now)) = (&then.1, &now.1)
            && then != now
        {
            told.push(format!("horizon moved: {then} to {now}"));
        }
        let near: Vec<String> = self
            .data
            .iter()
            .filter_map(|it| it.told(Some((grain, key))))
            .collect();
        if !near.is_empty() {
            told.push(format!("data: {}", near.join(", ")));
        } else if told.is_empty() {
            // Nothing of the cell's own: it rests on others too, such as those it is compared with.
            let far: Vec<String> = self.data.iter().filter_map(|it| it.told(None)).collect();
            told.push(match far.as_slice() {
                [] => "not known".to_owned(),
                far => format!("data of other rows: {}", far.join(", ")),
            });
        }
        told.join("; ")
    }
}

impl News {
    /// `participation corrected (through pejl.participation/0@17, 2011-02-01 08:00 UTC)`, where something came that has to do with the
    /// cell, or with any.
    fn told(&self, cell: Option<(&[String], &Key)>) -> Option<String> {
        let belongs = |values: &Key| {
            let Some((grain, key)) = cell else {
                return true;
            };
            self.columns.iter().zip(values).all(|(column, value)| {
                let at = grain.iter().position(|it| it == column);
                let wanted = at.and_then(|at| key.get(at)?.as_deref());
                let is_total = self
                    .totals
                    .get(column)
                    .is_some_and(|it| it.as_deref() == wanted);
                let is_national = column == "municipality_code" && value.as_deref() == Some("0");
                // What has no offer or municipality of its own can belong to any.
                value.is_none() || value.as_deref() == wanted || is_total || is_national
            })
        };
        let done: BTreeSet<&str> = self
            .done
            .iter()
            .filter(|(values, _)| belongs(values))
            .flat_map(|it| it.1.iter().copied())
            .collect();
        let done: Vec<&str> = done.into_iter().collect();
        (!done.is_empty()).then(|| {
            format!(
                "{} {} (through {})",
                self.entity,
                done.join(" and "),
                self.through
            )
        })
    }
}

/// The definitions that one text names and the other does not: `effect_3m@1 became effect_3m@2`.
fn definitions(then: &str, now: &str) -> Option<String> {
    let set = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|it| it.trim().to_owned()).collect()
    };
    let (then, now) = (set(then), set(now));
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
        let only: Vec<&str> = a.difference(b).map(String::as_str).collect();
        if only.is_empty() {
            "none".to_owned()
        } else {
            only.join(", ")
        }
    };
    (then != now).then(|| {
        format!(
            "definition changed: {} to {}",
            only(&then, &now),
            only(&now, &then)
        )
    })
}

/// What came into `raw.<name>` since a release.
async fn news(
    lake: &Lake,
    release: &Release,
    next: &Publication,
    name: &str,
    frozen: &Frozen,
) -> Result<Option<News>> {
    let table = format!("raw.{name}");
    let (then, now) = (release.inputs.get(&table), next.inputs.get(&table));
    let (Some(entity), Some(now)) = (contract::entity(name), now) else {
        return Ok(None);
    };
    if then == Some(now) {
        return Ok(None);
    }
    let ctx = SessionContext::new();
    let failed = |err| Error::query(format!("looking for what came into {table}"), err);
    let mut columns = frozen.grain.clone();
    columns.retain(|it| entity.field(it).is_some());
    for (name, version) in [(WAS, then), (IS, Some(now))] {
        let found = match version {
            Some(version) => lake.provider(&table, Some(*version)).await?,
            None => None,
        };
        let nothing = || Arc::new(EmptyTable::new(contract::raw_schema(entity))) as _;
        let found: Arc<dyn TableProvider> = found.unwrap_or_else(nothing);
        if name == IS {
            // Landed before the entity had the column.
            columns.retain(|it| found.schema().field_with_name(it).is_ok());
        }
        ctx.register_table(name, found).map_err(failed)?;
    }
    let mut done: BTreeMap<Key, BTreeSet<&'static str>> = BTreeMap::new();
    let changed = ask(&ctx, &changed(entity, &columns)).await;
    for batch in changed.map_err(failed)? {
        for row in 0..batch.num_rows() {
            let values = (1..batch.num_columns()).map(|at| text(&batch, at, row));
            let what = match text(&batch, 0, row).as_deref() {
                Some("deleted") => "deleted",
                Some("corrected") => "corrected",
                _ => "added",
            };
            done.entry(values.collect()).or_default().insert(what);
        }
    }
    if done.is_empty() {
        return Ok(None);
    }
    let through = format!(
        "select {TOPIC}, {PARTITION}, max({OFFSET}), max({TIMESTAMP}) from {IS} group by 1, 2 order by 1, 2"
    );
    let through = ask(&ctx, &through).await.map_err(failed)?;
    Ok(Some(News {
        entity: name.to_owned(),
        through: through_of(&through),
        columns,
        totals: frozen.totals.clone(),
        done,
    }))
}

async fn ask(ctx: &SessionContext, sql: &str) -> datafusion::error::Result<Vec<RecordBatch>> {
    ctx.sql(sql).await?.collect().await
}

/// What was done, and to records with which values: those of the changed record itself and of its earlier versions, since a record can
/// move from one offer to another. A deletion holds no values of its own.
fn changed(entity: &Entity, columns: &[String]) -> String {
    let keys = |of: &str| {
        let keys: Vec<String> = entity.key.iter().map(|it| format!("{of}{it}")).collect();
        keys.join(", ")
    };
    let same = |a: &str, b: &str| {
        let same: Vec<String> = entity
            .key
            .iter()
            .map(|it| format!("{a}.{it} = {b}.{it}"))
            .collect();
        same.join(" and ")
    };
    let values: String = columns
        .iter()
        .map(|it| format!(", cast(v.{it} as varchar) as {it}"))
        .collect();
    format!(
        "with news as (
            select n.* from {IS} n left anti join {WAS} w
            on n.{TOPIC} = w.{TOPIC} and n.{PARTITION} = w.{PARTITION} and n.{OFFSET} = w.{OFFSET}
        ), records as (
            select {keys}, bool_or({DELETED}) as gone from news group by {keys}
        ), known as (
            select distinct {keys} from {WAS}
        ), done as (
            select {r}, case when r.gone then 'deleted' when k.{first} is null then 'added' else 'corrected' end as what
            from records r left join known k on {r_k}
        )
        select distinct d.what{values} from {IS} v join done d on {v_d} where not v.{DELETED}",
        keys = keys(""),
        r = keys("r."),
        r_k = same("r", "k"),
        v_d = same("v", "d"),
        first = entity.key.first().map_or("", String::as_str),
    )
}

fn through_of(batches: &[RecordBatch]) -> String {
    let (mut places, mut newest) = (Vec::new(), None);
    for batch in batches {
        for row in 0..batch.num_rows() {
            let part = |at| text(batch, at, row).unwrap_or_default();
            places.push(format!("{}/{}@{}", part(0), part(1), part(2)));
            let moments = batch
                .column(3)
                .as_primitive_opt::<TimestampMicrosecondType>();
            newest = newest.max(
                moments
                    .filter(|it| it.is_valid(row))
                    .map(|it| it.value(row)),
            );
        }
    }
    let newest = newest.and_then(DateTime::from_timestamp_micros);
    let newest = newest.map(|it| it.format(", %Y-%m-%d %H:%M UTC").to_string());
    format!("{}{}", places.join(" "), newest.unwrap_or_default())
}

fn text(batch: &RecordBatch, at: usize, row: usize) -> Option<String> {
    let column = batch.column(at);
    let is_valid = column.is_valid(row);
    is_valid.then(|| array_value_to_string(column, row).unwrap_or_default())
}
