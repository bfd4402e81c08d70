//! `ref.*`: the code lists of the contract and the definitions, as tables.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, Int32Array, RecordBatch, StringArray},
    datatypes::{Date32Type, Field, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};
use sha2::{Digest, Sha256};
use spec::Definition;

/// The table with the definitions.
pub(crate) const DEFINITION: &str = "definition";

/// Whether `ref` has a table of this name.
pub(crate) fn is_table(name: &str) -> bool {
    name == DEFINITION || contract::code_list(name).is_some()
}

/// Every table of `ref` with its rows.
pub(crate) fn tables(definitions: &[Definition]) -> Vec<(String, RecordBatch)> {
    let lists = contract::code_lists().iter();
    let mut tables: Vec<_> = lists.map(|it| (it.name.clone(), it.batch())).collect();
    tables.push((DEFINITION.to_owned(), definition_rows(definitions)));
    tables
}

/// Changes with the rows: the version of a table that has none.
pub(crate) fn fingerprint(rows: &RecordBatch) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", rows.schema()));
    let options = FormatOptions::default().with_null("\u{0}");
    for column in rows.columns() {
        match ArrayFormatter::try_new(column, &options) {
            Ok(values) => {
                for row in 0..rows.num_rows() {
                    hash.update(values.value(row).to_string());
                    hash.update([0xff]);
                }
            }
            Err(err) => hash.update(err.to_string()),
        }
    }
    hex::encode(hash.finalize())
}

fn definition_rows(definitions: &[Definition]) -> RecordBatch {
    fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
    let all = || definitions.iter();
    let parameters: Vec<String> = all().map(|it| it.parameters.to_string()).collect();
    let versions = all().map(|it| i32::try_from(it.version).unwrap_or(i32::MAX));
    let since = all().map(|it| Date32Type::from_naive_date(it.valid_from));
    let columns: [(&str, bool, ArrayRef); 10] = [
        (
            "definition_id",
            false,
            texts(all().map(|it| Some(it.definition_id.as_str()))),
        ),
        (
            "version",
            false,
            Arc::new(Int32Array::from_iter_values(versions)),
        ),
        (
            "title_da",
            false,
            texts(all().map(|it| Some(it.title_da.as_str()))),
        ),
        (
            "title_en",
            false,
            texts(all().map(|it| Some(it.title_en.as_str()))),
        ),
        (
            "text_da",
            false,
            texts(all().map(|it| Some(it.text_da.as_str()))),
        ),
        (
            "text_en",
            false,
            texts(all().map(|it| Some(it.text_en.as_str()))),
        ),
        ("seed", true, texts(all().map(|it| it.seed.as_deref()))),
        ("quote", true, texts(all().map(|it| it.quote.as_deref()))),
        (
            "parameters",
            false,
            texts(parameters.iter().map(|it| Some(it.as_str()))),
        ),
        (
            "valid_from",
            false,
            Arc::new(Date32Array::from_iter_values(since)),
        ),
    ];
    let schema = Schema::new(
        columns
            .iter()
            .map(|(name, nullable, column)| {
                Field::new(*name, column.data_type().clone(), *nullable)
            })
            .collect::<Vec<_>>(),
    );
    let empty = RecordBatch::new_empty(Arc::new(schema.clone()));
    let columns = columns.into_iter().map(|it| it.2).collect();
    // All columns are as long as the list, so this cannot fail.
    RecordBatch::try_new(Arc::new(schema), columns).unwrap_or(empty)
}
