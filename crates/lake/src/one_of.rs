//! Conditions that name one of many ids. A scan asks the filters in a table's files which parts can have such rows, and reads no other.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::BooleanArray,
    datatypes::{DataType, Schema},
};
use datafusion::{
    catalog::Session,
    common::cast::as_string_array,
    datasource::{
        listing::PartitionedFile,
        physical_plan::{ParquetFileReaderFactory, parquet::CachedParquetFileReaderFactory},
    },
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    physical_plan::metrics::ExecutionPlanMetricsSet,
    prelude::{ident, lit},
};
use deltalake::kernel::Snapshot;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, async_reader::AsyncFileReader};
use tokio::sync::OnceCell;

use crate::{Error, Lake, Part, plain::value_of, replace::part_of};

/// How many files are asked at a time.
const AT_ONCE: usize = 16;

/// What is read of a file's end in one go: all that says where its columns are, in most files.
const END_BYTES: usize = 64 << 10;

/// That the text in `column` is one of `ids`: true or false, and null where there is none. For queries that run in this process.
pub fn one_of(column: &str, ids: HashSet<String>) -> Expr {
    let function = OneOf {
        signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
        ids: Arc::new(ids),
    };
    ScalarUDF::from(function).call(vec![ident(column)])
}

/// The files of a version that is split by one column.
#[derive(Debug)]
pub(crate) struct PartFiles {
    lake: Lake,
    table: String,
    snapshot: Snapshot,
    split_by: Vec<String>,
    listed: OnceCell<Vec<File>>,
}

/// A file and the part it belongs to.
#[derive(Debug, Clone)]
struct File {
    meta: ObjectMeta,
    part: Part,
}

impl PartFiles {
    /// The files of `table` as `snapshot` has it.
    pub(crate) fn of(lake: &Lake, table: &str, snapshot: Snapshot, split_by: Vec<String>) -> Self {
        Self {
            lake: lake.clone(),
            table: table.to_owned(),
            snapshot,
            split_by,
            listed: OnceCell::new(),
        }
    }

    /// What is true of the column the table is split by wherever `filters` are, as far as files tell; `None` where they tell nothing.
    pub(crate) async fn condition(
        &self,
        session: &dyn Session,
        schema: &Schema,
        filters: &[Expr],
    ) -> Result<Option<Expr>> {
        let [split_by] = self.split_by.as_slice() else {
            return Ok(None);
        };
        let mut known = None;
        for (column, ids) in filters.iter().filter_map(named) {
            let parts = self.parts_with(session, column, ids).await?;
            let condition = self.within(schema, split_by, &parts)?;
            known = Some(match known {
                Some(other) => condition.and(other),
                None => condition,
            });
        }
        Ok(known)
    }

    /// The parts that can have rows with one of `ids`.
    async fn parts_with(
        &self,
        session: &dyn Session,
        column: &str,
        ids: &Arc<HashSet<String>>,
    ) -> Result<BTreeSet<Part>> {
        // What a scan has read of a file's end need not be read again, nor the other way round.
        let known = session
            .runtime_env()
            .cache_manager
            .get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(self.lake.root().0), known);
        let measured = ExecutionPlanMetricsSet::new();
        let mut asked = Vec::new();
        for File { meta, part } in self.listed().await? {
            let file = PartitionedFile::from(meta.clone());
            let file = readers.create_reader(0, file, Some(END_BYTES), &measured)?;
            let (column, ids, part) = (column.to_owned(), Arc::clone(ids), part.clone());
            asked.push(async move {
                let can = can_hold(file, &column, &ids).await;
                let can = can.map_err(|err| DataFusionError::ParquetError(Box::new(err)))?;
                Ok::<_, DataFusionError>(can.then_some(part))
            });
        }
        stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|part| async move { Ok(part) })
            .try_collect()
            .await
    }

    async fn listed(&self) -> Result<&Vec<File>> {
        let list = || async {
            let log = self.lake.log_store(&self.table);
            let views = self.snapshot.file_views(log.as_ref(), None);
            let files = views.map_ok(|view| File {
                meta: ObjectMeta {
                    location: self.lake.path_in(&self.table, &view.path()),
                    // As a scan of Delta has it.
                    last_modified: chrono::DateTime::UNIX_EPOCH,
                    size: u64::try_from(view.size()).unwrap_or_default(),
                    e_tag: None,
                    version: None,
                },
                part: part_of(&view.partition_values_map(), &self.split_by),
            });
            files.try_collect().await.map_err(|err| {
                let doing = format!("listing the files of {}", self.table);
                DataFusionError::External(Box::new(Error::storage(&doing, err)))
            })
        };
        self.listed.get_or_try_init(list).await
    }

    fn within(&self, schema: &Schema, split_by: &str, parts: &BTreeSet<Part>) -> Result<Expr> {
        let named = parts.iter().filter(|it| it.is_some());
        let named = named.map(|it| Ok(lit(value_of(schema, split_by, it.clone())?)));
        let named: Vec<Expr> = named.collect::<Result<_>>()?;
        // SQL has no empty list.
        let named = (!named.is_empty()).then(|| ident(split_by).in_list(named, false));
        let unnamed = parts.contains(&None).then(|| ident(split_by).is_null());
        let both = named.into_iter().chain(unnamed);
        Ok(both.reduce(Expr::or).unwrap_or(lit(false)))
    }
}

/// Whether a file can have one of `ids` in a column: its filters are seldom wrong, and never where it has one.
async fn can_hold(
    file: Box<dyn AsyncFileReader>,
    column: &str,
    ids: &HashSet<String>,
) -> parquet::errors::Result<bool> {
    let mut file = ParquetRecordBatchStreamBuilder::new(file).await?;
    let columns = file.parquet_schema().columns().iter();
    let Some(at) = columns.map(|it| it.name()).position(|it| it == column) else {
        return Ok(true);
    };
    for group in 0..file.metadata().num_row_groups() {
        match file.get_row_group_column_bloom_filter(group, at).await? {
            Some(filter) if !ids.iter().any(|it| filter.check(it.as_str())) => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// The column and the ids of a condition made by [`one_of`].
fn named(filter: &Expr) -> Option<(&str, &Arc<HashSet<String>>)> {
    let Expr::ScalarFunction(call) = filter else {
        return None;
    };
    let function = call.func.inner().downcast_ref::<OneOf>()?;
    match call.args.as_slice() {
        [Expr::Column(column)] => Some((column.name(), &function.ids)),
        _ => None,
    }
}

/// Whether a text is one of those it holds.
#[derive(Debug)]
struct OneOf {
    signature: Signature,
    ids: Arc<HashSet<String>>,
}

impl ScalarUDFImpl for OneOf {
    fn name(&self) -> &str {
        "one_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let found: BooleanArray = match columns.first() {
            Some(column) => {
                let texts = as_string_array(column)?;
                let found = texts.iter();
                found.map(|it| Some(self.ids.contains(it?))).collect()
            }
            None => BooleanArray::new_null(args.number_rows),
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

// Two are the same where they hold the same set, not only equal ones: comparing sets would cost more than asking twice.
impl PartialEq for OneOf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ids, &other.ids)
    }
}

impl Eq for OneOf {}

impl Hash for OneOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.ids).hash(state);
    }
}
