//! What happens to citizens: support, courses, interviews, and whether a course helped.
//!
//! A course with a planted effect is followed by three months in which the plan decides alone
//! whether its citizen supports themselves on the day three months after its end; nothing else in
//! the life interferes.

use chrono::{Datelike, Months, NaiveDate};

use super::{Group, Making, OfferPlan};
use crate::{
    BenefitSpell, Citizen, Id, Interview, MunicipalityTruth, Participation, Person, Result,
    Settings, SingleOrder,
    cpr::CprOffice,
    dice::plus,
};

/// Beyond any three months: the longest are 92 days.
const AFTERMATH: i64 = 93;
/// How long before the first year benefits go back.
const HISTORY: i64 = 900;

/// Lets every citizen of the municipality live.
pub(super) fn live(
    making: &mut Making,
    settings: &Settings,
    slot: u32,
    planted: &MunicipalityTruth,
) -> Result<()> {
    let mut office = CprOffice::new(slot);
    // Municipalities differ in whom they meet; a fair comparison allows for it.
    let older = making.dice.number(-4.0, 4.0);
    let seasoned = making.dice.number(0.6, 1.4);
    for number in 0..settings.citizens_per_municipality {
        let who = citizen(making, &mut office, number, older, seasoned)?;
        let mut from = who.first;
        let mut floor = None;
        while from <= making.span.until && who.exit.is_none_or(|exit| from <= exit) {
            let period = support(making, &who, from, floor);
            spells(making, &who, &period);
            interviews(making, &who, &period, planted);
            let Some(next) = period.next else { break };
            from = next;
            floor = period.floor;
        }
    }
    Ok(())
}

/// A citizen before anything has happened.
struct Who {
    person: Person,
    birth_year: i32,
    group: Group,
    unit: Id,
    first: NaiveDate,
    exit: Option<NaiveDate>,
}

/// A time of unbroken support.
struct Period {
    /// Groups, each from a day on; the first from the period's first day.
    stretches: Vec<(NaiveDate, Group)>,
    /// Last supported day; none while it lasts.
    to: Option<NaiveDate>,
    /// Why it ended.
    reason: Option<&'static str>,
    /// When support begins again.
    next: Option<NaiveDate>,
    /// The next period may not end before this day.
    floor: Option<NaiveDate>,
}

fn citizen(
    making: &mut Making,
    office: &mut CprOffice,
    number: u32,
    older: f64,
    seasoned: f64,
) -> Result<Who> {
    let dice = &mut making.dice;
    let (from, until) = (making.span.from, making.span.until);
    // Two draws make the middle ages likelier; nobody is under 18 when the years begin.
    let age = (18.0 + (dice.number(0.0, 22.0) + dice.number(0.0, 22.0)) + older).max(18.0);
    let birth_year = from.year() - age as i32;
    let group = Group::ALL[dice.weighted(&[35.0, 16.0, 20.0, 8.0, 16.0, 5.0])];
    let origin = ["danish", "non_western", "western", "unknown"]
        [dice.weighted(&[74.0, 18.0, 7.0, 1.0])];
    let early = dice.chance(0.45 * seasoned);
    let first = if early {
        plus(from, -dice.between(1, HISTORY))
    } else {
        plus(from, dice.between(0, (until - from).num_days() - 30))
    };
    let exit = exit(making, birth_year, first);
    let person = Person(number);
    making.m.people.push(office.next(birth_year)?);
    let registered_at = making.dice.at(first);
    let updated_at = exit.map_or(registered_at, |(day, _)| making.dice.at(day));
    making.m.citizens.push(Citizen {
        citizen_id: person,
        municipality_code: making.m.code,
        birth_year,
        origin,
        exit_date: exit.map(|it| it.0),
        exit_reason: exit.map(|it| it.1),
        registered_at,
        updated_at: updated_at.max(registered_at),
    });
    let centres: Vec<Id> = making
        .m
        .units
        .iter()
        .filter(|it| it.kind == "jobcenter")
        .map(|it| it.unit_id)
        .collect();
    Ok(Who {
        person,
        birth_year,
        group,
        unit: centres[number as usize % centres.len().max(1)],
        first,
        exit: exit.map(|it| it.0),
    })
}

/// State pension at 65; else, rarely, death or emigration on a day after the first.
fn exit(
    making: &mut Making,
    birth_year: i32,
    first: NaiveDate,
) -> Option<(NaiveDate, &'static str)> {
    let dice = &mut making.dice;
    let month = dice.between(1, 12) as u32;
    let pension = NaiveDate::from_ymd_opt(birth_year + 65, month, 1).filter(|day| *day > first);
    let leaves = dice.chance(0.02);
    let day = plus(first, dice.between(60, 1200));
    let reason = dice.pick(["death", "emigration"]);
    let gone = leaves.then_some((day, reason));
    let retires = pension.map(|day| (day, "state_pension"));
    gone.into_iter()
        .chain(retires)
        .filter(|(day, _)| *day <= making.span.until)
        .min()
}

fn support(
    making: &mut Making,
    who: &Who,
    from: NaiveDate,
    floor: Option<NaiveDate>,
) -> Period {
    let (first_day, last_day) = (making.span.from, making.span.until);
    let mut group = who.group;
    let mut period = Period {
        stretches: vec![(from, group)],
        to: None,
        reason: None,
        next: None,
        floor: None,
    };
    let dice = &mut making.dice;
    if floor.is_none() && dice.chance(0.12) {
        leave_unaided(making, &mut period, from);
        return period;
    }
    let wait = plus(from, dice.between(7, 150));
    let opening = plus(first_day, dice.between(0, 60));
    let mut ready = wait.max(opening).max(floor.unwrap_or(wait));
    while ready <= last_day && who.exit.is_none_or(|exit| ready <= exit) {
        let Some(index) = choose(making, group, ready) else {
            break;
        };
        let Some(course) = course(making, who, group, index, ready, from) else {
            ready = plus(ready, making.dice.between(10, 40));
            continue;
        };
        let Some((end, helped)) = course.outcome else {
            break;
        };
        if helped {
            after_success(making, &mut period, &course, end, group);
            return period;
        }
        if making.dice.chance(0.15) {
            // Away for a while, and back before the three months are over.
            let away = plus(end, making.dice.between(0, 10));
            let gap = making.dice.between(35, 68);
            let gap = making.dice.pick([28, 29, gap, gap]);
            period.to = Some(away);
            period.reason = Some(making.dice.pick(["employment", "other"]));
            period.next = Some(plus(away, gap + 1));
            period.floor = Some(plus(end, AFTERMATH));
            return period;
        }
        if making.dice.chance(0.2) {
            group = moved_on(making, group);
            let change = plus(end, making.dice.between(1, 20));
            period.stretches.push((change, group));
        }
        ready = plus(end, AFTERMATH + making.dice.between(0, 90));
    }
    period
}

fn leave_unaided(making: &mut Making, period: &mut Period, from: NaiveDate) {
    let dice = &mut making.dice;
    let to = plus(from, dice.between(15, 200));
    let gap = dice.between(40, 300);
    let gap = dice.pick([28, 29, gap, gap, gap]);
    period.to = Some(to);
    period.reason = Some(dice.pick(["employment", "employment", "education", "other"]));
    period.next = dice.chance(0.5).then(|| plus(to, gap + 1));
}

fn after_success(
    making: &mut Making,
    period: &mut Period,
    course: &Course,
    end: NaiveDate,
    group: Group,
) {
    let dice = &mut making.dice;
    let to = if course.at_once {
        end
    } else {
        plus(end, dice.between(1, 75))
    };
    period.to = Some(to);
    period.reason = Some(match (group, course.end_reason) {
        (_, "education") => "education",
        (_, "employment") => "employment",
        (Group::Sick, _) => dice.pick(["fit_full", "fit_full", "employment"]),
        _ => dice.pick(["employment", "employment", "education", "other"]),
    });
    period.next = dice
        .chance(0.5)
        .then(|| plus(end, AFTERMATH + dice.between(2, 500)));
}

/// Where the rules take someone after a course that did not help.
fn moved_on(making: &mut Making, group: Group) -> Group {
    let dice = &mut making.dice;
    match group {
        Group::Insured => Group::Cash1,
        Group::Cash1 => Group::Cash2,
        Group::Cash2 => dice.pick([Group::Cash1, Group::Cash3]),
        Group::Cash3 => Group::Cash2,
        Group::Sick => dice.pick([Group::Cash2, Group::Rehabilitation]),
        Group::Rehabilitation => Group::Cash1,
    }
}

fn choose(making: &mut Making, group: Group, on: NaiveDate) -> Option<usize> {
    let open: Vec<usize> = (0..making.plans.len())
        .filter(|index| {
            let plan = &making.plans[*index];
            !plan.companion && plan.opens <= on && plan.groups.contains(&group)
        })
        .collect();
    let rank = making.dice.between(0, open.len() as i64 - 1);
    open.get(usize::try_from(rank).ok()?).copied()
}

/// A course that was not cancelled.
struct Course {
    /// Whether a success begins on the day after the end.
    at_once: bool,
    end_reason: &'static str,
    /// The last day and whether it helped; none where nobody ever ended it.
    outcome: Option<(NaiveDate, bool)>,
}

/// None where the course was cancelled.
fn course(
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
        enrol(making, who, group, index, (start, planned_end), Some((said, "cancelled")));
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
    enrol(making, who, group, index, (start, planned_end), Some((end, end_reason)));
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
    let guidance = dice.pick([Some(true), Some(true), Some(true), Some(true), Some(false), None]);
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
        order(making, participation_id, start, planned_end, ended.map(|it| it.0));
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
    let registered_at = making.dice.at(ordered);
    let updated_at = delivered.map_or(registered_at, |day| making.dice.at(day));
    making.m.single_orders.push(SingleOrder {
        order_id: making.id('O', making.m.single_orders.len()),
        municipality_code: making.m.code,
        participation_id,
        goal: making.dice.pick(["En plan for job", "Afklaret arbejdsevne", "Fast mødetid"]),
        ordered_date: ordered,
        due_date: due,
        delivered_date: delivered,
        goal_reached: delivered.map(|_| making.dice.chance(0.6)),
        registered_at,
        updated_at: updated_at.max(registered_at),
    });
}

/// Writes the spells of a period down: one per stretch, some with another benefit laid over them.
fn spells(making: &mut Making, who: &Who, period: &Period) {
    let last = period.stretches.len() - 1;
    for (rank, (from, group)) in period.stretches.iter().copied().enumerate() {
        let to = match period.stretches.get(rank + 1) {
            Some((next, _)) => Some(plus(*next, -1)),
            None => period.to,
        };
        let reason = if rank == last { period.reason } else { Some("other") };
        let days = to.map_or(0, |to| (to - from).num_days());
        if group == Group::Sick && days >= 60 && making.dice.chance(0.4) {
            // Back part of the time first, then altogether.
            let part = plus(from, days - making.dice.between(20, 40));
            let first = (from, Some(plus(part, -1)));
            spell(making, who, group, first, Some("fit_partial"), false);
            let fully = reason.map(|it| if it == "other" { "fit_full" } else { it });
            spell(making, who, group, (part, to), fully, true);
        } else {
            spell(making, who, group, (from, to), reason, false);
        }
        if days >= 40 && group != Group::Sick && making.dice.chance(0.06) {
            let ill = plus(from, making.dice.between(5, days - 30));
            let well = plus(ill, making.dice.between(3, 25));
            let days = (ill, Some(well));
            spell(making, who, Group::Sick, days, Some("fit_full"), false);
        }
    }
    if let (Some("education"), Some(to)) = (period.reason, period.to) {
        let until = period.next.map(|next| plus(next, -1));
        if until.is_none_or(|until| until > to) {
            grant(making, who, plus(to, 1), until);
        }
    }
}

fn spell(
    making: &mut Making,
    who: &Who,
    group: Group,
    days: (NaiveDate, Option<NaiveDate>),
    reason: Option<&'static str>,
    partial: bool,
) {
    write_spell(making, who, (group.benefit(), group.match_group()), days, reason, partial);
}

/// A student's grant, which is no support.
fn grant(making: &mut Making, who: &Who, from: NaiveDate, to: Option<NaiveDate>) {
    write_spell(making, who, ("su", None), (from, to), to.map(|_| "other"), false);
}

fn write_spell(
    making: &mut Making,
    who: &Who,
    (benefit, match_group): (&'static str, Option<&'static str>),
    (from, to): (NaiveDate, Option<NaiveDate>),
    reason: Option<&'static str>,
    partial: bool,
) {
    if who.exit.is_some_and(|exit| from > exit) {
        return;
    }
    let (to, reason) = match (to, who.exit) {
        (Some(to), Some(exit)) if to > exit => (Some(exit), Some("other")),
        (None, Some(exit)) => (Some(exit), Some("other")),
        _ => (to, reason.filter(|_| to.is_some())),
    };
    let registered_at = making.dice.at(from);
    let updated_at = to.map_or(registered_at, |to| making.dice.at(to).max(registered_at));
    making.m.benefit_spells.push(BenefitSpell {
        spell_id: making.id('Y', making.m.benefit_spells.len()),
        municipality_code: making.m.code,
        citizen_id: who.person,
        benefit,
        match_group,
        from_date: from,
        to_date: to,
        partial,
        end_reason: reason,
        registered_at,
        updated_at,
    });
}

/// Interviews fall due every third month, for the sick every eighth week, as long as support lasts;
/// one more may be planned when it ends, and lapses.
fn interviews(making: &mut Making, who: &Who, period: &Period, planted: &MunicipalityTruth) {
    let Some((from, _)) = period.stretches.first().copied() else {
        return;
    };
    let (first_day, last_day) = (making.span.from, making.span.until);
    let gone = who.exit.unwrap_or(last_day);
    let leaves = period.to.unwrap_or(last_day).min(gone);
    let mut due = plus(from.max(first_day), making.dice.between(20, 90));
    loop {
        if due > last_day || due > gone {
            break;
        }
        let sick = period
            .stretches
            .iter()
            .rev()
            .find(|(since, _)| *since <= due)
            .is_some_and(|(_, group)| *group == Group::Sick);
        let year = due.year();
        let (population, timely) = if sick {
            ("sick", planted.timely_sick.get(&year))
        } else {
            ("unemployed", planted.timely_unemployed.get(&year))
        };
        let left = due > leaves;
        interview(
            making,
            who,
            (population, due),
            timely.copied().unwrap_or(1.0),
            left.then_some(leaves),
        );
        if left {
            break;
        }
        let step = if sick { 56 } else { 91 };
        due = plus(due, step + making.dice.between(-5, 5));
    }
}

fn interview(
    making: &mut Making,
    who: &Who,
    (population, due): (&'static str, NaiveDate),
    timely: f64,
    left: Option<NaiveDate>,
) {
    let dice = &mut making.dice;
    let planned = plus(due, -dice.between(14, 42));
    let in_time = dice.chance(timely);
    let early = plus(due, -dice.between(0, 7));
    let late = plus(due, dice.between(1, 30));
    let exempt = dice.chance(0.015);
    let never = dice.chance(0.3);
    let why = dice.pick(["Syg", "Udeblevet uden afbud", "På kursus"]);
    let (held, lapsed, no_show, known) = if let Some(left) = left {
        (None, Some("left_benefit"), None, Some(left))
    } else if exempt {
        (None, Some("exempt"), None, Some(early))
    } else if in_time {
        (Some(early), None, None, Some(early))
    } else if never || who.exit.is_some_and(|exit| late > exit) {
        (None, None, Some(why), Some(plus(due, 1)))
    } else {
        (Some(late), None, Some(why), Some(late))
    };
    let registered_at = dice.at(planned);
    let updated_at = known.map_or(registered_at, |day| dice.at(day));
    making.m.interviews.push(Interview {
        interview_id: making.id('S', making.m.interviews.len()),
        municipality_code: making.m.code,
        citizen_id: who.person,
        unit_id: who.unit,
        population,
        due_date: due,
        held_date: held,
        lapsed_reason: lapsed,
        no_show_reason: no_show,
        registered_at: registered_at.min(updated_at),
        updated_at,
    });
}
