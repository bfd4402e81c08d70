//! What a time of support leaves behind: benefit spells and interviews.

use chrono::{Datelike, NaiveDate};

use super::{
    Group, Making,
    lives::{Period, Who},
};
use crate::{BenefitSpell, Interview, MunicipalityTruth, dice::plus};

/// Writes the spells of a period down: one per stretch, some with another benefit laid over them.
pub(super) fn spells(making: &mut Making, who: &Who, period: &Period) {
    let last = period.stretches.len() - 1;
    for (rank, (from, group)) in period.stretches.iter().copied().enumerate() {
        let to = match period.stretches.get(rank + 1) {
            Some((next, _)) => Some(plus(*next, -1)),
            None => period.to,
        };
        let reason = if rank == last {
            period.reason
        } else {
            Some("other")
        };
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
    write_spell(
        making,
        who,
        (group.benefit(), group.match_group()),
        days,
        reason,
        partial,
    );
}

/// A student's grant, which is no support.
fn grant(making: &mut Making, who: &Who, from: NaiveDate, to: Option<NaiveDate>) {
    write_spell(
        making,
        who,
        ("su", None),
        (from, to),
        to.map(|_| "other"),
        false,
    );
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
pub(super) fn interviews(
    making: &mut Making,
    who: &Who,
    period: &Period,
    planted: &MunicipalityTruth,
) {
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
            (population, due, from),
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
    (population, due, since): (&'static str, NaiveDate, NaiveDate),
    timely: f64,
    left: Option<NaiveDate>,
) {
    let dice = &mut making.dice;
    let planned = plus(due, -dice.between(14, 42)).max(since);
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
