//! PostgreSQL's date patterns, `YYYY-MM-DD`, as DataFusion's, `%Y-%m-%d`; `FETCH FIRST` as `LIMIT`; `LIKE … ESCAPE`.
//!
//! DataFusion takes a pattern it does not know as plain text: `to_char(d, 'YYYY-MM')` would be `YYYY-MM` on every row.
//! Patterns: <https://www.postgresql.org/docs/16/functions-formatting.html>; `%q` and the others: chrono's `strftime`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, LimitClause, Query, Statement, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use pgwire::error::{PgWireError, PgWireResult};

use super::tools::call;
use crate::sqlstate;

/// Longest first, so that `HH24` is not read as `HH` and `24`.
const PATTERNS: &[(&str, &str)] = &[
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("IYYY", "%G"),
    ("YYYY", "%Y"),
    ("MONTH", "%B"),
    ("MON", "%b"),
    ("DAY", "%A"),
    ("DDD", "%j"),
    ("DY", "%a"),
    ("DD", "%d"),
    ("HH", "%I"),
    ("ID", "%u"),
    ("IW", "%V"),
    ("MI", "%M"),
    ("MM", "%m"),
    ("MS", "%3f"),
    ("SS", "%S"),
    ("US", "%6f"),
    ("YY", "%y"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("TZ", "%Z"),
    ("Q", "%q"),
];

/// Rewrites every pattern given as a literal, and every `FETCH FIRST n ROWS ONLY`.
pub(super) fn rewrite(statement: &mut Statement) -> PgWireResult<()> {
    match VisitMut::visit(statement, &mut Rewrite) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = PgWireError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<PgWireError> {
        let Some(fetch) = query.fetch.take() else {
            return ControlFlow::Continue(());
        };
        if fetch.percent || fetch.with_ties {
            let told = "FETCH FIRST with PERCENT or WITH TIES is not supported; use LIMIT";
            return ControlFlow::Break(sqlstate::error("0A000", told));
        }
        let one = || Expr::Value(Value::Number("1".into(), false).with_empty_span());
        let wanted = Some(fetch.quantity.unwrap_or_else(one));
        query.limit_clause = Some(match query.limit_clause.take() {
            Some(LimitClause::LimitOffset {
                offset, limit_by, ..
            }) => LimitClause::LimitOffset {
                limit: wanted,
                offset,
                limit_by,
            },
            _ => LimitClause::LimitOffset {
                limit: wanted,
                offset: None,
                limit_by: Vec::new(),
            },
        });
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<PgWireError> {
        if let Expr::Like {
            pattern,
            escape_char,
            ..
        }
        | Expr::ILike {
            pattern,
            escape_char,
            ..
        } = expr
            && let Some(escape) = escape_char.take_if(|escape| escape.value != quoted("\\").value)
        {
            // DataFusion escapes with a backslash only.
            **pattern = replaced(
                replaced((**pattern).clone(), quoted("\\"), "\\\\"),
                escape,
                "\\",
            );
        }
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let name = function.name.to_string().to_lowercase();
        if !["to_char", "to_date", "to_timestamp"].contains(&name.as_str()) {
            return ControlFlow::Continue(());
        }
        if let FunctionArguments::List(list) = &mut function.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(pattern)))) =
                list.args.get_mut(1)
            && let Value::SingleQuotedString(text) = &mut pattern.value
            && !text.contains('%')
        {
            match translated(text) {
                Some(known) => *text = known,
                None => {
                    let told = format!("{name} does not know the pattern \"{text}\"");
                    let hint = "dates and times only: YYYY, MM, DD, HH24, MI, SS, Q, IW, IYYY and their like";
                    return ControlFlow::Break(sqlstate::with_hint(
                        "0A000",
                        told,
                        Some(hint.into()),
                    ));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn quoted(text: &str) -> ValueWithSpan {
    Value::SingleQuotedString(text.to_owned()).with_empty_span()
}

/// `replace(text, from, to)`.
fn replaced(text: Expr, from: ValueWithSpan, to: &str) -> Expr {
    call(
        "replace",
        vec![text, Expr::Value(from), Expr::Value(quoted(to))],
    )
}

fn translated(pattern: &str) -> Option<String> {
    let mut translated = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('"') {
            let (literal, after) = after.split_once('"')?;
            translated.push_str(literal);
            rest = after;
            continue;
        }
        // Fill mode only takes blanks away that DataFusion never puts in.
        if let Some(after) = rest.strip_prefix("FM") {
            rest = after;
            continue;
        }
        let upper = rest.to_ascii_uppercase();
        match PATTERNS.iter().find(|(known, _)| upper.starts_with(known)) {
            Some((known, specifier)) => {
                translated.push_str(specifier);
                rest = &rest[known.len()..];
            }
            None if first.is_ascii_alphanumeric() && first != 'T' => return None,
            None => {
                translated.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated_or_refused() {
        for (postgres, here) in [
            ("YYYY-MM-DD", Some("%Y-%m-%d")),
            ("YYYY\"H\"Q", Some("%YH%q")),
            ("FMMonth DD, HH24:MI:SS.US", Some("%B %d, %H:%M:%S.%6f")),
            ("IYYY-IW", Some("%G-%V")),
            ("yyyy-mm-ddTHH24:MI", Some("%Y-%m-%dT%H:%M")),
            ("999G999D00", None),
        ] {
            assert_eq!(translated(postgres).as_deref(), here, "{postgres}");
        }
    }
}
