//! One file as batches: the header first, then rows and what could not be read as rows.

use std::{fs::File, io, path::Path};

use connector_api::{Batch, Error, Reject, Result};

use super::{
    layout::{Delimiter, Encoding, Layout},
    survey::Hashing,
};
use crate::{
    delimited::{Row, Rows},
    rows::TextRows,
};

/// A file being read.
pub(super) struct Document {
    name: String,
    rows: Rows<Hashing<File>>,
    columns: Vec<String>,
    totals_row: bool,
    /// With a totals row, the row read last waits here until another one follows.
    held: Option<Outcome>,
}

enum Outcome {
    Row {
        origin: String,
        values: Vec<Option<String>>,
    },
    Reject(Reject),
}

impl Document {
    /// Opens the file and reads its header. `name` is what rows and errors call it. A file with no usable header is
    /// a reject as a whole.
    pub(super) fn open(
        path: &Path,
        name: String,
        layout: &Layout,
        detected: &'static encoding_rs::Encoding,
    ) -> Result<Result<Self, Reject>> {
        let encoding = match layout.encoding {
            Encoding::Auto => detected,
            Encoding::Named(encoding) => encoding,
        };
        let failed = |err| unreadable(&name, &err);
        let file = Hashing::new(File::open(path).map_err(failed)?);
        let mut rows = Rows::new(
            file,
            encoding,
            layout.delimiter.map_or(b';', |Delimiter(it)| it),
        );
        for _ in 1..layout.header_row {
            rows.skip_line().map_err(failed)?;
        }
        if layout.delimiter.is_none() {
            rows.sniff().map_err(failed)?;
        }
        let mut columns = Vec::new();
        while columns.is_empty() {
            let Some(row) = rows.next().map_err(failed)? else {
                break;
            };
            columns = match header(&row) {
                Ok(columns) => columns,
                Err(reason) => {
                    return Ok(Err(Reject {
                        origin: format!("{name}:{}", row.line),
                        // What it holds is not known, and may be anything.
                        raw: String::new(),
                        reason: format!("{reason}; nothing of the file was read"),
                    }));
                }
            };
        }
        Ok(Ok(Self {
            name,
            rows,
            columns,
            totals_row: layout.totals_row,
            held: None,
        }))
    }

    /// Reads up to a batch, and tells whether the file is at its end.
    pub(super) fn step(&mut self) -> Result<(Batch, bool)> {
        let mut rows = TextRows::new(&self.columns);
        while !rows.is_full() {
            let Some(outcome) = self.next()? else {
                return Ok((rows.finish()?, true));
            };
            let outcome = if self.totals_row {
                self.held.replace(outcome)
            } else {
                Some(outcome)
            };
            match outcome {
                Some(Outcome::Row { origin, values }) => rows.push(origin, values),
                Some(Outcome::Reject(reject)) => rows.reject(reject),
                None => {}
            }
        }
        Ok((rows.finish()?, false))
    }

    /// SHA-256 of the bytes read so far, 64 hex characters.
    pub(super) fn sha256(&self) -> String {
        self.rows.input().sha256()
    }

    /// The next row that holds anything.
    fn next(&mut self) -> Result<Option<Outcome>> {
        loop {
            let row = self
                .rows
                .next()
                .map_err(|err| unreadable(&self.name, &err))?;
            let Some(row) = row else { return Ok(None) };
            let origin = format!("{}:{}", self.name, row.line);
            let reason = match row.fields {
                Ok(fields) if fields.iter().all(str::is_empty) => continue,
                Ok(fields) if fields.len() == self.columns.len() => {
                    let values = fields
                        .iter()
                        .map(|it| (!it.is_empty()).then(|| it.to_owned()));
                    let values = values.collect();
                    return Ok(Some(Outcome::Row { origin, values }));
                }
                Ok(fields) => {
                    format!(
                        "fields: {}, where the header has {}",
                        fields.len(),
                        self.columns.len()
                    )
                }
                Err(fault) => fault.reason().to_owned(),
            };
            let raw = String::from_utf8_lossy(row.raw).into_owned();
            return Ok(Some(Outcome::Reject(Reject {
                origin,
                raw,
                reason,
            })));
        }
    }
}

fn unreadable(name: &str, err: &io::Error) -> Error {
    Error::Source(format!("{name} cannot be read: {err}"))
}

/// The column names; none when the row is nothing but delimiters.
fn header(row: &Row<'_>) -> Result<Vec<String>, String> {
    if row.raw.starts_with(b"PK\x03\x04") {
        return Err("this is a ZIP or Excel file, not CSV; save it as CSV".into());
    }
    if row.raw.contains(&0) {
        return Err("this is not text, or it is UTF-16 and `encoding` must say so".into());
    }
    let fields = row
        .fields
        .map_err(|fault| format!("the header cannot be read: {}", fault.reason()))?;
    if fields.iter().all(str::is_empty) {
        return Ok(Vec::new());
    }
    let mut columns: Vec<String> = Vec::with_capacity(fields.len());
    for (i, name) in fields.iter().map(str::trim).enumerate() {
        let name = match name {
            "" => format!("column_{}", i + 1),
            name => name.to_owned(),
        };
        if let Some(first) = columns.iter().position(|it| *it == name) {
            return Err(format!(
                "column `{}` appears twice, as number {} and {}; rename one of them",
                contract::scrub(&name),
                first + 1,
                i + 1
            ));
        }
        columns.push(name);
    }
    Ok(columns)
}
