//! Who delivers, on what terms, and what: units, providers, agreements, offers, requirements.

use chrono::{Months, NaiveDate};

use super::{Group, Making, OfferPlan};
use crate::{
    Agreement, Id, Kroner, Offer, Provider, Requirement, Unit,
    dice::{Dice, plus},
};

use Group::{Cash1, Cash2, Cash3, Insured, Rehabilitation, Sick};

/// Copenhagen has twelve external suppliers and three employment centres (seed S0); the others
/// fewer.
const COPENHAGEN: i32 = 101;

const SUPPLIERS: [&str; 12] = [
    "Birk", "Eg", "Ask", "Lærk", "Bøg", "Pil", "Røn", "Elm", "Hassel", "Gran", "Fyr", "Avn",
];

/// A kind of offer, before anyone in particular delivers it.
struct Template {
    name: &'static str,
    package: &'static str,
    legal_basis: &'static str,
    groups: &'static [Group],
    weeks: (i64, i64),
    hours: Option<(i64, i64)>,
    price: i64,
    workplace: &'static str,
}

const fn template(
    name: &'static str,
    package: &'static str,
    legal_basis: &'static str,
    groups: &'static [Group],
    weeks: (i64, i64),
    hours: Option<(i64, i64)>,
    price: i64,
) -> Template {
    Template {
        name,
        package,
        legal_basis,
        groups,
        weeks,
        hours,
        price,
        workplace: "internship",
    }
}

const WAGE_SUBSIDY: Template = Template {
    workplace: "wage_subsidy",
    ..template(
        "Jobpakke med løntilskud",
        "job",
        "wage_subsidy",
        &[Insured, Cash1],
        (8, 13),
        Some((25, 37)),
        1450,
    )
};

const OWN_FRAMEWORK: [Template; 6] = [
    template(
        "Afklaring og vejledning",
        "motivation",
        "guidance",
        &[Cash1, Cash2],
        (4, 13),
        Some((15, 30)),
        1800,
    ),
    template(
        "Jobpakke med praktik",
        "job",
        "internship",
        &[Cash1, Insured],
        (4, 13),
        Some((20, 37)),
        1600,
    ),
    template(
        "Sygedagpengepakke",
        "sickness_benefit",
        "guidance",
        &[Sick],
        (8, 13),
        Some((10, 20)),
        2100,
    ),
    template(
        "Særligt tilrettelagt projekt",
        "motivation",
        "special_project",
        &[Cash2, Cash3],
        (8, 13),
        Some((15, 25)),
        2350,
    ),
    WAGE_SUBSIDY,
    template(
        "Aktiv støtte",
        "active_support",
        "special_project",
        &[Cash3, Cash2, Rehabilitation],
        (8, 13),
        Some((10, 15)),
        2600,
    ),
];

const SINGLE_PURCHASE: [Template; 2] = [
    template(
        "Mentorpakke",
        "mentor",
        "mentor",
        &[Cash1, Cash2, Cash3, Sick, Rehabilitation, Insured],
        (4, 26),
        Some((1, 5)),
        950,
    ),
    template(
        "Enkeltkøbt afklaring",
        "motivation",
        "other",
        &[Cash2, Sick],
        (4, 10),
        Some((10, 25)),
        2900,
    ),
];

const STATE_FRAMEWORK: [Template; 2] = [
    template(
        "Kombineret kontakt- og aktiveringsforløb",
        "none",
        "contact_and_activation",
        &[Insured],
        (13, 26),
        Some((10, 37)),
        1100,
    ),
    template(
        "Jobsøgning i fire uger (forløb 3)",
        "none",
        "job_search_course",
        &[Insured],
        (4, 4),
        Some((20, 30)),
        1250,
    ),
];

const INTERNAL: [Template; 3] = [
    template(
        "Afklaring på centret",
        "motivation",
        "guidance",
        &[Cash1, Cash2],
        (4, 13),
        Some((20, 30)),
        1500,
    ),
    template(
        "Sprog og arbejde",
        "motivation",
        "special_project",
        &[Cash2, Cash3],
        (8, 26),
        Some((20, 30)),
        1700,
    ),
    template(
        "Rask igen",
        "sickness_benefit",
        "guidance",
        &[Sick, Rehabilitation],
        (6, 13),
        Some((10, 15)),
        1900,
    ),
];

const EDUCATION: [Template; 1] = [template(
    "Uddannelsespakke",
    "education",
    "ordinary_education",
    &[Rehabilitation, Cash1],
    (20, 40),
    None,
    800,
)];

/// Opens the market for all years.
pub(super) fn open(making: &mut Making) {
    let opening = making
        .span
        .from
        .checked_sub_months(Months::new(12))
        .unwrap_or(making.span.from);
    units(making, opening);
    let large = making.m.code == COPENHAGEN;
    let suppliers = if large { 12 } else { 6 };
    for (rank, name) in SUPPLIERS.into_iter().take(suppliers).enumerate() {
        let provider = provider(
            making,
            "external_supplier",
            &format!("Leverandør {name}"),
            opening,
        );
        let agreement = agreement(making, provider, "own_framework", opening);
        standard_requirements(making, agreement, opening);
        // One supplier starts half a year into the first year.
        let opens = if rank == 5 {
            plus(making.span.from, 181)
        } else {
            opening
        };
        let chosen = &OWN_FRAMEWORK[rank % OWN_FRAMEWORK.len()];
        offer(making, provider, agreement, "own_framework", chosen, opens);
        if let Some(extra) = SINGLE_PURCHASE.get(rank) {
            let single = self::agreement(making, provider, "single_purchase", opening);
            offer(making, provider, single, "single_purchase", extra, opening);
        }
    }
    let actors: &[&str] = if large { &["Havn", "Tårn"] } else { &["Havn"] };
    for name in actors {
        let provider = provider(
            making,
            "other_actor",
            &format!("Anden aktør {name}"),
            opening,
        );
        let agreement = agreement(making, provider, "state_framework", opening);
        for chosen in &STATE_FRAMEWORK {
            offer(
                making,
                provider,
                agreement,
                "state_framework",
                chosen,
                opening,
            );
        }
    }
    for name in centres(making.m.code) {
        let provider = provider(making, "employment_centre", name, opening);
        let agreement = agreement(making, provider, "internal", opening);
        for chosen in &INTERNAL {
            offer(making, provider, agreement, "internal", chosen, opening);
        }
    }
    let provider = provider(making, "education", "Uddannelsescenter Kløver", opening);
    let agreement = agreement(making, provider, "ordinary_education", opening);
    for chosen in &EDUCATION {
        offer(
            making,
            provider,
            agreement,
            "ordinary_education",
            chosen,
            opening,
        );
    }
    plant(making);
}

fn centres(code: i32) -> &'static [&'static str] {
    if code == COPENHAGEN {
        &[
            "Center for Afklaring og Beskæftigelse",
            "Center for Kompetence og Beskæftigelse",
            "Center for Beskæftigelse, Sprog og Integration",
        ]
    } else {
        &["Kommunens beskæftigelsescenter"]
    }
}

fn units(making: &mut Making, opening: NaiveDate) {
    let count = if making.m.code == COPENHAGEN { 3 } else { 1 };
    let place = making.m.name.clone();
    let mut named: Vec<(String, &'static str)> = (1..=count)
        .map(|number| (format!("Jobcenter {place} {number}"), "jobcenter"))
        .collect();
    named.extend(
        centres(making.m.code)
            .iter()
            .map(|name| ((*name).to_owned(), "employment_centre")),
    );
    named.push((format!("Centralforvaltningen i {place}"), "central"));
    for (name, kind) in named {
        let at = making.dice.at(opening);
        making.m.units.push(Unit {
            unit_id: making.id('E', making.m.units.len()),
            municipality_code: making.m.code,
            name,
            kind,
            registered_at: at,
            updated_at: at,
        });
    }
}

fn provider(making: &mut Making, kind: &'static str, name: &str, opening: NaiveDate) -> Id {
    let provider_id = making.id('L', making.m.providers.len());
    let at = making.dice.at(opening);
    let cvr = (kind != "employment_centre").then(|| impossible_cvr(&mut making.dice));
    making.m.providers.push(Provider {
        provider_id,
        municipality_code: making.m.code,
        name: name.to_owned(),
        kind,
        cvr,
        registered_at: at,
        updated_at: at,
    });
    provider_id
}

/// Eight digits whose modulus 11 is wrong, so that no company can have them.
fn impossible_cvr(dice: &mut Dice) -> String {
    let number = dice.between(10_000_000, 99_999_990);
    let text = number.to_string();
    let sum: u32 = text
        .bytes()
        .zip([2, 7, 6, 5, 4, 3, 2, 1])
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    if sum.is_multiple_of(11) {
        (number + 1).to_string()
    } else {
        text
    }
}

fn agreement(making: &mut Making, provider_id: Id, kind: &'static str, opening: NaiveDate) -> Id {
    let number = making.m.agreements.len();
    let agreement_id = making.id('A', number);
    let own = kind == "own_framework";
    let bonus = own && making.dice.chance(0.6);
    let at = making.dice.at(opening);
    let title = match kind {
        "own_framework" => "Rammeaftale om aktivering",
        "state_framework" => "Delaftale under statslig rammeaftale",
        "internal" => "Intern driftsaftale",
        "single_purchase" => "Aftale om enkeltkøb",
        _ => "Ordinære uddannelsespladser",
    };
    making.m.agreements.push(Agreement {
        agreement_id,
        municipality_code: making.m.code,
        provider_id,
        kind,
        title: title.to_owned(),
        valid_from: opening,
        valid_to: own.then(|| plus(making.span.until, 366)),
        // Every third framework is older than the terms (seed S1, action 8).
        sanction_terms: own && !number.is_multiple_of(3),
        bonus_self_support_dkk: bonus.then(|| Kroner::new(10_000)),
        bonus_fit_full_dkk: bonus.then(|| Kroner::new(8_000)),
        bonus_fit_partial_dkk: bonus.then(|| Kroner::new(3_000)),
        registered_at: at,
        updated_at: at,
    });
    agreement_id
}

/// The demands of every own framework agreement: 10 to 37 hours, 1 to 13 weeks (seed S0).
fn standard_requirements(making: &mut Making, agreement_id: Id, opening: NaiveDate) {
    let demands = [
        (
            "hours",
            "10 til 37 timer om ugen",
            Some("hours_per_week"),
            Some(10.0),
            Some(37.0),
        ),
        (
            "duration",
            "1 til 13 ugers varighed",
            Some("duration_weeks"),
            Some(1.0),
            Some(13.0),
        ),
        (
            "goal",
            "Mindst 80 % fremmøde",
            Some("attendance_share"),
            Some(0.8),
            None,
        ),
        (
            "accessibility",
            "Lokaler, som alle kan komme ind i",
            None,
            None,
            None,
        ),
        (
            "ethnic_equality",
            "Kommunens politik om etnisk ligestilling",
            None,
            None,
            None,
        ),
        (
            "facilities",
            "Arbejdspladser med computer",
            None,
            None,
            None,
        ),
    ];
    for (topic, description, metric, minimum, maximum) in demands {
        let at = making.dice.at(opening);
        making.m.requirements.push(Requirement {
            requirement_id: making.id('K', making.m.requirements.len()),
            municipality_code: making.m.code,
            agreement_id,
            offer_id: None,
            topic,
            description,
            metric,
            minimum,
            maximum,
            registered_at: at,
            updated_at: at,
        });
    }
}

fn offer(
    making: &mut Making,
    provider: Id,
    agreement: Id,
    agreement_kind: &'static str,
    chosen: &Template,
    opens: NaiveDate,
) {
    let id = making.id('T', making.m.offers.len());
    let at = making.dice.at(opens);
    let price = Kroner::new(chosen.price + making.dice.between(-20, 20) * 10);
    let whole = |it: i64| i32::try_from(it).ok();
    making.m.offers.push(Offer {
        offer_id: id,
        municipality_code: making.m.code,
        provider_id: provider,
        agreement_id: Some(agreement),
        name: chosen.name.to_owned(),
        package: chosen.package,
        legal_basis: chosen.legal_basis,
        hours_per_week_min: chosen.hours.and_then(|it| whole(it.0)),
        hours_per_week_max: chosen.hours.and_then(|it| whole(it.1)),
        weeks_min: whole(chosen.weeks.0),
        weeks_max: whole(chosen.weeks.1),
        price_per_week_dkk: (agreement_kind != "ordinary_education").then_some(price),
        capacity: whole(making.dice.between(2, 12) * 10),
        accessible: making
            .dice
            .pick([Some(true), Some(true), Some(false), None]),
        description: Some(format!(
            "{}: opdigtet tilbud til afprøvning; {} til {} uger",
            chosen.name, chosen.weeks.0, chosen.weeks.1
        )),
        valid_from: opens,
        valid_to: None,
        registered_at: at,
        updated_at: at,
    });
    making.plans.push(OfferPlan {
        id,
        provider,
        agreement_kind,
        groups: chosen.groups,
        weeks: chosen.weeks,
        hours: chosen.hours,
        workplace: chosen.workplace,
        companion: chosen.package == "mentor",
        opens,
        self_support: 0.0,
        satisfied: 0.0,
        complained: 0.0,
        poor_supervision: false,
        ended: 0,
        expected: 0.0,
        successes: 0,
    });
}

/// Gives every offer its true quality. Effects are spread evenly, in random order, so that the best
/// and the worst are far apart; satisfaction is dealt apart from them (seed S3: a high effect need
/// not go with a high satisfaction).
fn plant(making: &mut Making) {
    let effects = spread(making, 0.18, 0.66);
    let satisfactions = spread(making, 0.45, 0.90);
    for (plan, (effect, satisfied)) in making
        .plans
        .iter_mut()
        .zip(effects.into_iter().zip(satisfactions))
    {
        plan.self_support = effect;
        plan.satisfied = satisfied;
        plan.complained = 0.005 + 0.06 * (0.90 - satisfied);
    }
    // The first supplier in a random order, among those whom the municipality inspects.
    let inspected: Vec<Id> = making
        .plans
        .iter()
        .filter(|it| it.agreement_kind == "own_framework")
        .map(|it| it.provider)
        .collect();
    let poor = making.dice.between(0, inspected.len() as i64 - 1);
    let poor = inspected.get(usize::try_from(poor).unwrap_or(0)).copied();
    for plan in &mut making.plans {
        plan.poor_supervision = Some(plan.provider) == poor;
    }
}

fn spread(making: &mut Making, low: f64, high: f64) -> Vec<f64> {
    let count = making.plans.len();
    let step = (high - low) / count.saturating_sub(1).max(1) as f64;
    let mut values: Vec<f64> = (0..count).map(|rank| low + step * rank as f64).collect();
    making.dice.shuffle(&mut values);
    values
}
