//! The code lists are whole, and codes are valid on their days only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Date32Type, Int32Type},
};
use chrono::NaiveDate;
use contract::{code_list, code_lists};

#[test]
fn code_lists_are_whole() {
    let names: Vec<&str> = code_lists().iter().map(|list| list.name.as_str()).collect();
    assert_eq!(names, ["benefit", "municipality"]);
    for list in code_lists() {
        let batch = list.batch();
        let from = batch.column_by_name("valid_from").unwrap();
        let to = batch.column_by_name("valid_to").unwrap();
        assert_eq!(from.data_type(), &DataType::Date32);
        assert_eq!(to.data_type(), &DataType::Date32);
        let from = from.as_primitive::<Date32Type>();
        let to = to.as_primitive::<Date32Type>();
        for row in 0..batch.num_rows() {
            assert!(to.is_null(row) || from.value(row) <= to.value(row));
        }
    }
}

#[test]
fn the_municipalities_are_98_the_country_and_christiansoe() {
    let list = code_list("municipality").unwrap();
    let batch = list.batch();
    let codes = batch.column_by_name("municipality_code").unwrap();
    let codes = codes.as_primitive::<Int32Type>().values().to_vec();
    assert_eq!(codes.len(), 100);
    assert!(codes.is_sorted_by(|a, b| a < b));
    let ordinary = codes.iter().filter(|code| (101..=860).contains(*code));
    assert_eq!(ordinary.filter(|code| **code != 411).count(), 98);
    for known in ["0", "101", "147", "411", "751", "860"] {
        assert!(list.is_valid(known, None), "{known}");
    }
    for unknown in ["", "1", "100", "102", "0101", "999"] {
        assert!(!list.is_valid(unknown, None), "{unknown}");
    }
    let names = batch.column_by_name("name").unwrap().as_string::<i32>();
    let copenhagen = codes.iter().position(|code| *code == 101).unwrap();
    assert_eq!(names.value(copenhagen), "København");
}

#[test]
fn every_benefit_is_support_but_su_and_none() {
    let batch = code_list("benefit").unwrap().batch();
    let codes = batch.column_by_name("code").unwrap().as_string::<i32>();
    let support = batch.column_by_name("counts_as_support").unwrap();
    let support = support.as_boolean();
    assert_eq!(support.null_count(), 0);
    let not = (0..codes.len()).filter(|row| !support.value(*row));
    let not: Vec<&str> = not.map(|row| codes.value(row)).collect();
    assert_eq!(not, ["none", "su"]);
    for column in ["name_da", "name_en", "source"] {
        assert_eq!(batch.column_by_name(column).unwrap().null_count(), 0);
    }
    for code in codes.iter().flatten() {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'_');
        assert!(code.bytes().all(allowed), "{code}");
    }
}

#[test]
fn a_code_is_valid_from_its_first_day_to_its_last() {
    let benefit = code_list("benefit").unwrap();
    let valid = |code, on| benefit.is_valid(code, Some(on));
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
    assert!(!valid("starting_allowance", day(2002, 6, 30)));
    assert!(valid("starting_allowance", day(2002, 7, 1)));
    assert!(valid("starting_allowance", day(2011, 12, 31)));
    assert!(!valid("starting_allowance", day(2012, 1, 1)));
    assert!(benefit.is_valid("starting_allowance", None));
    assert!(valid("cash_benefit", day(2099, 1, 1)));
    assert!(!benefit.is_valid("kontanthjælp", None));
    assert!(code_list("nothing").is_none());
}
