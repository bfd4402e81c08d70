//! Reads single values from text, and explains why one could not be read. Text comes trimmed and not empty.

use std::str::FromStr;

use arrow::datatypes::Date32Type;
use chrono::{DateTime, NaiveDate};

use crate::Kind;

/// A whole number.
pub(crate) fn int<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

/// A finite number with a decimal point; `1e3` is fine, `inf` is not.
pub(crate) fn double(value: &str) -> Option<f64> {
    value.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `true` or `false`, in any case.
pub(crate) fn bool(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// `2010-01-31` as days since 1970.
pub(crate) fn date(value: &str) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = value.as_bytes() else {
        return None;
    };
    let number = |digits: &[&u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| 10 * number + u32::from(**digit - b'0'))
        })
    };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)?;
    Some(Date32Type::from_naive_date(date))
}

/// The date a text holds: `2010-01-31`, also with a time after it, `31-01-2010`, `31.1.2010` or `31/01/2010`.
pub fn day_in(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let iso = text.get(..10).and_then(date);
    let ends = |it: &str| it.is_empty() || it.starts_with([' ', 'T']);
    iso.filter(|_| ends(&text[10..]))
        .and_then(Date32Type::to_naive_date_opt)
        .or_else(|| day_first(text))
}

/// `2010-01-31T12:00:00Z` as microseconds since 1970; the zone must be there.
pub(crate) fn instant(value: &str) -> Option<i64> {
    let instant = DateTime::parse_from_rfc3339(value).ok()?;
    Some(instant.timestamp_micros())
}

/// `1200.5` as a whole number of units of the last digit. Zeros beyond `scale` are fine.
pub(crate) fn decimal(value: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match value.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    let mut number = 0_i128;
    let kept = fraction.iter().take(scale);
    let missing = scale.saturating_sub(fraction.len());
    let zeros = std::iter::repeat_n(&b'0', missing);
    for digit in whole.iter().chain(kept).chain(zeros) {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = 10 * number + i128::from(digit - b'0');
        if number >= limit {
            return None;
        }
    }
    let beyond = fraction.iter().skip(scale);
    if beyond.into_iter().any(|digit| *digit != b'0') {
        return None;
    }
    Some(if negative { -number } else { number })
}

/// Why `value` is not of the kind, and what would be. `shown` is the value as it may be repeated.
pub(crate) fn explain(kind: Kind, value: &str, shown: &str) -> String {
    let comma = value.contains(',') && double(&value.replace(',', ".")).is_some();
    match kind {
        Kind::Text => format!("{shown} is not text"),
        Kind::Int | Kind::Long | Kind::Double | Kind::Decimal { .. } if comma => {
            format!("{shown} is not a number; use a decimal point or map it with danish_decimal()")
        }
        Kind::Int | Kind::Long if double(value).is_some() => {
            format!("{shown} is not a whole number of {} bits", bits(kind))
        }
        Kind::Int | Kind::Long => format!("{shown} is not a whole number"),
        Kind::Double => format!("{shown} is not a number"),
        Kind::Decimal { precision, scale } if double(value).is_some() => format!(
            "{shown} does not fit: at most {} digits before the decimal point and {scale} after it",
            i16::from(precision) - i16::from(scale)
        ),
        Kind::Decimal { .. } => format!("{shown} is not a number"),
        Kind::Bool => format!("{shown} is not true or false"),
        Kind::Date if date_with_time(value) => {
            format!("{shown} has a time of day; give the date alone, as 2010-01-31")
        }
        Kind::Date if day_first(value).is_some() => {
            format!("{shown} has the day first; use 2010-01-31 or map it with danish_date()")
        }
        Kind::Date => format!("{shown} is not a date that exists, written as 2010-01-31"),
        Kind::Timestamp if instant(&format!("{}Z", value.replacen(' ', "T", 1))).is_some() => {
            format!("{shown} has no time zone; end it with Z for UTC or with an offset as +01:00")
        }
        Kind::Timestamp => {
            format!("{shown} is not an instant that exists, written as 2010-01-31T12:00:00Z")
        }
    }
}

/// The kind in words.
pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int | Kind::Long => "a whole number",
        Kind::Double | Kind::Decimal { .. } => "a number",
        Kind::Bool => "true or false",
        Kind::Text => "text",
        Kind::Date => "a date",
        Kind::Timestamp => "an instant",
    }
}

fn bits(kind: Kind) -> u8 {
    if kind == Kind::Int { 32 } else { 64 }
}

fn date_with_time(value: &str) -> bool {
    value.len() > 10 && value.get(..10).is_some_and(|start| date(start).is_some())
}

/// A date written with the day first: `31-01-2010`, `31.1.2010`, `31/01/2010`.
fn day_first(value: &str) -> Option<NaiveDate> {
    let mut parts = value.split(['-', '.', '/']);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let year = (year.len() == 4).then(|| int(year))??;
    NaiveDate::from_ymd_opt(year, int(month)?, int(day)?)
}
