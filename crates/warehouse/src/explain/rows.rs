//! Rows of tables by their keys, as values that can be shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray},
    compute::filter_record_batch,
    json::{WriterBuilder, writer::LineDelimited},
};
use contract::Pii;
use datafusion::{
    common::{JoinType, ScalarValue},
    error::Result,
    logical_expr::Expr,
    prelude::{DataFrame, SessionContext, ident, lit},
};
use serde_json::Value;

use super::{answer::Row, tag};
use crate::lineage::Lineage;

/// How many values of one column are listed in a condition.
const LISTED: usize = 500;

/// What the id of a row, and an id it may have, are called in a query.
const OF_ROW: &str = "_id_of_row";
const WANTED: &str = "_id_wanted";

/// Rows of a table.
#[derive(Debug)]
pub(super) struct Rows {
    /// In order of their keys.
    pub(super) batches: Vec<RecordBatch>,
    key: Vec<String>,
}

impl Rows {
    /// The rows with these ids.
    pub(super) async fn read(
        ctx: &SessionContext,
        table: &str,
        key: &[String],
        ids: &BTreeSet<String>,
    ) -> Result<Self> {
        let rows = ctx.table(table).await?;
        Self::collect(among(ctx, rows, key, ids.iter().cloned())?, key).await
    }

    /// All rows of a query.
    pub(super) async fn collect(rows: DataFrame, key: &[String]) -> Result<Self> {
        let by = key.iter().map(|it| ident(it).sort(true, false));
        Ok(Self {
            batches: rows.sort(by.collect())?.collect().await?,
            key: key.to_vec(),
        })
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The first so many.
    pub(super) fn first(&self, count: usize) -> Self {
        let mut left = count;
        let mut batches = Vec::new();
        for batch in &self.batches {
            let taken = left.min(batch.num_rows());
            batches.push(batch.slice(0, taken));
            left -= taken;
        }
        Self {
            batches,
            key: self.key.clone(),
        }
    }

    /// Those with these ids.
    pub(super) fn with_ids(&self, ids: &BTreeSet<String>) -> Result<Self> {
        let own = self.ids()?;
        let mut own = own.iter();
        let mut batches = Vec::new();
        for batch in &self.batches {
            let here = own.by_ref().take(batch.num_rows());
            let is_wanted: BooleanArray = here.map(|it| Some(ids.contains(it))).collect();
            batches.push(filter_record_batch(batch, &is_wanted)?);
        }
        Ok(Self {
            batches,
            key: self.key.clone(),
        })
    }

    /// Those rows of a query that have the keys of these. The keys, and `also` columns that hang on them, are filtered one by one,
    /// too: that is what the engine can push down to the tables.
    pub(super) fn of_query(
        &self,
        ctx: &SessionContext,
        mut query: DataFrame,
        also: &[String],
    ) -> Result<DataFrame> {
        let also = also.iter().filter(|it| !self.key.contains(it));
        for column in self.key.iter().chain(also) {
            if let Some(condition) = self.is_among_values(column)? {
                query = query.filter(condition)?;
            }
        }
        if self.count() == 1 {
            return Ok(query);
        }
        among(ctx, query, &self.key, self.ids()?.into_iter())
    }

    /// That a column has one of the values it has here; `None` where they are too many to be listed.
    fn is_among_values(&self, column: &str) -> Result<Option<Expr>> {
        let mut values: BTreeMap<String, ScalarValue> = BTreeMap::new();
        let mut has_null = false;
        for array in self
            .batches
            .iter()
            .filter_map(|it| it.column_by_name(column))
        {
            has_null |= array.null_count() > 0;
            for row in (0..array.len()).filter(|it| array.is_valid(*it)) {
                let value = ScalarValue::try_from_array(array, row)?;
                values.insert(value.to_string(), value);
            }
            if values.len() > LISTED {
                return Ok(None);
            }
        }
        let listed = ident(column).in_list(values.into_values().map(lit).collect(), false);
        Ok(Some(if has_null {
            listed.or(ident(column).is_null())
        } else {
            listed
        }))
    }

    /// The ids of these rows, as plans tell them.
    pub(super) fn ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::with_capacity(self.count());
        for batch in &self.batches {
            let columns: Vec<_> = self
                .key
                .iter()
                .filter_map(|it| batch.column_by_name(it))
                .map(|it| arrow::compute::cast(it, &arrow::datatypes::DataType::Utf8))
                .collect::<std::result::Result<_, _>>()?;
            for row in 0..batch.num_rows() {
                let parts = columns.iter().map(|it| {
                    let texts: &StringArray = arrow::array::AsArray::as_string(it);
                    if texts.is_null(row) {
                        ""
                    } else {
                        texts.value(row)
                    }
                });
                ids.push(parts.collect::<Vec<_>>().join(tag::BETWEEN));
            }
        }
        Ok(ids)
    }

    /// The rows to be shown: `columns` of the first `limit`.
    pub(super) fn shown(
        &self,
        columns: &[String],
        limit: usize,
        hidden: &Hidden,
    ) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for batch in &self.first(limit).batches {
            let schema = batch.schema();
            let at: Vec<usize> = columns
                .iter()
                .filter_map(|it| schema.index_of(it).ok())
                .collect();
            let batch = batch.project(&at)?;
            let names: Vec<String> = batch
                .schema()
                .fields()
                .iter()
                .map(|it| it.name().clone())
                .collect();
            let mut writer = WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, LineDelimited>(Vec::new());
            writer.write(&batch)?;
            writer.finish()?;
            let text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
            for line in text.lines() {
                let mut values: BTreeMap<String, Value> =
                    serde_json::from_str(line).unwrap_or_default();
                let row = names.iter().map(|name| {
                    let value = values.remove(name).unwrap_or_default();
                    (name.clone(), hidden.show(name, value))
                });
                rows.push(Row(row.collect()));
            }
        }
        Ok(rows)
    }
}

/// The rows of a query whose keys are among `ids`.
fn among(
    ctx: &SessionContext,
    query: DataFrame,
    key: &[String],
    ids: impl Iterator<Item = String>,
) -> Result<DataFrame> {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(ids));
    let wanted = ctx.read_batch(RecordBatch::try_from_iter([(WANTED, ids)])?)?;
    let columns: Vec<Expr> = query
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let of_row = tag::id(key).alias(OF_ROW);
    query
        .select(columns.iter().cloned().chain([of_row]))?
        .join(wanted, JoinType::LeftSemi, &[OF_ROW], &[WANTED], None)?
        .select(columns)
}

/// Columns of one table whose values are not shown.
#[derive(Debug, Default)]
pub(super) struct Hidden(BTreeSet<String>);

impl Hidden {
    /// Free text never is shown. Nor is, `below` a published table, anything that says something of a person: not who they are, and
    /// not what would let somebody count them in other ways than the table does.
    pub(super) fn of(lineage: &Lineage, table: &str, below: bool) -> Self {
        let schema = lineage.schemas().get(table);
        let columns = schema.into_iter().flat_map(|it| it.fields());
        let hides = |column: &str| {
            let tags = lineage.tags(table, column);
            tags.contains(&Pii::FreeText) || below && !tags.is_empty()
        };
        let hidden = columns.map(|it| it.name().clone()).filter(|it| hides(it));
        Self(hidden.collect())
    }

    fn show(&self, column: &str, value: Value) -> Value {
        if self.0.contains(column) && !value.is_null() {
            return Value::from("(not shown)");
        }
        // Nothing should be left to find.
        match value {
            Value::String(text) => contract::scrub(&text).into_owned().into(),
            value => value,
        }
    }
}
