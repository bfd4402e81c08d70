//! Finds the rows, fields and lines in bytes of delimited text.

use super::{Fault, Fields};

/// What stands at the start of an input.
pub(super) enum Scan {
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
pub(super) fn scan(input: &[u8], delimiter: u8, whole: bool, fields: &mut Fields) -> Scan {
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
pub(super) fn line_end(input: &[u8], whole: bool) -> Option<(usize, usize)> {
    let at = input
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))?;
    match (input[at], input.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some((at, at + 2)),
        (b'\r', None) if !whole => None,
        _ => Some((at, at + 1)),
    }
}

pub(super) fn line_ends(mut input: &[u8]) -> u64 {
    let mut lines = 0;
    while let Some((_, next)) = line_end(input, true) {
        lines += 1;
        input = &input[next..];
    }
    lines
}

/// The delimiter that splits the first row, the header, into two fields or more, and most of the rows after it
/// into as many; among equals the one that splits it furthest, then `;` before `,` before tab.
pub(super) fn sniff(sample: &[u8], whole: bool) -> u8 {
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
