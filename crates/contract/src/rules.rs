//! The rules a conforming row keeps, checked column by column.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray},
    compute::kernels::cmp,
    datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type},
    util::display::array_value_to_string,
};

use crate::{
    CodeRef, Entity, Field, Kind, Pii,
    conform::Report,
    entity::is_id,
    reference::{self, CodeList, Periods},
    scrub::{holds_cpr, is_cpr_id},
};

/// Checks the columns of an entity. `unread[i]` holds the rows whose value in column `i` could not
/// be read; they are null in `columns` and were reported.
pub(crate) fn apply(
    entity: &Entity,
    input: &RecordBatch,
    columns: &[ArrayRef],
    unread: &[Vec<usize>],
    report: &mut Report,
) {
    for ((field, column), unread) in entity.fields.iter().zip(columns).zip(unread) {
        if !field.nullable {
            let there = input.column_by_name(&field.name).is_some();
            required(field, column, there, unread, report);
        }
        if field.minimum.is_some() || field.maximum.is_some() {
            range(field, column, report);
        }
        if let Some(code) = &field.code_list {
            codes(entity, field, code, column, columns, report);
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            if !field.values.is_empty() {
                values(field, texts, report);
            } else if field.pii == Pii::Pseudonym {
                pseudonyms(field, texts, report);
            } else {
                cpr(field, texts, report);
            }
        }
    }
    for (low, high) in &entity.ordered {
        ordered(entity, columns, low, high, report);
    }
}

fn required(field: &Field, column: &ArrayRef, there: bool, unread: &[usize], report: &mut Report) {
    if column.null_count() == unread.len() {
        return;
    }
    let message = match (there, field.pii) {
        (false, _) => "a value is required, and the delivery has no such column",
        (true, Pii::Pseudonym) => {
            "a CPR number is required; there is none, or its ten digits do not begin with a day and month"
        }
        (true, _) => "a value is required",
    };
    for row in (0..column.len()).filter(|row| column.is_null(*row)) {
        if unread.binary_search(&row).is_err() {
            report.without_value(field, row, "required", message);
        }
    }
}

fn range(field: &Field, column: &ArrayRef, report: &mut Report) {
    let minimum = field.minimum.unwrap_or(f64::NEG_INFINITY);
    let maximum = field.maximum.unwrap_or(f64::INFINITY);
    let mut outside = |row: usize, number: f64| {
        if number >= minimum && number <= maximum {
            return;
        }
        let value = as_text(column, row);
        if number < minimum {
            report.value(field, row, "minimum", &value, |shown| {
                format!("{shown} is less than {minimum}")
            });
        } else {
            report.value(field, row, "maximum", &value, |shown| {
                format!("{shown} is more than {maximum}")
            });
        }
    };
    macro_rules! each {
        ($ty:ty, $number:expr) => {
            if let Some(numbers) = column.as_primitive_opt::<$ty>() {
                for (row, number) in numbers.iter().enumerate() {
                    if let Some(number) = number {
                        outside(row, $number(number));
                    }
                }
            }
        };
    }
    match field.kind {
        Kind::Int => each!(Int32Type, f64::from),
        Kind::Long => each!(Int64Type, |number| number as f64),
        Kind::Double => each!(Float64Type, |number| number),
        Kind::Decimal { scale, .. } => {
            let unit = 10_f64.powi(i32::from(scale));
            each!(Decimal128Type, |number| number as f64 / unit);
        }
        Kind::Bool | Kind::Text | Kind::Date | Kind::Timestamp => {}
    }
}

fn values(field: &Field, texts: &StringArray, report: &mut Report) {
    for (row, value) in texts.iter().enumerate() {
        if let Some(value) = value
            && !field.values.iter().any(|allowed| allowed == value)
        {
            report.value(field, row, "values", value, |shown| {
                format!("{shown} is not one of {}", field.values.join(", "))
            });
        }
    }
}

fn codes(
    entity: &Entity,
    field: &Field,
    code: &CodeRef,
    column: &ArrayRef,
    columns: &[ArrayRef],
    report: &mut Report,
) {
    let Some(list) = reference::code_list(&code.list) else {
        return;
    };
    let days = code.date.as_ref().and_then(|date| {
        let dates = column_named(entity, columns, date)?;
        dates.as_primitive_opt::<Date32Type>()
    });
    let day = |row: usize| {
        days.filter(|days| days.is_valid(row))
            .map(|days| days.value(row))
    };
    if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
        for (row, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                let periods = list.periods_of_number(number);
                if !periods.is_some_and(|periods| periods.hold(day(row))) {
                    wrong_code(
                        field,
                        list,
                        periods,
                        day(row),
                        row,
                        &number.to_string(),
                        report,
                    );
                }
            }
        }
    } else if let Some(texts) = column.as_string_opt::<i32>() {
        for (row, value) in texts.iter().enumerate() {
            if let Some(value) = value {
                let periods = list.periods(value);
                if !periods.is_some_and(|periods| periods.hold(day(row))) {
                    wrong_code(field, list, periods, day(row), row, value, report);
                }
            }
        }
    }
}

fn wrong_code(
    field: &Field,
    list: &CodeList,
    periods: Option<&Periods>,
    day: Option<i32>,
    row: usize,
    value: &str,
    report: &mut Report,
) {
    let day = day.and_then(Date32Type::to_naive_date_opt);
    report.value(field, row, "code_list", value, |shown| {
        match (periods, day) {
            (Some(periods), Some(day)) => format!(
                "{shown} is not valid on {day} in the code list {}; it is valid {}",
                list.name,
                periods.in_words()
            ),
            _ => format!("{shown} is not in the code list {}", list.name),
        }
    });
}

fn pseudonyms(field: &Field, texts: &StringArray, report: &mut Report) {
    let is_pseudonym = |value: &str| {
        let hexadecimal = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        value.len() == 64 && value.as_bytes().iter().all(hexadecimal)
    };
    for (row, value) in texts.iter().enumerate() {
        if value.is_some_and(|value| !is_pseudonym(value)) {
            report.without_value(
                field,
                row,
                "pseudonym",
                "the value (not shown) is not a pseudonym of 64 hexadecimal characters; \
                 check that the source gives a CPR number and the mapping makes a pseudonym of it",
            );
        }
    }
}

fn cpr(field: &Field, texts: &StringArray, report: &mut Report) {
    let id = is_id(&field.name);
    // The number of a unit or company may have ten digits that look like a CPR number.
    let plain_allowed = field.pii == Pii::None;
    let gives_away = |value: &str| {
        if id {
            is_cpr_id(value, plain_allowed)
        } else {
            holds_cpr(value)
        }
    };
    for (row, value) in texts.iter().enumerate() {
        if value.is_some_and(gives_away) {
            let message = if id {
                "the id looks like a CPR number; give the record an id of its own"
            } else {
                "the text holds what looks like a CPR number; remove it"
            };
            report.without_value(field, row, "cpr", message);
        }
    }
}

fn ordered(entity: &Entity, columns: &[ArrayRef], low: &str, high: &str, report: &mut Report) {
    let (Some(lows), Some(highs), Some(field)) = (
        column_named(entity, columns, low),
        column_named(entity, columns, high),
        entity.field(high),
    ) else {
        return;
    };
    // Both columns have the type of their field, and the build script has compared those.
    let Ok(wrong) = cmp::gt(lows, highs) else {
        return;
    };
    if wrong.true_count() == 0 {
        return;
    }
    let relation = match highs.data_type() {
        DataType::Date32 | DataType::Timestamp(_, _) => "before",
        _ => "less than",
    };
    for row in set(&wrong) {
        let value = as_text(highs, row);
        let limit = as_text(lows, row);
        report.value(field, row, "ordered", &value, |_| {
            format!("{high} {value} is {relation} {low} {limit}")
        });
    }
}

fn set(flags: &BooleanArray) -> impl Iterator<Item = usize> + '_ {
    let flags = flags.iter().enumerate();
    flags.filter_map(|(row, flag)| (flag == Some(true)).then_some(row))
}

fn column_named<'a>(entity: &Entity, columns: &'a [ArrayRef], name: &str) -> Option<&'a ArrayRef> {
    let at = entity.fields.iter().position(|field| field.name == name)?;
    columns.get(at)
}

/// A value as people write it: 60, not 60.0.
fn as_text(column: &ArrayRef, row: usize) -> String {
    match column.as_primitive_opt::<Float64Type>() {
        Some(numbers) => numbers.value(row).to_string(),
        None => array_value_to_string(column, row).unwrap_or_default(),
    }
}
