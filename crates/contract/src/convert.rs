//! Turns one column of text, or of another type, into the type its field calls for.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBuilder, PrimitiveArray,
        PrimitiveBuilder, StringArrayType, StringBuilder, new_null_array,
    },
    compute::{CastOptions, cast_with_options, kernels::cmp, nullif},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType,
    },
    util::display::array_value_to_string,
};

use crate::{Field, Kind, conform::Report, text};

/// Converts a column. A value that does not fit is reported and null in the result.
pub(crate) fn column(field: &Field, column: &ArrayRef, report: &mut Report) -> ArrayRef {
    match column.data_type() {
        DataType::Null => new_null_array(&field.kind.arrow_type(), column.len()),
        DataType::Utf8 => from_text(field, column, column.as_string::<i32>(), report),
        DataType::LargeUtf8 => from_text(field, column, column.as_string::<i64>(), report),
        DataType::Utf8View => from_text(field, column, column.as_string_view(), report),
        DataType::Dictionary(_, values) => match cast(column, values) {
            Some(plain) => self::column(field, &plain, report),
            None => refuse(field, column, report),
        },
        _ => from_typed(field, column, report),
    }
}

fn from_text<'a, S: StringArrayType<'a>>(
    field: &Field,
    column: &ArrayRef,
    texts: S,
    report: &mut Report,
) -> ArrayRef {
    let mut bad = |row, value: &str| {
        report.value(field, row, "type", value, |shown| {
            text::explain(field.kind, value.trim(), shown)
        });
    };
    match field.kind {
        Kind::Text => texts_without_empty(column, texts),
        Kind::Bool => Arc::new(bools(texts, &mut bad)),
        Kind::Int => Arc::new(numbers::<Int32Type, S>(texts, text::int, &mut bad)),
        Kind::Long => Arc::new(numbers::<Int64Type, S>(texts, text::int, &mut bad)),
        Kind::Double => Arc::new(numbers::<Float64Type, S>(texts, text::double, &mut bad)),
        Kind::Date => Arc::new(numbers::<Date32Type, S>(texts, text::date, &mut bad)),
        Kind::Timestamp => {
            let instants = numbers::<TimestampMicrosecondType, S>(texts, text::instant, &mut bad);
            Arc::new(instants.with_data_type(field.kind.arrow_type()))
        }
        Kind::Decimal { precision, scale } => {
            let read = |value: &str| text::decimal(value, precision, scale);
            let decimals = numbers::<Decimal128Type, S>(texts, read, &mut bad);
            Arc::new(decimals.with_data_type(field.kind.arrow_type()))
        }
    }
}

fn numbers<'a, T: ArrowPrimitiveType, S: StringArrayType<'a>>(
    texts: S,
    read: impl Fn(&str) -> Option<T::Native>,
    bad: &mut impl FnMut(usize, &str),
) -> PrimitiveArray<T> {
    let mut built = PrimitiveBuilder::<T>::with_capacity(texts.len());
    for (row, value) in texts.iter().enumerate() {
        match value.map(str::trim) {
            None | Some("") => built.append_null(),
            Some(value) => {
                let number = read(value);
                if number.is_none() {
                    bad(row, value);
                }
                built.append_option(number);
            }
        }
    }
    built.finish()
}

fn bools<'a, S: StringArrayType<'a>>(texts: S, bad: &mut impl FnMut(usize, &str)) -> BooleanArray {
    let mut built = BooleanBuilder::with_capacity(texts.len());
    for (row, value) in texts.iter().enumerate() {
        match value.map(str::trim) {
            None | Some("") => built.append_null(),
            Some(value) => {
                let read = text::bool(value);
                if read.is_none() {
                    bad(row, value);
                }
                built.append_option(read);
            }
        }
    }
    built.finish()
}

/// The column as `Utf8`, blank text as null. A `Utf8` column without blanks is passed on as it is.
fn texts_without_empty<'a, S: StringArrayType<'a>>(column: &ArrayRef, texts: S) -> ArrayRef {
    let blank = |value: &str| value.trim().is_empty();
    if column.data_type() == &DataType::Utf8 && !texts.iter().flatten().any(blank) {
        return Arc::clone(column);
    }
    let bytes = texts.iter().flatten().map(str::len).sum();
    let mut built = StringBuilder::with_capacity(texts.len(), bytes);
    for value in texts.iter() {
        built.append_option(value.filter(|value| !blank(value)));
    }
    Arc::new(built.finish())
}

fn from_typed(field: &Field, column: &ArrayRef, report: &mut Report) -> ArrayRef {
    let target = field.kind.arrow_type();
    if column.data_type() == &target && field.kind != Kind::Double {
        return Arc::clone(column);
    }
    let converted = match (field.kind, column.data_type()) {
        (Kind::Text, ty) if !ty.is_nested() && !is_binary(ty) => cast(column, &DataType::Utf8),
        // An instant with a zone has a date only in some place, so it is refused.
        (Kind::Date, DataType::Date64 | DataType::Timestamp(_, None)) => lossless(column, &target),
        (Kind::Timestamp, DataType::Timestamp(_, zone)) => in_utc(column, zone, &target),
        (Kind::Decimal { scale, .. }, DataType::Float64 | DataType::Float32) => {
            exact_decimals(column, scale, &target)
        }
        (Kind::Int | Kind::Long | Kind::Double | Kind::Decimal { .. }, ty) if ty.is_numeric() => {
            lossless(column, &target)
        }
        _ => None,
    };
    match converted {
        Some(converted) => {
            report_lost(field, column, &converted, report);
            converted
        }
        None => refuse(field, column, report),
    }
}

/// The same instants in microseconds and UTC; those without a zone are taken for UTC.
fn in_utc(column: &ArrayRef, zone: &Option<Arc<str>>, target: &DataType) -> Option<ArrayRef> {
    // A cast that changed the zone too would move instants without one, so only the unit is cast.
    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let instants = cast(column, &micros)?;
    let instants = instants.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(Arc::new(instants.clone().with_data_type(target.clone())))
}

/// Casts there and back; what does not come back the same is null.
fn lossless(column: &ArrayRef, target: &DataType) -> Option<ArrayRef> {
    let there = cast(column, target)?;
    let back = cast(&there, column.data_type())?;
    let changed = nullif(&there, &cmp::distinct(&back, column).ok()?).ok()?;
    let Some(numbers) = changed.as_primitive_opt::<Float64Type>() else {
        return Some(changed);
    };
    let endless = BooleanArray::from_unary(numbers, |number| !number.is_finite());
    nullif(&changed, &endless).ok()
}

/// Floating-point numbers as decimals, those null that have more digits than `scale`.
fn exact_decimals(column: &ArrayRef, scale: i8, target: &DataType) -> Option<ArrayRef> {
    let doubles = cast(column, &DataType::Float64)?;
    let doubles = doubles.as_primitive_opt::<Float64Type>()?;
    let factor = 10_f64.powi(i32::from(scale));
    // 0.1 + 0.2 is to pass as 0.30: arithmetic leaves errors far below a millionth.
    let finer = BooleanArray::from_unary(doubles, |value| {
        let scaled = value * factor;
        (scaled - scaled.round()).abs() > 1e-6 * scaled.abs().max(1.0)
    });
    nullif(&cast(column, target)?, &finer).ok()
}

/// Reports the rows that have a value before and none after.
fn report_lost(field: &Field, before: &ArrayRef, after: &ArrayRef, report: &mut Report) {
    if before.null_count() == after.null_count() {
        return;
    }
    for row in 0..before.len() {
        if before.is_valid(row) && after.is_null(row) {
            let value = array_value_to_string(before, row).unwrap_or_default();
            report.value(field, row, "type", &value, |shown| {
                text::explain(field.kind, &value, shown)
            });
        }
    }
}

/// A type that cannot become the field's: every value of the column is a violation.
fn refuse(field: &Field, column: &ArrayRef, report: &mut Report) -> ArrayRef {
    for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
        let found = column.data_type();
        let message = format!(
            "a column of {found} cannot become {}; cast it in the mapping",
            text::name(field.kind)
        );
        report.without_value(field, row, "type", message);
    }
    new_null_array(&field.kind.arrow_type(), column.len())
}

fn is_binary(ty: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(ty, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

/// Casts, with null for what does not fit.
fn cast(column: &ArrayRef, target: &DataType) -> Option<ArrayRef> {
    cast_with_options(column, target, &CastOptions::default()).ok()
}
