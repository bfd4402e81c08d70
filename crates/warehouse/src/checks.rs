//! Checks of a table: grain, predicates, ranges and references, each with how many rows fail and which.

use std::collections::BTreeSet;

use contract::{Entity, Field, Pii};
use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::Int64Type,
        util::display::{ArrayFormatter, FormatOptions},
    },
    error::DataFusionError,
    prelude::SessionContext,
    sql::unparser::expr_to_sql,
};
use serde::{Deserialize, Serialize};
use spec::{Mistake, Question, Reference, Severity};

use crate::{
    Error, Result, SetAside,
    build::{Changed, MUNICIPALITY, is_split},
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
    /// Whether the rows that fail are left out of the table.
    #[serde(default)]
    pub is_set_aside: bool,
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

    /// What a failure does.
    pub fn severity(&self) -> Severity {
        match (self.is_error, self.is_set_aside) {
            (true, _) => Severity::Error,
            (false, true) => Severity::SetAside,
            (false, false) => Severity::Warning,
        }
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
        if self.is_set_aside {
            write!(f, " set {} rows aside", self.failed_rows)?;
        } else {
            write!(f, " failed for {} rows", self.failed_rows)?;
        }
        if !self.sample.is_empty() {
            write!(f, ", such as {}", self.sample.join("; "))?;
        }
        Ok(())
    }
}

/// A check of a table, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckDoc {
    /// Its name.
    pub name: String,
    /// What happens where it fails.
    pub severity: Severity,
    /// What has to hold, in SQL or as a sentence.
    pub rule: String,
}

/// Every check of a table, in the order of [`rows`], then [`references`].
pub fn described(node: &Node) -> Vec<CheckDoc> {
    let mut checks: Vec<CheckDoc> = rules(node)
        .into_iter()
        .map(|it| CheckDoc {
            name: it.name,
            severity: it.severity,
            rule: it.predicate,
        })
        .collect();
    if matches!(node.origin, Origin::Written(_)) {
        checks.push(CheckDoc {
            name: "grain".to_owned(),
            severity: Severity::Error,
            rule: format!("{} are unique together", node.grain().join(", ")),
        });
    }
    checks.extend(references_of(node).into_iter().map(|it| CheckDoc {
        name: format!("reference_{}", it.column),
        severity: it.severity,
        rule: format!("{} is found in {}.{}", it.column, it.table, it.target),
    }));
    checks
}

/// A predicate that is never false.
struct Rule {
    name: String,
    severity: Severity,
    predicate: String,
    /// The header line it stands on.
    line: Option<u64>,
}

/// Which rows have to be looked at: those that changed, except by the checks named, which look at all. The other rows have passed
/// already.
pub(crate) type Since<'a> = Option<(&'a Changed, &'a BTreeSet<String>)>;

/// Checks the rows of a table on their own: its grain and its predicates. The session knows the table
/// by its name.
pub(crate) async fn rows(
    ctx: &SessionContext,
    node: &Node,
    since: Since<'_>,
) -> Result<Vec<CheckResult>> {
    let table = node.table();
    let mut rules = rules(node);
    // Rows that fail these are not in the table.
    rules.retain(|it| it.severity != Severity::SetAside);
    let looks_at_all = |name: &str| since.is_none_or(|(_, failing)| failing.contains(name));
    let changed = match since {
        Some((changed, _)) => Some(condition(node, changed)?),
        None => None,
    };
    let mut failed = vec![0; rules.len()];
    for all in [true, false] {
        let asked: Vec<usize> = (0..rules.len())
            .filter(|at| looks_at_all(&rules[*at].name) == all)
            .collect();
        let only = if all { None } else { changed.as_deref() };
        if asked.is_empty() || only == Some(NOTHING) {
            continue;
        }
        // Counting them together in one pass over the table.
        let counts: Vec<String> = asked
            .iter()
            .map(|at| {
                format!(
                    "count(*) filter (where ({}) is false)",
                    rules[*at].predicate
                )
            })
            .collect();
        let place = only.map_or_else(String::new, |it| format!(" where {it}"));
        let sql = format!(
            "select {} from {}{place}",
            counts.join(", "),
            quoted(&table)
        );
        let counted = match collect(ctx, &sql).await {
            Ok(counted) => counted,
            Err(err) => return Err(blame(ctx, node, &rules, err).await),
        };
        for (place, at) in asked.into_iter().enumerate() {
            failed[at] = number(&counted, place);
        }
    }
    let mut results = Vec::with_capacity(rules.len() + 1);
    for (rule, failed_rows) in rules.iter().zip(failed) {
        let failing = format!("({}) is false", rule.predicate);
        results.push(CheckResult {
            model: table.clone(),
            check: rule.name.clone(),
            is_error: rule.severity == Severity::Error,
            is_set_aside: false,
            failed_rows,
            sample: sample(ctx, node, failed_rows, &failing).await?,
        });
    }
    // Current state has one row a key by construction.
    if matches!(node.origin, Origin::Written(_)) {
        results.push(grain(ctx, node, changed.as_deref()).await?);
    }
    Ok(results)
}

/// The checks that set rows aside, with the rows they did.
pub(crate) fn set_aside(node: &Node, all: &[SetAside]) -> Vec<CheckResult> {
    let rules = rules(node).into_iter();
    let rules = rules.filter(|it| it.severity == Severity::SetAside);
    let told = rules.map(|rule| {
        let own = all.iter().filter(|it| it.check == rule.name);
        let rows: u64 = own.clone().map(|it| it.rows).sum();
        let sample = own.flat_map(|it| &it.sample).take(SAMPLE);
        CheckResult {
            model: node.table(),
            check: rule.name.clone(),
            is_error: false,
            is_set_aside: true,
            failed_rows: i64::try_from(rows).unwrap_or(i64::MAX),
            sample: sample.cloned().collect(),
        }
    });
    told.collect()
}

/// Checks one reference of a table. The session knows the table and the one it points to. `changed`: only these rows are looked at.
pub(crate) async fn reference(
    ctx: &SessionContext,
    node: &Node,
    it: &Reference,
    changed: Option<&Changed>,
) -> Result<CheckResult> {
    let table = node.table();
    let (column, target) = (name(&it.column), name(&it.target));
    let place = match changed {
        Some(changed) => self::condition(node, changed)?,
        None => "true".to_owned(),
    };
    // What few rows point to is looked for before it is held against them: most of the other table need not be read then.
    let pointed = match changed {
        Some(Changed { only: Some(_), .. }) => format!(
            "(select there.{target} from (select distinct {column} from {} where {place}) as come
              right semi join {} as there on there.{target} = come.{column})",
            quoted(&table),
            quoted(&it.table)
        ),
        _ => quoted(&it.table),
    };
    let condition = format!(
        "{place} and {column} is not null
         and not exists (select 1 from {pointed} as pointed where pointed.{target} = pointing.{column})"
    );
    let sql = format!(
        "select count(*) from {} as pointing where {condition}",
        quoted(&table)
    );
    let failed_rows = number(&query(ctx, node, "a reference", &sql).await?, 0);
    Ok(CheckResult {
        model: table,
        check: reference_check(it),
        is_error: it.severity == Severity::Error,
        is_set_aside: false,
        failed_rows,
        sample: sample(ctx, node, failed_rows, &condition).await?,
    })
}

/// What the check of a reference is called.
pub(crate) fn reference_check(it: &Reference) -> String {
    format!("{REFERENCE}{}", it.column)
}

/// How the names of checks of references begin.
pub(crate) const REFERENCE: &str = "reference_";

/// No row at all, in SQL.
const NOTHING: &str = "false";

/// The rows that changed, in SQL; all rows of a table that is not split by municipality.
fn condition(node: &Node, changed: &Changed) -> Result<String> {
    if changed.is_nothing() {
        return Ok(NOTHING.to_owned());
    }
    if !is_split(node.partition_by()) {
        return Ok("true".to_owned());
    }
    let named = changed
        .condition()
        .and_then(|it| expr_to_sql(&it).map(|it| it.to_string()));
    named.map_err(|err| Error::query(format!("checking {}", node.table()), err))
}

/// Asks a check that is a query of its own. The session knows every table it reads.
///
/// # Errors
/// [`Error::Models`] where it cannot be planned, naming the file.
pub(crate) async fn question(ctx: &SessionContext, question: &Question) -> Result<CheckResult> {
    let wrong = |err: DataFusionError| {
        Error::Models(vec![Mistake::in_file(
            &question.file,
            err.strip_backtrace(),
        )])
    };
    let rows = ctx.sql(&question.sql).await.map_err(wrong)?;
    let found = rows.collect().await;
    let found = found.map_err(|err| Error::query(format!("asking {}", question.file), err))?;
    let count: usize = found.iter().map(RecordBatch::num_rows).sum();
    let mut sample = keys_of(&found);
    sample.truncate(SAMPLE);
    Ok(CheckResult {
        model: question.table.clone(),
        check: question.name.clone(),
        is_error: question.severity == Severity::Error,
        is_set_aside: false,
        failed_rows: i64::try_from(count).unwrap_or(i64::MAX),
        sample,
    })
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

/// Whether each key is there once. `changed` says which rows are new; keys of all others are known to be there once.
async fn grain(ctx: &SessionContext, node: &Node, changed: Option<&str>) -> Result<CheckResult> {
    let keys: Vec<String> = node.grain().iter().map(|it| name(it)).collect();
    let table = quoted(&node.table());
    let rows = match changed {
        None => table,
        Some(changed) if node.grain().iter().any(|it| it == MUNICIPALITY) => {
            format!("{table} where {changed}")
        }
        // A new row may have the key of one elsewhere.
        Some(changed) => {
            let same: Vec<String> = keys
                .iter()
                .map(|key| format!("there.{key} = come.{key}"))
                .collect();
            format!(
                "{table} as there left semi join (select distinct {} from {table} where {changed}) as come on {}",
                keys.join(", "),
                same.join(" and ")
            )
        }
    };
    let keys = keys.join(", ");
    let doubled = format!(
        "select {keys}, count(*) as _copies from {rows} group by {keys} having count(*) > 1"
    );
    let sql = format!("select coalesce(sum(_copies - 1), 0) from ({doubled})");
    let failed_rows = match changed {
        Some(NOTHING) => 0,
        _ => number(&query(ctx, node, "the grain", &sql).await?, 0),
    };
    let sample = if failed_rows == 0 {
        Vec::new()
    } else {
        let sql = format!("select {keys} from ({doubled}) order by {keys} limit {SAMPLE}");
        keys_of(&query(ctx, node, "the grain", &sql).await?)
    };
    Ok(CheckResult {
        model: node.table(),
        check: "grain".to_owned(),
        is_error: true,
        is_set_aside: false,
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
    let err = Error::query(format!("checking {}", node.table()), err);
    if err.needs_memory() {
        return err;
    }
    for rule in rules.iter().filter(|it| it.line.is_some()) {
        let (predicate, table) = (&rule.predicate, quoted(&node.table()));
        let sql = format!("select count(*) filter (where ({predicate}) is false) from {table}");
        if let Err(own) = collect(ctx, &sql).await {
            let message = format!("check `{}`: {}", rule.name, own.strip_backtrace());
            return Error::Models(vec![model.mistake(rule.line, message)]);
        }
    }
    err
}

fn number(batches: &[RecordBatch], column: usize) -> i64 {
    let first = batches.iter().find(|it| it.num_rows() > 0);
    first.map_or(0, |it| {
        it.column(column).as_primitive::<Int64Type>().value(0)
    })
}

pub(crate) fn keys_of(batches: &[RecordBatch]) -> Vec<String> {
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
