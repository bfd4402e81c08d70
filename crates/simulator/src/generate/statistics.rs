//! What is counted rather than lived: goals, the labour force, national benchmarks, and the paths planted for them.

use chrono::{Datelike, NaiveDate};

use super::{Making, courses::workplace_path};
use crate::{Benchmark, Goal, Id, LabourForce, Moment, MunicipalityTruth};

/// The table of Statistics Denmark that the labour force comes from.
pub(crate) const SOURCE_TABLE: &str = "RAS201";
/// Percentage points at the end of 2009 in Copenhagen and in the country (seed S4).
const EXCESS_COPENHAGEN: f64 = 10.6;
const EXCESS_COUNTRY: f64 = 9.9;

/// Plants what courses and interviews then follow.
pub(super) fn plant(making: &mut Making) -> MunicipalityTruth {
    let mut planted = MunicipalityTruth::default();
    let first = making.span.from.year();
    let unemployed = making.dice.number(0.925, 0.955);
    let sick = making.dice.number(0.90, 0.96);
    for year in making.years() {
        let later = f64::from(year - first);
        let better = |base: f64, step: f64| (base + step * later).min(0.985);
        planted
            .timely_unemployed
            .insert(year, better(unemployed, 0.012));
        planted.timely_sick.insert(year, better(sick, 0.008));
        planted.workplace.insert(year, workplace_path(first, year));
    }
    planted
}

/// The quality contract of seed S4, for four years from the first, and each job centre's own goal.
pub(super) fn goals(making: &mut Making) {
    let whole = [
        (
            "service_quality",
            "interview_timeliness",
            "at_least",
            95.0,
            "every_year",
        ),
        (
            "service_quality",
            "interview_timeliness_unemployed",
            "at_least",
            95.0,
            "every_year",
        ),
        (
            "service_quality",
            "interview_timeliness_sick",
            "at_least",
            95.0,
            "every_year",
        ),
        (
            "employment_effort",
            "workplace_share",
            "at_least",
            15.0,
            "at_end",
        ),
        (
            "employment_effort",
            "excess_unemployment",
            "at_most",
            7.0,
            "at_end",
        ),
    ];
    for goal in whole {
        push_goal(making, "quality_contract", None, goal);
    }
    let units: Vec<Id> = making
        .m
        .units
        .iter()
        .filter(|it| it.kind == "jobcenter")
        .map(|it| it.unit_id)
        .collect();
    for unit in units {
        let goal = (
            "service_quality",
            "interview_timeliness",
            "at_least",
            95.0,
            "every_year",
        );
        push_goal(making, "result_contract", Some(unit), goal);
    }
}

fn push_goal(
    making: &mut Making,
    contract: &'static str,
    unit_id: Option<Id>,
    (focus_area, indicator, comparator, target, cadence): (
        &'static str,
        &'static str,
        &'static str,
        f64,
        &'static str,
    ),
) {
    let from = making.span.from;
    let valid_to = NaiveDate::from_ymd_opt(from.year() + 3, 12, 31).unwrap_or(making.span.until);
    let at = making.dice.at(from);
    making.m.goals.push(Goal {
        goal_id: making.id('C', making.m.goals.len()),
        municipality_code: making.m.code,
        contract,
        unit_id,
        focus_area,
        indicator,
        comparator,
        target,
        valid_from: from,
        valid_to,
        cadence,
        registered_at: at,
        updated_at: at,
    });
}

/// One count per origin at the end of each November from the year before the first, each published
/// in the next October.
pub(super) fn labour_force(making: &mut Making, planted: &mut MunicipalityTruth) {
    let code = making.m.code;
    let dice = &mut making.dice;
    let (all, baseline) = match code {
        0 => (2_900_000.0, EXCESS_COUNTRY),
        101 => (290_000.0, EXCESS_COPENHAGEN),
        _ => (
            dice.number(8.0, 90.0).round() * 1000.0,
            dice.number(6.0, 13.0),
        ),
    };
    let shares = (dice.number(0.07, 0.12), dice.number(0.03, 0.06));
    let first = making.span.from.year();
    for year in first - 1..=making.span.until.year() {
        let dice = &mut making.dice;
        let later = f64::from(year + 1 - first);
        let (Some(date), Some(published)) = (
            NaiveDate::from_ymd_opt(year, 11, 30),
            NaiveDate::from_ymd_opt(year + 1, 10, 28),
        ) else {
            continue;
        };
        let force = (all * (1.0 + 0.004 * later)).round();
        let rate = dice.number(0.055, 0.075);
        let wanted = (baseline - later * 0.95).max(3.0);
        let (other, western) = ((force * shares.0).round(), (force * shares.1).round());
        let jobless = (force * rate).round();
        let other_jobless = (other * (rate + wanted / 100.0)).round();
        let western_jobless = (western * (rate + 0.01)).round();
        // What the rounded counts say, not what they were drawn from.
        let excess = 100.0 * (other_jobless / other - jobless / force);
        planted.excess_unemployment.insert(year, excess);
        let counts = [
            ("all", force, jobless),
            (
                "danish",
                force - other - western,
                jobless - other_jobless - western_jobless,
            ),
            ("western", western, western_jobless),
            ("non_western", other, other_jobless),
        ];
        let at = eight_oclock(published);
        for (origin, labour_force, unemployed) in counts {
            making.m.labour_forces.push(LabourForce {
                municipality_code: code,
                reference_date: date,
                origin,
                labour_force,
                unemployed,
                source_table: SOURCE_TABLE,
                registered_at: at,
                updated_at: at,
            });
        }
    }
}

/// Statistics Denmark publishes at 08:00 in Copenhagen, 07:00 UTC in winter time.
fn eight_oclock(date: NaiveDate) -> Moment {
    date.and_hms_opt(7, 0, 0).unwrap_or_default().and_utc()
}

/// Expected and actual shares on long benefits, once a year.
pub(super) fn benchmarks(making: &mut Making) {
    for year in making.years() {
        let Some(published) = NaiveDate::from_ymd_opt(year + 1, 3, 1) else {
            continue;
        };
        let expected = making.dice.number(14.0, 20.0);
        let actual = expected + making.dice.number(-1.5, 1.5);
        let round = |it: f64| (it * 10.0).round() / 10.0;
        let at = making.dice.at(published);
        making.m.benchmarks.push(Benchmark {
            municipality_code: making.m.code,
            period: year.to_string(),
            measure: "share_on_public_support",
            expected: Some(round(expected)),
            actual: Some(round(actual)),
            source_table: "Y30R21",
            registered_at: at,
            updated_at: at,
        });
    }
}
