//! Builds the small tables that a catalogue consists of, a column at a time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::Result;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_field::{kind, oid_field};

/// A table of a known number of rows.
pub(crate) struct Sheet {
    rows: usize,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Sheet {
    pub(crate) fn of(rows: usize) -> Sheet {
        Sheet {
            rows,
            fields: Vec::new(),
            arrays: Vec::new(),
        }
    }

    fn with(mut self, field: Field, array: ArrayRef) -> Sheet {
        self.fields.push(field);
        self.arrays.push(array);
        self
    }

    /// Object ids, told to clients as `oid`.
    pub(crate) fn oids(self, name: &str, values: impl IntoIterator<Item = i32>) -> Sheet {
        let array = Int32Array::from_iter_values(values);
        self.with(oid_field(name, kind::OID, true), Arc::new(array))
    }

    pub(crate) fn oid(self, name: &str, value: i32) -> Sheet {
        let rows = self.rows;
        self.oids(name, std::iter::repeat_n(value, rows))
    }

    pub(crate) fn texts<T: AsRef<str>>(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<T>>,
    ) -> Sheet {
        let array = values.into_iter().collect::<StringArray>();
        self.with(Field::new(name, DataType::Utf8, true), Arc::new(array))
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Sheet {
        let rows = self.rows;
        self.texts(name, std::iter::repeat_n(Some(value), rows))
    }

    pub(crate) fn ints(self, name: &str, values: impl IntoIterator<Item = Option<i32>>) -> Sheet {
        let array = values.into_iter().collect::<Int32Array>();
        self.with(Field::new(name, DataType::Int32, true), Arc::new(array))
    }

    pub(crate) fn int(self, name: &str, value: i32) -> Sheet {
        let rows = self.rows;
        self.ints(name, std::iter::repeat_n(Some(value), rows))
    }

    pub(crate) fn shorts(self, name: &str, values: impl IntoIterator<Item = i16>) -> Sheet {
        let array = Int16Array::from_iter_values(values);
        self.with(Field::new(name, DataType::Int16, true), Arc::new(array))
    }

    pub(crate) fn short(self, name: &str, value: i16) -> Sheet {
        let rows = self.rows;
        self.shorts(name, std::iter::repeat_n(value, rows))
    }

    pub(crate) fn long(self, name: &str, value: i64) -> Sheet {
        let array = Int64Array::from_iter_values(std::iter::repeat_n(value, self.rows));
        self.with(Field::new(name, DataType::Int64, true), Arc::new(array))
    }

    pub(crate) fn real(self, name: &str, value: f32) -> Sheet {
        let array = Float32Array::from_iter_values(std::iter::repeat_n(value, self.rows));
        self.with(Field::new(name, DataType::Float32, true), Arc::new(array))
    }

    pub(crate) fn bools(self, name: &str, values: impl IntoIterator<Item = bool>) -> Sheet {
        let array = values.into_iter().map(Some).collect::<BooleanArray>();
        self.with(Field::new(name, DataType::Boolean, true), Arc::new(array))
    }

    pub(crate) fn bool(self, name: &str, value: bool) -> Sheet {
        let rows = self.rows;
        self.bools(name, std::iter::repeat_n(value, rows))
    }

    /// Nulls of a type.
    pub(crate) fn null(self, name: &str, kind: &DataType) -> Sheet {
        let array = new_null_array(kind, self.rows);
        self.with(Field::new(name, kind.clone(), true), array)
    }

    /// Nulls, as text.
    pub(crate) fn no_text(self, name: &str) -> Sheet {
        self.null(name, &DataType::Utf8)
    }

    /// Null arrays of text: privileges and options, of which there are none.
    pub(crate) fn no_texts(self, name: &str) -> Sheet {
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        let array = ListArray::new_null(Arc::clone(&item), self.rows);
        self.with(
            Field::new(name, DataType::List(item), true),
            Arc::new(array),
        )
    }

    /// Null arrays of numbers.
    pub(crate) fn no_numbers(self, name: &str, kind: &DataType) -> Sheet {
        let item = Arc::new(Field::new("item", kind.clone(), true));
        let array = ListArray::new_null(Arc::clone(&item), self.rows);
        self.with(
            Field::new(name, DataType::List(item), true),
            Arc::new(array),
        )
    }

    pub(crate) fn table(self) -> Result<Arc<dyn TableProvider>> {
        let schema = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.arrays)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}
