//! Delimited text (CSV) as rows with their line numbers, where one broken row does not cost its neighbours.
//!
//! Quoting follows RFC 4180. A quote inside an unquoted field is an ordinary character, as spreadsheets
//! have it. A row ends at LF, CRLF or a lone CR.

use std::io::{self, Read};

use encoding_rs::Encoding;

use crate::transcode::Transcode;

use scan::{Scan, line_end, line_ends, scan, sniff};

mod scan;
#[cfg(test)]
mod tests;

/// The longest row, in bytes of UTF-8. It bounds memory, and how far an unclosed quote is followed.
pub(crate) const MAX_ROW: usize = 256 * 1024;

/// Rows of `R`, one at a time, in memory that does not grow with the input.
pub(crate) struct Rows<R> {
    input: Transcode<R>,
    delimiter: u8,
    buffer: Vec<u8>,
    /// Where the next row begins in `buffer`.
    start: usize,
    /// Its line, counted from 1.
    line: u64,
    at_end: bool,
    fields: Fields,
}

/// One row.
pub(crate) struct Row<'a> {
    /// The line it begins on, counted from 1.
    pub(crate) line: u64,
    /// The row as it stands, without its line end.
    pub(crate) raw: &'a [u8],
    /// Its fields, or what is wrong with it.
    pub(crate) fields: Result<Split<'a>, Fault>,
}

/// The fields of a row, unquoted.
#[derive(Clone, Copy)]
pub(crate) struct Split<'a> {
    text: &'a str,
    ends: &'a [usize],
}

/// Why a row cannot be read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Unclosed,
    AfterQuote,
    TooLong,
    Encoding,
}

impl Fault {
    /// For whoever made the file.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Unclosed => "a quote is opened and never closed",
            Self::AfterQuote => {
                "text follows a closing quote; a quote within a quoted field is written twice"
            }
            Self::TooLong => "the row is longer than 256 KiB",
            Self::Encoding => "the row holds bytes that are no characters in the file's encoding",
        }
    }
}

impl<'a> Split<'a> {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> {
        let (text, ends) = (self.text, self.ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends).map(move |(start, end)| &text[start..*end])
    }
}

impl<R: Read> Rows<R> {
    /// `delimiter` is ASCII.
    pub(crate) fn new(input: R, encoding: &'static Encoding, delimiter: u8) -> Self {
        Self {
            input: Transcode::new(input, encoding),
            delimiter,
            buffer: Vec::new(),
            start: 0,
            line: 1,
            at_end: false,
            fields: Fields::default(),
        }
    }

    /// Passes over one line, whatever is on it.
    pub(crate) fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some((_, next)) = line_end(rest, self.at_end) {
                self.step(next, 1);
                return Ok(());
            }
            // A CR at the edge waits for the LF that may follow; nothing else is kept.
            let keep = usize::from(!self.at_end && rest.last() == Some(&b'\r'));
            self.start = self.buffer.len() - keep;
            if self.at_end {
                return Ok(());
            }
            self.read_on()?;
        }
    }

    /// Chooses the delimiter by the row that comes next, the header, and the rows after it.
    pub(crate) fn sniff(&mut self) -> io::Result<u8> {
        while self.buffer.len() - self.start < MAX_ROW && self.read_on()? {}
        self.delimiter = sniff(&self.buffer[self.start..], self.at_end);
        Ok(self.delimiter)
    }

    /// The next row that is not blank.
    ///
    /// A row with a broken quote ends at its first line end, and reading goes on with the line after
    /// it, so that a stray quote costs one row and not the rest of the file.
    pub(crate) fn next(&mut self) -> io::Result<Option<Row<'_>>> {
        let found = loop {
            let rest = &self.buffer[self.start..];
            let at_limit = rest.len() > MAX_ROW;
            match scan(
                rest,
                self.delimiter,
                self.at_end || at_limit,
                &mut self.fields,
            ) {
                Scan::Row { raw: 0, next } if next > 0 => self.step(next, 1),
                Scan::Row { raw, next } if next <= MAX_ROW => break Some((raw, next, None)),
                Scan::Row { .. } => break Some((0, 0, Some(Fault::TooLong))),
                Scan::Broken(fault) => break Some((0, 0, Some(fault))),
                Scan::End if self.at_end => break None,
                Scan::End => {
                    self.read_on()?;
                }
            }
        };
        let Some((raw, next, fault)) = found else {
            return Ok(None);
        };
        let line = self.line;
        let Some(fault) = fault else {
            let begin = self.start;
            let lines = line_ends(&self.buffer[begin..begin + next]);
            self.step(next, lines);
            return Ok(Some(Row {
                line,
                raw: &self.buffer[begin..begin + raw],
                fields: self.fields.split().ok_or(Fault::Encoding),
            }));
        };
        let (begin, raw, fault) = self.first_line(fault)?;
        Ok(Some(Row {
            line,
            raw: &self.buffer[begin..begin + raw],
            fields: Err(fault),
        }))
    }

    /// What is read from.
    pub(crate) fn input(&self) -> &R {
        self.input.input()
    }

    /// Steps over the first line of a broken row and tells where it stands in the buffer. What goes
    /// beyond the limit is passed over.
    fn first_line(&mut self, fault: Fault) -> io::Result<(usize, usize, Fault)> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some((raw, next)) = line_end(rest, self.at_end) {
                let begin = self.start;
                self.step(next, 1);
                return Ok((begin, raw, fault));
            }
            if self.at_end {
                let (begin, raw) = (self.start, rest.len());
                self.start = self.buffer.len();
                return Ok((begin, raw, fault));
            }
            if rest.len() > MAX_ROW {
                let mut shown = rest[..MAX_ROW].to_vec();
                self.skip_line()?;
                shown.extend_from_slice(&self.buffer[self.start..]);
                self.buffer = shown;
                self.start = MAX_ROW;
                return Ok((0, MAX_ROW, Fault::TooLong));
            }
            self.read_on()?;
        }
    }

    fn step(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.line += lines;
    }

    /// Reads more behind what is still needed; `false` at the end of the input.
    fn read_on(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.at_end = !self.input.fill(&mut self.buffer)?;
        Ok(!self.at_end)
    }
}

#[derive(Default)]
struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    fn split(&self) -> Option<Split<'_>> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        Some(Split {
            text,
            ends: &self.ends,
        })
    }
}
