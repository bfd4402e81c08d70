//! Runs `tests/sql/<schema>/<name>.slt` against the models; `PEJL_SLT_COMPLETE=1` writes the answers in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code"
)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::error::DataFusionError;
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{
    AsyncDB, ColumnType, DBOutput, Runner, default_validator, strict_column_validator,
};
use warehouse::{models::Catalog, rehearsal::Rehearsal};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Where it was compiled, unless cargo says otherwise: one binary then runs the files of any checkout.
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR");
    let crate_folder = crate_folder.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let top = Path::new(&crate_folder).join("../..");
    let pipelines = top.join("pipelines");
    let catalog = Catalog::read(&pipelines.join("models"), &pipelines.join("definitions"));
    let catalog = match catalog {
        Ok(catalog) => Arc::new(catalog),
        Err(err) => {
            eprintln!("the models have mistakes:\n{err}");
            return ExitCode::FAILURE;
        }
    };
    let folder = top.join("tests/sql");
    let files = files(&folder);
    let mut trials = vec![Trial::test("every_model_has_a_test", {
        let (catalog, files) = (Arc::clone(&catalog), files.clone());
        move || every_model_has_a_test(&catalog, &files)
    })];
    trials.push(Trial::test("every_municipality_can_be_computed_alone", {
        let catalog = Arc::clone(&catalog);
        move || every_municipality_can_be_computed_alone(&catalog)
    }));
    for (name, path) in files {
        let catalog = Arc::clone(&catalog);
        trials.push(Trial::test(name, move || run(&path, catalog)));
    }
    if complete() {
        // Files are written; one after the other keeps the report readable.
        arguments.test_threads = Some(1);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn complete() -> bool {
    std::env::var_os("PEJL_SLT_COMPLETE").is_some_and(|it| it == "1")
}

/// `core/participation_outcome` and its file, for every file two folders deep.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for schema in listing(folder) {
        for path in listing(&schema) {
            if path.extension().is_some_and(|it| it == "slt") {
                let name = path.strip_prefix(folder).unwrap().with_extension("");
                files.push((name.to_str().unwrap().replace('\\', "/"), path));
            }
        }
    }
    files.sort();
    files
}

fn listing(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.map(|it| it.unwrap().path()).collect()
}

fn every_model_has_a_test(catalog: &Catalog, files: &[(String, PathBuf)]) -> Result<(), Failed> {
    let untested: Vec<String> = catalog
        .nodes()
        .values()
        .filter(|it| matches!(it.origin, warehouse::models::Origin::Written(_)))
        .map(|it| it.table().replace('.', "/"))
        .filter(|it| !files.iter().any(|(name, _)| name == it))
        .collect();
    if untested.is_empty() {
        Ok(())
    } else {
        Err(format!("write tests/sql/<name>.slt for {}", untested.join(", ")).into())
    }
}

/// A table whose rows belong to municipalities is split by them; what is not split is computed whole whenever anything changes.
fn every_municipality_can_be_computed_alone(catalog: &Catalog) -> Result<(), Failed> {
    let column = "municipality_code";
    let unsplit: Vec<String> = catalog
        .nodes()
        .values()
        .filter(|it| it.columns().iter().any(|(name, _)| *name == column))
        .filter(|it| it.partition_by() != [column])
        .map(|it| it.table())
        .collect();
    if unsplit.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "write `partition_by: {column}` into the header of {}",
            unsplit.join(", ")
        )
        .into())
    }
}

fn run(path: &Path, catalog: Arc<Catalog>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut runner =
            Runner::new(|| async { Ok(Session(Rehearsal::new(Arc::clone(&catalog))?)) });
        runner.with_column_validator(strict_column_validator);
        if complete() {
            let done = runner
                .update_test_file(
                    path,
                    " ",
                    default_validator,
                    sqllogictest::default_normalizer,
                    strict_column_validator,
                )
                .await;
            return done.map_err(|err| err.to_string().into());
        }
        let done = runner.run_file_async(path).await;
        done.map_err(|err| err.display(true).to_string().into())
    })
}

/// One file's session.
struct Session(Rehearsal);

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = DataFusionError;
    type ColumnType = Letter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Letter>, DataFusionError> {
        let (schema, batches) = self.0.run(sql).await?;
        if schema.fields().is_empty() || is_count_of_changes(&schema) {
            return Ok(DBOutput::StatementComplete(0));
        }
        let letters = schema.fields().iter().map(|it| Letter::of(it.data_type()));
        Ok(DBOutput::Rows {
            types: letters.collect(),
            rows: batches.iter().flat_map(rows).collect(),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "pejl"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// `insert` answers with one unsigned `count`.
fn is_count_of_changes(schema: &Schema) -> bool {
    let [field] = schema.fields().as_ref() else {
        return false;
    };
    field.name() == "count" && field.data_type() == &DataType::UInt64
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|it| shown(it.as_ref(), row))
                .collect()
        })
        .collect()
}

/// A value as files write it: at most six decimals, `NULL`, `(empty)`.
fn shown(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    let text = if column.data_type() == &DataType::Float64 {
        decimals(column.as_primitive::<Float64Type>().value(row))
    } else {
        let options = FormatOptions::default().with_null("NULL");
        ArrayFormatter::try_new(column, &options)
            .unwrap()
            .value(row)
            .to_string()
    };
    if text.is_empty() {
        "(empty)".to_owned()
    } else {
        text
    }
}

fn decimals(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// The type of a column as files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Text,
    Integer,
    Real,
    Bool,
    Date,
    Timestamp,
    Other,
}

impl Letter {
    fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Real,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Real,
            DataType::Boolean => Self::Bool,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(..) => Self::Timestamp,
            kind if kind.is_integer() => Self::Integer,
            _ => Self::Other,
        }
    }
}

impl ColumnType for Letter {
    fn from_char(letter: char) -> Option<Self> {
        Some(match letter {
            'T' => Self::Text,
            'I' => Self::Integer,
            'R' => Self::Real,
            'B' => Self::Bool,
            'D' => Self::Date,
            'P' => Self::Timestamp,
            '?' => Self::Other,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Text => 'T',
            Self::Integer => 'I',
            Self::Real => 'R',
            Self::Bool => 'B',
            Self::Date => 'D',
            Self::Timestamp => 'P',
            Self::Other => '?',
        }
    }
}
