//! Checks of a table: grain, predicates, ranges and references, each with how many rows fail and which.

use contract::{Entity, Field, Pii};
use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::Int64Type,
        util::display::{ArrayFormatter, FormatOptions},
    },
    error::DataFusionError,
    prelude::SessionContext,
};
use serde::{Deserialize, Serialize};
use spec::{Reference, Severity};

use crate::{
    Error, Result,
    models::{Node, Origin},
};

/// How many failing rows are shown.
const SAMPLE: usize = 5;

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The table, `mart.offer_overview`.
    pub model: String,
    /// The check: `grain`, `not_null`, a name from the header, `range_…`, `reference_…`.
    pub check: String,
    /// Whether a failure stops publishing.
    pub is_error: bool,
    /// How many rows fail; for `grain`, how many have a key that is there already.
    pub failed_rows: i64,
    /// Keys of some failing rows, `offer_id=17, period=2010H1`; personal ones are not shown.
    pub sample: Vec<String>,
}

impl CheckResult {
    /// Whether no row fails.
    pub fn passed(&self) -> bool {
        self.failed_rows == 0
    }

    /// Whether it stops publishing.
    pub fn stops(&self) -> bool {
        self.is_error && !self.passed()
    }
}

impl std::fmt::Display for CheckResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: check `{}`", self.model, self.check)?;
        if self.passed() {
            return f.write_str(" passed");
        }
        write!(f, " failed for {} rows", self.failed_rows)?;
        if !self.sample.is_empty() {
            write!(f, ", such as {}", self.sample.join("; "))?;
        }
        Ok(())
    }
}

/// A predicate that is never false.
struct Rule {
    name: String,
    severity: Severity,
    predicate: String,
    /// The header line it stands on.
    line: Option<u64>,
}

/// Checks the rows of a table on their own: its grain and its predicates. The session knows the table
/// by its name.
pub async fn rows(ctx: &SessionContext, node: &Node) -> Result<Vec<CheckResult>> {
    let table = node.table();
    let rules = rules(node);
    let mut results = Vec::with_capacity(rules.len() + 1);
    // Counting them all in one pass over the table.
    let counts: Vec<String> = rules
        .iter()
        .map(|rule| format!("count(*) filter (where ({}) is false)", rule.predicate))
        .collect();
    let sql = format!("select {} from {}", counts.join(", "), quoted(&table));
    let counted = match collect(ctx, &sql).await {
        Ok(counted) => counted,
        Err(err) => return Err(blame(ctx, node, &rules, err).await),
    };
    for (at, rule) in rules.iter().enumerate() {
        let failed_rows = number(&counted, at);
        let failing = format!("({}) is false", rule.predicate);
        results.push(CheckResult {
            model: table.clone(),
            check: rule.name.clone(),
            is_error: rule.severity == Severity::Error,
            failed_rows,
            sample: sample(ctx, node, failed_rows, &failing).await?,
        });
    }
    // Current state has one row a key by construction.
    if matches!(node.origin, Origin::Written(_)) {
        results.push(grain(ctx, node).await?);
    }
    Ok(results)
}

/// Checks what a table refers to. The session knows the table and those it refers to.
pub async fn references(ctx: &SessionContext, node: &Node) -> Result<Vec<CheckResult>> {
    let table = node.table();
    let mut results = Vec::new();
    for it in references_of(node) {
        let (column, target) = (name(&it.column), name(&it.target));
        let condition = format!(
            "{column} is not null and not exists (select 1 from {} as pointed where pointed.{target} = pointing.{column})",
            quoted(&it.table)
        );
        let sql = format!(
            "select count(*) from {} as pointing where {condition}",
            quoted(&table)
        );
        let failed_rows = number(&query(ctx, node, "a reference", &sql).await?, 0);
        results.push(CheckResult {
            model: table.clone(),
            check: format!("reference_{}", it.column),
            is_error: it.severity == Severity::Error,
            failed_rows,
            sample: sample(ctx, node, failed_rows, &condition).await?,
        });
    }
    Ok(results)
}

/// Where a table's columns point: as its header says, or, in current state, by the name of a key.
pub(crate) fn references_of(node: &Node) -> Vec<Reference> {
    match &node.origin {
        Origin::Written(model) => model.references.clone(),
        Origin::Current(entity) => entity
            .fields
            .iter()
            .filter_map(|field| reference_of(entity, field))
            .collect(),
    }
}

/// A column called as another entity's only key points there. Sources deliver at their own pace, so what is
/// not there yet is told and does not stop anything.
fn reference_of(entity: &Entity, field: &Field) -> Option<Reference> {
    let pointed = contract::entities()
        .iter()
        .find(|it| it.key == [field.name.as_str()])?;
    (pointed.name != entity.name).then(|| Reference {
        column: field.name.clone(),
        table: pointed.core_table(),
        target: field.name.clone(),
        severity: Severity::Warning,
        line: 0,
    })
}

fn rules(node: &Node) -> Vec<Rule> {
    let filled: Vec<String> = node
        .grain()
        .iter()
        .map(|column| format!("{} is not null", name(column)))
        .collect();
    let mut rules = vec![Rule {
        name: "not_null".to_owned(),
        severity: Severity::Error,
        predicate: filled.join(" and "),
        line: None,
    }];
    match &node.origin {
        Origin::Written(model) => rules.extend(model.checks.iter().map(|check| Rule {
            name: check.name.clone(),
            severity: check.severity,
            predicate: check.predicate.clone(),
            line: Some(check.line),
        })),
        Origin::Current(entity) => rules.extend(entity.fields.iter().filter_map(range)),
    }
    rules
}

/// Landing keeps out what is outside the contract's range; only rows from before the range was
/// narrowed can be, which stops nothing.
fn range(field: &Field) -> Option<Rule> {
    let column = name(&field.name);
    let ends: Vec<String> = [(">=", field.minimum), ("<=", field.maximum)]
        .into_iter()
        .filter_map(|(sign, end)| Some(format!("{column} {sign} {}", end?)))
        .collect();
    (!ends.is_empty()).then(|| Rule {
        name: format!("range_{}", field.name),
        severity: Severity::Warning,
        predicate: ends.join(" and "),
        line: None,
    })
}

async fn grain(ctx: &SessionContext, node: &Node) -> Result<CheckResult> {
    let keys: Vec<String> = node.grain().iter().map(|it| name(it)).collect();
    let keys = keys.join(", ");
    let table = node.table();
    let doubled = format!(
        "select {keys}, count(*) as _copies from {} group by {keys} having count(*) > 1",
        quoted(&table)
    );
    let sql = format!("select coalesce(sum(_copies - 1), 0) from ({doubled})");
    let failed_rows = number(&query(ctx, node, "the grain", &sql).await?, 0);
    let sample = if failed_rows == 0 {
        Vec::new()
    } else {
        let sql = format!("select {keys} from ({doubled}) order by {keys} limit {SAMPLE}");
        keys_of(&query(ctx, node, "the grain", &sql).await?)
    };
    Ok(CheckResult {
        model: table,
        check: "grain".to_owned(),
        is_error: true,
        failed_rows,
        sample,
    })
}

async fn sample(
    ctx: &SessionContext,
    node: &Node,
    failed_rows: i64,
    failing: &str,
) -> Result<Vec<String>> {
    if failed_rows == 0 {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = node.grain().iter().map(|it| name(it)).collect();
    let keys = keys.join(", ");
    let sql = format!(
        "select {keys} from {} as pointing where {failing} order by {keys} limit {SAMPLE}",
        quoted(&node.table())
    );
    Ok(keys_of(&query(ctx, node, "a check", &sql).await?))
}

async fn query(
    ctx: &SessionContext,
    node: &Node,
    what: &str,
    sql: &str,
) -> Result<Vec<RecordBatch>> {
    collect(ctx, sql)
        .await
        .map_err(|err| Error::query(format!("{what} of {}", node.table()), err))
}

async fn collect(ctx: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
    ctx.sql(sql).await?.collect().await
}

/// The error of all rules together, laid to the first one that fails alone.
async fn blame(ctx: &SessionContext, node: &Node, rules: &[Rule], err: DataFusionError) -> Error {
    let Origin::Written(model) = &node.origin else {
        return Error::query(format!("checking {}", node.table()), err);
    };
    for rule in rules.iter().filter(|it| it.line.is_some()) {
        let (predicate, table) = (&rule.predicate, quoted(&node.table()));
        let sql = format!("select count(*) filter (where ({predicate}) is false) from {table}");
        if let Err(own) = collect(ctx, &sql).await {
            let message = format!("check `{}`: {}", rule.name, own.strip_backtrace());
            return Error::Models(vec![model.mistake(rule.line, message)]);
        }
    }
    Error::query(format!("checking {}", node.table()), err)
}

fn number(batches: &[RecordBatch], column: usize) -> i64 {
    let first = batches.iter().find(|it| it.num_rows() > 0);
    first.map_or(0, |it| {
        it.column(column).as_primitive::<Int64Type>().value(0)
    })
}

fn keys_of(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut keys = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let schema = batch.schema();
            let values = schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| {
                    let value = if is_personal(field.name()) {
                        "…".to_owned()
                    } else {
                        ArrayFormatter::try_new(column, &options)
                            .map_or_else(|err| err.to_string(), |it| it.value(row).to_string())
                    };
                    format!("{}={value}", field.name())
                });
            keys.push(values.collect::<Vec<_>>().join(", "));
        }
    }
    keys
}

/// Whether some entity marks a column of this name as telling of a person.
fn is_personal(column: &str) -> bool {
    contract::entities()
        .iter()
        .filter_map(|it| it.field(column))
        .any(|it| it.pii != Pii::None)
}

/// A table name for SQL.
fn quoted(table: &str) -> String {
    let parts: Vec<String> = table.split('.').map(name).collect();
    parts.join(".")
}

/// A column name for SQL.
fn name(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}
