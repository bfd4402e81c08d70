//! Two warehouses side by side: every table they have built, row by row.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use warehouse::Warehouse;

/// Fails with the first rows that only one of the two has, table by table.
pub(crate) async fn assert_same(one: &Warehouse, other: &Warehouse) {
    let tables = one.publication().await.unwrap().unwrap().tables;
    let others = other.publication().await.unwrap().unwrap().tables;
    assert!(tables.keys().eq(others.keys()));
    let mut differences = Vec::new();
    let mut rows_compared = 0;
    for table in tables.keys() {
        let (ours, theirs) = (rows(one, table).await, rows(other, table).await);
        rows_compared += ours.len();
        let only_in = |these: &[String], those: &[String]| {
            let missing = these.iter().filter(|it| those.binary_search(it).is_err());
            missing.take(3).cloned().collect::<Vec<_>>()
        };
        if ours != theirs {
            differences.push(format!(
                "{table}: {} rows, {} from nothing\n  only worked in: {:#?}\n  only from nothing: {:#?}",
                ours.len(),
                theirs.len(),
                only_in(&ours, &theirs),
                only_in(&theirs, &ours),
            ));
        }
    }
    assert!(rows_compared > 1000, "only {rows_compared} rows to compare");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The rows of a table in an order of their own. Where a version of a row stands in the log is left out: what is only said again need
/// not move it.
async fn rows(warehouse: &Warehouse, table: &str) -> Vec<String> {
    let session = warehouse.session().await.unwrap();
    let all = session.table(table).await.unwrap();
    let mut rows: Vec<String> = all
        .collect()
        .await
        .unwrap()
        .iter()
        .flat_map(shown)
        .collect();
    rows.sort();
    rows
}

fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let schema = batch.schema();
    let told = || {
        let columns = schema.fields().iter().zip(batch.columns());
        columns.filter(|(field, _)| !field.name().starts_with('_'))
    };
    (0..batch.num_rows())
        .map(|row| {
            let values = told().map(|(field, column)| {
                let name = field.name();
                if column.data_type() == &DataType::Float64 && column.is_valid(row) {
                    // Sums of numbers in another order differ in their last digits.
                    let value = column.as_primitive::<Float64Type>().value(row);
                    return format!("{name}={value:.8e}");
                }
                let values = ArrayFormatter::try_new(column, &options).unwrap();
                format!("{name}={}", values.value(row))
            });
            values.collect::<Vec<_>>().join(" ")
        })
        .collect()
}
