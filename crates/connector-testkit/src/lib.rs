//! The promises of [`Connector`] as one test, and what such tests need. Test code only, so it may panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{collections::BTreeMap, net::SocketAddr};

use arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
};
use connector_api::{Batch, Connector, Entry, entry};
use contract::Position;
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// One row: where it came from, and its columns by name.
pub type Row = (String, BTreeMap<String, Option<String>>);

/// Checks the promises of a connector against a source that holds still and has something to read.
///
/// * Unknown settings are refused.
/// * Columns are nullable text, and every row says where it came from.
/// * The last batch has a position; resuming from any position loses and repeats nothing.
/// * Reading again from the last position yields nothing at all.
/// * A person may give any of these positions, and not any text.
pub async fn conforms<C: Connector>(settings: Value) {
    let entry = entry::<C>();
    rejects_unknown_settings(&entry, &settings);
    let all = read_entry(&entry, &settings, None).await;
    for batch in &all {
        is_well_formed(&entry, batch);
    }
    assert!(
        !rows(&all).is_empty(),
        "{}: the fixture yields no rows",
        entry.name
    );
    assert!(
        all.last().unwrap().position.is_some(),
        "{}: the last batch has no position, so it is never stored",
        entry.name
    );
    resumes_after_every_position(&entry, &settings, &all).await;
    assert!(
        (entry.check_position)(&Position(json!("nowhere"))).is_err(),
        "{}: accepts any position",
        entry.name
    );
}

/// Reads a source to its end, from a position a batch carried or from the start.
pub async fn read<C: Connector>(settings: &Value, from: Option<&Batch>) -> Vec<Batch> {
    read_entry(&entry::<C>(), settings, from).await
}

/// The rows of all batches, in order.
pub fn rows(batches: &[Batch]) -> Vec<Row> {
    batches.iter().flat_map(batch_rows).collect()
}

/// Serves `router` on a port of this machine for as long as the test runs, and tells its address.
pub async fn serve(router: axum::Router) -> String {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = tokio::net::TcpListener::bind(any_port).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn rejects_unknown_settings(entry: &Entry, settings: &Value) {
    (entry.check)(settings).unwrap();
    let mut settings = settings.clone();
    settings["no_such_setting"] = json!(true);
    assert!(
        (entry.check)(&settings).is_err(),
        "{}: accepts unknown settings",
        entry.name
    );
}

fn is_well_formed(entry: &Entry, batch: &Batch) {
    assert_eq!(
        batch.origins.len(),
        batch.rows.num_rows(),
        "{}: not one origin per row",
        entry.name
    );
    for field in batch.rows.schema().fields() {
        assert!(
            field.data_type() == &DataType::Utf8 && field.is_nullable(),
            "{}: column `{}` is not nullable text",
            entry.name,
            field.name()
        );
    }
}

async fn resumes_after_every_position(entry: &Entry, settings: &Value, all: &[Batch]) {
    for (i, batch) in all
        .iter()
        .enumerate()
        .filter(|(_, batch)| batch.position.is_some())
    {
        (entry.check_position)(batch.position.as_ref().unwrap()).unwrap();
        let rest = read_entry(entry, settings, Some(batch)).await;
        let (rest, expected) = (contents(&rest), contents(&all[i + 1..]));
        assert!(
            rest == expected,
            "{}: loses or repeats something when resumed from {:?}\nresumed:  {rest:?}\nexpected: {expected:?}",
            entry.name,
            batch.position
        );
    }
    let again = read_entry(entry, settings, all.last()).await;
    assert!(
        again.is_empty(),
        "{}: a second read is not empty: {again:?}",
        entry.name
    );
}

/// What must be the same whether or not reading was interrupted; how it is cut into batches may differ.
#[derive(Debug, PartialEq)]
struct Contents {
    rows: Vec<Row>,
    rejects: Vec<connector_api::Reject>,
    deliveries: Vec<connector_api::Delivery>,
}

fn contents(batches: &[Batch]) -> Contents {
    Contents {
        rows: rows(batches),
        rejects: batches.iter().flat_map(|it| it.rejects.clone()).collect(),
        deliveries: batches
            .iter()
            .filter_map(|it| it.delivery.clone())
            .collect(),
    }
}

async fn read_entry(entry: &Entry, settings: &Value, from: Option<&Batch>) -> Vec<Batch> {
    let position = from.and_then(|batch| batch.position.clone());
    let mut source = (entry.open)(settings.clone(), position).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = source.next().await.unwrap() {
        batches.push(batch);
    }
    batches
}

fn batch_rows(batch: &Batch) -> Vec<Row> {
    let schema = batch.rows.schema();
    let value = |column: usize, row: usize| {
        let column = batch.rows.column(column).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let row = |(row, origin): (usize, &String)| {
        let fields = schema.fields().iter().enumerate();
        let columns = fields
            .map(|(i, field)| (field.name().clone(), value(i, row)))
            .collect();
        (origin.clone(), columns)
    };
    batch.origins.iter().enumerate().map(row).collect()
}
