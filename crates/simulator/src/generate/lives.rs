//! What happens to citizens: support, courses, interviews, and whether a course helped.
//!
//! A course with a planted effect is followed by three months in which the plan decides alone
//! whether its citizen supports themselves on the day three months after its end; nothing else in
//! the life interferes.

use chrono::{Datelike, NaiveDate};

use super::{
    Group, Making,
    courses::{Course, course},
    support::{interviews, spells},
};
use crate::{Citizen, Id, MunicipalityTruth, Person, Result, Settings, cpr::CprOffice, dice::plus};

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
        // Whoever is promised to be back is back, even after the last day.
        while (from <= making.span.until || floor.is_some())
            && who.exit.is_none_or(|exit| from <= exit)
        {
            let period = period(making, &who, from, floor);
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
pub(super) struct Who {
    pub(super) person: Person,
    pub(super) birth_year: i32,
    pub(super) group: Group,
    pub(super) unit: Id,
    first: NaiveDate,
    pub(super) exit: Option<NaiveDate>,
}

/// A time of unbroken support.
pub(super) struct Period {
    /// Groups, each from a day on; the first from the period's first day.
    pub(super) stretches: Vec<(NaiveDate, Group)>,
    /// Last supported day; none while it lasts.
    pub(super) to: Option<NaiveDate>,
    /// Why it ended.
    pub(super) reason: Option<&'static str>,
    /// When support begins again.
    pub(super) next: Option<NaiveDate>,
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
    let origin =
        ["danish", "non_western", "western", "unknown"][dice.weighted(&[74.0, 18.0, 7.0, 1.0])];
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

fn period(making: &mut Making, who: &Who, from: NaiveDate, floor: Option<NaiveDate>) -> Period {
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
