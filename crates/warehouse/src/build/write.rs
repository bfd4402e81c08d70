//! A candidate is written: the rows of a model, all of them or those of some municipalities, in a new version of its table unless
//! they are the rows it has.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use arrow::datatypes::SchemaRef;
use datafusion::{
    error::Result as Outcome,
    execution::SendableRecordBatchStream,
    logical_expr::Expr,
    physical_plan::stream::RecordBatchStreamAdapter,
    prelude::{DataFrame, ident},
};
use futures::{StreamExt, TryStreamExt, stream};
use lake::Part;

use super::{
    aside::{Aside, taken_out, together},
    changes::{Extent, Reason},
    digest::{Digests, different, digests_of, watched},
    parts::{Changed, MUNICIPALITY, is_split, within},
    step::Step,
};
use crate::{
    Error, Result, SetAside,
    models::{FAILED, News, Node, Origin},
};

/// More landed rows than one in so many, by the size of their files, are not worked in where they are many: all are read then.
const SHARE: u64 = 4;

/// Where memory is short, this many municipalities are computed at a time.
const IN_TURN: usize = 6;

/// Fewer rows than this come and go.
const FEW_ROWS: u64 = 100;

/// So many bytes of landed rows are not many.
const FEW: u64 = 1 << 20;

/// A table as it will be published.
pub(super) struct Made {
    pub(super) version: i64,
    /// The rows that are others than in the published version; `None` where all may be.
    pub(super) changed: Option<Changed>,
    /// How many rows were computed.
    pub(super) rows: u64,
    /// The rows that its checks leave out, of all parts.
    pub(super) set_aside: Vec<SetAside>,
    /// How much of the table was computed.
    pub(super) extent: Extent,
    /// Municipalities that have far fewer or far more rows than before, in words.
    pub(super) drift: Vec<String>,
}

/// What has to be computed of a table.
struct Work {
    extent: Extent,
    rows: DataFrame,
    /// What is true of all rows that are new, where they are of few things.
    only: Option<Expr>,
}

impl Step<'_> {
    /// Computes what has to be computed of a model; where there are `turns`, for a few of these municipalities after the other, which
    /// needs less memory.
    pub(super) async fn write(
        &self,
        node: &Node,
        table: &str,
        turns: Option<&BTreeSet<Part>>,
    ) -> Result<Made> {
        let Work { extent, rows, only } = self.work_on(node, table).await?;
        let before = self
            .previous
            .as_ref()
            .and_then(|it| it.set_aside.get(table));
        let before = before.map(Vec::as_slice).unwrap_or_default();
        let published = self.previous.as_ref().and_then(|it| it.tables.get(table));
        let parts = match &extent {
            Extent::Whole(_) => None,
            Extent::Parts(parts, _) => Some(parts),
        };
        if let (Some(version), Some(parts)) = (published, parts)
            && parts.is_empty()
        {
            return Ok(Made {
                version: *version,
                changed: Some(Changed::default()),
                rows: 0,
                set_aside: before.to_vec(),
                extent,
                drift: Vec::new(),
            });
        }
        let failed = |err| Error::query(format!("computing {table}"), err);
        let partition_by = node.partition_by();
        let is_split = is_split(partition_by);
        let is_marked = rows
            .schema()
            .fields()
            .last()
            .is_some_and(|it| it.name() == FAILED);
        let stream = match turns {
            Some(turns) => one_after_the_other(&rows, parts.unwrap_or(turns)),
            None => rows.execute_stream().await,
        };
        let stream = stream.map_err(failed)?;
        let (stream, aside) = if is_marked {
            taken_out(stream, is_split, node.grain()).map_err(failed)?
        } else {
            (stream, Aside::default())
        };
        let schema: SchemaRef = stream.schema();
        let (stream, digester) = watched(stream, is_split).map_err(failed)?;
        let lake = self.builder.lake;
        let staged = lake.stage(table, &schema, stream, partition_by).await?;
        let digests = std::mem::take(&mut *digester.lock().unwrap_or_else(PoisonError::into_inner));
        let rows = digests.values().map(|it| it.rows).sum();
        let set_aside = together(before, parts, &aside);
        let before = match published {
            Some(version) => self.digests(table, *version, node, &schema, parts).await,
            None => Ok(None),
        };
        let drift = match &before {
            Ok(Some(before)) => drift(before, &digests),
            _ => Vec::new(),
        };
        let (version, changed) = match (published, before) {
            (_, Err(err)) => {
                lake.discard(staged).await;
                return Err(err);
            }
            (Some(base), Ok(Some(before))) => {
                let changed = different(&before, &digests);
                if changed.is_empty() {
                    lake.discard(staged).await;
                    (*base, Some(changed))
                } else {
                    let version = lake.swap(staged, Some((*base, &changed))).await?;
                    (version, Some(changed))
                }
            }
            _ => (lake.swap(staged, None).await?, None),
        };
        Ok(Made {
            version,
            changed: changed.map(|parts| Changed { parts, only }),
            rows,
            set_aside,
            extent,
            drift,
        })
    }

    /// What a candidate takes.
    async fn work_on(&self, node: &Node, table: &str) -> Result<Work> {
        let of_few = |news: News, causes| Work {
            extent: Extent::Parts(news.parts, causes),
            rows: news.rows,
            only: news.only,
        };
        let extent = match &node.origin {
            Origin::Current(_) => match self.news(node, table).await? {
                Some(Ok(news)) => return Ok(of_few(news, node.reads.clone())),
                Some(Err(reason)) => Extent::Whole(reason),
                None => Extent::Parts(BTreeSet::new(), node.reads.clone()),
            },
            Origin::Written(_) => match self.basis(node, table).await? {
                Ok(basis) => match self.by_id(node, table, &basis).await? {
                    Some(news) => {
                        return Ok(of_few(news, basis.changes.into_keys().collect()));
                    }
                    None => self.extent(node, basis).await?,
                },
                Err(reason) => Extent::Whole(reason),
            },
        };
        let rows = match node.marked_rows(&self.ctx).await? {
            Some(marked) => marked,
            // That looks through all that has landed, which is worth it only where all is computed.
            None if matches!(extent, Extent::Whole(_)) => node.rows_at_once(&self.ctx).await?,
            None => node.rows(&self.ctx).await?,
        };
        let (extent, rows) = match extent {
            Extent::Parts(parts, _) if self.are_most(table, &parts).await? => {
                (Extent::Whole(Reason::Most), rows)
            }
            Extent::Parts(parts, causes) => {
                let rows = within(&parts)
                    .and_then(|it| rows.filter(it))
                    .map_err(|err| Error::query(format!("planning {table}"), err))?;
                (Extent::Parts(parts, causes), rows)
            }
            whole => (whole, rows),
        };
        Ok(Work {
            extent,
            rows,
            only: None,
        })
    }

    /// What has landed since current state was published, worked in; the reason why not, where all has to be read; `None`
    /// where it makes no difference.
    async fn news(&self, node: &Node, table: &str) -> Result<Option<Result<News, Reason>>> {
        let whole = |reason| Ok(Some(Err(reason)));
        let (previous, published) = match self.base(node, table) {
            Ok(base) => base,
            Err(reason) => return whole(reason),
        };
        let Some(raw) = node.reads.iter().next() else {
            return whole(Reason::New);
        };
        let (Some(was), Some(now)) = (previous.inputs.get(raw), self.candidates.get(raw)) else {
            return whole(Reason::Read(raw.clone()));
        };
        let all: u64 = self
            .builder
            .lake
            .files(raw, now.version)
            .await?
            .iter()
            .map(|it| it.bytes)
            .sum();
        let Some((landed, bytes)) = self.landed_since(raw, *was, now.version).await? else {
            return whole(Reason::Read(raw.clone()));
        };
        if bytes > FEW.max(all / SHARE) {
            return whole(Reason::Most);
        }
        let built = self.built_table(table, published).await?;
        let is_sent = self.builder.is_sent;
        let news = node.news(&self.ctx, built, landed, is_sent).await?;
        Ok(news.map(Ok))
    }

    /// The municipalities that a model can be computed for one after the other: those in the tables it reads, where each needs no
    /// rows of another. `None` where each turn would read everything again.
    pub(super) async fn turns(&self, node: &Node) -> Result<Option<BTreeSet<Part>>> {
        let (catalog, lake) = (self.builder.catalog, self.builder.lake);
        let is_large = |read: &&String| {
            let read = catalog.node(read);
            read.is_some_and(|it| is_split(it.partition_by()))
        };
        let large: Vec<&String> = node.reads.iter().filter(is_large).collect();
        let is_split = is_split(node.partition_by()) && !large.is_empty();
        if !is_split || !self.stays_within(node, large.iter().copied()).await? {
            return Ok(None);
        }
        let mut parts = BTreeSet::new();
        for read in large {
            if let Some(head) = self.candidates.get(read) {
                parts.extend(lake.parts(read, head.version).await?);
            }
        }
        Ok(Some(parts))
    }

    /// Whether so many parts are half of those the published table has, or more.
    async fn are_most(&self, table: &str, parts: &BTreeSet<Part>) -> Result<bool> {
        if parts.len() < 2 {
            return Ok(false);
        }
        let published = self.previous.as_ref().and_then(|it| it.tables.get(table));
        let Some(version) = published else {
            return Ok(true);
        };
        let there = self.builder.lake.parts(table, *version).await?;
        Ok(parts.len() * 2 > there.len())
    }

    /// What the published rows amount to, all or those of some parts; `None` where they have other columns or are split otherwise.
    async fn digests(
        &self,
        table: &str,
        version: i64,
        node: &Node,
        schema: &SchemaRef,
        parts: Option<&BTreeSet<Part>>,
    ) -> Result<Option<Digests>> {
        let is_split = is_split(node.partition_by());
        let lake = self.builder.lake;
        if lake.partition_by(table, version).await? != node.partition_by() {
            return Ok(None);
        }
        let rows = self.published_rows(table, version).await?;
        let same_columns = rows.schema().fields().len() == schema.fields().len()
            && schema.fields().iter().all(|field| {
                rows.schema()
                    .field_with_unqualified_name(field.name())
                    .is_ok_and(|it| it.data_type().equals_datatype(field.data_type()))
            });
        if !same_columns {
            return Ok(None);
        }
        let columns: Vec<Expr> = schema.fields().iter().map(|it| ident(it.name())).collect();
        let digests = async {
            let rows = match parts {
                Some(parts) => rows.filter(within(parts)?)?,
                None => rows,
            };
            let rows = rows.select(columns)?.execute_stream().await?;
            digests_of(rows, is_split).await
        };
        let digests = digests.await;
        digests
            .map(Some)
            .map_err(|err| Error::query(format!("reading {table}"), err))
    }
}

/// Rows that are asked for a few parts at a time, and in the end for those that none of `parts` has.
fn one_after_the_other(
    rows: &DataFrame,
    parts: &BTreeSet<Part>,
) -> Outcome<SendableRecordBatchStream> {
    let parts: Vec<Part> = parts.iter().flatten().cloned().map(Some).collect();
    let turns = parts.chunks(IN_TURN);
    let turns = turns.map(|it| within(&it.iter().cloned().collect()));
    let all = within(&parts.iter().cloned().collect())?;
    let rest = ident(MUNICIPALITY).is_null().or(!all);
    let asked = turns.chain([Ok(rest)]);
    let asked: Vec<DataFrame> = asked
        .map(|condition| rows.clone().filter(condition?))
        .collect::<Outcome<_>>()?;
    let schema = Arc::clone(rows.schema().inner());
    let stream = stream::iter(asked).then(DataFrame::execute_stream);
    let stream = RecordBatchStreamAdapter::new(schema, stream.try_flatten());
    Ok(Box::pin(stream))
}

/// The parts that lost more than half of their rows, or have more than twice as many; of few rows that means nothing.
fn drift(before: &Digests, after: &Digests) -> Vec<String> {
    let rows = |digests: &Digests, part: &Part| digests.get(part).map_or(0, |it| it.rows);
    let parts: BTreeSet<&Part> = before.keys().chain(after.keys()).collect();
    let told = parts.into_iter().filter_map(|part| {
        let (was, is) = (rows(before, part), rows(after, part));
        let is_drift = was.max(is) >= FEW_ROWS && (is < was / 2 || is > was * 2) && was > 0;
        let whose = match part {
            Some(code) => format!("{MUNICIPALITY}={code}: "),
            None => String::new(),
        };
        is_drift.then(|| format!("{whose}{is} rows, were {was}"))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use arrow::{array::AsArray, datatypes::Int64Type};
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn in_turn_every_row_comes_once() {
        let sql = "select cast(column1 as int) as municipality_code, column2 as n from (values
            (101, 1), (147, 2), (101, 4), (null, 8), (999, 16), (751, 32))";
        let rows = SessionContext::new().sql(sql).await.unwrap();
        let seven = (1..=7).map(|it| Some((100 + it).to_string()));
        for parts in [
            BTreeSet::new(),
            BTreeSet::from([None]),
            seven.chain([None, Some("147".to_owned())]).collect(),
        ] {
            let stream = one_after_the_other(&rows, &parts).unwrap();
            let batches: Vec<_> = stream.try_collect().await.unwrap();
            let mut found: Vec<i64> = batches
                .iter()
                .flat_map(|it| it.column(1).as_primitive::<Int64Type>().values().to_vec())
                .collect();
            found.sort_unstable();
            assert_eq!(found, [1, 2, 4, 8, 16, 32], "{parts:?}");
        }
    }
}
