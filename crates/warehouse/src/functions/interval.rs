//! 95 % intervals: Wilson for shares, Byar for counts.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use datafusion::{common::exec_err, error::Result};

use super::scalar::{Columns, Kind, Signed, at};

/// The 97.5 % point of the normal distribution; the one the definitions name.
const Z: f64 = 1.959_964;

const SHARE: &[(&str, Kind, &str)] = &[
    ("successes", Kind::Double, "how many succeeded, 0 to n"),
    (
        "n",
        Kind::Double,
        "how many there were; null comes back for 0",
    ),
];

const COUNT: &[(&str, Kind, &str)] = &[("count", Kind::Double, "how many were counted, 0 or more")];

pub(super) static ALL: &[Signed] = &[
    Signed {
        name: "wilson_low",
        arguments: SHARE,
        returns: Kind::Double,
        doc: "The lower end of the 95 % Wilson interval of a share, 0 to 1. With p = successes / n and \
              z = 1.959964: centre = (p + z²/2n) / (1 + z²/n), half-width = \
              z·sqrt(p(1−p)/n + z²/4n²) / (1 + z²/n). Source: Wilson 1927; domain report D1.",
        example: "wilson_low(38, 120) = 0.240228",
        eval: |columns| shares("wilson_low", columns, |successes, n| wilson(successes, n).0),
    },
    Signed {
        name: "wilson_high",
        arguments: SHARE,
        returns: Kind::Double,
        doc: "The upper end of the 95 % Wilson interval of a share; see wilson_low.",
        example: "wilson_high(38, 120) = 0.404479",
        eval: |columns| {
            shares("wilson_high", columns, |successes, n| {
                wilson(successes, n).1
            })
        },
    },
    Signed {
        name: "byar_low",
        arguments: COUNT,
        returns: Kind::Double,
        doc: "The lower end of the 95 % interval of a count O by Byar's approximation, with z = 1.959964: \
              O·(1 − 1/(9O) − z/(3·sqrt(O)))³, and 0 for 0. Source: Breslow and Day 1987; domain report D1.",
        example: "byar_low(10) = 4.7874",
        eval: |columns| counts("byar_low", columns, |count| byar(count).0),
    },
    Signed {
        name: "byar_high",
        arguments: COUNT,
        returns: Kind::Double,
        doc: "The upper end of the 95 % interval of a count O by Byar's approximation: \
              (O+1)·(1 − 1/(9(O+1)) + z/(3·sqrt(O+1)))³; see byar_low.",
        example: "byar_high(10) = 18.3915",
        eval: |columns| counts("byar_high", columns, |count| byar(count).1),
    },
];

fn wilson(successes: f64, n: f64) -> (f64, f64) {
    let share = successes / n;
    let denominator = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / denominator;
    // At the edges the formula gives exactly 0 and 1; floating point misses by a hair.
    let low = if successes == 0.0 { 0.0 } else { centre - half };
    let high = if successes == n { 1.0 } else { centre + half };
    (low, high)
}

fn byar(count: f64) -> (f64, f64) {
    let next = count + 1.0;
    let low = if count == 0.0 {
        0.0
    } else {
        // Between 0 and 1 only, where no count is, the bracket could go below 0.
        let bracket: f64 = 1.0 - 1.0 / (9.0 * count) - Z / (3.0 * count.sqrt());
        count * bracket.max(0.0).powi(3)
    };
    let high = next * (1.0 - 1.0 / (9.0 * next) + Z / (3.0 * next.sqrt())).powi(3);
    (low, high)
}

fn shares(name: &str, columns: &Columns, end: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (successes, n) = (columns.doubles(0)?, columns.doubles(1)?);
    let ends = (0..columns.rows())
        .map(|row| match (at(successes, row), at(n, row)) {
            (Some(successes), Some(n)) if !(0.0..=n).contains(&successes) => {
                exec_err!("{name}: {successes} of {n} is no share")
            }
            (Some(successes), Some(n)) if n > 0.0 => Ok(Some(end(successes, n))),
            _ => Ok(None),
        })
        .collect::<Result<Float64Array>>()?;
    Ok(Arc::new(ends))
}

fn counts(name: &str, columns: &Columns, end: fn(f64) -> f64) -> Result<ArrayRef> {
    let given = columns.doubles(0)?;
    let ends = (0..columns.rows())
        .map(|row| match at(given, row) {
            Some(count) if count >= 0.0 => Ok(Some(end(count))),
            Some(count) => exec_err!("{name}: {count} is no count"),
            None => Ok(None),
        })
        .collect::<Result<Float64Array>>()?;
    Ok(Arc::new(ends))
}

#[cfg(test)]
mod tests {
    use super::{
        super::check::{answers, error},
        *,
    };

    fn close(given: f64, wanted: f64, tolerance: f64) {
        assert!(
            (given - wanted).abs() <= tolerance,
            "{given} is not {wanted}"
        );
    }

    #[test]
    fn wilson_gives_the_check_values_of_the_domain_report() {
        for (successes, n, low, high) in [
            (0.0, 10.0, 0.0, 0.277_533),
            (1.0, 10.0, 0.017_876, 0.404_150),
            (5.0, 10.0, 0.236_593, 0.763_407),
            (10.0, 10.0, 0.722_467, 1.0),
            (38.0, 120.0, 0.240_228, 0.404_479),
            (950.0, 1000.0, 0.934_686, 0.961_870),
            (940.0, 1000.0, 0.923_529, 0.953_104),
        ] {
            let (got_low, got_high) = wilson(successes, n);
            close(got_low, low, 5e-7);
            close(got_high, high, 5e-7);
        }
    }

    #[test]
    fn byar_gives_the_check_values_of_the_domain_report() {
        for (count, low, high) in [
            (0.0, 0.0, 3.668),
            (1.0, 0.0131, 5.5638),
            (5.0, 1.6113, 11.6682),
            (10.0, 4.7874, 18.3915),
            (100.0, 81.3621, 121.6279),
        ] {
            let (got_low, got_high) = byar(count);
            close(got_low, low, 5e-5);
            close(got_high, high, 5e-4);
        }
    }

    #[test]
    fn nothing_has_no_interval() {
        answers(&[
            ("wilson_low(0, 0)", "NULL"),
            ("wilson_high(null, 10)", "NULL"),
            ("wilson_low(3, null)", "NULL"),
            ("byar_low(null)", "NULL"),
            ("wilson_low(0, 10)", "0.0"),
            ("wilson_high(10, 10)", "1.0"),
            ("byar_low(0)", "0.0"),
            (
                "round(wilson_low(cast(38 as decimal(5, 0)), 120), 6)",
                "0.240228",
            ),
        ]);
    }

    #[test]
    fn more_successes_than_tries_is_an_error() {
        assert!(error("wilson_low(7, 5)").contains("7 of 5 is no share"));
        assert!(error("wilson_low(-1, 5)").contains("-1 of 5 is no share"));
        assert!(error("byar_low(-1)").contains("-1 is no count"));
        assert!(error("wilson_low('a', 5)").contains("`successes` is Utf8"));
    }
}
