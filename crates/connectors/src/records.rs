//! JSON records as columns of text.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use connector_api::Result;
use serde_json::{Map, Value};

use crate::rows::text_batch;

/// Collects JSON objects as rows.
///
/// Nested objects become dotted columns (`address.city`), arrays JSON text, numbers and booleans
/// their JSON text; `null` and absent are both null. Numbers have the precision of a 64-bit float, or
/// of a 64-bit integer.
#[derive(Default)]
pub(crate) struct Records {
    columns: Vec<(String, Vec<Option<String>>)>,
    by_name: HashMap<String, usize>,
    rows: usize,
}

impl Records {
    /// Adds a record, or says why it cannot be a row.
    pub(crate) fn push(&mut self, record: &Map<String, Value>) -> Result<(), String> {
        let mut cells = Vec::new();
        flatten("", record, &mut cells);
        let mut names: Vec<&str> = cells.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two values would be column `{}`", twice[0]));
        }
        for (name, value) in cells {
            let column = self.column(name);
            let values = &mut self.columns[column].1;
            values.resize(self.rows, None);
            values.push(value);
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The value of a column in the record pushed last.
    pub(crate) fn last(&self, name: &str) -> Option<&str> {
        let (_, values) = &self.columns[*self.by_name.get(name)?];
        let last = self.rows.checked_sub(1)?;
        values.get(last)?.as_deref()
    }

    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let rows = self.rows;
        let columns = self.columns.into_iter().map(|(name, mut values)| {
            values.resize(rows, None);
            (name, Arc::new(StringArray::from(values)) as ArrayRef)
        });
        text_batch(columns.collect(), rows)
    }

    fn column(&mut self, name: String) -> usize {
        let columns = &mut self.columns;
        *self.by_name.entry(name).or_insert_with_key(|name| {
            columns.push((name.clone(), Vec::new()));
            columns.len() - 1
        })
    }
}

fn flatten(prefix: &str, record: &Map<String, Value>, cells: &mut Vec<(String, Option<String>)>) {
    for (name, value) in record {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), inner, cells),
            other => cells.push((name, text(other))),
        }
    }
}

/// A value as a cell: texts as they are, everything else as JSON.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> &Map<String, Value> {
        value.as_object().unwrap()
    }

    #[test]
    fn records_become_text_columns() {
        let mut records = Records::default();
        for record in [
            json!({"id": 1, "person": {"name": "Bo", "home": {"city": "Aarhus"}}, "ok": true}),
            json!({"id": 2.5, "person": null, "tags": ["a", 1], "person.age": 30}),
            json!({"id": "0101", "person": {}, "ok": null, "text": ""}),
        ] {
            records.push(object(&record)).unwrap();
        }
        assert_eq!(records.last("id"), Some("0101"));
        assert_eq!(records.last("tags"), None);
        let table = pretty_format_batches(&[records.finish().unwrap()])
            .unwrap()
            .to_string();
        expect_test::expect![[r#"
            +------+------+------------------+-------------+--------+------------+---------+------+
            | id   | ok   | person.home.city | person.name | person | person.age | tags    | text |
            +------+------+------------------+-------------+--------+------------+---------+------+
            | 1    | true | Aarhus           | Bo          |        |            |         |      |
            | 2.5  |      |                  |             |        | 30         | ["a",1] |      |
            | 0101 |      |                  |             |        |            |         |      |
            +------+------+------------------+-------------+--------+------------+---------+------+"#]].assert_eq(&table);
    }

    #[test]
    fn two_values_for_one_column_are_no_row() {
        let mut records = Records::default();
        let err = records
            .push(object(&json!({"a.b": 1, "a": {"b": 2}})))
            .unwrap_err();
        assert_eq!(err, "two values would be column `a.b`");
        assert_eq!(records.finish().unwrap().num_rows(), 0);
    }

    #[test]
    fn records_without_columns_are_still_rows() {
        let mut records = Records::default();
        records.push(object(&json!({}))).unwrap();
        let batch = records.finish().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 0));
    }
}
