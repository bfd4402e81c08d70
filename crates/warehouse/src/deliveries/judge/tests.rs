//! In time, late, in part, missing: by the days that the data cover, seen from different days.
#![allow(clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;

use super::*;

const MONTHLY: &str = "
- name: attendance
  sender: providers
  contact: contract manager
  entity: attendance
  municipality_code: 101
  proof: file
  period: month
  due: 10 days after the period
  from: 2010-01-01
";

fn obligations(text: &str) -> Vec<Obligation> {
    spec::parse_calendar("calendar.yaml", text).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn coverage(proof: &str, first: Option<&str>, last: Option<&str>, received: &str) -> Coverage {
    Coverage {
        municipality_code: 101,
        entity: "attendance".to_owned(),
        proof: proof.to_owned(),
        source: "drops".to_owned(),
        file_name: None,
        first_day: first.map(day),
        last_day: last.map(day),
        received_at: received.parse().unwrap(),
        row_count: None,
        refused: false,
    }
}

/// A file by the period in its name.
fn file(period: &str, received: &str, rows: i64) -> Coverage {
    let named = Period::parse(period);
    Coverage {
        file_name: Some(format!("Fremmoede-{period}.csv")),
        first_day: named.map(Period::first_day),
        last_day: named.map(Period::last_day),
        row_count: Some(rows),
        ..coverage("file", None, None, received)
    }
}

/// `period status days_late covered_through rows` of each, seen from a day.
fn seen(calendar: &str, came: &[Coverage], as_of: &str) -> Vec<String> {
    judge(&obligations(calendar), came, day(as_of))
        .iter()
        .map(|it| {
            let number = |it: Option<i64>| it.map_or("-".to_owned(), |it| it.to_string());
            let through = it
                .covered_through
                .map_or("-".to_owned(), |it| it.to_string());
            let (late, rows) = (number(it.days_late), number(it.rows));
            format!(
                "{} {} {late} {through} {rows}",
                it.period,
                it.status.as_str()
            )
        })
        .collect()
}

#[test]
fn the_due_date_itself_is_in_time_and_the_day_after_is_late() {
    // Due on 10 February; in Denmark that day ends at 23:00 UTC.
    for (received, expected) in [
        ("2010-02-10T22:59:59Z", "2010-01 on_time - 2010-01-31 5"),
        ("2010-02-10T23:00:00Z", "2010-01 late 1 2010-01-31 5"),
        ("2010-01-31T12:00:00Z", "2010-01 on_time - 2010-01-31 5"),
    ] {
        let came = [file("2010-01", received, 5)];
        assert_eq!(
            seen(MONTHLY, &came, "2010-02-11")[0],
            expected,
            "{received}"
        );
    }
    assert_eq!(seen(MONTHLY, &[], "2010-02-10")[0], "2010-01 not_due - - -");
    assert_eq!(seen(MONTHLY, &[], "2010-02-11")[0], "2010-01 overdue 1 - -");
    assert_eq!(seen(MONTHLY, &[], "2010-02-11")[1], "2010-02 not_due - - -");
}

#[test]
fn an_earlier_day_does_not_know_what_came_later() {
    let came = [file("2010-01", "2010-02-20T08:00:00Z", 5)];
    assert_eq!(
        seen(MONTHLY, &came, "2010-02-19")[0],
        "2010-01 overdue 9 - -"
    );
    assert_eq!(
        seen(MONTHLY, &came, "2010-02-20")[0],
        "2010-01 late 10 2010-01-31 5"
    );
}

#[test]
fn a_file_counts_for_its_own_period_and_not_for_the_one_it_came_in() {
    // December's file, in time for January's date; then February's, before January's.
    let came = [
        file("2009-12", "2010-02-05T08:00:00Z", 9),
        file("2010-02", "2010-03-05T08:00:00Z", 6),
        file("2010-01", "2010-03-20T08:00:00Z", 5),
        file("unknown", "2010-04-01T08:00:00Z", 7),
    ];
    assert_eq!(
        seen(MONTHLY, &came, "2010-04-30"),
        [
            "2010-01 late 38 2010-01-31 5",
            "2010-02 on_time - 2010-02-28 6",
            "2010-03 overdue 20 - -",
            "2010-04 not_due - - -",
        ]
    );
}

#[test]
fn what_is_sent_again_moves_nothing_and_its_rows_are_the_last_ones() {
    let came = [
        file("2010-01", "2010-02-05T08:00:00Z", 5),
        file("2010-01", "2010-06-01T08:00:00Z", 8),
    ];
    assert_eq!(
        seen(MONTHLY, &came, "2010-06-30")[0],
        "2010-01 on_time - 2010-01-31 8"
    );
}

#[test]
fn no_rows_is_an_answer_and_nothing_but_bad_rows_is_none() {
    let mut came = [file("2010-01", "2010-02-05T08:00:00Z", 0)];
    assert_eq!(
        seen(MONTHLY, &came, "2010-02-11")[0],
        "2010-01 on_time - 2010-01-31 0"
    );
    came[0].refused = true;
    assert_eq!(
        seen(MONTHLY, &came, "2010-02-11")[0],
        "2010-01 partial 1 - -"
    );
}

#[test]
fn a_quarter_has_come_when_its_three_months_have() {
    let quarterly = MONTHLY.replace("month\n", "quarter\n");
    let mut came = vec![
        file("2010-01", "2010-02-05T08:00:00Z", 1),
        file("2010-03", "2010-04-05T08:00:00Z", 3),
    ];
    assert_eq!(
        seen(&quarterly, &came, "2010-04-10")[0],
        "2010Q1 not_due - 2010-01-31 4"
    );
    assert_eq!(
        seen(&quarterly, &came, "2010-04-11")[0],
        "2010Q1 partial 1 2010-01-31 4"
    );
    came.push(file("2010-02", "2010-04-15T08:00:00Z", 2));
    assert_eq!(
        seen(&quarterly, &came, "2010-04-30")[0],
        "2010Q1 late 5 2010-03-31 6"
    );
    // A file for longer covers what is shorter.
    let came = [file("2010H1", "2010-07-05T08:00:00Z", 60)];
    assert_eq!(
        seen(&quarterly, &came, "2010-07-31")[1],
        "2010Q2 on_time - 2010-06-30 60"
    );
}

#[test]
fn what_comes_before_its_period_is_over_covers_the_days_before() {
    let came = [file("2010-01", "2010-01-29T08:00:00Z", 4)];
    assert_eq!(
        seen(MONTHLY, &came, "2010-02-11")[0],
        "2010-01 partial 1 2010-01-29 4"
    );
}

#[test]
fn an_obligation_begins_and_ends_where_it_says() {
    let contract = MONTHLY.replace("2010-01-01", "2010-06-15\n  until: 2010-08-10");
    let came = [
        file("2010-06", "2010-07-05T08:00:00Z", 1),
        file("2010-08", "2010-08-10T20:00:00Z", 1),
    ];
    assert_eq!(
        seen(&contract, &came, "2026-01-01"),
        [
            "2010-06 on_time - 2010-06-30 1",
            "2010-07 overdue 5623 - -",
            "2010-08 on_time - 2010-08-10 1",
        ],
        "nothing is owed before June or after August, nor after the 10th of it"
    );
    assert!(seen(&contract, &came, "2010-05-31").is_empty());
}

#[test]
fn only_the_named_source_files_and_municipality_count() {
    let mut other = file("2010-01", "2010-02-05T08:00:00Z", 1);
    other.source = "archive".to_owned();
    let mut elsewhere = file("2010-01", "2010-02-05T08:00:00Z", 1);
    elsewhere.municipality_code = 0;
    let came = [other, elsewhere];
    let narrow = |more: &str| seen(&format!("{MONTHLY}{more}"), &came, "2010-02-11")[0].clone();
    assert_eq!(narrow("  source: drops\n"), "2010-01 overdue 1 - -");
    assert_eq!(
        narrow("  source: archive\n"),
        "2010-01 on_time - 2010-01-31 1"
    );
    assert_eq!(
        narrow("  files: fremmoede-*\n"),
        "2010-01 on_time - 2010-01-31 1"
    );
    assert_eq!(narrow("  files: tilsyn-*\n"), "2010-01 overdue 1 - -");
    assert_eq!(
        narrow(""),
        "2010-01 on_time - 2010-01-31 1",
        "any source counts"
    );
}

#[test]
fn a_watermark_covers_all_before_it_and_the_country_counts_for_each() {
    let by_watermark = MONTHLY.replace("proof: file", "proof: watermark");
    let mut country = coverage(
        "watermark",
        None,
        Some("2010-02-28"),
        "2010-03-01T08:00:00Z",
    );
    country.municipality_code = 0;
    let came = [
        coverage(
            "watermark",
            None,
            Some("2010-01-15"),
            "2010-01-16T08:00:00Z",
        ),
        // An older one, said later.
        coverage(
            "watermark",
            None,
            Some("2010-01-10"),
            "2010-02-02T08:00:00Z",
        ),
        country,
        file("2010-01", "2010-02-01T08:00:00Z", 5),
    ];
    assert_eq!(
        seen(&by_watermark, &came, "2010-02-11")[0],
        "2010-01 partial 1 2010-01-15 -"
    );
    assert_eq!(
        seen(&by_watermark, &came, "2010-03-11"),
        [
            "2010-01 late 19 2010-01-31 -",
            "2010-02 on_time - 2010-02-28 -",
            "2010-03 not_due - - -",
        ]
    );
}

#[test]
fn rows_stand_for_the_period_that_holds_them() {
    let yearly = MONTHLY
        .replace("proof: file", "proof: rows")
        .replace("month\n", "year\n")
        .replace("10 days", "11 months");
    let rows = |first, last, received, count| Coverage {
        row_count: Some(count),
        ..coverage("rows", Some(first), Some(last), received)
    };
    let came = [
        // Last year's figures, loaded in this year.
        rows("2009-11-30", "2009-11-30", "2010-12-01T08:00:00Z", 4),
        rows("2010-11-30", "2010-11-30", "2011-10-28T08:00:00Z", 3),
        rows("2011-12-26", "2012-01-01", "2012-01-05T08:00:00Z", 1),
    ];
    assert_eq!(
        seen(&yearly, &came, "2012-12-01"),
        [
            "2010 on_time - 2010-12-31 3",
            "2011 overdue 1 - -",
            "2012 not_due - - -",
        ],
        "a week that reaches over the turn of the year stands for neither"
    );
}

#[test]
fn the_most_urgent_come_first() {
    use Status::{Late, NotDue, OnTime, Overdue, Partial};
    let mut all = [OnTime, Late, NotDue, Partial, Overdue];
    all.sort();
    assert_eq!(all, [Overdue, Partial, NotDue, Late, OnTime]);
}

proptest! {
    /// Stretches put together in any order are the days that are in any of them.
    #[test]
    fn covered_days_are_the_union(stretches in prop::collection::vec((0u64..40, 0u64..12), 0..12), first in 0u64..40) {
        let at = |days: u64| day("2010-01-01") + chrono::Days::new(days);
        let mut days = Days::default();
        let mut each = [false; 60];
        for (from, length) in &stretches {
            days.add(at(*from), at(from + length));
            each[*from as usize..=(from + length) as usize].fill(true);
        }
        let run = each[first as usize..].iter().take_while(|it| **it).count() as u64;
        prop_assert_eq!(days.through(at(first)), (run > 0).then(|| at(first + run - 1)));
    }
}
