//! The walk: from rows of a published table down to landed rows and the files they came in, one table after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::{Array, AsArray};
use contract::{DELETED, OFFSET, PARTITION, SOURCE, SOURCE_POSITION, TIMESTAMP, TOPIC, TRACE_ID};
use datafusion::{
    common::JoinType,
    error::DataFusionError,
    logical_expr::{Expr, Operator, binary_expr},
    prelude::{DataFrame, SessionContext, ident, lit},
};

use super::{
    Question,
    answer::{
        ColumnSources, DeliveredFile, Explanation, Found, Into, Meaning, Published, Step, Told,
    },
    rows::{Hidden, Rows},
    tag::Tags,
};
use crate::{
    Error, Result,
    lineage::{Kind, Lineage},
    models::{Catalog, Node, Origin},
    publication::Publication,
};

/// From how many rows the walk goes down at most.
const WALKED: usize = 100;

/// How many rows of one table are walked through at most.
const FOLLOWED: usize = 100_000;

/// The column that says that something in a row is hidden.
const SUPPRESSED: &str = "suppressed";

/// Columns in which a published table and its complete twin differ, hidden or not.
const OWN: [&str; 2] = [SUPPRESSED, "definition_version"];

/// Before the names of the twin's columns.
const COMPLETE: &str = "_complete_";

/// What a walk may use.
pub(crate) struct Walk<'a> {
    /// The models.
    pub(crate) catalog: &'a Catalog,
    /// What their columns come from.
    pub(crate) lineage: &'a Lineage,
    /// What is explained.
    pub(crate) publication: &'a Publication,
    /// Its tables.
    pub(crate) ctx: &'a SessionContext,
}

/// Rows of a table that went into others.
#[derive(Debug, Default)]
struct Behind {
    ids: BTreeSet<String>,
    columns: BTreeSet<String>,
    /// By the table they went into.
    into: BTreeMap<String, BTreeSet<String>>,
}

/// Where a landed row came from: pipeline, trace, file.
type Origins = BTreeMap<(String, String, String), u64>;

impl Walk<'_> {
    pub(crate) async fn explain(&self, question: &Question) -> Result<Explanation> {
        let table = question.table.as_str();
        let node = self.node(table)?;
        let columns = self.columns(node, question)?;
        let rows = self.found(node, question).await?;
        let open = self.open(node, &rows).await?;
        let (found, walked) = self.tell(node, question, &rows, &open)?;
        let (mut steps, mut files, mut rows_without_file) = (Vec::new(), Vec::new(), 0);
        if walked.count() > 0 {
            let begin = Behind {
                ids: walked
                    .ids()
                    .map_err(|err| failed(table, err))?
                    .into_iter()
                    .collect(),
                columns: columns.iter().cloned().collect(),
                into: BTreeMap::new(),
            };
            let mut behind = BTreeMap::from([(table.to_owned(), begin)]);
            self.descend(question, &mut behind, &mut steps).await?;
            let mut origins = Origins::new();
            for (landed, wanted) in &behind {
                steps.push(self.landed(question, landed, wanted, &mut origins).await?);
            }
            files = self.files(&mut origins).await?;
            rows_without_file = origins.values().sum();
        }
        Ok(Explanation {
            table: table.to_owned(),
            found,
            publication: Published {
                id: self.publication.id,
                at: self.publication.at,
                run_id: self.publication.run_id.clone(),
                version: self.version(table).unwrap_or_default(),
            },
            model: self.told(node),
            definitions: self.definitions(node),
            lineage: self.sources(table, &columns),
            columns,
            steps,
            files,
            rows_without_file,
        })
    }

    fn node(&self, table: &str) -> Result<&Node> {
        let published = &self.publication.tables;
        let node = self
            .catalog
            .node(table)
            .filter(|_| published.contains_key(table));
        node.ok_or_else(|| {
            let known: Vec<&str> = published.keys().map(String::as_str).collect();
            Error::Question(format!(
                "no published table `{table}`; there are {}",
                known.join(", ")
            ))
        })
    }

    /// The columns to be explained.
    fn columns(&self, node: &Node, question: &Question) -> Result<Vec<String>> {
        let all: Vec<&str> = node.columns().iter().map(|it| it.0).collect();
        for wanted in &question.columns {
            if !all.contains(&wanted.as_str()) {
                return Err(Error::Question(format!(
                    "{} has no column `{wanted}`; it has {}",
                    question.table,
                    all.join(", ")
                )));
            }
        }
        if !question.columns.is_empty() {
            return Ok(question.columns.clone());
        }
        let is_value = |it: &&str| !node.grain().iter().any(|key| key == it);
        Ok(all
            .into_iter()
            .filter(is_value)
            .map(str::to_owned)
            .collect())
    }

    /// The rows that answer to the predicate.
    async fn found(&self, node: &Node, question: &Question) -> Result<Rows> {
        let table = question.table.as_str();
        let wrong = |err: DataFusionError| {
            let reason = err.strip_backtrace();
            let reason = contract::scrub(&reason).into_owned();
            Error::Question(format!("--where: {reason}"))
        };
        let rows = self
            .ctx
            .table(table)
            .await
            .map_err(|err| failed(table, err))?;
        let predicate = self
            .ctx
            .parse_sql_expr(&question.predicate, rows.schema())
            .map_err(wrong)?;
        let rows = rows.filter(predicate).map_err(wrong)?;
        Rows::collect(rows, node.grain()).await.map_err(wrong)
    }

    /// Those of the rows in which nothing is hidden: not marked as such, and the same as in the complete twin, where there is one.
    /// Of a published table with neither, nobody knows.
    async fn open(&self, node: &Node, rows: &Rows) -> Result<Rows> {
        let table = node.table();
        let name = table.strip_prefix("mart.");
        let Some(name) = name.filter(|_| rows.count() > 0) else {
            return Ok(rows.first(usize::MAX));
        };
        let all = node.columns();
        let is_marked = all.iter().any(|it| it.0 == SUPPRESSED);
        let twin = self.catalog.node(&format!("core.{name}"));
        let twin =
            twin.filter(|it| matches!(it.origin, Origin::Written(_)) && it.grain() == node.grain());
        if !is_marked && twin.is_none() {
            return Ok(rows.first(0));
        }
        let open = async {
            let mut open = self.ctx.read_batches(rows.batches.clone())?;
            if is_marked {
                open = open.filter(ident(SUPPRESSED).is_false())?;
            }
            if let Some(twin) = twin {
                let theirs: Vec<&str> = twin.columns().iter().map(|it| it.0).collect();
                let values = all.iter().map(|it| it.0);
                let values = values.filter(|it| theirs.contains(it) && !OWN.contains(it));
                let values: Vec<&str> = values.collect();
                let complete = self.ctx.table(twin.table().as_str()).await?;
                let complete = complete.select(
                    values
                        .iter()
                        .map(|it| ident(*it).alias(format!("{COMPLETE}{it}"))),
                )?;
                let same = values.iter().map(|it| {
                    let theirs = ident(format!("{COMPLETE}{it}"));
                    binary_expr(ident(*it), Operator::IsNotDistinctFrom, theirs)
                });
                open = open.join_on(complete, JoinType::LeftSemi, same)?;
            }
            Rows::collect(open, node.grain()).await
        };
        open.await.map_err(|err| failed(&table, err))
    }

    fn tell(
        &self,
        node: &Node,
        question: &Question,
        rows: &Rows,
        open: &Rows,
    ) -> Result<(Found, Rows)> {
        let table = node.table();
        let all: Vec<String> = node.columns().iter().map(|it| it.0.to_owned()).collect();
        let hidden = self.hidden(question, &table);
        let sample = rows.shown(&all, question.limit, &hidden);
        let walked = open.first(WALKED);
        let found = Found {
            rows: rows.count() as u64,
            suppressed: (rows.count() - open.count()) as u64,
            walked: walked.count() as u64,
            sample: sample.map_err(|err| failed(&table, err))?,
        };
        Ok((found, walked))
    }

    /// Goes through the built tables, those that read first; what is left in `behind` has landed.
    async fn descend(
        &self,
        question: &Question,
        behind: &mut BTreeMap<String, Behind>,
        steps: &mut Vec<Step>,
    ) -> Result<()> {
        for table in self.catalog.order().iter().rev() {
            let Some(wanted) = behind.remove(table) else {
                continue;
            };
            let Some(node) = self.catalog.node(table) else {
                continue;
            };
            let rows = Rows::read(self.ctx, table, node.grain(), &wanted.ids);
            let rows = rows.await.map_err(|err| failed(table, err))?;
            let key = node.grain();
            let others = wanted.columns.iter().filter(|it| !key.contains(it));
            let shown: Vec<String> = key.iter().chain(others).cloned().collect();
            let mut step = self.step(question, table, &shown, &wanted, &rows)?;
            let inputs = self.inputs(node, &wanted.columns);
            if rows.count() > FOLLOWED {
                step.note = Some(format!(
                    "more than {FOLLOWED} rows: ask for fewer to see where they come from"
                ));
            } else if inputs.is_empty() {
                step.note = Some("only that its rows are there counts: not followed".to_owned());
            } else if rows.count() > 0 {
                let went_in = self.went_in(node, &rows, &inputs).await;
                for (input, ids) in went_in.map_err(|err| failed(table, err))? {
                    let to = behind.entry(input.clone()).or_default();
                    to.ids.extend(ids.iter().cloned());
                    to.into.entry(table.clone()).or_default().extend(ids);
                    to.columns
                        .extend(inputs.get(&input).into_iter().flatten().cloned());
                }
            }
            steps.push(step);
        }
        Ok(())
    }

    /// The inputs that values of these columns come from, each with the columns that play a part. Current state is followed in
    /// any case: it is one landed row.
    fn inputs(
        &self,
        node: &Node,
        columns: &BTreeSet<String>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let table = node.table();
        let mut inputs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        if let Origin::Current(entity) = &node.origin {
            inputs.entry(entity.raw_table()).or_default();
        }
        let Some(lineage) = self.lineage.table(&table) else {
            return inputs;
        };
        for source in columns.iter().filter_map(|it| lineage.column(it)).flatten() {
            let plays = source.kind.is_followed() || source.kind == Kind::Rows;
            if !plays || source.table.starts_with("ref.") {
                continue;
            }
            let input = inputs.entry(source.table.clone()).or_default();
            input.extend(source.column.clone());
        }
        inputs
    }

    /// The ids of the rows of each input that went into these rows of a model.
    async fn went_in(
        &self,
        node: &Node,
        rows: &Rows,
        inputs: &BTreeMap<String, BTreeSet<String>>,
    ) -> datafusion::error::Result<BTreeMap<String, Vec<String>>> {
        let mut tags = Tags::default();
        for input in inputs.keys() {
            match self.catalog.node(input) {
                Some(node) => tags.add(input, node.grain()),
                None => tags.add(input, &[TOPIC, PARTITION, OFFSET].map(str::to_owned)),
            }
        }
        let model = node.rows(self.ctx).await;
        let model = model.map_err(|err| DataFusionError::External(Box::new(err)))?;
        let (plan, told) = tags.tagged(model.logical_plan())?;
        let told_by = DataFrame::new(self.ctx.state(), plan);
        let told_by = rows.of_query(self.ctx, told_by, node.partition_by())?;
        let lists = told_by.select(vec![Expr::Column(told)])?.collect().await?;
        let mut ids = BTreeSet::new();
        for batch in &lists {
            let column = batch.column(0).as_list::<i32>();
            for list in column.iter().flatten() {
                let texts = arrow::compute::cast(&list, &arrow::datatypes::DataType::Utf8)?;
                let texts: &arrow::array::StringArray = texts.as_string();
                ids.extend(texts.iter().flatten().map(str::to_owned));
            }
        }
        Ok(tags.read(ids.iter().map(String::as_str)))
    }

    /// Landed rows; where each came from is counted in `origins`.
    async fn landed(
        &self,
        question: &Question,
        table: &str,
        wanted: &Behind,
        origins: &mut Origins,
    ) -> Result<Step> {
        let key = [TOPIC, PARTITION, OFFSET].map(str::to_owned);
        let rows = Rows::read(self.ctx, table, &key, &wanted.ids).await;
        let rows = rows.map_err(|err| failed(table, err))?;
        for batch in &rows.batches {
            let texts = |name: &str| {
                let column = batch.column_by_name(name)?;
                let cast = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).ok()?;
                Some(Arc::new(cast.as_string::<i32>().clone()))
            };
            let columns = [texts(SOURCE), texts(TRACE_ID), texts(SOURCE_POSITION)];
            for row in 0..batch.num_rows() {
                let text = |at: usize| match &columns[at] {
                    Some(it) if it.is_valid(row) => it.value(row).to_owned(),
                    _ => String::new(),
                };
                let origin = (text(0), text(1), file_of(&text(2)).to_owned());
                *origins.entry(origin).or_default() += 1;
            }
        }
        let entity = table.strip_prefix("raw.").and_then(contract::entity);
        let mut shown: Vec<String> = entity.map(|it| it.key.clone()).unwrap_or_default();
        let coordinates = [
            TOPIC,
            PARTITION,
            OFFSET,
            TIMESTAMP,
            SOURCE,
            SOURCE_POSITION,
            TRACE_ID,
            DELETED,
        ];
        shown.extend(coordinates.map(str::to_owned));
        self.step(question, table, &shown, wanted, &rows)
    }

    /// The delivered files among the origins, which are taken out.
    async fn files(&self, origins: &mut Origins) -> Result<Vec<DeliveredFile>> {
        let table = "raw.delivery";
        let delivered = async {
            let sources = origins.keys().map(|it| lit(it.0.as_str()));
            let rows = self.ctx.table(table).await?;
            let rows = rows.filter(
                ident(DELETED)
                    .is_not_true()
                    .and(ident(SOURCE).in_list(sources.collect(), false)),
            )?;
            let key = ["received_at", "delivery_id"].map(str::to_owned);
            let rows = Rows::collect(rows, &key).await?;
            let shown = [
                "delivery_id",
                "file_name",
                "sha256",
                "sender",
                "received_at",
                SOURCE,
                TRACE_ID,
            ];
            rows.shown(&shown.map(str::to_owned), usize::MAX, &Hidden::default())
        };
        let delivered = delivered.await.map_err(|err| failed(table, err))?;
        let mut files = Vec::new();
        for row in delivered {
            let text = |column: &str| {
                let value = row.get(column).and_then(|it| it.as_str());
                value.unwrap_or_default().to_owned()
            };
            let origin = (text(SOURCE), text(TRACE_ID), text("file_name"));
            if let Some(rows) = origins.remove(&origin) {
                files.push(DeliveredFile {
                    delivery_id: text("delivery_id"),
                    file_name: text("file_name"),
                    sha256: text("sha256"),
                    sender: text("sender"),
                    source: text(SOURCE),
                    received_at: text("received_at"),
                    rows,
                });
            }
        }
        Ok(files)
    }

    /// What is told of rows: `shown` of each.
    fn step(
        &self,
        question: &Question,
        table: &str,
        shown: &[String],
        wanted: &Behind,
        rows: &Rows,
    ) -> Result<Step> {
        let hidden = self.hidden(question, table);
        let into = wanted.into.iter().map(|(reader, ids)| {
            let rows = rows.with_ids(ids)?;
            Ok(Into {
                table: reader.clone(),
                rows: rows.count() as u64,
                sample: rows.shown(shown, question.limit, &hidden)?,
            })
        });
        let into = into.collect::<datafusion::error::Result<Vec<_>>>();
        Ok(Step {
            table: table.to_owned(),
            version: self.version(table),
            into: into.map_err(|err| failed(table, err))?,
            columns: wanted.columns.iter().cloned().collect(),
            rows: rows.count() as u64,
            note: None,
        })
    }

    fn hidden(&self, question: &Question, table: &str) -> Hidden {
        Hidden::of(
            self.lineage,
            table,
            question.table.starts_with("mart.") && table != question.table,
        )
    }

    fn version(&self, table: &str) -> Option<i64> {
        let versions = self.publication.tables.get(table);
        versions
            .or_else(|| self.publication.inputs.get(table))
            .copied()
    }

    fn told(&self, node: &Node) -> Told {
        let table = node.table();
        let fingerprint = self
            .publication
            .models
            .get(&table)
            .cloned()
            .unwrap_or_default();
        Told {
            doc: node.doc().to_owned(),
            file: match &node.origin {
                Origin::Written(model) => Some(model.file.clone()),
                Origin::Current(_) => None,
            },
            is_changed: fingerprint != node.fingerprint(),
            fingerprint,
            reads: self
                .publication
                .reads
                .get(&table)
                .cloned()
                .unwrap_or_default(),
        }
    }

    fn definitions(&self, node: &Node) -> Vec<Meaning> {
        let definitions = node.definitions().iter();
        let definitions = definitions.filter_map(|it| self.catalog.definition(it));
        definitions
            .map(|it| Meaning {
                definition: it.reference().to_string(),
                title_da: it.title_da.clone(),
                title_en: it.title_en.clone(),
                text_da: it.text_da.clone(),
                text_en: it.text_en.clone(),
                seed: it.seed.clone(),
                quote: it.quote.clone(),
                valid_from: it.valid_from,
            })
            .collect()
    }

    fn sources(&self, table: &str, columns: &[String]) -> Vec<ColumnSources> {
        let sources = |column: &String| {
            let lineage = self.lineage.table(table)?;
            Some(ColumnSources {
                column: column.clone(),
                sources: lineage.column(column)?.iter().cloned().collect(),
            })
        };
        columns.iter().filter_map(sources).collect()
    }
}

/// The file in `file.csv:17`.
fn file_of(position: &str) -> &str {
    match position.rsplit_once(':') {
        Some((file, row)) if !row.is_empty() && row.bytes().all(|it| it.is_ascii_digit()) => file,
        _ => position,
    }
}

fn failed(table: &str, err: DataFusionError) -> Error {
    Error::query(format!("looking for what is behind {table}"), err)
}
