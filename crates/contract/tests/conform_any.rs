//! Whatever is delivered: no panic, no row lost, nothing let through that `check` would refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type},
};
use chrono::{Datelike, NaiveDate};
use contract::{check, coerce, entities, entity};
use proptest::prelude::*;

/// Texts near the borders of what is allowed, and noise.
fn cell() -> impl Strategy<Value = Option<String>> {
    let near = prop::sample::select(vec![
        "2008-02-29",
        "2010-02-29",
        "2010-01-31",
        "2010-02-01",
        "2010-01-31T12:00:00Z",
        "9999-12-31",
        "0",
        "1",
        "5",
        "6",
        "59",
        "60",
        "101",
        "411",
        "7.5",
        "7,5",
        "-1",
        "1e400",
        "99999999999999999999",
        "true",
        "cash_benefit",
        "su",
        "none",
        "other",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "610190-0001",
        " ",
        "",
    ]);
    prop_oneof![
        1 => Just(None),
        6 => near.prop_map(|text| Some(text.to_owned())),
        1 => ".{0,12}".prop_map(Some),
    ]
}

fn delivery() -> impl Strategy<Value = (usize, RecordBatch)> {
    (0..entities().len(), 0..6_usize).prop_flat_map(|(at, rows)| {
        let columns = entities()[at].fields.len();
        let cells = prop::collection::vec(prop::collection::vec(cell(), rows), columns);
        cells.prop_map(move |cells| {
            let fields = entities()[at].fields.iter();
            let columns = fields.zip(cells).map(|(field, cells)| {
                let column: ArrayRef = Arc::new(StringArray::from(cells));
                (field.name.clone(), column, true)
            });
            let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
            (at, batch)
        })
    })
}

proptest! {
    #[test]
    fn every_row_is_kept_or_explained((at, rows) in delivery()) {
        let entity = &entities()[at];
        let coerced = coerce(entity, &rows);
        let kept: BTreeSet<usize> = coerced.rows.iter().copied().collect();
        let refused: BTreeSet<usize> = coerced.violations.iter().map(|it| it.row).collect();
        prop_assert!(kept.is_disjoint(&refused));
        prop_assert_eq!(kept.len() + refused.len(), rows.num_rows());
        prop_assert_eq!(coerced.batch.num_rows(), coerced.rows.len());
        prop_assert!(coerced.rows.is_sorted());
        prop_assert!(coerced.violations.is_sorted_by_key(|it| it.row));
        prop_assert_eq!(coerced.batch.schema(), entity.arrow_schema());
        prop_assert_eq!(check(entity, &coerced.batch), vec![]);
        for violation in &coerced.violations {
            prop_assert!(!violation.message.contains("0190-0001"), "{}", violation.message);
            prop_assert!(entity.field(&violation.field).is_some());
        }
    }

    #[test]
    fn the_kind_of_text_array_does_not_matter((at, rows) in delivery()) {
        let entity = &entities()[at];
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns());
        let columns = columns.map(|(field, column)| {
            (field.name().clone(), cast(column, &DataType::Utf8View).unwrap(), true)
        });
        let viewed = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let (plain, viewed) = (coerce(entity, &rows), coerce(entity, &viewed));
        prop_assert_eq!(plain.batch, viewed.batch);
        prop_assert_eq!(plain.violations, viewed.violations);
    }

    #[test]
    fn what_conforms_conforms_again_as_text((at, rows) in delivery()) {
        let entity = &entities()[at];
        let once = coerce(entity, &rows).batch;
        let again = coerce(entity, &once);
        prop_assert_eq!(again.batch, once);
    }

    #[test]
    fn dates_mean_what_the_calendar_says(year in 1..=9999_i32, month in 0..=13_u32, day in 0..=32_u32) {
        let text = format!("{year:04}-{month:02}-{day:02}");
        let found = single("watermark", "complete_through", &text);
        match (NaiveDate::from_ymd_opt(year, month, day), found) {
            (Some(date), Some(found)) => {
                let days = found.as_primitive::<Date32Type>().value(0);
                // Day 719 163 of the common era is 1 January 1970.
                prop_assert_eq!(days, date.num_days_from_ce() - 719_163);
            }
            (None, None) => {}
            (date, found) => prop_assert!(false, "{:?} {:?}", date, found),
        }
    }

    #[test]
    fn numbers_come_back_as_written(int in 0..i32::MAX, cents in 0..1_000_000_000_000_i128, double: f64) {
        let read = single("offer", "capacity", &int.to_string()).unwrap();
        prop_assert_eq!(read.as_primitive::<Int32Type>().value(0), int);
        let text = format!("{}.{:02}", cents / 100, cents % 100);
        let read = single("offer", "price_per_week_dkk", &text).unwrap();
        prop_assert_eq!(read.as_primitive::<Decimal128Type>().value(0), cents);
        let read = single("requirement", "maximum", &double.to_string());
        match read {
            Some(read) => prop_assert_eq!(read.as_primitive::<Float64Type>().value(0), double),
            None => prop_assert!(!double.is_finite()),
        }
    }
}

/// One value read as the field's type; `None` where the field has a violation.
fn single(entity_name: &str, field: &str, text: &str) -> Option<ArrayRef> {
    let entity = entity(entity_name).unwrap();
    let columns = entity.fields.iter().filter_map(|other| {
        let filler = match other.name.as_str() {
            name if name == field => text,
            "municipality_code" => "101",
            "updated_at" => "2010-01-31T12:00:00Z",
            "valid_from" => "2010-01-31",
            "sanction_terms" => "true",
            _ if other.nullable => return None,
            _ => other.values.first().map_or("text", String::as_str),
        };
        let column: ArrayRef = Arc::new(StringArray::from(vec![filler]));
        Some((other.name.clone(), column))
    });
    let coerced = coerce(entity, &RecordBatch::try_from_iter(columns).unwrap());
    let mut others = coerced.violations.iter().filter(|it| it.field != field);
    assert_eq!(others.next(), None);
    if coerced.violations.is_empty() {
        coerced.batch.column_by_name(field).map(Arc::clone)
    } else {
        None
    }
}
