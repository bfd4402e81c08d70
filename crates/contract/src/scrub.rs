//! Finds what looks like a CPR number in any text, and takes it out.

use std::{borrow::Cow, ops::Range};

use crate::cpr::is_plausible;

const INSTEAD: &str = "[cpr]";

/// Replaces every part of `text` that looks like a CPR number by `[cpr]`.
///
/// That is ten digits that begin with a plausible day and month, plain or with hyphens, dots,
/// slashes or spaces between their parts, and nine where the leading zero is lost. Numbers of other
/// lengths, UUIDs and hexadecimal digests are left alone. A P-number of ten digits may look like one.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let Some(first) = next(text, 0) else {
        return Cow::Borrowed(text);
    };
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    let mut found = Some(first);
    while let Some(Found { range, .. }) = found {
        clean.push_str(text.get(from..range.start).unwrap_or_default());
        clean.push_str(INSTEAD);
        from = range.end;
        found = next(text, from);
    }
    clean.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(clean)
}

/// Whether `text` holds what looks like a CPR number.
pub(crate) fn holds_cpr(text: &str) -> bool {
    next(text, 0).is_some()
}

/// Whether an id gives a CPR number away. As ids often have nine or ten digits of their own, a part
/// of one must be written with a separator; ten plain digits count only alone, and not where `plain_allowed`.
pub(crate) fn is_cpr_id(text: &str, plain_allowed: bool) -> bool {
    let mut from = 0;
    while let Some(Found { range, separated }) = next(text, from) {
        let alone = range == (0..text.len()) && text.len() == 10;
        if separated || (alone && !plain_allowed) {
            return true;
        }
        from = range.end;
    }
    false
}

struct Found {
    range: Range<usize>,
    separated: bool,
}

/// The first match that starts at byte `from` or later.
fn next(text: &str, from: usize) -> Option<Found> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        // A digit before it would make it the middle of a longer number.
        let starts = at == 0 || !bytes[at - 1].is_ascii_digit();
        if starts && let Some(found) = match_at(bytes, at) {
            if !is_digest(bytes, &found.range) {
                return Some(found);
            }
            at = found.range.end;
        } else {
            at += 1;
        }
    }
    None
}

/// A match of DDMMYY XXXX, or DMMYY XXXX, that starts at `start`.
fn match_at(bytes: &[u8], start: usize) -> Option<Found> {
    let run = digits_from(bytes, start);
    match run {
        9 => {
            let mut digits = [b'0'; 10];
            digits[1..].copy_from_slice(bytes.get(start..start + 9)?);
            let range = start..start + 9;
            is_plausible(&digits).then_some(Found {
                range,
                separated: false,
            })
        }
        // With a space it is rather an amount before a year.
        5 if bytes.get(start + 5).is_some_and(|next| *next != b' ') => separated(bytes, start, 1),
        2 | 4 | 6 | 10 => separated(bytes, start, 2),
        _ => None,
    }
}

/// Reads day (of `day` digits), month and year with at most one separator between, up to three, then four digits.
fn separated(bytes: &[u8], start: usize, day: usize) -> Option<Found> {
    let mut digits = [b'0'; 10];
    let mut filled = 2 - day;
    let mut at = start;
    let mut separators = 0;
    for (length, most) in [(day, 1), (2, 1), (2, 3), (4, 0)] {
        let part = bytes.get(at..at + length)?;
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        digits[filled..filled + length].copy_from_slice(part);
        filled += length;
        at += length;
        for _ in 0..most {
            let width = separator(&bytes[at..]);
            separators += usize::from(width > 0);
            at += width;
        }
    }
    let ends = bytes.get(at).is_none_or(|next| !next.is_ascii_digit());
    (ends && is_plausible(&digits)).then_some(Found {
        range: start..at,
        separated: separators > 0,
    })
}

/// The width in bytes of the separator that `bytes` begin with, 0 for none.
fn separator(bytes: &[u8]) -> usize {
    match bytes {
        [b' ' | b'-' | b'.' | b'/', ..] => 1,
        // A non-breaking space.
        [0xC2, 0xA0, ..] => 2,
        // Hyphens and dashes U+2010 to U+2015, narrow space U+202F, minus U+2212.
        [0xE2, 0x80, 0x90..=0x95 | 0xAF, ..] | [0xE2, 0x88, 0x92, ..] => 3,
        _ => 0,
    }
}

/// Whether the match lies in a UUID or in 32 or more hexadecimal characters.
fn is_digest(bytes: &[u8], found: &Range<usize>) -> bool {
    let hexadecimal = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let before = bytes[..found.start].iter().rev();
    let start = found.start - before.take_while(|byte| hexadecimal(byte)).count();
    let after = bytes[found.end..].iter();
    let end = found.end + after.take_while(|byte| hexadecimal(byte)).count();
    let token = &bytes[start..end];
    let hyphens = token.iter().enumerate().filter(|(_, byte)| **byte == b'-');
    let hyphens: Vec<usize> = hyphens.map(|(at, _)| at).collect();
    match hyphens.as_slice() {
        [] => token.len() >= 32 && token.iter().all(u8::is_ascii_hexdigit),
        [8, 13, 18, 23] => token.len() == 36,
        _ => false,
    }
}

fn digits_from(bytes: &[u8], start: usize) -> usize {
    let rest = bytes[start..].iter();
    rest.take_while(|byte| byte.is_ascii_digit()).count()
}
