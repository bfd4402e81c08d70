//! The query log over a lake in memory.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use super::*;

fn row(statement: &str, rows: Option<u64>) -> Row {
    Row {
        query_id: Uuid::now_v7().to_string(),
        at: DateTime::from_timestamp_micros(1_277_938_800_123_456).unwrap(),
        who: "ann".into(),
        role: "ann".into(),
        statement: statement.into(),
        tables: vec!["core.unit".into(), "raw.unit".into()],
        rows,
        milliseconds: 7,
        error: rows.is_none().then(|| "22012".into()),
    }
}

/// `statement` and `rows` of what the table has, by statement.
async fn written(lake: &Lake) -> Vec<(String, Option<i64>)> {
    let ctx = SessionContext::new();
    ctx.register_table("query_log", table(lake).await.unwrap())
        .unwrap();
    // Cast, since a table may be read as views of texts.
    let sql = "select arrow_cast(statement, 'Utf8'), rows from query_log order by 1";
    let mut all = Vec::new();
    for batch in ctx.sql(sql).await.unwrap().collect().await.unwrap() {
        let (statements, rows) = (batch.column(0), batch.column(1));
        let rows = rows.as_primitive::<Int64Type>();
        for at in 0..batch.num_rows() {
            let sent = rows.is_valid(at).then(|| rows.value(at));
            all.push((statements.as_string::<i32>().value(at).to_owned(), sent));
        }
    }
    all
}

#[test]
fn a_failed_statement_has_a_code_and_no_rows() {
    let rows = batch(&[row("a", Some(3)), row("b", None)]).unwrap();
    assert_eq!(rows.schema(), batch(&[]).unwrap().schema());
    let sent = rows["rows"].as_primitive::<Int64Type>();
    assert_eq!((sent.value(0), sent.is_null(1)), (3, true));
    let errors = rows["error"].as_string::<i32>();
    assert_eq!((errors.is_null(0), errors.value(1)), (true, "22012"));
    let tables = rows["tables"].as_list::<i32>().value(1);
    let tables: Vec<_> = tables.as_string::<i32>().iter().flatten().collect();
    assert_eq!(tables, ["core.unit", "raw.unit"]);
    assert_eq!(rows["policy"].null_count(), 2);
}

#[tokio::test]
async fn statements_are_written_once_without_cpr_numbers_and_cut() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    assert!(written(&lake).await.is_empty(), "no table is no error");
    let log = QueryLog::start(lake.clone());
    let begin = |statement: &str| log.begin("ann", "ann", statement, vec!["raw.unit".into()]);

    let counted = begin("a where cpr = '610170-1234'");
    counted.sent(2);
    counted.sent(1);
    counted.end();
    counted.fail("57014");
    drop(counted);
    drop(begin(&format!("b{}", "ø".repeat(LONGEST))));
    log.flush().await;
    begin("c").fail("42703");
    log.flush().await;
    log.flush().await;

    let written = written(&lake).await;
    let rows: Vec<Option<i64>> = written.iter().map(|it| it.1).collect();
    assert_eq!(rows, [Some(3), Some(0), None]);
    assert_eq!(written[0].0, "a where cpr = '[cpr]'");
    assert_eq!(written[1].0.chars().count(), LONGEST);
    assert_eq!(written[2].0, "c");
    assert_eq!(lake.txns(QUERY_LOG).await.unwrap().len(), 1, "one writer");
}

#[tokio::test]
async fn more_than_a_batch_is_written_whole() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    let log = QueryLog::start(lake.clone());
    for _ in 0..2500 {
        log.begin("ann", "ann", "a", vec!["raw.unit".into()]).end();
    }
    log.flush().await;
    assert_eq!(written(&lake).await.len(), 2500);
}
