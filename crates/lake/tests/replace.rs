//! Replacing, and reading at a version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray, UInt64Array},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use datafusion::{
    catalog::TableProvider, error::DataFusionError, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter, prelude::SessionContext,
};
use lake::Lake;

const TABLE: &str = "mart.overview";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("place", DataType::Int32, false),
        Field::new("name", DataType::Utf8View, true),
        Field::new("n", DataType::UInt64, false),
    ]))
}

fn batch(rows: &[(i32, &str, u64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringViewArray::from_iter_values(
            rows.iter().map(|row| row.1),
        )),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn stream(batches: Vec<Result<RecordBatch, DataFusionError>>) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(
        schema(),
        futures::stream::iter(batches),
    ))
}

async fn replace(lake: &Lake, rows: &[(i32, &str, u64)], partition_by: &[&str]) -> i64 {
    let input = stream(vec![Ok(batch(rows))]);
    let partition_by: Vec<String> = partition_by.iter().map(|it| (*it).to_owned()).collect();
    lake.replace(TABLE, &schema(), input, &partition_by)
        .await
        .unwrap()
}

/// The answer of Delta's own scan, which that of the plain files has to be, too.
async fn query(lake: &Lake, version: Option<i64>, sql: &str) -> String {
    let delta = lake.provider(TABLE, version).await.unwrap();
    let plain = lake.plain_provider(TABLE, version).await.unwrap();
    let answer = answer(delta.expect("a table"), sql).await;
    assert_eq!(self::answer(plain.expect("a table"), sql).await, answer);
    answer
}

async fn answer(table: Arc<dyn TableProvider>, sql: &str) -> String {
    let context = SessionContext::new();
    context.register_table("t", table).unwrap();
    let found = context.sql(sql).await.unwrap().collect().await.unwrap();
    arrow::util::pretty::pretty_format_batches(&found)
        .unwrap()
        .to_string()
}

const SUMS: &str =
    "select place, count(*) as rows, sum(n) as n from t group by place order by place";

fn sums(rows: &[(i32, i32, i32)]) -> String {
    let rule = "+-------+------+---+";
    let mut lines = vec![
        rule.to_owned(),
        "| place | rows | n |".to_owned(),
        rule.to_owned(),
    ];
    lines.extend(
        rows.iter()
            .map(|(place, rows, n)| format!("| {place:<5} | {rows:<4} | {n} |")),
    );
    lines.push(rule.to_owned());
    lines.join("\n")
}

#[tokio::test]
async fn each_version_holds_exactly_what_it_was_given() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    assert!(lake.provider(TABLE, None).await.unwrap().is_none());
    assert_eq!(
        replace(&lake, &[(101, "a", 1), (147, "b", 2), (101, "c", 3)], &[]).await,
        0
    );
    assert_eq!(replace(&lake, &[(147, "d", 5)], &["place"]).await, 1);
    assert_eq!(replace(&lake, &[], &["place"]).await, 2);
    assert_eq!(
        replace(&lake, &[(101, "e", 7), (147, "f", 1)], &["place"]).await,
        3
    );

    assert_eq!(
        query(&lake, Some(0), SUMS).await,
        sums(&[(101, 2, 4), (147, 1, 2)])
    );
    assert_eq!(query(&lake, Some(1), SUMS).await, sums(&[(147, 1, 5)]));
    assert_eq!(query(&lake, Some(2), SUMS).await, "++\n++".to_owned());
    assert_eq!(
        query(&lake, None, SUMS).await,
        sums(&[(101, 1, 7), (147, 1, 1)])
    );
    let one = "select place, name, n from t where place = 101";
    let shown = query(&lake, None, one).await;
    assert!(
        shown.contains("| 101   | e    | 7 |") && shown.lines().count() == 5,
        "{shown}"
    );
    assert!(lake.provider(TABLE, Some(9)).await.is_err());
}

/// Also where no column is asked for, so that nothing has to be read to count the rows.
#[tokio::test]
async fn a_limit_is_heeded() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    replace(&lake, &[(1, "a", 1), (1, "b", 2), (2, "c", 3)], &["place"]).await;
    for (sql, rows) in [
        ("select 1 from t limit 1", 1),
        ("select 1 from t where place = 1 limit 1", 1),
        ("select 1 from t where place < 9 limit 2", 2),
        ("select 1 from (select * from t limit 2)", 2),
        ("select 1 from t limit 1 offset 2", 1),
        ("select 1 from t limit 9", 3),
        ("select place from t limit 1", 1),
    ] {
        let counted = query(&lake, None, &format!("select count(*) as n from ({sql})")).await;
        assert!(counted.contains(&format!("| {rows} |")), "{sql}: {counted}");
        let shown = query(&lake, None, sql).await;
        assert_eq!(shown.lines().count(), rows + 4, "{sql}: {shown}");
    }
}

#[tokio::test]
async fn columns_come_back_with_the_types_that_were_written() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    replace(&lake, &[(101, "a", 1)], &["place"]).await;
    let table = lake.provider(TABLE, None).await.unwrap().unwrap();
    let types = |schema: &Schema| -> Vec<(String, DataType)> {
        let fields = schema.fields().iter();
        fields
            .map(|it| (it.name().clone(), it.data_type().clone()))
            .collect()
    };
    let expected = vec![
        ("place".to_owned(), DataType::Int32),
        ("name".to_owned(), DataType::Utf8),
        ("n".to_owned(), DataType::Int64),
    ];
    assert_eq!(types(&table.schema()), expected);
    let context = SessionContext::new();
    let read = context.read_table(table).unwrap().collect().await.unwrap();
    assert_eq!(types(&read[0].schema()), expected);
}

#[tokio::test]
async fn the_schema_may_change_from_version_to_version() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    replace(&lake, &[(101, "a", 1)], &["place"]).await;
    let other = Arc::new(Schema::new(vec![Field::new(
        "name",
        DataType::Int64,
        false,
    )]));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![42]));
    let rows = RecordBatch::try_new(Arc::clone(&other), vec![column]).unwrap();
    let input = futures::stream::iter(vec![Ok(rows)]);
    let input = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&other), input));
    lake.replace(TABLE, &other, input, &[]).await.unwrap();

    let context = SessionContext::new();
    let table = lake.provider(TABLE, None).await.unwrap().unwrap();
    let read = context.read_table(table).unwrap().collect().await.unwrap();
    assert_eq!(read[0].num_columns(), 1);
    assert_eq!(read[0].column(0).as_primitive::<Int64Type>().value(0), 42);
    assert_eq!(query(&lake, Some(0), SUMS).await, sums(&[(101, 1, 1)]));
}

#[tokio::test]
async fn a_failing_input_leaves_the_table_as_it_was() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    replace(&lake, &[(101, "a", 1)], &[]).await;
    let broken = Err(DataFusionError::Execution("division by zero".to_owned()));
    let input = stream(vec![Ok(batch(&[(101, "b", 2)])), broken]);
    let failed = lake
        .replace(TABLE, &schema(), input, &[])
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("division by zero"), "{failed}");
    assert_eq!(lake.version(TABLE).await.unwrap(), Some(0));
    assert_eq!(query(&lake, None, SUMS).await, sums(&[(101, 1, 1)]));

    let unknown = lake
        .replace(TABLE, &schema(), stream(vec![]), &["nowhere".to_owned()])
        .await;
    assert!(unknown.unwrap_err().to_string().contains("`nowhere`"));
}

#[tokio::test]
async fn plain_files_are_written_once() {
    let lake = Lake::open("memory:///deep/inside", HashMap::new()).unwrap();
    assert_eq!(lake.get("_publications/1.json").await.unwrap(), None);
    assert!(
        lake.put_new("_publications/1.json", "first".into())
            .await
            .unwrap()
    );
    assert!(
        !lake
            .put_new("_publications/1.json", "second".into())
            .await
            .unwrap()
    );
    assert!(
        lake.put_new("_publications/2.json", "third".into())
            .await
            .unwrap()
    );
    let found = lake.get("_publications/1.json").await.unwrap().unwrap();
    assert_eq!(found, "first");
    let listed = lake.list("_publications").await.unwrap();
    assert_eq!(listed, ["_publications/1.json", "_publications/2.json"]);
    assert!(lake.list("_schemas").await.unwrap().is_empty());
    assert!(lake.tables().await.unwrap().is_empty());
}

#[test]
fn a_root_that_is_no_place_is_refused_and_options_stay_unseen() {
    let secret = HashMap::from([("aws_secret_access_key".to_owned(), "s3cret".to_owned())]);
    let refused = Lake::open("ftp://example.org/lake", secret.clone()).unwrap_err();
    assert!(
        refused.to_string().contains("ftp://example.org/lake"),
        "{refused}"
    );
    let mut options = secret;
    options.insert("aws_access_key_id".to_owned(), "someone".to_owned());
    let lake = Lake::open("s3://bucket/lake", options).unwrap();
    assert_eq!(format!("{lake:?}"), "Lake(\"s3://bucket/lake/\")");
    assert_eq!(lake.path_of("raw.offer"), "s3://bucket/lake/raw/offer");
}

/// The parts of a version, sorted; `-` stands for rows without a place.
fn named(parts: std::collections::BTreeSet<lake::Part>) -> Vec<String> {
    let name = |part: lake::Part| part.unwrap_or_else(|| "-".to_owned());
    parts.into_iter().map(name).collect()
}

fn parts(places: &[i32]) -> std::collections::BTreeSet<lake::Part> {
    places.iter().map(|it| Some(it.to_string())).collect()
}

async fn stage(lake: &Lake, rows: &[(i32, &str, u64)]) -> lake::Staged {
    let input = stream(vec![Ok(batch(rows))]);
    let by = ["place".to_owned()];
    lake.stage(TABLE, &schema(), input, &by).await.unwrap()
}

#[tokio::test]
async fn some_parts_are_replaced_and_the_others_stay() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    let first = replace(&lake, &[(1, "a", 1), (2, "b", 2), (3, "c", 3)], &["place"]).await;
    assert_eq!(
        named(lake.parts(TABLE, first).await.unwrap()),
        ["1", "2", "3"]
    );
    // Part 2 has other rows, part 3 none any more; what was staged of part 1 is not wanted.
    let staged = stage(&lake, &[(2, "b", 4), (2, "bb", 5), (1, "not wanted", 9)]).await;
    assert_eq!(named(staged.parts()), ["1", "2"]);
    let second = lake
        .swap(staged, Some((first, &parts(&[2, 3]))))
        .await
        .unwrap();
    assert_eq!(
        query(&lake, Some(second), SUMS).await,
        sums(&[(1, 1, 1), (2, 2, 9)])
    );
    let changed = lake.parts_changed(TABLE, first, second).await.unwrap();
    assert_eq!(named(changed.unwrap()), ["2", "3"]);
}

#[tokio::test]
async fn a_part_is_replaced_in_an_earlier_version_as_if_none_had_come_after_it() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    let first = replace(&lake, &[(1, "a", 1), (2, "b", 2), (3, "c", 3)], &["place"]).await;
    // A candidate that was never published.
    replace(&lake, &[(1, "wrong", 100), (4, "wrong", 400)], &["place"]).await;
    let staged = stage(&lake, &[(2, "b", 8)]).await;
    let third = lake
        .swap(staged, Some((first, &parts(&[2]))))
        .await
        .unwrap();
    let expected = sums(&[(1, 1, 1), (2, 1, 8), (3, 1, 3)]);
    assert_eq!(query(&lake, Some(third), SUMS).await, expected);
    let changed = lake.parts_changed(TABLE, first, third).await.unwrap();
    assert_eq!(named(changed.unwrap()), ["2"]);
    // And another process reads the same.
    assert_eq!(query(&lake, None, SUMS).await, expected);
}

#[tokio::test]
async fn what_is_discarded_leaves_the_table_alone() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    let first = replace(&lake, &[(1, "a", 1)], &["place"]).await;
    let staged = stage(&lake, &[(1, "a", 2)]).await;
    lake.discard(staged).await;
    assert_eq!(lake.version(TABLE).await.unwrap(), Some(first));
    let same = lake.parts_changed(TABLE, first, first).await.unwrap();
    assert_eq!(named(same.unwrap()), [""; 0]);
}

#[tokio::test]
async fn versions_split_otherwise_cannot_be_compared_part_by_part() {
    let lake = Lake::open("memory:///", HashMap::new()).unwrap();
    let whole = replace(&lake, &[(1, "a", 1)], &[]).await;
    let split = replace(&lake, &[(1, "a", 1)], &["place"]).await;
    assert_eq!(lake.parts_changed(TABLE, whole, split).await.unwrap(), None);
    assert_eq!(named(lake.parts(TABLE, whole).await.unwrap()), ["-"]);
}
