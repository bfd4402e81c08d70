//! `core.<entity>`: the latest version of each thing, deleted ones left out; whole, or what has landed since worked in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use contract::{DELETED, Entity, OFFSET, PARTITION, TOPIC};
use datafusion::{
    catalog::{MemTable, TableProvider},
    common::JoinType,
    error::Result,
    functions::expr_fn::{coalesce, nullif, split_part},
    functions_aggregate::expr_fn::count,
    functions_window::expr_fn::row_number,
    logical_expr::{Expr, ExprFunctionExt, SortExpr, cast},
    prelude::{DataFrame, SessionContext, ident, lit},
    scalar::ScalarValue,
};
use lake::Part;

use crate::{
    build::{FEW_THINGS, MUNICIPALITY, most_ids, one_of, parts_in, within},
    session::landed_column,
};

/// Part of the fingerprint of every current-state table.
pub(super) const VERSION: &str = "3";

const RANK: &str = "_rank";

/// Where a version of a thing with these values stands in the log, behind the entity's own columns. What is only said again need not
/// move it.
const PLACE: [(&str, DataType, &str); 3] = [
    (
        TOPIC,
        DataType::Utf8,
        "Topic that a version with these values came on.",
    ),
    (PARTITION, DataType::Int32, "Its partition of the topic."),
    (OFFSET, DataType::Int64, "Its offset in the partition."),
];

/// The columns of `core.<entity>`: the entity's own in its types, and the place of the version in the log.
pub(crate) fn schema(entity: &Entity) -> SchemaRef {
    let own = entity.arrow_schema();
    let place = PLACE.map(|(name, kind, _)| Arc::new(Field::new(name, kind, true)));
    Arc::new(Schema::new(
        own.fields()
            .iter()
            .cloned()
            .chain(place)
            .collect::<Vec<_>>(),
    ))
}

/// The columns with what they hold.
pub(super) fn columns(entity: &Entity) -> Vec<(&str, &str)> {
    let own = entity.fields.iter();
    own.map(|it| (it.name.as_str(), it.doc.as_str()))
        .chain(PLACE.map(|(name, _, doc)| (name, doc)))
        .collect()
}

/// All rows of `core.<entity>` from `raw.<entity>`.
pub(super) async fn rows(ctx: &SessionContext, entity: &Entity) -> Result<DataFrame> {
    let landed = ctx.table(entity.raw_table().as_str()).await?;
    let columns = given(&landed, entity)?;
    latest(landed, entity)?
        .filter(ident(DELETED).is_not_true())?
        .select(columns)
}

/// The same, for a table that is computed at once. Most things have landed once, which an aggregate over their keys tells: only the
/// others are sorted by where they stand in the log.
pub(crate) async fn rows_at_once(ctx: &SessionContext, entity: &Entity) -> Result<DataFrame> {
    let landed = ctx.table(entity.raw_table().as_str()).await?;
    let columns = given(&landed, entity)?;
    let keys: Vec<Expr> = entity.key.iter().map(ident).collect();
    let again = landed
        .clone()
        .aggregate(keys.clone(), vec![count(lit(1)).alias(TIMES)])?
        .filter(ident(TIMES).gt(lit(1)))?
        .select(keys)?
        .limit(0, Some(MANY + 1))?
        .collect()
        .await?;
    if again.iter().map(RecordBatch::num_rows).sum::<usize>() > MANY {
        return rows(ctx, entity).await;
    }
    let rows = match in_memory(ctx, again)? {
        None => landed,
        Some(again) => {
            let (keys, renamed) = keys_of(entity, "_again");
            let again = again.select(called(&keys, &renamed))?;
            let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
            // The few keys are what is held in memory.
            let of = |kind| {
                again
                    .clone()
                    .join(landed.clone(), kind, &renamed, &keys, None)
            };
            let latest = latest(of(JoinType::RightSemi)?, entity)?.select(columns_of(&landed))?;
            of(JoinType::RightAnti)?.union(latest)?
        }
    };
    rows.filter(ident(DELETED).is_not_true())?.select(columns)
}

/// How many versions of a thing have landed.
const TIMES: &str = "_times";

/// The keys of more things than this are not held in memory.
const MANY: usize = 1 << 18;

/// What is new in a table since it was published.
pub(crate) struct News {
    /// The parts of the table it changes.
    pub(crate) parts: BTreeSet<Part>,
    /// Their rows from now on.
    pub(crate) rows: DataFrame,
    /// What is true of those that are new, where they are of few things.
    pub(crate) only: Option<Expr>,
}

/// Works `landed`, rows of `raw.<entity>` that were not there when `built` was, into `built`. The session knows the landed table
/// with all its rows. `is_sent`: other processes have to understand the queries. `None` when it makes no difference.
pub(crate) async fn news(
    ctx: &SessionContext,
    entity: &Entity,
    built: Arc<dyn TableProvider>,
    landed: Arc<dyn TableProvider>,
    is_sent: bool,
) -> Result<Option<News>> {
    let landed = ctx.read_table(landed)?;
    let columns = given(&landed, entity)?;
    let winners = latest(landed, entity)?.select(
        columns
            .into_iter()
            .chain([ident(DELETED), incarnation().alias(INCARNATION)]),
    )?;
    let winners = winners.collect().await?;
    let ids = ids(entity, &winners, most_ids(is_sent))?;
    let mut there = ctx.read_table(Arc::clone(&built))?;
    if let Some((key, ids)) = ids {
        there = there.filter(one_of(key, ids, is_sent))?;
    }
    let winners = beats(ctx, entity, winners, there).await?;
    let winners = outlives(ctx, entity, winners).await?;
    let rows: usize = winners.iter().map(RecordBatch::num_rows).sum();
    let few = match rows {
        ..=FEW_THINGS => self::ids(entity, &winners, FEW_THINGS)?,
        _ => None,
    };
    let only = few.map(|(key, ids)| ident(key).in_list(ids.into_values().collect(), false));
    let Some(winners) = in_memory(ctx, winners)? else {
        return Ok(None);
    };
    let there = winners.clone().filter(ident(DELETED).is_not_true())?;
    let come = there.clone().select(vec![ident(MUNICIPALITY)])?;
    let mut parts = parts_in(&come.collect().await?, MUNICIPALITY, true)?;
    let left = winners
        .clone()
        .filter(ident(LEFT_ROW))?
        .select(vec![ident(LEFT)])?;
    parts.extend(parts_in(&left.collect().await?, LEFT, true)?);
    let columns: Vec<Expr> = schema(entity)
        .fields()
        .iter()
        .map(|it| ident(it.name()))
        .collect();
    let (keys, renamed) = keys_of(entity, "_changed");
    let changed = winners.select(called(&keys, &renamed))?;
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let built = ctx.read_table(built)?.filter(within(&parts)?)?;
    let stays = built.join(changed, JoinType::LeftAnti, &keys, &renamed, None)?;
    let rows = stays
        .select(columns.clone())?
        .union(there.select(columns)?)?;
    Ok(Some(News { parts, rows, only }))
}

/// The first column of the keys of some things, and the ids in it; `None` of no things, or more than `most`.
fn ids<'a>(
    entity: &'a Entity,
    things: &[RecordBatch],
    most: usize,
) -> Result<Option<(&'a str, BTreeMap<String, Expr>)>> {
    let Some(key) = entity.key.first() else {
        return Ok(None);
    };
    let mut ids = BTreeMap::new();
    for batch in things {
        let Some(column) = batch.column_by_name(key) else {
            return Ok(None);
        };
        for at in 0..batch.num_rows() {
            let id = ScalarValue::try_from_array(column, at)?;
            ids.insert(id.to_string(), lit(id));
            if ids.len() > most {
                return Ok(None);
            }
        }
    }
    Ok((!ids.is_empty()).then_some((key.as_str(), ids)))
}

/// The number behind the topic's name, as a column.
const INCARNATION: &str = "_incarnation";

/// The municipality that a thing belonged to before, and whether there was such a row.
const LEFT: &str = "_left";
const LEFT_ROW: &str = "_left_row";

/// Those of `winners` that come after the row the table has of the same thing, with where that one was.
async fn beats(
    ctx: &SessionContext,
    entity: &Entity,
    winners: Vec<RecordBatch>,
    built: DataFrame,
) -> Result<Vec<RecordBatch>> {
    let Some(winners) = in_memory(ctx, winners)? else {
        return Ok(Vec::new());
    };
    let names = columns_of(&winners);
    let (keys, renamed) = keys_of(entity, BEFORE);
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let left = [ident(MUNICIPALITY).alias(LEFT), lit(true).alias(LEFT_ROW)];
    let before = built.select(place_of(entity, BEFORE).into_iter().chain(left))?;
    let is_first = ident(LEFT_ROW).is_null();
    let had_row = coalesce(vec![ident(LEFT_ROW), lit(false)]).alias(LEFT_ROW);
    winners
        .join(before, JoinType::Left, &keys, &renamed, None)?
        .filter(is_first.or(is_after("", BEFORE)))?
        .select(names.into_iter().chain([ident(LEFT), had_row]))?
        .collect()
        .await
}

/// Those of `winners` that no deletion comes after. A thing that was deleted has no row to be compared with; its deletion has
/// landed, though, and may stand in a partition that the thing's key has moved to, ahead of what only lands now.
async fn outlives(
    ctx: &SessionContext,
    entity: &Entity,
    winners: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>> {
    let Some(winners) = in_memory(ctx, winners)? else {
        return Ok(Vec::new());
    };
    let landed = ctx.table(entity.raw_table().as_str()).await?;
    let graves = landed
        .filter(ident(DELETED))?
        .select(place_of(entity, GRAVE))?;
    let (keys, renamed) = keys_of(entity, GRAVE);
    let same = keys.iter().zip(&renamed);
    let same = same.map(|(key, name)| ident(*key).eq(ident(name)));
    winners
        .join_on(
            graves,
            JoinType::LeftAnti,
            same.chain([is_after(GRAVE, "")]),
        )?
        .collect()
        .await
}

/// What the columns of another row of the same thing are called.
const BEFORE: &str = "_before";
const GRAVE: &str = "_grave";

/// The key columns, and what they are called in a row called `row`.
fn keys_of<'a>(entity: &'a Entity, row: &str) -> (Vec<&'a str>, Vec<String>) {
    let keys: Vec<&str> = entity.key.iter().map(String::as_str).collect();
    let renamed = keys.iter().map(|key| format!("{row}_{key}")).collect();
    (keys, renamed)
}

/// All columns of some rows, by name.
fn columns_of(rows: &DataFrame) -> Vec<Expr> {
    let fields = rows.schema().fields().iter();
    fields.map(|it| ident(it.name())).collect()
}

/// Key columns under other names.
fn called(keys: &[&str], names: &[String]) -> Vec<Expr> {
    let both = keys.iter().zip(names);
    both.map(|(key, name)| ident(*key).alias(name)).collect()
}

/// Key and place of a row called `row`.
fn place_of(entity: &Entity, row: &str) -> Vec<Expr> {
    let (keys, renamed) = keys_of(entity, row);
    let place = [
        (incarnation(), INCARNATION),
        (ident(PARTITION), PARTITION),
        (ident(OFFSET), OFFSET),
    ];
    called(&keys, &renamed)
        .into_iter()
        .chain(place.map(|(column, name)| column.alias(format!("{row}{name}"))))
        .collect()
}

/// Whether one row comes after another in the order of the log, each by what it is called.
fn is_after(one: &str, other: &str) -> Expr {
    let compare = |name: &str| {
        (
            ident(format!("{one}{name}")),
            ident(format!("{other}{name}")),
        )
    };
    let (incarnation, of_other) = compare(INCARNATION);
    let (partition, in_other) = compare(PARTITION);
    let (offset, at_other) = compare(OFFSET);
    let is_later = partition
        .clone()
        .gt(in_other.clone())
        .or(partition.eq(in_other).and(offset.gt(at_other)));
    incarnation
        .clone()
        .gt(of_other.clone())
        .or(incarnation.eq(of_other).and(is_later))
}

/// The last landed version of each thing.
///
/// All versions of one thing share a key and so a partition; where the topic was given more partitions,
/// a key moves to a higher one; and where it was deleted and made again, offsets start over under the next number.
/// The last by that number, then by partition, then by offset, is therefore the latest.
fn latest(landed: DataFrame, entity: &Entity) -> Result<DataFrame> {
    let order: Vec<SortExpr> = vec![
        incarnation().sort(false, false),
        ident(PARTITION).sort(false, false),
        ident(OFFSET).sort(false, false),
    ];
    let rank = row_number()
        .partition_by(entity.key.iter().map(ident).collect())
        .order_by(order)
        .build()?
        .alias(RANK);
    landed
        .window(vec![rank])?
        .filter(ident(RANK).eq(lit(1_u64)))
}

/// The columns of `core.<entity>` from those of landed rows.
fn given(landed: &DataFrame, entity: &Entity) -> Result<Vec<Expr>> {
    schema(entity)
        .fields()
        .iter()
        .map(|field| landed_column(landed.schema(), field))
        .collect()
}

/// The number behind the topic's name, `2` in `pejl.offer@2`; the first has none.
fn incarnation() -> Expr {
    let number = nullif(split_part(ident(TOPIC), lit("@"), lit(2_i64)), lit(""));
    coalesce(vec![cast(number, DataType::Int64), lit(1_i64)])
}

/// Rows that are read more than once; `None` where there are none.
pub(crate) fn in_memory(ctx: &SessionContext, rows: Vec<RecordBatch>) -> Result<Option<DataFrame>> {
    let Some(schema) = rows
        .iter()
        .find(|it| it.num_rows() > 0)
        .map(RecordBatch::schema)
    else {
        return Ok(None);
    };
    let table = MemTable::try_new(schema, vec![rows])?;
    ctx.read_table(Arc::new(table)).map(Some)
}
