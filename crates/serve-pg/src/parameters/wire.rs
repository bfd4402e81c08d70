//! Parameter values as they arrive, in text or binary form, as SQL literals.
//!
//! Binary forms: PostgreSQL's `*_send` functions; days and microseconds count from 2000-01-01.

use datafusion::sql::sqlparser::ast::{Expr, Value};
use pgwire::api::Type;
use pgwire::error::{PgWireError, PgWireResult};

use super::{array, cast, element, null_of, text};
use crate::sqlstate;

/// Days from 1970-01-01, Arrow's first day, to 2000-01-01, PostgreSQL's.
const EPOCH_DAYS: i64 = 10_957;
const MICROS_A_DAY: i64 = 86_400_000_000;

/// The value of parameter `at` (from 1) as a literal of its type.
pub(crate) fn literal(
    at: usize,
    kind: &Type,
    binary: bool,
    bytes: Option<&[u8]>,
) -> PgWireResult<Expr> {
    let Some(bytes) = bytes else {
        return Ok(null_of(kind));
    };
    let value = if binary {
        from_binary(kind, bytes)
    } else {
        from_text(kind, bytes)
    };
    value.ok_or_else(|| unreadable(at, kind, binary))
}

fn unreadable(at: usize, kind: &Type, binary: bool) -> PgWireError {
    let form = if binary { "binary" } else { "text" };
    sqlstate::error(
        if binary { "22P03" } else { "22P02" },
        format!(
            "parameter ${at} is not a valid {} in {form} form",
            kind.name()
        ),
    )
}

fn from_text(kind: &Type, bytes: &[u8]) -> Option<Expr> {
    let given = std::str::from_utf8(bytes).ok()?;
    if let Some(element) = element(kind) {
        let items = array_items(given)?;
        let items = items.into_iter().map(|item| match item {
            None => Some(null_of(&element)),
            Some(item) => from_text(&element, item.as_bytes()),
        });
        return Some(cast(array(items.collect::<Option<_>>()?), kind));
    }
    Some(match *kind {
        Type::BOOL => boolean(match given.trim().to_lowercase().as_str() {
            "t" | "true" | "on" | "yes" | "y" | "1" => true,
            "f" | "false" | "off" | "no" | "n" | "0" => false,
            _ => return None,
        }),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            given.trim().parse::<i64>().ok()?;
            cast(text(given.trim()), kind)
        }
        Type::FLOAT4 | Type::FLOAT8 => {
            let number: f64 = given.trim().parse().ok()?;
            cast(text(number.to_string()), kind)
        }
        Type::NUMERIC => numeric(given.trim())?,
        Type::BYTEA => hex(&match given.strip_prefix("\\x") {
            Some(digits) => unhex(digits)?,
            None => bytes.to_vec(),
        }),
        // A date with a time is a common way to give a day.
        Type::DATE => cast(
            text(
                given
                    .get(..10)
                    .filter(|_| given.as_bytes().get(10) == Some(&b' '))
                    .unwrap_or(given),
            ),
            kind,
        ),
        _ => cast(text(given), kind),
    })
}

fn from_binary(kind: &Type, bytes: &[u8]) -> Option<Expr> {
    if let Some(element) = element(kind) {
        return Some(cast(array(binary_items(&element, bytes)?), kind));
    }
    Some(match *kind {
        Type::BOOL => boolean(*bytes.first()? != 0),
        Type::INT2 => cast(
            text(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
            kind,
        ),
        Type::INT4 => cast(
            text(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            kind,
        ),
        Type::OID => cast(
            text(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            kind,
        ),
        Type::INT8 => cast(
            text(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
            kind,
        ),
        Type::FLOAT4 => cast(
            text(f32::from_be_bytes(bytes.try_into().ok()?).to_string()),
            kind,
        ),
        Type::FLOAT8 => cast(
            text(f64::from_be_bytes(bytes.try_into().ok()?).to_string()),
            kind,
        ),
        Type::NUMERIC => numeric(&numeric_digits(bytes)?)?,
        Type::DATE => cast(
            text(day(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))?),
            kind,
        ),
        Type::TIME => cast(
            text(time_of_day(i64::from_be_bytes(bytes.try_into().ok()?))),
            kind,
        ),
        Type::TIMESTAMP => cast(
            text(moment(i64::from_be_bytes(bytes.try_into().ok()?))?),
            kind,
        ),
        Type::TIMESTAMPTZ => cast(
            text(format!(
                "{}Z",
                moment(i64::from_be_bytes(bytes.try_into().ok()?))?
            )),
            kind,
        ),
        Type::INTERVAL => {
            let (micros, rest) = bytes.split_first_chunk::<8>()?;
            let (days, months) = rest.split_first_chunk::<4>()?;
            let micros = i64::from_be_bytes(*micros);
            let days = i32::from_be_bytes(*days);
            let months = i32::from_be_bytes(months.try_into().ok()?);
            let (seconds, fraction) = (micros / 1_000_000, (micros % 1_000_000).abs());
            let sign = if micros < 0 && seconds == 0 { "-" } else { "" };
            cast(
                text(format!(
                    "{months} months {days} days {sign}{seconds}.{fraction:06} seconds"
                )),
                kind,
            )
        }
        Type::BYTEA => hex(bytes),
        Type::UUID => text(uuid(bytes.try_into().ok()?)),
        Type::JSONB => text(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?),
        _ => text(std::str::from_utf8(bytes).ok()?),
    })
}

fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).with_empty_span())
}

fn hex(bytes: &[u8]) -> Expr {
    let digits = bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    Expr::Value(Value::HexStringLiteral(digits).with_empty_span())
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A number with exactly the digits it came with: `CAST('1.50' AS NUMERIC(3, 2))`.
fn numeric(given: &str) -> Option<Expr> {
    use datafusion::sql::sqlparser::ast::{CastKind, DataType, ExactNumberInfo};
    if given.eq_ignore_ascii_case("nan") {
        return Some(cast(text("NaN"), &Type::FLOAT8));
    }
    let plain = given.strip_prefix(['+', '-']).unwrap_or(given);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    if (whole.is_empty() && fraction.is_empty())
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
    {
        let _scientific: f64 = given.parse().ok()?;
        return Some(cast(text(given), &Type::NUMERIC));
    }
    let scale = fraction.len() as u64;
    let precision = (whole.trim_start_matches('0').len() as u64 + scale).max(1);
    if precision > 38 {
        return None;
    }
    let data_type = DataType::Numeric(ExactNumberInfo::PrecisionAndScale(
        precision,
        i64::try_from(scale).ok()?,
    ));
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(text(given)),
        data_type,
        array: false,
        format: None,
    })
}

/// Base-10000 digits as decimal text.
fn numeric_digits(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(
            bytes.get(at * 2..at * 2 + 2)?.try_into().ok()?,
        ))
    };
    let (count, weight, sign, scale) = (
        word(0)?,
        word(1)?.cast_signed(),
        word(2)?,
        usize::from(word(3)?),
    );
    if sign == 0xC000 {
        return Some("NaN".into());
    }
    let digit = |power: i32| -> Option<u16> {
        let at = i32::from(weight) - power;
        match usize::try_from(at) {
            Ok(at) if at < usize::from(count) => word(4 + at),
            _ => Some(0),
        }
    };
    let mut whole = String::new();
    for power in (0..=i32::from(weight)).rev() {
        whole.push_str(&format!("{:04}", digit(power)?));
    }
    let mut fraction = String::new();
    for power in 1..=scale.div_ceil(4) {
        fraction.push_str(&format!("{:04}", digit(-i32::try_from(power).ok()?)?));
    }
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if sign == 0x4000 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// ISO date of a day counted from 2000-01-01.
fn day(days: i64) -> Option<String> {
    let (year, month, day) = civil(days + EPOCH_DAYS);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn time_of_day(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    )
}

fn moment(micros: i64) -> Option<String> {
    Some(format!(
        "{}T{}",
        day(micros.div_euclid(MICROS_A_DAY))?,
        time_of_day(micros.rem_euclid(MICROS_A_DAY))
    ))
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex = bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

fn binary_items(kind: &Type, bytes: &[u8]) -> Option<Vec<Expr>> {
    let (header, mut rest) = bytes.split_at_checked(12)?;
    let dimensions = i32::from_be_bytes(header[..4].try_into().ok()?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    if dimensions != 1 {
        return None;
    }
    let count = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    rest = rest.get(8..)?;
    let mut items = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        items.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => null_of(kind),
            Ok(length) => {
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                from_binary(kind, value)?
            }
        });
    }
    Some(items)
}

/// Items of `{a,"b,c",NULL}`.
fn array_items(given: &str) -> Option<Vec<Option<String>>> {
    let inner = given.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut item = String::new();
    let (mut quoted, mut inside) = (false, false);
    let mut chars = inner.chars();
    let mut finish = |item: &mut String, quoted: &mut bool| {
        let value = if *quoted {
            std::mem::take(item)
        } else {
            std::mem::take(item).trim().to_owned()
        };
        items.push((*quoted || !value.eq_ignore_ascii_case("null")).then_some(value));
        *quoted = false;
    };
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                inside = !inside;
                quoted = true;
            }
            '\\' => item.push(chars.next()?),
            ',' if !inside => finish(&mut item, &mut quoted),
            '{' | '}' if !inside => return None,
            _ => item.push(c),
        }
    }
    finish(&mut item, &mut quoted);
    Some(items)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn binary(kind: &Type, bytes: &[u8]) -> String {
        literal(1, kind, true, Some(bytes)).unwrap().to_string()
    }

    fn plain(kind: &Type, value: &str) -> String {
        literal(1, kind, false, Some(value.as_bytes()))
            .unwrap()
            .to_string()
    }

    #[test]
    fn binary_values_become_literals() {
        assert_eq!(
            binary(&Type::INT4, &(-7_i32).to_be_bytes()),
            "CAST('-7' AS INTEGER)"
        );
        assert_eq!(
            binary(&Type::DATE, &0_i32.to_be_bytes()),
            "CAST('2000-01-01' AS DATE)"
        );
        assert_eq!(
            binary(&Type::DATE, &(-1_i32).to_be_bytes()),
            "CAST('1999-12-31' AS DATE)"
        );
        assert_eq!(
            binary(&Type::DATE, &2_921_939_i32.to_be_bytes()),
            "CAST('9999-12-31' AS DATE)"
        );
        assert_eq!(
            binary(&Type::TIMESTAMPTZ, &(-1_i64).to_be_bytes()),
            "CAST('1999-12-31T23:59:59.999999Z' AS TIMESTAMP(6) WITH TIME ZONE)"
        );
        // 12345.6780, as numeric_send writes it: digits 1 2345 6780, weight 1, scale 4
        let number = [0, 3, 0, 1, 0, 0, 0, 4, 0, 1, 9, 41, 26, 124];
        assert_eq!(
            binary(&Type::NUMERIC, &number),
            "CAST('12345.6780' AS NUMERIC(9,4))"
        );
        // -0.05: digits 500, weight -1, scale 2
        let number = [0, 1, 0xff, 0xff, 0x40, 0, 0, 2, 1, 0xf4];
        assert_eq!(
            binary(&Type::NUMERIC, &number),
            "CAST('-0.05' AS NUMERIC(2,2))"
        );
        let ints = [
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 21, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 255,
            255, 255, 255,
        ];
        assert_eq!(
            binary(&Type::INT2_ARRAY, &ints),
            "CAST(ARRAY[CAST('5' AS SMALLINT), CAST(NULL AS SMALLINT)] AS SMALLINT[])"
        );
    }

    #[test]
    fn text_values_become_literals() {
        assert_eq!(plain(&Type::TEXT, "it's"), "'it''s'");
        assert_eq!(plain(&Type::BOOL, "t"), "true");
        assert_eq!(
            plain(&Type::NUMERIC, "-10.50"),
            "CAST('-10.50' AS NUMERIC(4,2))"
        );
        assert_eq!(
            plain(&Type::TEXT_ARRAY, r#"{a,"b,\"c",NULL,"NULL"}"#),
            "CAST(ARRAY['a', 'b,\"c', NULL, 'NULL'] AS TEXT[])"
        );
        assert_eq!(plain(&Type::INT4_ARRAY, "{}"), "CAST(ARRAY[] AS INTEGER[])");
        assert_eq!(
            literal(1, &Type::DATE, false, None).unwrap().to_string(),
            "CAST(NULL AS DATE)"
        );
    }

    #[test]
    fn what_is_not_of_its_type_is_refused_without_showing_it() {
        let told = literal(2, &Type::INT4, false, Some(b"0101701234x"))
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("parameter $2 is not a valid int4 in text form"),
            "{told}"
        );
        assert!(!told.contains("0101701234"), "{told}");
        literal(1, &Type::INT4, true, Some(&[1, 2])).unwrap_err();
        literal(1, &Type::NUMERIC, false, Some(b"1e")).unwrap_err();
    }
}
