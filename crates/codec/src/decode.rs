//! Values to batch, and which values could not be read.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::SchemaRef,
};
use arrow_avro::{
    codec::Tz,
    reader::{Decoder as AvroDecoder, ReaderBuilder},
    schema::{AvroSchema, SchemaStore},
};
use contract::Entity;

use crate::{Error, Result, fingerprint, fingerprint_of};

/// Reads values of one entity, whatever compatible schema each was written with.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    reader: String,
    writers: HashMap<u64, Writer>,
}

/// What became of a run of values.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The rows read, columns as in [`Entity::arrow_schema`].
    pub batch: RecordBatch,
    /// For each row of `batch`, the index of its value in the input.
    pub rows: Vec<usize>,
    /// Values that could not be read, by index.
    pub failures: Vec<Failure>,
}

/// A value that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Index of the value in the input.
    pub row: usize,
    /// The schema it says it was written with, when that schema is not known here.
    pub unknown_schema: Option<u64>,
    /// What is wrong, for whoever wrote it.
    pub reason: String,
}

#[derive(Debug)]
struct Writer {
    avsc: String,
    /// `None` after a failed value: the columns it was half-way through are then of unequal length.
    decoder: Option<AvroDecoder>,
}

impl Decoder {
    /// A decoder that knows the entity's present schema.
    pub fn new(entity: &Entity) -> Result<Self> {
        let mut decoder = Self {
            schema: entity.arrow_schema(),
            reader: entity.avro().to_owned(),
            writers: HashMap::new(),
        };
        decoder.learn(entity.avro())?;
        Ok(decoder)
    }

    /// Adds an earlier (or later) schema of the entity, and tells its fingerprint.
    ///
    /// # Errors
    /// [`Error::Schema`] when values written with it cannot be read with the present schema.
    pub fn learn(&mut self, avsc: &str) -> Result<u64> {
        let print = fingerprint(avsc)?;
        if !self.knows(print) {
            let decoder = Some(self.open(avsc)?);
            let avsc = avsc.to_owned();
            self.writers.insert(print, Writer { avsc, decoder });
        }
        Ok(print)
    }

    /// Whether values written with the schema of this fingerprint can be read.
    pub fn knows(&self, fingerprint: u64) -> bool {
        self.writers.contains_key(&fingerprint)
    }

    /// Reads `values` in order. `None` (a tombstone) becomes neither a row nor a failure.
    pub fn decode(&mut self, values: &[Option<&[u8]>]) -> Result<Decoded> {
        let mut out = Parts::default();
        let mut at = 0;
        while at < values.len() {
            let print = values[at].map(fingerprint_of);
            let run = values[at..]
                .iter()
                .take_while(|value| value.map(fingerprint_of) == print)
                .count();
            match print {
                None => {}
                Some(Some(print)) if self.knows(print) => {
                    self.decode_run(print, values, at..at + run, &mut out)?;
                }
                Some(unknown) => out.failures.extend((at..at + run).map(|row| Failure {
                    row,
                    unknown_schema: unknown,
                    reason: unreadable_header(unknown),
                })),
            }
            at += run;
        }
        let batch = match out.batches.as_slice() {
            [only] => only.clone(),
            several => concat_batches(&self.schema, several).map_err(schema_error)?,
        };
        Ok(Decoded {
            batch,
            rows: out.rows,
            failures: out.failures,
        })
    }

    /// All of `range` was written with the schema `print`. Tried as a whole; halved when that fails,
    /// so that a few bad values among many cost a few decodings more.
    fn decode_run(
        &mut self,
        print: u64,
        values: &[Option<&[u8]>],
        range: Range<usize>,
        out: &mut Parts,
    ) -> Result<()> {
        let error = match self.try_run(print, &values[range.clone()])? {
            Ok(Some(batch)) => {
                out.rows.extend(range);
                out.batches.push(batch);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(error) => error,
        };
        if range.len() == 1 {
            out.failures.push(Failure {
                row: range.start,
                unknown_schema: None,
                reason: format!("the body is not what its schema {print:016x} says: {error}"),
            });
            return Ok(());
        }
        let middle = range.start + range.len() / 2;
        self.decode_run(print, values, range.start..middle, out)?;
        self.decode_run(print, values, middle..range.end, out)
    }

    fn try_run(
        &mut self,
        print: u64,
        values: &[Option<&[u8]>],
    ) -> Result<Result<Option<RecordBatch>, String>> {
        let Some(writer) = self.writers.get_mut(&print) else {
            return Ok(Err(unreadable_header(Some(print))));
        };
        let mut decoder = match writer.decoder.take() {
            Some(decoder) => decoder,
            None => {
                let avsc = writer.avsc.clone();
                self.open(&avsc)?
            }
        };
        let read = read_all(&mut decoder, values)
            .and_then(|batch| batch.map(|it| conform(&self.schema, &it)).transpose());
        if read.is_ok()
            && let Some(writer) = self.writers.get_mut(&print)
        {
            writer.decoder = Some(decoder);
        }
        Ok(read)
    }

    fn open(&self, avsc: &str) -> Result<AvroDecoder> {
        let mut store = SchemaStore::new();
        store
            .register(AvroSchema::new(avsc.to_owned()))
            .map_err(schema_error)?;
        ReaderBuilder::new()
            .with_reader_schema(AvroSchema::new(self.reader.clone()))
            .with_writer_schema_store(store)
            .with_tz(Tz::Utc)
            // A batch ends when we say so, never in the middle of a run.
            .with_batch_size(usize::MAX)
            .build_decoder()
            .map_err(schema_error)
    }
}

#[derive(Debug, Default)]
struct Parts {
    batches: Vec<RecordBatch>,
    rows: Vec<usize>,
    failures: Vec<Failure>,
}

fn read_all(
    decoder: &mut AvroDecoder,
    values: &[Option<&[u8]>],
) -> Result<Option<RecordBatch>, String> {
    for value in values.iter().flatten() {
        let free = decoder.capacity();
        let consumed = decoder.decode(value).map_err(|err| err.to_string())?;
        // A value cut short, or one with something behind it, is not an error to the decoder: it
        // waits for more bytes, or reads a second row.
        if consumed != value.len() || free - decoder.capacity() != 1 {
            return Err(format!("{} bytes are not one whole record", value.len()));
        }
    }
    decoder.flush().map_err(|err| err.to_string())
}

/// Gives the columns exactly the entity's types; they differ at most in how a type is written down.
fn conform(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, String> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch
                .column_by_name(field.name())
                .ok_or_else(|| format!("column `{}` is missing", field.name()))?;
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast(column, field.data_type()).map_err(|err| err.to_string())
        })
        .collect::<Result<Vec<ArrayRef>, String>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|err| err.to_string())
}

fn unreadable_header(fingerprint: Option<u64>) -> String {
    match fingerprint {
        Some(print) => format!(
            "written with schema {print:016x}, which is not known here; \
             land it with a version of pejl that knows it, or send it again"
        ),
        None => "not Avro single-object encoding: it does not begin with C3 01 and a fingerprint"
            .to_owned(),
    }
}

fn schema_error(err: impl std::fmt::Display) -> Error {
    Error::Schema(err.to_string())
}
