//! What conforms is kept to the last digit; what does not is told in a sentence and left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod table;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Date64Array,
        Decimal128Array, Float64Array, Int32Array, Int64Array, NullArray, RecordBatch, StringArray,
        TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    },
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, TimestampMicrosecondType,
    },
};
use contract::{check, coerce, entity};

use table::{Table, only};

#[test]
fn a_good_row_passes_with_every_type() {
    let offer = entity("offer").unwrap();
    let rows = Table::of("offer").rows(3);
    let coerced = coerce(offer, &rows);
    assert_eq!(coerced.violations, []);
    assert_eq!(coerced.rows, [0, 1, 2]);
    assert_eq!(coerced.batch.schema(), offer.arrow_schema());
    assert_eq!(coerced.batch.num_rows(), 3);
    assert_eq!(check(offer, &coerced.batch), []);
}

#[test]
fn text_of_every_arrow_kind_is_read_alike() {
    let entity = entity("offer").unwrap();
    let rows = Table::of("offer").rows(2);
    let expected = coerce(entity, &rows).batch;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for ty in [DataType::LargeUtf8, DataType::Utf8View, dictionary] {
        let fields = rows.schema();
        let columns = fields.fields().iter().zip(rows.columns());
        let columns =
            columns.map(|(field, column)| (field.name().clone(), cast(column, &ty).unwrap()));
        let other = RecordBatch::try_from_iter(columns).unwrap();
        let coerced = coerce(entity, &other);
        assert_eq!(coerced.violations, [], "{ty}");
        assert_eq!(coerced.batch, expected, "{ty}");
    }
}

#[test]
fn values_are_read_exactly() {
    let read = |field: &str, text: &str| {
        let table = Table::of("offer")
            .without("hours_per_week_max")
            .with(field, text);
        let batch = table.without("valid_to").coerce().batch;
        assert_eq!(batch.num_rows(), 1, "{field} {text}");
        Arc::clone(batch.column_by_name(field).unwrap())
    };
    let number = |text: &str| {
        let column = read("hours_per_week_min", text);
        column.as_primitive::<Float64Type>().value(0)
    };
    assert_eq!(number("7.5"), 7.5);
    assert_eq!(number("  7.5 "), 7.5);
    assert_eq!(number("0"), 0.0);
    assert_eq!(number("1e1"), 10.0);

    let cents = |text: &str| {
        let column = read("price_per_week_dkk", text);
        column.as_primitive::<Decimal128Type>().value(0)
    };
    assert_eq!(cents("1200.5"), 120_050);
    assert_eq!(cents("1200"), 120_000);
    assert_eq!(cents("1200.50000"), 120_050);
    assert_eq!(cents(".05"), 5);
    assert_eq!(cents("9999999999.99"), 999_999_999_999);

    let days = |text: &str| {
        let column = read("valid_from", text);
        column.as_primitive::<Date32Type>().value(0)
    };
    assert_eq!(days("1970-01-01"), 0);
    assert_eq!(days("2008-02-29"), 13_938);
    assert_eq!(days(" 2008-02-29 "), 13_938);

    let micros = |text: &str| {
        let column = read("updated_at", text);
        column.as_primitive::<TimestampMicrosecondType>().value(0)
    };
    assert_eq!(micros("1970-01-01T00:00:00Z"), 0);
    assert_eq!(micros("1970-01-01T01:00:00.000001+01:00"), 1);

    let accessible = |text: &str| read("accessible", text).as_boolean().value(0);
    assert!(accessible("true"));
    assert!(accessible("True"));
    assert!(!accessible("FALSE"));
}

#[test]
fn what_cannot_be_read_is_told_so_that_it_can_be_mended() {
    for (field, text, message) in [
        (
            "hours_per_week_min",
            "7,5",
            "'7,5' is not a number; use a decimal point or map it with danish_decimal()",
        ),
        (
            "price_per_week_dkk",
            "1200,50",
            "'1200,50' is not a number; use a decimal point or map it with danish_decimal()",
        ),
        ("hours_per_week_min", "many", "'many' is not a number"),
        ("hours_per_week_min", "NaN", "'NaN' is not a number"),
        ("hours_per_week_min", "inf", "'inf' is not a number"),
        ("weeks_min", "1.5", "'1.5' is not a whole number of 32 bits"),
        (
            "weeks_min",
            "3000000000",
            "'3000000000' is not a whole number of 32 bits",
        ),
        ("weeks_min", "two", "'two' is not a whole number"),
        (
            "price_per_week_dkk",
            "0.001",
            "'0.001' does not fit: at most 10 digits before the decimal point and 2 after it",
        ),
        (
            "price_per_week_dkk",
            "10000000000",
            "'10000000000' does not fit: at most 10 digits before the decimal point and 2 after it",
        ),
        ("price_per_week_dkk", "-", "'-' is not a number"),
        ("accessible", "ja", "'ja' is not true or false"),
        (
            "valid_from",
            "2010-02-29",
            "'2010-02-29' is not a date that exists, written as 2010-01-31",
        ),
        (
            "valid_from",
            "31-02-2010",
            "'31-02-2010' is not a date that exists, written as 2010-01-31",
        ),
        (
            "valid_from",
            "28-02-2010",
            "'28-02-2010' has the day first; use 2010-01-31 or map it with danish_date()",
        ),
        (
            "valid_from",
            "2010-2-28",
            "'2010-2-28' is not a date that exists, written as 2010-01-31",
        ),
        (
            "valid_from",
            "2010-02-28T00:00:00",
            "'2010-02-28T00:00:00' has a time of day; give the date alone, as 2010-01-31",
        ),
        (
            "updated_at",
            "2010-02-28T12:00:00",
            "'2010-02-28T12:00:00' has no time zone; end it with Z for UTC or with an offset as +01:00",
        ),
        (
            "updated_at",
            "2010-02-28",
            "'2010-02-28' is not an instant that exists, written as 2010-01-31T12:00:00Z",
        ),
    ] {
        let violation = only(Table::of("offer").with(field, text));
        let found = (violation.field.as_str(), violation.rule);
        assert_eq!(found, (field, "type"), "{text}");
        assert_eq!(violation.value.as_deref(), Some(text));
        assert_eq!(violation.message, message);
    }
}

#[test]
fn empty_text_is_null() {
    for empty in ["", " ", "\t"] {
        for field in [
            "description",
            "capacity",
            "valid_to",
            "price_per_week_dkk",
            "accessible",
        ] {
            let batch = Table::of("offer").with(field, empty).coerce().batch;
            assert_eq!(batch.num_rows(), 1, "{field}");
            assert!(batch.column_by_name(field).unwrap().is_null(0), "{field}");
        }
        for field in [
            "name",
            "valid_from",
            "updated_at",
            "municipality_code",
            "package",
        ] {
            let violation = only(Table::of("offer").with(field, empty));
            assert_eq!(violation.rule, "required");
            assert_eq!(violation.field, field);
            assert_eq!(violation.message, "a value is required");
        }
    }
}

#[test]
fn a_missing_column_is_null_or_a_violation() {
    let batch = Table::of("offer").without("description").coerce().batch;
    assert!(batch.column_by_name("description").unwrap().is_null(0));
    let violation = only(Table::of("offer").without("name"));
    assert_eq!(violation.rule, "required");
    assert_eq!(
        violation.message,
        "a value is required, and the delivery has no such column"
    );
    let extra = Table::of("offer").with("colour", "red").coerce();
    assert_eq!(extra.violations, []);
}

#[test]
fn typed_columns_are_taken_when_nothing_is_lost() {
    let reads = |field: &str, column: ArrayRef| {
        let table = ["weeks_max", "hours_per_week_max", "valid_to"]
            .into_iter()
            .fold(Table::of("offer"), Table::without);
        let coerced = table.with_column(field, column).coerce();
        let rules = coerced.violations.iter().map(|it| it.message.clone());
        let rules: Vec<String> = rules.collect();
        if rules.is_empty() {
            Ok(Arc::clone(coerced.batch.column_by_name(field).unwrap()))
        } else {
            Err(rules.join("; "))
        }
    };
    let weeks = |column: ArrayRef| {
        reads("weeks_min", column).map(|read| read.as_primitive::<Int32Type>().value(0))
    };
    assert_eq!(weeks(Arc::new(Int64Array::from(vec![3]))), Ok(3));
    assert_eq!(weeks(Arc::new(Float64Array::from(vec![3.0]))), Ok(3));
    assert!(weeks(Arc::new(Float64Array::from(vec![3.5]))).is_err());
    assert!(weeks(Arc::new(Int64Array::from(vec![i64::MAX]))).is_err());
    assert!(weeks(Arc::new(BooleanArray::from(vec![true]))).is_err());
    assert_eq!(
        weeks(Arc::new(BinaryArray::from(vec![&b"3"[..]]))).unwrap_err(),
        "a column of Binary cannot become a whole number; cast it in the mapping"
    );

    let price = |column: ArrayRef| {
        let read = reads("price_per_week_dkk", column);
        read.map(|read| read.as_primitive::<Decimal128Type>().value(0))
    };
    assert_eq!(price(Arc::new(Float64Array::from(vec![0.1 + 0.2]))), Ok(30));
    assert_eq!(price(Arc::new(Int32Array::from(vec![7]))), Ok(700));
    assert!(price(Arc::new(Float64Array::from(vec![0.125]))).is_err());
    assert!(price(Arc::new(Float64Array::from(vec![f64::NAN]))).is_err());
    let thousandths = |value| {
        let column = Decimal128Array::from(vec![value]);
        Arc::new(column.with_precision_and_scale(10, 3).unwrap()) as ArrayRef
    };
    assert_eq!(price(thousandths(1250)), Ok(125));
    assert!(price(thousandths(1255)).is_err());

    let hours = |column: ArrayRef| {
        let read = reads("hours_per_week_min", column);
        read.map(|read| read.as_primitive::<Float64Type>().value(0))
    };
    assert_eq!(hours(Arc::new(Int32Array::from(vec![7]))), Ok(7.0));
    assert_eq!(hours(thousandths(7500)), Ok(7.5));
    for endless in [f64::NAN, f64::INFINITY] {
        assert!(hours(Arc::new(Float64Array::from(vec![endless]))).is_err());
    }

    let day = 86_400_000_i64;
    let from = |column: ArrayRef| {
        reads("valid_from", column).map(|read| read.as_primitive::<Date32Type>().value(0))
    };
    assert_eq!(from(Arc::new(Date32Array::from(vec![3]))), Ok(3));
    assert_eq!(from(Arc::new(Date64Array::from(vec![3 * day]))), Ok(3));
    let midnight = TimestampMillisecondArray::from(vec![3 * day]);
    assert_eq!(from(Arc::new(midnight.clone())), Ok(3));
    assert!(from(Arc::new(midnight.with_timezone("UTC"))).is_err());
    let noon = TimestampMillisecondArray::from(vec![3 * day + day / 2]);
    assert!(from(Arc::new(noon)).is_err());
    assert!(from(Arc::new(Int32Array::from(vec![3]))).is_err());

    let at = |column: ArrayRef| {
        let read = reads("updated_at", column);
        read.map(|read| read.as_primitive::<TimestampMicrosecondType>().value(0))
    };
    let nanos = TimestampNanosecondArray::from(vec![5_000]);
    assert_eq!(at(Arc::new(nanos.clone())), Ok(5));
    assert_eq!(at(Arc::new(nanos.with_timezone("+02:00"))), Ok(5));
    let micros = TimestampMicrosecondArray::from(vec![5]).with_timezone("+00:00");
    assert_eq!(at(Arc::new(micros)), Ok(5));
    assert!(at(Arc::new(Date32Array::from(vec![3]))).is_err());

    let id = |column: ArrayRef| {
        reads("offer_id", column).map(|read| read.as_string::<i32>().value(0).to_owned())
    };
    assert_eq!(
        id(Arc::new(Int64Array::from(vec![17]))),
        Ok("17".to_owned())
    );
    let nothing = reads("description", Arc::new(NullArray::new(1))).unwrap();
    assert!(nothing.is_null(0));
    assert_eq!(
        id(Arc::new(NullArray::new(1))),
        Err("a value is required".to_owned())
    );
}

#[test]
fn an_enum_takes_its_values_only() {
    let violation = only(Table::of("participation").with("workplace", "Praktik"));
    assert_eq!(violation.rule, "values");
    assert_eq!(
        violation.message,
        "'Praktik' is not one of none, internship, wage_subsidy"
    );
}

#[test]
fn an_answer_of_six_is_out_of_range() {
    for (answer, rule) in [("6", Some("maximum")), ("0", Some("minimum")), ("5", None)] {
        let table = Table::of("survey_response").with("satisfaction", answer);
        let violations = table.coerce().violations;
        let found = violations.first().map(|violation| violation.rule);
        assert_eq!(found, rule, "{answer}");
    }
    let violation = only(Table::of("survey_response").with("moved", "6"));
    assert_eq!(violation.message, "'6' is more than 5");
    let violation = only(Table::of("participation").with("hours_per_week", "60"));
    assert_eq!(violation.message, "'60' is more than 59");
    let violation = only(Table::of("offer").with("price_per_week_dkk", "-0.01"));
    assert_eq!(violation.message, "'-0.01' is less than 0");
}

#[test]
fn an_end_before_the_start_never_passes() {
    let table = Table::of("participation");
    let table = table.with("start_date", "2010-02-01");
    assert_eq!(
        table.clone().with("end_date", "2010-02-01").violations(),
        []
    );
    let violation = only(table.with("end_date", "2010-01-31"));
    assert_eq!(violation.field, "end_date");
    assert_eq!(violation.rule, "ordered");
    assert_eq!(
        violation.message,
        "end_date 2010-01-31 is before start_date 2010-02-01"
    );
    let table = Table::of("offer").with("weeks_min", "13");
    let violation = only(table.with("weeks_max", "1"));
    assert_eq!(violation.message, "weeks_max 1 is less than weeks_min 13");
}

#[test]
fn a_code_must_be_known_on_its_day() {
    let spell = Table::of("benefit_spell").without("to_date");
    let spell = spell.with("benefit", "starting_allowance");
    let on = |day: &str| spell.clone().with("from_date", day);
    assert_eq!(on("2011-12-31").violations(), []);
    let violation = only(on("2012-01-01"));
    assert_eq!(violation.rule, "code_list");
    assert_eq!(
        violation.message,
        "'starting_allowance' is not valid on 2012-01-01 in the code list benefit; \
         it is valid 2002-07-01 to 2011-12-31"
    );
    let violation = only(spell.clone().with("benefit", "kontanthjælp"));
    assert_eq!(
        violation.message,
        "'kontanthjælp' is not in the code list benefit"
    );
    let violation = only(spell.with("municipality_code", "100"));
    assert_eq!(
        violation.message,
        "'100' is not in the code list municipality"
    );
}

#[test]
fn a_citizen_is_a_pseudonym_and_nothing_else() {
    for wrong in ["610190-0001", "6101900001", "Jens Hansen", &"A".repeat(64)] {
        let violation = only(Table::of("citizen").with("citizen_id", wrong));
        assert_eq!(violation.rule, "pseudonym");
        assert_eq!(violation.value, None);
        assert!(!violation.message.contains(wrong));
    }
    let violation = only(Table::of("citizen").with("citizen_id", ""));
    assert!(violation.message.starts_with("a CPR number is required"));
    let anonymous = Table::of("complaint").with("citizen_id", "");
    assert_eq!(anonymous.violations(), []);
}

#[test]
fn no_cpr_number_passes_in_text_or_ids() {
    for (entity, field, text) in [
        ("offer", "description", "for 610190-0001 only"),
        ("offer", "name", "Forløb 6101900001"),
        ("offer", "offer_id", "610190-0001"),
        ("supervision_visit", "note", "6101900001 was absent"),
        ("participation", "participation_id", "6101900001"),
        ("participation", "participation_id", "610190-0001/3"),
        ("delivery", "file_name", "610190-0001.csv"),
    ] {
        let violation = only(Table::of(entity).with(field, text));
        assert_eq!((violation.rule, violation.value), ("cpr", None), "{text}");
        assert!(!violation.message.contains("6101"), "{text}");
    }
    for (entity, field, text) in [
        // Numbers of production units have ten digits too.
        ("provider", "provider_id", "6101900001"),
        ("provider", "cvr", "64942212"),
        ("participation", "participation_id", "P-6101900001"),
        ("participation", "participation_id", "112000000"),
        ("delivery", "file_name", "report_20101231.csv"),
    ] {
        assert_eq!(
            Table::of(entity).with(field, text).violations(),
            [],
            "{text}"
        );
    }
}

#[test]
fn a_violation_shows_little() {
    let long = "x".repeat(200);
    let violation = only(Table::of("offer").with("package", &long));
    assert_eq!(violation.value.unwrap().len(), 80);
    assert!(violation.message.len() < 250);
    let danish = "ø".repeat(100);
    let violation = only(Table::of("offer").with("package", &danish));
    assert_eq!(violation.value.unwrap().chars().count(), 80);

    let violation = only(Table::of("participation").with("start_date", "610190-0001"));
    assert_eq!(violation.value.as_deref(), Some("[cpr]"));
    assert!(!violation.message.contains("6101"));
    let secret = BinaryArray::from(vec![&b"Jens"[..]]);
    let table = Table::of("interview").with_column("no_show_reason", Arc::new(secret));
    assert_eq!(only(table).value, None);
}

#[test]
fn good_rows_are_kept_beside_bad_ones() {
    let mut table = Table::of("participation");
    table.values("participation_id", &["a", "b", "c", "d", "e"]);
    let starts = [
        "2010-01-01",
        "2010-13-01",
        "2010-01-01",
        "2010-01-01",
        "2010-01-01",
    ];
    table.values("start_date", &starts);
    table.values(
        "end_date",
        &["", "2009-01-01", "2009-12-31", "2010-01-01", "2010"],
    );
    table.values("hours_per_week", &["37", "37", "60", "37.5", "x"]);
    let coerced = table.coerce();
    assert_eq!(coerced.rows, [0, 3]);
    let ids = coerced.batch.column_by_name("participation_id").unwrap();
    assert_eq!(
        ids.as_ref(),
        &StringArray::from(vec!["a", "d"]) as &dyn Array
    );
    let found: Vec<(usize, &str, &str)> = coerced
        .violations
        .iter()
        .map(|violation| (violation.row, violation.field.as_str(), violation.rule))
        .collect();
    assert_eq!(
        found,
        [
            (1, "start_date", "type"),
            (2, "hours_per_week", "maximum"),
            (2, "end_date", "ordered"),
            (4, "end_date", "type"),
            (4, "hours_per_week", "type"),
        ]
    );
}

#[test]
fn no_rows_are_no_trouble() {
    for entity in contract::entities() {
        let empty = RecordBatch::new_empty(entity.arrow_schema());
        let coerced = coerce(entity, &empty);
        assert_eq!(coerced.batch, empty);
        assert_eq!(coerced.violations, []);
    }
}
