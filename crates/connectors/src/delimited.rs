//! Delimited text (CSV) as rows with their line numbers, where one broken row does not cost its neighbours.
//!
//! Quoting follows RFC 4180. A quote inside an unquoted field is an ordinary character, as spreadsheets
//! have it. A row ends at LF, CRLF or a lone CR.

use std::io::{self, Read};

use encoding_rs::Encoding;

use crate::transcode::Transcode;

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
        let rest = &self.buffer[self.start..];
        if let Some((raw, next)) = line_end(rest, self.at_end) {
            let begin = self.start;
            self.step(next, 1);
            return Ok((
                begin,
                raw,
                if raw > MAX_ROW { Fault::TooLong } else { fault },
            ));
        }
        if self.at_end {
            let (begin, raw) = (self.start, rest.len());
            self.start = self.buffer.len();
            return Ok((begin, raw, fault));
        }
        let mut shown = rest[..rest.len().min(MAX_ROW)].to_vec();
        let raw = shown.len();
        self.skip_line()?;
        shown.extend_from_slice(&self.buffer[self.start..]);
        self.buffer = shown;
        self.start = raw;
        Ok((0, raw, Fault::TooLong))
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

enum Scan {
    /// A row of `raw` bytes; the one after it begins at `next`.
    Row {
        raw: usize,
        next: usize,
    },
    Broken(Fault),
    /// More is needed to tell, or there is nothing left.
    End,
}

/// Reads one row at the start of `input`. `whole` says that nothing follows `input`.
fn scan(input: &[u8], delimiter: u8, whole: bool, fields: &mut Fields) -> Scan {
    fields.bytes.clear();
    fields.ends.clear();
    if input.is_empty() {
        return Scan::End;
    }
    let mut at = 0;
    loop {
        if input.get(at) == Some(&b'"') {
            match quoted(&input[at + 1..], whole, &mut fields.bytes) {
                Ok(Some(length)) => at += 1 + length,
                Ok(None) => return Scan::End,
                Err(fault) => return Scan::Broken(fault),
            }
        } else {
            let ends_field = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n');
            let length = input[at..]
                .iter()
                .position(ends_field)
                .unwrap_or(input.len() - at);
            fields.bytes.extend_from_slice(&input[at..at + length]);
            at += length;
        }
        fields.ends.push(fields.bytes.len());
        match input.get(at) {
            Some(byte) if *byte == delimiter => at += 1,
            Some(b'\n') => {
                return Scan::Row {
                    raw: at,
                    next: at + 1,
                };
            }
            Some(b'\r') => match input.get(at + 1) {
                Some(b'\n') => {
                    return Scan::Row {
                        raw: at,
                        next: at + 2,
                    };
                }
                None if !whole => return Scan::End,
                _ => {
                    return Scan::Row {
                        raw: at,
                        next: at + 1,
                    };
                }
            },
            Some(_) => return Scan::Broken(Fault::AfterQuote),
            None if whole => return Scan::Row { raw: at, next: at },
            None => return Scan::End,
        }
    }
}

/// Reads a quoted field behind its opening quote; the length includes the closing one.
fn quoted(input: &[u8], whole: bool, text: &mut Vec<u8>) -> Result<Option<usize>, Fault> {
    let mut at = 0;
    loop {
        let Some(length) = input[at..].iter().position(|byte| *byte == b'"') else {
            return if whole {
                Err(Fault::Unclosed)
            } else {
                Ok(None)
            };
        };
        text.extend_from_slice(&input[at..at + length]);
        at += length + 1;
        match input.get(at) {
            Some(b'"') => {
                text.push(b'"');
                at += 1;
            }
            None if !whole => return Ok(None),
            _ => return Ok(Some(at)),
        }
    }
}

/// Where the first line of `input` ends, and where the next begins.
fn line_end(input: &[u8], whole: bool) -> Option<(usize, usize)> {
    let at = input
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))?;
    match (input[at], input.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some((at, at + 2)),
        (b'\r', None) if !whole => None,
        _ => Some((at, at + 1)),
    }
}

fn line_ends(mut input: &[u8]) -> u64 {
    let mut lines = 0;
    while let Some((_, next)) = line_end(input, true) {
        lines += 1;
        input = &input[next..];
    }
    lines
}

/// The delimiter that splits the first row, the header, into two fields or more, and most of the rows after it
/// into as many; among equals the one that splits it furthest, then `;` before `,` before tab.
fn sniff(sample: &[u8], whole: bool) -> u8 {
    /// Rows looked at after the header.
    const LOOKED_AT: usize = 20;
    let mut best = (b';', (0, 0));
    for delimiter in [b';', b',', b'\t'] {
        let mut fields = Fields::default();
        let mut counts = Vec::new();
        let mut rest = sample;
        while let Scan::Row { raw, next } = scan(rest, delimiter, whole, &mut fields) {
            if raw > 0 {
                counts.push(fields.ends.len());
            }
            rest = &rest[next..];
            if counts.len() > LOOKED_AT || next == 0 {
                break;
            }
        }
        let Some((&header, rows)) = counts.split_first() else {
            continue;
        };
        let agreeing = rows.iter().filter(|count| **count == header).count();
        if header > 1 && (agreeing, header) > best.1 {
            best = (delimiter, (agreeing, header));
        }
    }
    best.0
}
