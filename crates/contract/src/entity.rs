//! The entities: what every record looks like, read from `schemas/*.avsc`.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{self, DataType, Date32Type, Int32Type, Schema, SchemaRef, TimeUnit},
    util::display::array_value_to_string,
};
use serde_json::Value;

use crate::{ContractError, avsc, avsc::Field, avsc::Kind, embedded};

/// One kind of record: one schema, one topic, one landed table, one current-state table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Its name in the singular: `participation`.
    pub name: String,
    /// What one record is, in a sentence.
    pub doc: String,
    /// The columns that tell one thing from another.
    pub key: Vec<String>,
    /// The columns, in order.
    pub fields: Vec<Field>,
    /// Pairs of columns of which the first may not exceed the second.
    pub ordered: Vec<(String, String)>,
    avro: &'static str,
    schema: SchemaRef,
}

/// All entities, by name.
pub fn entities() -> &'static [Entity] {
    // The build script has refused every file that `parse` refuses, so none is dropped here.
    static ALL: LazyLock<Vec<Entity>> = LazyLock::new(|| {
        let records = embedded::RECORDS.iter();
        records.filter_map(|(_, text)| Entity::read(text)).collect()
    });
    &ALL
}

/// The entity of this name.
pub fn entity(name: &str) -> Option<&'static Entity> {
    let all = entities();
    let found = all.binary_search_by(|entity| entity.name.as_str().cmp(name));
    found.ok().and_then(|at| all.get(at))
}

/// Whether a column of this name names things, `offer_id`.
pub fn is_id(column: &str) -> bool {
    column.ends_with("_id")
}

impl Entity {
    /// The topic its records travel on: `pejl.participation`.
    pub fn topic(&self) -> String {
        format!("pejl.{}", self.name)
    }

    /// The table with every version: `raw.participation`.
    pub fn raw_table(&self) -> String {
        format!("raw.{}", self.name)
    }

    /// The table with the latest version: `core.participation`.
    pub fn core_table(&self) -> String {
        format!("core.{}", self.name)
    }

    /// The text of its `.avsc` file.
    pub fn avro(&self) -> &str {
        self.avro
    }

    /// The columns as Arrow has them, in the order of the file.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The column of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The record key of a row: a JSON array of the key values as text, `["101","2010-01-01","all"]`.
    ///
    /// `batch` holds the key columns by name; a value that is null or not there reads as empty text.
    pub fn key_of(&self, batch: &RecordBatch, row: usize) -> Vec<u8> {
        let values = self.key.iter().map(|name| {
            let column = batch.column_by_name(name);
            Value::from(column.map_or(Cow::Borrowed(""), |column| text_at(column, row)))
        });
        Value::Array(values.collect()).to_string().into_bytes()
    }

    /// The values in a record key, in the order of [`Entity::key`].
    pub fn key_values(&self, key: &[u8]) -> Result<Vec<String>, ContractError> {
        match serde_json::from_slice::<Vec<String>>(key) {
            Ok(values) if values.len() == self.key.len() => Ok(values),
            _ => Err(ContractError::Key {
                entity: self.name.clone(),
                expected: self.key.join(", "),
            }),
        }
    }

    fn read(text: &'static str) -> Option<Self> {
        let record = avsc::parse(text).ok()?;
        let columns = record.fields.iter().map(|field| {
            datatypes::Field::new(&field.name, field.kind.arrow_type(), field.nullable)
        });
        Some(Self {
            schema: Arc::new(Schema::new(columns.collect::<Vec<_>>())),
            name: record.name,
            doc: record.doc,
            key: record.key,
            fields: record.fields,
            ordered: record.ordered,
            avro: text,
        })
    }
}

impl Kind {
    /// The Arrow type that holds it.
    pub fn arrow_type(self) -> DataType {
        match self {
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        }
    }
}

/// A value as text; empty where it is null.
fn text_at(column: &dyn Array, row: usize) -> Cow<'_, str> {
    if row >= column.len() || column.is_null(row) {
        return Cow::Borrowed("");
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Int32 => column
            .as_primitive::<Int32Type>()
            .value(row)
            .to_string()
            .into(),
        DataType::Date32 => {
            let date = column.as_primitive::<Date32Type>().value_as_date(row);
            date.map_or_else(String::new, |date| date.to_string())
                .into()
        }
        _ => array_value_to_string(column, row)
            .unwrap_or_default()
            .into(),
    }
}
