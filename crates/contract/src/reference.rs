//! The code lists of `schemas/reference/*.csv`, with the dates between which each code is valid.

use std::{
    collections::HashMap,
    io::Cursor,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::concat_batches,
    csv::ReaderBuilder,
    datatypes::{DataType, Date32Type, Field, Int32Type, Schema},
    error::ArrowError,
};
use chrono::NaiveDate;

use crate::embedded;

/// One code list. Its first column holds the code.
#[derive(Debug, Clone)]
pub struct CodeList {
    /// Its name: `benefit`.
    pub name: String,
    batch: RecordBatch,
    codes: HashMap<String, Periods>,
    numbers: HashMap<i32, Periods>,
}

/// When a code is valid: inclusive days since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) struct Periods(Vec<(i32, i32)>);

impl Periods {
    /// Whether the code is valid on the day; without a day, whether it is known at all.
    pub(crate) fn hold(&self, day: Option<i32>) -> bool {
        day.is_none_or(|day| self.0.iter().any(|(from, to)| (*from..=*to).contains(&day)))
    }

    /// The periods in words, for messages.
    pub(crate) fn in_words(&self) -> String {
        let words = self.0.iter().map(|(from, to)| {
            let from = Date32Type::to_naive_date_opt(*from).unwrap_or_default();
            match Date32Type::to_naive_date_opt(*to) {
                Some(to) if to < NaiveDate::MAX => format!("{from} to {to}"),
                _ => format!("from {from}"),
            }
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

/// All code lists, by name.
pub fn code_lists() -> &'static [CodeList] {
    // A list that cannot be read would be missing here; the test `code_lists_are_whole` finds it.
    static ALL: LazyLock<Vec<CodeList>> = LazyLock::new(|| {
        let lists = embedded::LISTS.iter();
        lists
            .filter_map(|(name, text)| CodeList::read(name, text).ok())
            .collect()
    });
    &ALL
}

/// The code list of this name.
pub fn code_list(name: &str) -> Option<&'static CodeList> {
    code_lists().iter().find(|list| list.name == name)
}

impl CodeList {
    /// Whether the code is valid on the day; without a day, whether it is known at all.
    pub fn is_valid(&self, code: &str, on: Option<NaiveDate>) -> bool {
        let day = on.map(Date32Type::from_naive_date);
        self.periods(code).is_some_and(|periods| periods.hold(day))
    }

    /// The whole list, for the table `ref.<name>`.
    ///
    /// Codes are `Utf8` but `municipality_code`, which is `Int32`; `valid_from` and `valid_to` are
    /// `Date32`, inclusive; `counts_as_support` is `Boolean`; all else is `Utf8`.
    pub fn batch(&self) -> RecordBatch {
        self.batch.clone()
    }

    pub(crate) fn periods(&self, code: &str) -> Option<&Periods> {
        self.codes.get(code)
    }

    /// As [`CodeList::periods`], for lists whose codes are numbers.
    pub(crate) fn periods_of_number(&self, code: i32) -> Option<&Periods> {
        self.numbers.get(&code)
    }

    fn read(name: &str, text: &'static str) -> Result<Self, ArrowError> {
        let header = text.lines().next().unwrap_or_default();
        let columns = header.split(',').enumerate().map(|(at, column)| {
            let ty = match column {
                "municipality_code" => DataType::Int32,
                "valid_from" | "valid_to" => DataType::Date32,
                "counts_as_support" => DataType::Boolean,
                _ => DataType::Utf8,
            };
            Field::new(column, ty, at > 0 && column != "valid_from")
        });
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        let reader = ReaderBuilder::new(Arc::clone(&schema))
            .with_header(true)
            .build(Cursor::new(text))?;
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        let batch = concat_batches(&schema, &batches)?;

        let mut list = Self {
            name: name.to_owned(),
            codes: HashMap::new(),
            numbers: HashMap::new(),
            batch,
        };
        list.index();
        Ok(list)
    }

    fn index(&mut self) {
        let day = |column: &str, row: usize| {
            let days = self.batch.column_by_name(column)?;
            let days = days.as_primitive_opt::<Date32Type>()?;
            days.is_valid(row).then(|| days.value(row))
        };
        let code = self.batch.column(0);
        for row in 0..self.batch.num_rows() {
            let period = (
                day("valid_from", row).unwrap_or(i32::MIN),
                day("valid_to", row).unwrap_or(i32::MAX),
            );
            if let Some(numbers) = code.as_primitive_opt::<Int32Type>() {
                let number = numbers.value(row);
                self.numbers.entry(number).or_default().0.push(period);
                let codes = self.codes.entry(number.to_string());
                codes.or_default().0.push(period);
            } else if let Some(texts) = code.as_string_opt::<i32>() {
                let codes = self.codes.entry(texts.value(row).to_owned());
                codes.or_default().0.push(period);
            }
        }
    }
}
