//! How function tests ask: SQL in, the answer as text out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;

/// Asserts the answer of each expression; nulls show as `NULL`.
pub(super) fn answers(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        let answer = ask(&format!("select {expression}"))
            .unwrap_or_else(|err| panic!("{expression}: {err}"));
        assert_eq!(answer, [*expected], "{expression}");
    }
}

/// The error of an expression.
pub(super) fn error(expression: &str) -> String {
    ask(&format!("select {expression}")).expect_err(expression)
}

/// The first column of a query's answer, without constant folding so that columns are what is computed.
pub(super) fn ask(sql: &str) -> Result<Vec<String>, String> {
    let ctx = SessionContext::new();
    super::register(&ctx);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = runtime
        .block_on(async { ctx.sql(sql).await?.collect().await })
        .map_err(|err| err.to_string())?;
    let options = FormatOptions::default().with_null("NULL");
    let mut answers = Vec::new();
    for batch in batches {
        let column = ArrayFormatter::try_new(batch.column(0), &options).unwrap();
        answers.extend((0..batch.num_rows()).map(|row| column.value(row).to_string()));
    }
    Ok(answers)
}
