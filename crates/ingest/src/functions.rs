//! The functions a pipeline's `select` has beyond DataFusion's own.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{Array, AsArray, StringArray},
    datatypes::DataType,
};
use contract::{Cpr, PseudonymKey, pseudonym_in};
use datafusion::{
    error::Result,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
    prelude::SessionContext,
};

/// The name that marks a source column as holding CPR numbers.
pub(crate) const PSEUDONYM: &str = "pseudonym";

/// Makes the functions known to `ctx`.
///
/// * `pseudonym(cpr)`: the citizen's keyed pseudonym; null where the text is no CPR number.
/// * `danish_date(text)`: `31-12-2010`, `31.12.2010` or `31/12/2010` as `2010-12-31`.
/// * `danish_decimal(text)`: `1.234,50` as `1234.50`.
///
/// The Danish ones leave text they do not understand as it is, so that the contract check can
/// quote what the provider really wrote.
///
/// In rows that were set aside, and only there, `pseudonym` also reads the stand-ins that a worker left for CPR numbers.
pub(crate) fn register(ctx: &SessionContext, key: Option<&PseudonymKey>, set_aside: bool) {
    if let Some(key) = key {
        let key = key.clone();
        ctx.register_udf(text_function(PSEUDONYM, move |text| {
            match pseudonym_in(text, &key) {
                Some(pseudonym) if set_aside => Some(Cow::Borrowed(pseudonym)),
                _ => Cpr::parse(text).map(|cpr| Cow::Owned(cpr.pseudonym(&key))),
            }
        }));
    }
    ctx.register_udf(text_function("danish_date", |text| Some(danish_date(text))));
    ctx.register_udf(text_function("danish_decimal", |text| {
        Some(danish_decimal(text))
    }));
}

fn danish_date(text: &str) -> Cow<'_, str> {
    let parts: Vec<&str> = text.trim().split(['-', '.', '/']).collect();
    match parts.as_slice() {
        [day, month, year]
            if year.len() == 4
                && (1..=2).contains(&day.len())
                && (1..=2).contains(&month.len())
                && parts
                    .iter()
                    .all(|it| it.bytes().all(|b| b.is_ascii_digit())) =>
        {
            Cow::Owned(format!("{year}-{month:0>2}-{day:0>2}"))
        }
        _ => Cow::Borrowed(text),
    }
}

/// A dot is only a thousands separator where a comma follows or groups of three digits say so.
fn danish_decimal(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix('-').unwrap_or(trimmed);
    let (whole, fraction) = match digits.split_once(',') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    let mut groups = whole.split('.');
    let first = groups.next().unwrap_or_default();
    let grouped = is_number(first)
        && (first.len() <= 3 || !whole.contains('.'))
        && groups.all(|it| it.len() == 3 && is_number(it));
    let understood = grouped && fraction.is_none_or(is_number);
    if !understood {
        return Cow::Borrowed(text);
    }
    let sign = if trimmed.starts_with('-') { "-" } else { "" };
    let whole = whole.replace('.', "");
    Cow::Owned(match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    })
}

fn text_function(
    name: &str,
    apply: impl Fn(&str) -> Option<Cow<'_, str>> + Send + Sync + 'static,
) -> ScalarUDF {
    create_udf(
        name,
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
            let arrays = ColumnarValue::values_to_arrays(args)?;
            let text = arrays[0].as_string::<i32>();
            let out: StringArray = (0..text.len())
                .map(|row| text.is_valid(row).then(|| apply(text.value(row))).flatten())
                .collect();
            Ok(ColumnarValue::Array(Arc::new(out)))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn danish_dates_become_iso_and_others_stay() {
        assert_eq!(danish_date("31-12-2010"), "2010-12-31");
        assert_eq!(danish_date("1.2.2010"), "2010-02-01");
        assert_eq!(danish_date("01/02/2010"), "2010-02-01");
        for same in ["2010-12-31", "31-12-10", "", "snart", "1-2-3-2010"] {
            assert_eq!(danish_date(same), same);
        }
    }

    #[test]
    fn danish_decimals_become_points_and_others_stay() {
        assert_eq!(danish_decimal("7,5"), "7.5");
        assert_eq!(danish_decimal("1.234,50"), "1234.50");
        assert_eq!(danish_decimal("-1.234.567"), "-1234567");
        assert_eq!(danish_decimal("37"), "37");
        assert_eq!(danish_decimal(" 1234,5 "), "1234.5");
        for same in [
            "7.5", "1.23,5", "12,", ",5", "", "mange", "1,2,3", "1234.567",
        ] {
            assert_eq!(danish_decimal(same), same);
        }
    }
}
