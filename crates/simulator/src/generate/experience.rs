//! What citizens say and do in their courses: surveys, attendance, progress.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, Weekday};

use super::Making;
use crate::{
    Attendance, Id, Participation, ProgressMeasurement, SurveyResponse,
    dice::{Dice, plus},
};

/// Of those invited; the seeds' surveys reached about as many.
const RESPONSE: f64 = 0.45;

/// Invites some of those whose course ended, and some after an interview.
pub(super) fn ask(making: &mut Making) {
    let planted: BTreeMap<Id, (f64, f64)> = making
        .plans
        .iter()
        .map(|it| (it.id, (it.satisfied, it.self_support)))
        .collect();
    let courses: Vec<(Id, Id, NaiveDate)> = making
        .m
        .participations
        .iter()
        .filter(|it| it.end_reason != Some("cancelled"))
        .filter_map(|it| Some((it.participation_id, it.offer_id, it.end_date?)))
        .collect();
    for (participation_id, offer_id, end) in courses {
        if !making.dice.chance(0.6) {
            continue;
        }
        let (satisfied, helpful) = planted.get(&offer_id).copied().unwrap_or((0.5, 0.5));
        let invited = plus(end, making.dice.between(3, 14));
        // A tenth of the tokens know the offer only, as those of an anonymous survey do.
        let token = if making.dice.chance(0.1) {
            (None, Some(offer_id), None)
        } else {
            (Some(participation_id), None, None)
        };
        let mut response = invitation(making, "tilbud", invited, token);
        let dice = &mut making.dice;
        if response.answered_date.is_some() {
            response.satisfaction = Some(score(dice, satisfied));
            response.closer_to_job = Some(score(dice, 0.2 + helpful));
            response.informed = Some(score(dice, 0.7));
            response.respected = Some(score(dice, 0.8));
            response.moved = Some(score(dice, 0.2 + 0.8 * helpful));
            response.listened = Some(score(dice, 0.1 + 0.8 * satisfied));
            response.influence = Some(score(dice, 0.45)).filter(|_| dice.chance(0.9));
        }
        making.m.survey_responses.push(response);
    }
    let talks: Vec<(Id, NaiveDate)> = making
        .m
        .interviews
        .iter()
        .filter_map(|it| Some((it.unit_id, it.held_date?)))
        .step_by(25)
        .collect();
    for (unit_id, held) in talks {
        let invited = plus(held, making.dice.between(1, 7));
        let token = (None, None, Some(unit_id));
        let mut response = invitation(making, "samtale", invited, token);
        let dice = &mut making.dice;
        if response.answered_date.is_some() {
            response.job_focus = Some(score(dice, 0.65));
            response.prepared = Some(score(dice, 0.55));
            response.clear_next_step = Some(score(dice, 0.6));
            response.respected = Some(score(dice, 0.8));
        }
        making.m.survey_responses.push(response);
    }
}

/// Participation, offer and unit, as far as the token knows them.
type Token = (Option<Id>, Option<Id>, Option<Id>);

fn invitation(
    making: &mut Making,
    about: &str,
    invited: NaiveDate,
    (participation_id, offer_id, unit_id): Token,
) -> SurveyResponse {
    let dice = &mut making.dice;
    let answers = dice.chance(RESPONSE);
    let answered = plus(invited, dice.between(0, 25));
    let answered = answers.then_some(answered);
    let registered_at = dice.at(invited);
    let updated_at = answered.map_or(registered_at, |day| dice.at(day).max(registered_at));
    let half = if invited.month() <= 6 { 1 } else { 2 };
    SurveyResponse {
        response_id: making.id('B', making.m.survey_responses.len()),
        municipality_code: making.m.code,
        survey_id: format!("{about}-{}H{half}", invited.year()),
        // The questionnaire changed once, in the second half of the first year.
        instrument_version: if invited < plus(making.span.from, 273) {
            "1"
        } else {
            "2"
        },
        participation_id,
        offer_id,
        unit_id,
        invited_date: invited,
        answered_date: answered,
        satisfaction: None,
        closer_to_job: None,
        informed: None,
        respected: None,
        moved: None,
        listened: None,
        influence: None,
        job_focus: None,
        prepared: None,
        clear_next_step: None,
        registered_at,
        updated_at,
    }
}

/// 4 or 5 with this probability, else 1 to 3.
fn score(dice: &mut Dice, high: f64) -> i32 {
    if dice.chance(high) {
        dice.pick([4, 4, 4, 5, 5])
    } else {
        dice.pick([1, 2, 2, 3, 3, 3])
    }
}

/// Courses of which attendance is delivered, one in this many. The smallest sample that still
/// gives every provider some rows a month; all of it would outweigh everything else.
const ATTENDANCE_SAMPLE: usize = 20;

/// Keeps protocols for a sample of the courses at providers that the municipality inspects.
pub(super) fn attend(making: &mut Making) {
    let courses: Vec<Participation> = sample(making, ATTENDANCE_SAMPLE);
    for course in courses {
        let days = course_days(making, &course);
        let hours = course.hours_per_week.map_or(4.0, |it| f64::from(it) / 5.0);
        let planned = (hours * 4.0).round() / 4.0;
        let diligence = making.dice.number(0.6, 1.0);
        for (rank, date) in days.into_iter().enumerate() {
            let dice = &mut making.dice;
            let present = dice.chance(diligence);
            let attended = match (present, dice.chance(0.1)) {
                (false, _) => 0.0,
                (true, true) => (planned * 2.0).round() / 4.0,
                (true, false) => planned,
            };
            keep(making, &course, date, "protocol", planned, attended);
            // The authority's own system is filled in once a week, and too kindly.
            if rank % 5 == 0 {
                keep(making, &course, date, "system", planned, planned);
            }
            if rank % 15 == 7 {
                keep(making, &course, date, "physical", planned, attended);
            }
        }
    }
}

fn keep(
    making: &mut Making,
    course: &Participation,
    date: NaiveDate,
    source: &'static str,
    planned_hours: f64,
    attended_hours: f64,
) {
    let at = making.dice.at(date);
    making.m.attendances.push(Attendance {
        participation_id: course.participation_id,
        date,
        source,
        municipality_code: making.m.code,
        planned_hours,
        attended_hours,
        registered_at: at,
        updated_at: at,
    });
}

/// Monday to Friday, at most ten weeks, up to the last day of the world.
fn course_days(making: &Making, course: &Participation) -> Vec<NaiveDate> {
    let end = course.end_date.unwrap_or(making.span.until);
    course
        .start_date
        .iter_days()
        .take_while(|day| *day <= end.min(making.span.until))
        .filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun))
        .take(50)
        .collect()
}

fn sample(making: &Making, one_in: usize) -> Vec<Participation> {
    let inspected: Vec<Id> = making
        .plans
        .iter()
        .filter(|it| it.is_inspected() && !it.companion)
        .map(|it| it.id)
        .collect();
    making
        .m
        .participations
        .iter()
        .filter(|it| it.end_reason != Some("cancelled") && inspected.contains(&it.offer_id))
        .step_by(one_in)
        .cloned()
        .collect()
}

/// Measures progress at the start and the end of a sample of courses, in three dimensions.
pub(super) fn measure(making: &mut Making) {
    for course in sample(making, 8) {
        let helpful = making
            .plans
            .iter()
            .find(|it| it.id == course.offer_id)
            .map_or(0.3, |it| it.self_support);
        let first = plus(course.start_date, making.dice.between(0, 7));
        // Not everyone is measured twice; a missing second measurement is not "no progress".
        let twice = making.dice.chance(0.75);
        let last = course
            .end_date
            .filter(|end| *end > plus(first, 14) && twice);
        for dimension in ["jobsøgning", "helbred", "netværk"] {
            let start = making.dice.number(1.0, 7.0);
            let gain = helpful * 2.0 + making.dice.number(-1.0, 1.0);
            let scores = [
                (Some(first), start),
                (last, (start + gain).clamp(0.0, 10.0)),
            ];
            for (date, score) in scores {
                let Some(date) = date else { continue };
                let at = making.dice.at(date);
                making.m.progress_measurements.push(ProgressMeasurement {
                    measurement_id: making.id('M', making.m.progress_measurements.len()),
                    municipality_code: making.m.code,
                    citizen_id: course.citizen_id,
                    participation_id: Some(course.participation_id),
                    measured_date: date,
                    instrument_version: "1",
                    dimension,
                    score: (score * 10.0).round() / 10.0,
                    registered_at: at,
                    updated_at: at,
                });
            }
        }
    }
}
