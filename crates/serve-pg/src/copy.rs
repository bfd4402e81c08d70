//! `COPY … TO STDOUT`: rows rewritten as PostgreSQL's text, CSV or binary copy format.
//!
//! Format: <https://www.postgresql.org/docs/16/sql-copy.html#id-1.9.3.55.9>.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;

use crate::script::{Kind, Word};
use crate::sqlstate;

/// How rows are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CopyFormat {
    /// Tab separated, `\N` for null, unless told otherwise.
    Text { delimiter: u8, null: String },
    /// RFC 4180, empty for null, unless told otherwise.
    Csv {
        delimiter: u8,
        null: String,
        quote: u8,
        header: bool,
    },
    /// PGCOPY, each value in its type's binary form.
    Binary,
}

impl CopyFormat {
    /// Reads what follows `TO STDOUT`, in the new parenthesised or the old bare form.
    pub(crate) fn read(words: &[Word<'_>]) -> PgWireResult<CopyFormat> {
        let (mut kind, mut delimiter, mut null, mut quote, mut header) =
            ("text".to_owned(), None, None, b'"', false);
        let mut words = words
            .iter()
            .filter(|word| !"(),".contains(|sign| word.is_sign(sign)))
            .peekable();
        while let Some(word) = words.next() {
            let option = word.name().ok_or_else(|| unknown("an option"))?;
            match option.as_str() {
                "with" | "as" => {}
                "format" => {
                    kind = words
                        .next()
                        .and_then(name_or_text)
                        .ok_or_else(|| unknown("format"))?
                }
                "csv" | "binary" | "text" => kind = option,
                "delimiter" | "delimiters" => {
                    words.next_if(|word| word.is("as"));
                    delimiter = Some(byte(words.next(), "delimiter")?);
                }
                "quote" | "escape" => {
                    words.next_if(|word| word.is("as"));
                    let given = byte(words.next(), "quote")?;
                    if option == "quote" {
                        quote = given;
                    }
                }
                "null" => {
                    words.next_if(|word| word.is("as"));
                    match words.next().map(|word| &word.kind) {
                        Some(Kind::Text(text)) => null = Some(text.clone()),
                        _ => return Err(unknown("null")),
                    }
                }
                "header" => {
                    let value = words.next_if(|word| {
                        name_or_text(word).is_some_and(|value| {
                            ["true", "on", "false", "off"].contains(&value.as_str())
                        })
                    });
                    header = !value
                        .and_then(name_or_text)
                        .is_some_and(|value| value == "false" || value == "off");
                }
                "encoding" => {
                    words.next();
                }
                other => return Err(unknown(other)),
            }
        }
        match kind.as_str() {
            "text" => Ok(CopyFormat::Text {
                delimiter: delimiter.unwrap_or(b'\t'),
                null: null.unwrap_or("\\N".into()),
            }),
            "csv" => Ok(CopyFormat::Csv {
                delimiter: delimiter.unwrap_or(b','),
                null: null.unwrap_or_default(),
                quote,
                header,
            }),
            "binary" => Ok(CopyFormat::Binary),
            other => Err(unknown(other)),
        }
    }

    pub(crate) fn is_binary(&self) -> bool {
        *self == CopyFormat::Binary
    }

    /// What goes before the first row, if anything.
    pub(crate) fn opening(&self, columns: &[String]) -> Option<Bytes> {
        match self {
            CopyFormat::Binary => Some(Bytes::from_static(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")),
            CopyFormat::Csv { header: true, .. } => {
                let mut out = BytesMut::new();
                self.line(&mut out, columns.iter().map(|name| Some(name.as_bytes())));
                Some(out.freeze())
            }
            _ => None,
        }
    }

    /// What goes after the last row, if anything.
    pub(crate) fn closing(&self) -> Option<Bytes> {
        self.is_binary().then(|| Bytes::from_static(b"\xff\xff"))
    }

    /// One row. A `DataRow` and a binary tuple share their layout: length and bytes of every field.
    pub(crate) fn row(&self, row: &DataRow) -> Bytes {
        let mut out = BytesMut::with_capacity(row.data.len() + 8);
        if self.is_binary() {
            out.put_i16(row.field_count);
            out.extend_from_slice(&row.data);
        } else {
            self.line(&mut out, Fields(&row.data));
        }
        out.freeze()
    }

    fn line<'a>(&self, out: &mut BytesMut, fields: impl Iterator<Item = Option<&'a [u8]>>) {
        for (at, field) in fields.enumerate() {
            match self {
                CopyFormat::Text { delimiter, null } => {
                    if at > 0 {
                        out.put_u8(*delimiter);
                    }
                    match field {
                        None => out.extend_from_slice(null.as_bytes()),
                        Some(value) => escaped(out, value, *delimiter),
                    }
                }
                CopyFormat::Csv {
                    delimiter,
                    null,
                    quote,
                    ..
                } => {
                    if at > 0 {
                        out.put_u8(*delimiter);
                    }
                    match field {
                        None => out.extend_from_slice(null.as_bytes()),
                        Some(value) => quoted(out, value, *delimiter, *quote, null.as_bytes()),
                    }
                }
                CopyFormat::Binary => {}
            }
        }
        out.put_u8(b'\n');
    }
}

fn name_or_text(word: &Word<'_>) -> Option<String> {
    match &word.kind {
        Kind::Text(text) => Some(text.to_lowercase()),
        _ => word.name(),
    }
}

fn unknown(option: &str) -> pgwire::error::PgWireError {
    sqlstate::error(
        "42601",
        format!("COPY: option or value not recognized: {option}"),
    )
}

fn byte(word: Option<&Word<'_>>, option: &str) -> PgWireResult<u8> {
    match word.map(|word| &word.kind) {
        Some(Kind::Text(text)) if text.len() == 1 => Ok(text.as_bytes()[0]),
        _ => Err(sqlstate::error(
            "0A000",
            format!("COPY {option} must be one single-byte character"),
        )),
    }
}

fn escaped(out: &mut BytesMut, value: &[u8], delimiter: u8) {
    for &byte in value {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ if byte == delimiter => out.extend_from_slice(&[b'\\', byte]),
            _ => out.put_u8(byte),
        }
    }
}

/// A value that reads as null, or as the end-of-data mark, is quoted, so that empty text stays apart from null.
fn quoted(out: &mut BytesMut, value: &[u8], delimiter: u8, quote: u8, null: &[u8]) {
    let special =
        |byte: &u8| *byte == delimiter || *byte == quote || *byte == b'\n' || *byte == b'\r';
    if value != null && value != b"\\." && !value.iter().any(special) {
        out.extend_from_slice(value);
        return;
    }
    out.put_u8(quote);
    for &byte in value {
        if byte == quote {
            out.put_u8(quote);
        }
        out.put_u8(byte);
    }
    out.put_u8(quote);
}

/// The fields of a `DataRow`.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => {
                self.0 = rest;
                Some(None)
            }
            Ok(length) => {
                let (value, rest) = rest.split_at_checked(length)?;
                self.0 = rest;
                Some(Some(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::script;

    fn format(options: &str) -> CopyFormat {
        let script = format!("x {options}");
        let statement = script::split(&script).unwrap().remove(0);
        CopyFormat::read(&statement.words[1..]).unwrap()
    }

    fn row(fields: &[Option<&str>]) -> DataRow {
        let mut data = BytesMut::new();
        for field in fields {
            match field {
                None => data.put_i32(-1),
                Some(text) => {
                    data.put_i32(i32::try_from(text.len()).unwrap());
                    data.extend_from_slice(text.as_bytes());
                }
            }
        }
        DataRow::new(data, i16::try_from(fields.len()).unwrap())
    }

    #[test]
    fn empty_text_stays_apart_from_null_in_csv() {
        let csv = format("WITH (FORMAT csv, HEADER, DELIMITER ';')");
        assert_eq!(
            csv.row(&row(&[Some(""), None, Some("a;\"b\""), Some("ø")])),
            "\"\";;\"a;\"\"b\"\"\";ø\n"
        );
        assert_eq!(
            csv.opening(&["a".into(), "b;c".into()]).unwrap(),
            "a;\"b;c\"\n"
        );
    }

    #[test]
    fn text_escapes_what_would_end_a_field() {
        assert_eq!(
            format("").row(&row(&[Some("a\tb\\\n"), None])),
            "a\\tb\\\\\\n\t\\N\n"
        );
    }

    #[test]
    fn old_and_new_options_read_alike() {
        assert_eq!(format("CSV HEADER"), format("(format csv, header true)"));
        assert_eq!(
            format("CSV DELIMITER AS '|' NULL AS 'x'"),
            format("WITH (DELIMITER '|', NULL 'x', FORMAT CSV)")
        );
        assert_eq!(format("(FORMAT 'csv', HEADER 'off')"), format("CSV"));
        assert_eq!(format("WITH BINARY"), CopyFormat::Binary);
        assert_eq!(CopyFormat::Binary.opening(&[]).unwrap().len(), 19);
    }
}
