//! `core.<entity>`: the latest version of each thing, deleted ones left out.

use contract::{DELETED, Entity, OFFSET, PARTITION, TOPIC};
use datafusion::{
    arrow::datatypes::DataType,
    error::Result,
    functions::expr_fn::{coalesce, nullif, split_part},
    functions_window::expr_fn::row_number,
    logical_expr::{Expr, ExprFunctionExt, cast},
    prelude::{DataFrame, SessionContext, ident, lit},
    scalar::ScalarValue,
};

/// Part of the fingerprint of every current-state table.
pub(super) const VERSION: &str = "2";

/// All versions of one thing share a key and so a partition; where the topic was given more partitions,
/// a key moves to a higher one; and where it was deleted and made again, offsets start over under the next number.
/// The last by that number, then by partition, then by offset, is therefore the latest.
const RANK: &str = "_rank";

/// The rows of `core.<entity>` from `raw.<entity>`, in the entity's own types.
pub(super) async fn rows(ctx: &SessionContext, entity: &Entity) -> Result<DataFrame> {
    let landed = ctx.table(entity.raw_table().as_str()).await?;
    let has = |name: &str| landed.schema().has_column_with_unqualified_name(name);
    let columns: Vec<Expr> = entity
        .arrow_schema()
        .fields()
        .iter()
        .map(|field| {
            let column = if has(field.name()) {
                cast(ident(field.name()), field.data_type().clone())
            } else {
                // Landed before the entity had the column; the next record adds it to the table.
                lit(ScalarValue::try_from(field.data_type())?)
            };
            Ok(column.alias(field.name()))
        })
        .collect::<Result<_>>()?;
    let rank = row_number()
        .partition_by(entity.key.iter().map(ident).collect())
        .order_by(vec![
            incarnation().sort(false, false),
            ident(PARTITION).sort(false, false),
            ident(OFFSET).sort(false, false),
        ])
        .build()?
        .alias(RANK);
    landed
        .window(vec![rank])?
        .filter(ident(RANK).eq(lit(1_u64)).and(ident(DELETED).is_not_true()))?
        .select(columns)
}

/// The number behind the topic's name, `2` in `pejl.offer@2`; the first has none.
fn incarnation() -> Expr {
    let number = nullif(split_part(ident(TOPIC), lit("@"), lit(2_i64)), lit(""));
    coalesce(vec![cast(number, DataType::Int64), lit(1_i64)])
}
