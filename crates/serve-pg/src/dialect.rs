//! From PostgreSQL's SQL to what DataFusion plans, and the column names PostgreSQL would give the result.
//!
//! Queries on `pg_catalog` come from tools, and get every rewrite datafusion-postgres knows. Queries of people get only
//! the rewrites that keep their meaning: two of the library's rules replace a correlated subquery by null and add
//! qualifiers by guesswork, which is fine for a tool's tree view and wrong for a number.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query as AstQuery, Select, SelectItem, SetExpr,
    Statement, Value, visit_relations,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::datafusion_pg_catalog::sql::rules::{
    AliasDuplicatedProjectionRewrite, CurrentUserVariableToSessionUserFunctionCall,
    FixArrayLiteral, PrependUnqualifiedPgTableName, RewriteArrayAnyAllOperation,
    RewritePgCatalogOperator, SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};
use pgwire::error::PgWireResult;

use crate::parameters;
use crate::sqlstate;

mod patterns;
pub(crate) mod tools;

/// A query ready for the planner but for its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) statement: Statement,
    /// As it was parsed.
    pub(crate) text: String,
    /// Names of the result's columns; `None` keeps the planner's.
    pub(crate) names: Vec<Option<String>>,
    /// How many parameters it takes: the highest `$n`.
    pub(crate) placeholders: usize,
    /// The tag of its completion.
    pub(crate) tag: &'static str,
}

/// Parses exactly one statement.
pub(crate) fn parse(text: &str) -> PgWireResult<Query> {
    let syntax = |cause: &dyn std::fmt::Display| {
        sqlstate::error("42601", contract::scrub(&cause.to_string()).into_owned())
    };
    let mut statements =
        Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|cause| syntax(&cause))?;
    let (Some(mut statement), true) = (statements.pop(), statements.is_empty()) else {
        return Err(sqlstate::error("42601", "expected one statement"));
    };
    let names = top_names(&statement);
    let tag = if matches!(statement, Statement::Explain { .. }) {
        "EXPLAIN"
    } else {
        "SELECT"
    };
    statement = if reads_catalogue(&statement) {
        tools::rewrite(
            TOOLS
                .parse(text)
                .map_err(|cause| syntax(&cause))?
                .pop()
                .unwrap_or(statement),
        )
    } else {
        PEOPLE
            .iter()
            .fold(statement, |statement, rule| rule.rewrite(statement))
    };
    patterns::rewrite(&mut statement)?;
    tell_twins_apart(&mut statement);
    let placeholders = parameters::highest(&statement);
    Ok(Query {
        statement,
        text: text.to_owned(),
        names,
        placeholders,
        tag,
    })
}

static TOOLS: LazyLock<PostgresCompatibilityParser> =
    LazyLock::new(PostgresCompatibilityParser::new);

static PEOPLE: LazyLock<Vec<Box<dyn SqlStatementRewriteRule>>> = LazyLock::new(|| {
    vec![
        Box::new(AliasDuplicatedProjectionRewrite),
        Box::new(RewriteArrayAnyAllOperation),
        Box::new(PrependUnqualifiedPgTableName),
        Box::new(StripCallableQualifier),
        Box::new(FixArrayLiteral),
        Box::new(CurrentUserVariableToSessionUserFunctionCall),
        Box::new(StripCollate),
        Box::new(RewritePgCatalogOperator),
    ]
});

fn reads_catalogue(statement: &Statement) -> bool {
    visit_relations(statement, |name: &ObjectName| {
        let parts: Vec<String> = name
            .0
            .iter()
            .filter_map(ObjectNamePart::as_ident)
            .map(|ident| ident.value.to_lowercase())
            .collect();
        let found = match parts.as_slice() {
            [table] => PG_CATALOG_TABLES.contains(&table.as_str()) || table.starts_with("pg_"),
            [.., schema, _] => schema == "pg_catalog",
            [] => false,
        };
        if found {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .is_break()
}

/// The outermost `SELECT` whose columns are the result's.
fn top_select(query: &AstQuery) -> Option<&Select> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(query) => body = query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            _ => return None,
        }
    }
}

fn top_names(statement: &Statement) -> Vec<Option<String>> {
    let Statement::Query(query) = statement else {
        return Vec::new();
    };
    let Some(select) = top_select(query) else {
        return Vec::new();
    };
    select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(expr) => Some(Some(name_of(expr))),
            SelectItem::ExprWithAlias { alias, .. } => Some(Some(folded(alias))),
            _ => None,
        })
        // A wildcard stands for as many columns as there are; from there on positions are not known.
        .take_while(Option::is_some)
        .flatten()
        .collect()
}

/// The name PostgreSQL gives an expression without one.
fn name_of(expr: &Expr) -> String {
    const NONE: &str = "?column?";
    match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(idents) => idents.last().map_or_else(|| NONE.into(), folded),
        Expr::Function(function) => function
            .name
            .0
            .last()
            .and_then(ObjectNamePart::as_ident)
            .map_or_else(|| NONE.into(), folded),
        Expr::Cast {
            expr, data_type, ..
        } => match name_of(expr) {
            name if name != NONE => name,
            _ => parameters::type_named(&data_type.to_string()).map_or_else(
                || data_type.to_string().to_lowercase(),
                |known| known.name().to_owned(),
            ),
        },
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::Case { .. } => "case".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::Array(_) => "array".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::TypedString(typed) => typed.data_type.to_string().to_lowercase(),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".into(),
        Expr::Subquery(query) => top_select(query)
            .and_then(|select| select.projection.first())
            .map_or_else(
                || NONE.into(),
                |item| match item {
                    SelectItem::UnnamedExpr(expr) => name_of(expr),
                    SelectItem::ExprWithAlias { alias, .. } => folded(alias),
                    _ => NONE.into(),
                },
            ),
        _ => NONE.into(),
    }
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

/// PostgreSQL lets two result columns have one name, DataFusion does not; the second gets an alias nobody sees.
fn tell_twins_apart(statement: &mut Statement) {
    let Statement::Query(query) = statement else {
        return;
    };
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let mut seen = HashSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let name = match item {
            SelectItem::UnnamedExpr(expr) => uncast(expr).to_string(),
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            _ => continue,
        };
        if seen.insert(name) {
            continue;
        }
        let hidden = Ident::new(format!("__twin_{at}"));
        match item {
            SelectItem::UnnamedExpr(expr) => {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: hidden,
                };
            }
            SelectItem::ExprWithAlias { alias, .. } => *alias = hidden,
            _ => {}
        }
    }
}

/// DataFusion calls a cast by what it casts.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => uncast(expr),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().names.into_iter().flatten().collect()
    }

    #[test]
    fn columns_are_named_as_postgres_names_them() {
        assert_eq!(
            names(
                r#"select count(*), sum(x) as S, a.B, "C", 1 + 1, '1'::int, x::text, case when a then b end, (1), true"#
            ),
            [
                "count", "s", "b", "C", "?column?", "int4", "x", "case", "?column?", "bool"
            ]
        );
        assert_eq!(names("select a, *, b from t"), ["a"]);
        assert_eq!(
            names("select count(*) from t union all select 2"),
            ["count"]
        );
    }

    #[test]
    fn a_correlated_subquery_of_a_person_is_not_replaced_by_null() {
        let text = "SELECT a.x, (SELECT max(b.y) FROM core.b AS b WHERE b.x = a.x) AS top FROM core.a AS a";
        assert_eq!(parse(text).unwrap().statement.to_string(), text);
        let tools = "SELECT a.x, (SELECT max(b.y) FROM pg_class b WHERE b.x = a.x) AS top FROM pg_class AS a";
        assert!(
            parse(tools)
                .unwrap()
                .statement
                .to_string()
                .contains("NULL AS top")
        );
    }

    #[test]
    fn twins_are_told_apart() {
        assert_eq!(
            parse("select '5'::int, '5'::text")
                .unwrap()
                .statement
                .to_string(),
            "SELECT '5'::INT, '5'::TEXT AS __twin_1"
        );
        let query = parse("select 1, 1, count(*) as n, 2 as n").unwrap();
        assert_eq!(
            query.statement.to_string(),
            "SELECT 1, 1 AS __twin_1, count(*) AS n, 2 AS __twin_3"
        );
        assert_eq!(
            query.names.into_iter().flatten().collect::<Vec<_>>(),
            ["?column?", "?column?", "n", "n"]
        );
    }
}
