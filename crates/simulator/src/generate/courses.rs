//! A citizen's courses: how long, whether they help, and what is written down of them.

use chrono::{Datelike, Months, NaiveDate};

use super::{Group, Making, OfferPlan, lives::Who};
use crate::{Id, Participation, SingleOrder, dice::plus};

/// A course that was not cancelled.
pub(super) struct Course {
    /// Whether a success begins on the day after the end.
    pub(super) at_once: bool,
    pub(super) end_reason: &'static str,
    /// The last day and whether it helped; none where nobody ever ended it.
    pub(super) outcome: Option<(NaiveDate, bool)>,
}

/// None where the course was cancelled.
pub(super) fn course(
    making: &mut Making,
    who: &Who,
    group: Group,
    index: usize,
    start: NaiveDate,
    since: NaiveDate,
) -> Option<Course> {
    let plan = &making.plans[index];
    let dice = &mut making.dice;
    let planned_end = plus(start, dice.between(plan.weeks.0, plan.weeks.1) * 7 - 1);
    let mut days = (planned_end - start).num_days();
    let dropped = dice.chance(0.08);
    if dropped {
        days = dice.between(5, days);
    } else if dice.chance(0.03) {
        days += 28;
    }
    let mut end = plus(start, days);
    if dice.chance(0.06) {
        end = month_end(end);
    }
    let chance = chance_of(plan, who, start, since);
    let helped = dice.chance(chance);
    let at_once = dice.chance(0.7);
    let end_reason = match (helped, at_once, dropped) {
        (true, true, _) => dice.pick(["employment", "employment", "employment", "education"]),
        (_, _, true) => dice.pick(["dropped_out", "dropped_out", "dropped_out", "illness"]),
        _ => dice.pick(["completed", "completed", "completed", "completed", "other"]),
    };
    if dice.chance(0.04) {
        let said = plus(start, dice.between(0, 3));
        enrol(
            making,
            who,
            group,
            index,
            (start, planned_end),
            Some((said, "cancelled")),
        );
        return None;
    }
    if dice.chance(0.01) {
        enrol(making, who, group, index, (start, planned_end), None);
        return Some(Course {
            at_once,
            end_reason,
            outcome: None,
        });
    }
    let stays = who.exit.is_none_or(|exit| {
        end.checked_add_months(Months::new(3))
            .is_some_and(|day| day < exit)
    });
    if stays {
        let plan = &mut making.plans[index];
        plan.ended += 1;
        plan.expected += chance;
        plan.successes += u32::from(helped);
    }
    enrol(
        making,
        who,
        group,
        index,
        (start, planned_end),
        Some((end, end_reason)),
    );
    if making.dice.chance(0.08) && days >= 28 {
        accompany(making, who, group, start, end);
    }
    Some(Course {
        at_once,
        end_reason,
        outcome: Some((end, helped)),
    })
}

/// The planted chance, moved by what is known of the citizen before the start.
fn chance_of(plan: &OfferPlan, who: &Who, start: NaiveDate, since: NaiveDate) -> f64 {
    let age = match start.year() - who.birth_year {
        ..30 => 0.25,
        30..50 => 0.0,
        _ => -0.25,
    };
    let prior = match (start - since).num_days() / 7 {
        ..26 => 0.2,
        26..52 => 0.0,
        52..104 => -0.1,
        _ => -0.3,
    };
    let odds = plan.self_support / (1.0 - plan.self_support);
    let moved = odds * f64::exp(age + prior);
    moved / (1.0 + moved)
}

fn month_end(date: NaiveDate) -> NaiveDate {
    date.with_day(1)
        .and_then(|first| first.checked_add_months(Months::new(1)))
        .map_or(date, |next| plus(next, -1))
}

/// A mentor who starts a little later and is there to the end.
fn accompany(making: &mut Making, who: &Who, group: Group, start: NaiveDate, end: NaiveDate) {
    let Some(index) = making.plans.iter().position(|it| it.companion) else {
        return;
    };
    let begin = plus(start, making.dice.between(3, 14));
    let days = (begin, end);
    enrol(making, who, group, index, days, Some((end, "completed")));
}

/// Writes a participation down, cut off where the citizen leaves for good.
fn enrol(
    making: &mut Making,
    who: &Who,
    group: Group,
    index: usize,
    (start, planned_end): (NaiveDate, NaiveDate),
    ended: Option<(NaiveDate, &'static str)>,
) {
    if who.exit.is_some_and(|exit| start > exit) {
        return;
    }
    let ended = match (ended, who.exit) {
        (Some((end, _)), Some(exit)) if end > exit => Some((exit, "other")),
        (None, Some(exit)) => Some((exit, "other")),
        (ended, _) => ended,
    };
    let workplace_chance = workplace_chance(making, start.year());
    let plan = &making.plans[index];
    let dice = &mut making.dice;
    let hours = plan.hours.map(|(low, high)| {
        // One in fifty is sent for fewer hours than agreed.
        if dice.chance(0.02) {
            dice.between(2, low)
        } else {
            dice.between(low, high)
        }
    });
    let workplace = if dice.chance(workplace_chance) {
        plan.workplace
    } else {
        "none"
    };
    let guidance = dice.pick([
        Some(true),
        Some(true),
        Some(true),
        Some(true),
        Some(false),
        None,
    ]);
    let registered_at = dice.at(start);
    let updated_at = ended.map_or(registered_at, |(end, _)| dice.at(end).max(registered_at));
    let participation_id = making.id('F', making.m.participations.len());
    let plan = &making.plans[index];
    let single = plan.agreement_kind == "single_purchase";
    making.m.participations.push(Participation {
        participation_id,
        municipality_code: making.m.code,
        citizen_id: who.person,
        offer_id: plan.id,
        unit_id: who.unit,
        target_group: group.target_group(),
        start_date: start,
        planned_end_date: Some(planned_end),
        end_date: ended.map(|it| it.0),
        end_reason: ended.map(|it| it.1),
        hours_per_week: hours.and_then(|it| i32::try_from(it).ok()),
        workplace,
        complaint_guidance_given: guidance,
        registered_at,
        updated_at,
    });
    if single && ended.is_none_or(|it| it.1 != "cancelled") {
        order(
            making,
            participation_id,
            start,
            planned_end,
            ended.map(|it| it.0),
        );
    }
}

/// A twentieth in the first year, three times that in the fourth (seed S4).
pub(super) fn workplace_path(first_year: i32, year: i32) -> f64 {
    (0.05 + 0.10 * f64::from(year - first_year) / 3.0).min(0.15)
}

fn workplace_chance(making: &Making, year: i32) -> f64 {
    workplace_path(making.span.from.year(), year)
}

fn order(
    making: &mut Making,
    participation_id: Id,
    start: NaiveDate,
    due: NaiveDate,
    end: Option<NaiveDate>,
) {
    let ordered = plus(start, -making.dice.between(1, 21));
    let delivered = end.map(|end| plus(end, making.dice.between(0, 20)));
    // Entered together with the course, though agreed upon before.
    let registered_at = making.dice.at(start);
    let updated_at = delivered.map_or(registered_at, |day| making.dice.at(day));
    making.m.single_orders.push(SingleOrder {
        order_id: making.id('O', making.m.single_orders.len()),
        municipality_code: making.m.code,
        participation_id,
        goal: making
            .dice
            .pick(["En plan for job", "Afklaret arbejdsevne", "Fast mødetid"]),
        ordered_date: ordered,
        due_date: due,
        delivered_date: delivered,
        goal_reached: delivered.map(|_| making.dice.chance(0.6)),
        registered_at,
        updated_at: updated_at.max(registered_at),
    });
}
