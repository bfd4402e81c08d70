//! Who looks after quality: complaints, supervision, sanctions, meetings, reviews, audits.

use chrono::{Datelike, NaiveDate};

use super::Making;
use crate::{
    AuditRemark, CaseReview, Complaint, DialogueMeeting, Id, ImprovementAction, Kroner, Moment,
    Person, Sanction, SupervisionVisit, dice::plus,
};

/// Everything of a municipality's oversight.
pub(super) fn watch(making: &mut Making) {
    complaints(making);
    visits(making);
    sanctions(making);
    reviews(making);
    audits(making);
}

fn complaints(making: &mut Making) {
    let mut occasions: Vec<(NaiveDate, Option<Id>, Id, Person)> = Vec::new();
    for index in 0..making.m.participations.len() {
        let course = &making.m.participations[index];
        let (offer, unit, person) = (course.offer_id, course.unit_id, course.citizen_id);
        let (start, end) = (course.start_date, course.end_date);
        let cancelled = course.end_reason == Some("cancelled");
        let chance = making
            .plans
            .iter()
            .find(|it| it.id == offer)
            .map_or(0.0, |it| it.complained);
        let last = end.map_or(60, |end| (end - start).num_days() + 20);
        if !cancelled && making.dice.chance(chance) {
            let on = plus(start, making.dice.between(1, last));
            occasions.push((on, Some(offer), unit, person));
        }
        // A few complain of the authority itself and name no offer.
        if making.dice.chance(0.006) {
            let on = plus(start, making.dice.between(1, last));
            occasions.push((on, None, unit, person));
        }
    }
    occasions.sort_by_key(|it| it.0);
    for (received, offer_id, unit, person) in occasions {
        if received > making.span.until {
            continue;
        }
        let dice = &mut making.dice;
        let named = offer_id.is_some();
        let (kind, authority) = if named {
            (
                "offer",
                dice.pick(["provider", "provider", "administration"]),
            )
        } else {
            dice.pick([
                ("merits", "appeals_board"),
                ("merits", "administration"),
                ("formality", "citizens_adviser"),
            ])
        };
        let closed = plus(received, dice.between(7, 120));
        let registered_at = dice.at(received);
        let updated_at = dice.at(closed);
        let channel = dice.pick(["oral", "written", "digital"]);
        let outcome = dice.pick([
            "upheld",
            "partly_upheld",
            "rejected",
            "rejected",
            "withdrawn",
        ]);
        let known = dice.chance(0.6);
        making.m.complaints.push(Complaint {
            complaint_id: making.id('R', making.m.complaints.len()),
            municipality_code: making.m.code,
            offer_id,
            unit_id: (!named).then_some(unit),
            citizen_id: known.then_some(person),
            received_date: received,
            channel,
            kind,
            authority,
            outcome: Some(outcome),
            closed_date: Some(closed),
            registered_at,
            updated_at,
        });
    }
}

/// Twice a year at providers whom the municipality inspects; elsewhere after complaints, sometimes.
fn visits(making: &mut Making) {
    let mut providers: Vec<(Id, bool, bool, Vec<Id>)> = Vec::new();
    for plan in &making.plans {
        match providers.iter_mut().find(|it| it.0 == plan.provider) {
            Some(known) => known.3.push(plan.id),
            None => providers.push((
                plan.provider,
                plan.is_inspected(),
                plan.poor_supervision,
                vec![plan.id],
            )),
        }
    }
    // Someone whom nobody has visited yet must be in every overview.
    let unvisited = providers.iter().rposition(|it| it.1);
    for year in making.years() {
        for (rank, (provider, inspected, poor, offers)) in providers.iter().enumerate() {
            let rounds: &[u32] = match (*inspected, Some(rank) == unvisited) {
                (true, false) => &[3, 9],
                (true, true) => &[],
                (false, _) if making.dice.chance(0.2) => &[11],
                (false, _) => &[],
            };
            for month in rounds {
                let Some(day) = NaiveDate::from_ymd_opt(year, *month, 1) else {
                    continue;
                };
                let day = plus(day, making.dice.between(0, 60));
                // Half the visits are of one offer, the others of the provider as a whole.
                let offer = making.dice.chance(0.5).then(|| offers.first().copied());
                let kind = if *inspected {
                    making
                        .dice
                        .pick(["unannounced", "unannounced", "announced"])
                } else {
                    "complaint_driven"
                };
                let red = visit(making, *provider, offer.flatten(), day, kind, *poor);
                if red {
                    let again = plus(day, making.dice.between(30, 45));
                    visit(
                        making,
                        *provider,
                        offer.flatten(),
                        again,
                        "follow_up",
                        false,
                    );
                }
            }
        }
    }
}

/// True where something was in breach.
fn visit(
    making: &mut Making,
    provider_id: Id,
    offer_id: Option<Id>,
    visit_date: NaiveDate,
    kind: &'static str,
    poor: bool,
) -> bool {
    let dice = &mut making.dice;
    let weights = if poor {
        [50.0, 20.0, 25.0, 5.0]
    } else {
        [88.0, 7.0, 0.6, 4.4]
    };
    let mut checks = ["ok"; 8];
    for check in &mut checks {
        *check = ["ok", "remark", "breach", "not_checked"][dice.weighted(&weights)];
    }
    let red = checks.contains(&"breach");
    let enrolled = dice.between(8, 40) as i32;
    let on_protocol = (enrolled - dice.between(0, 3) as i32).max(0);
    let absent = if poor {
        dice.between(3, 9)
    } else {
        dice.between(0, 4)
    };
    let present = (on_protocol - absent as i32).max(0);
    let follow_up = red.then(|| plus(visit_date, 45));
    let notes = [
        "Venlig modtagelse",
        "Protokollen føres på papir",
        "Få arbejdspladser",
    ];
    let note = dice.chance(0.4).then(|| dice.pick(notes));
    let at = dice.at(visit_date);
    let visit_id = making.id('V', making.m.supervision_visits.len());
    let [
        agreement,
        working_environment,
        values,
        ethnic_equality,
        attendance_record,
        physical_presence,
        planned_content,
        facilities,
    ] = checks;
    making.m.supervision_visits.push(SupervisionVisit {
        visit_id,
        municipality_code: making.m.code,
        provider_id,
        offer_id,
        visit_date,
        kind,
        agreement,
        working_environment,
        values,
        ethnic_equality,
        attendance_record,
        physical_presence,
        planned_content,
        facilities,
        persons_enrolled: Some(enrolled),
        persons_on_protocol: Some(on_protocol),
        persons_present: Some(present),
        follow_up_due: follow_up,
        note,
        registered_at: at,
        updated_at: at,
    });
    if let Some(due) = follow_up {
        let text = "Retter op på det, som tilsynet fandt";
        action(making, "supervision_visit", visit_id, text, at, due);
    }
    red
}

fn action(
    making: &mut Making,
    origin: &'static str,
    origin_id: Id,
    description: &'static str,
    registered_at: Moment,
    due_date: NaiveDate,
) {
    let dice = &mut making.dice;
    let done = plus(due_date, dice.between(-20, 15));
    let done = dice.chance(0.8).then_some(done);
    let updated_at = done.map_or(registered_at, |day| dice.at(day));
    making.m.improvement_actions.push(ImprovementAction {
        action_id: making.id('H', making.m.improvement_actions.len()),
        municipality_code: making.m.code,
        origin,
        origin_id: Some(origin_id),
        description,
        responsible: "Kontor for Implementering og Drift",
        due_date,
        done_date: done,
        registered_at,
        updated_at: updated_at.max(registered_at),
    });
}

/// The ladder of seed S1, one step a year, for providers made to fail; without terms a talk is all.
fn sanctions(making: &mut Making) {
    let mut poor: Vec<Id> = making
        .plans
        .iter()
        .filter(|it| it.poor_supervision)
        .map(|it| it.provider)
        .collect();
    poor.dedup();
    for provider in poor {
        let has_terms = making
            .m
            .agreements
            .iter()
            .any(|it| it.provider_id == provider && it.sanction_terms);
        let ladder: &[&'static str] = if has_terms {
            &["dialogue", "increased_supervision", "penalty"]
        } else {
            &["dialogue"]
        };
        for (step, year) in ladder.iter().zip(making.years()) {
            let Some(day) = NaiveDate::from_ymd_opt(year, 12, 1) else {
                continue;
            };
            let registered_at = making.dice.at(day);
            let lifted = plus(day, 400);
            let held = making.dice.at(plus(day, -14));
            making.m.dialogue_meetings.push(DialogueMeeting {
                meeting_id: making.id('D', making.m.dialogue_meetings.len()),
                municipality_code: making.m.code,
                provider_id: provider,
                held_date: plus(day, -14),
                topics: "Resultater, tilsyn og klager i det forløbne år",
                registered_at: held,
                updated_at: held,
            });
            let amount = (*step == "penalty").then(|| Kroner::new(50_000));
            let updated_at = making.dice.at(lifted);
            making.m.sanctions.push(Sanction {
                sanction_id: making.id('X', making.m.sanctions.len()),
                municipality_code: making.m.code,
                provider_id: provider,
                offer_id: None,
                step,
                decided_date: day,
                lifted_date: Some(lifted),
                amount_dkk: amount,
                reason: "Gentagne brud ved tilsyn",
                registered_at,
                updated_at,
            });
        }
    }
}

/// Twelve sampled cases a month and unit, one in six chosen for risk.
fn reviews(making: &mut Making) {
    let units: Vec<Id> = making
        .m
        .units
        .iter()
        .filter(|it| it.kind == "jobcenter")
        .map(|it| it.unit_id)
        .collect();
    for year in making.years() {
        for month in 1..=12 {
            for unit in &units {
                for case in 0..12 {
                    let Some(day) = NaiveDate::from_ymd_opt(year, month, 3 + case) else {
                        continue;
                    };
                    review(making, *unit, day, case % 6 == 0);
                }
            }
        }
    }
}

fn review(making: &mut Making, unit_id: Id, day: NaiveDate, risky: bool) {
    let dice = &mut making.dice;
    let wrong = if risky { 0.3 } else { 0.1 };
    let outcome = match dice.share() {
        it if it < wrong => "error",
        it if it > 0.95 => "not_relevant",
        _ => "correct",
    };
    let risk = Kroner::new(dice.between(1, 30) * 1000);
    let theme = dice.pick(["rettidighed", "jobplan", "refusion"]);
    let stratum = dice.pick(["dagpenge", "kontanthjælp", "sygedagpenge"]);
    let at = dice.at(day);
    making.m.case_reviews.push(CaseReview {
        review_id: making.id('G', making.m.case_reviews.len()),
        municipality_code: making.m.code,
        unit_id,
        review_date: day,
        theme,
        stratum,
        sample_kind: if risky { "risk_based" } else { "random" },
        outcome,
        refund_at_risk_dkk: (outcome == "error").then_some(risk),
        registered_at: at,
        updated_at: at,
    });
}

fn audits(making: &mut Making) {
    for year in making.years() {
        for area in ["sygedagpenge", "kontanthjælp", "aktivering"] {
            let Some(raised) = NaiveDate::from_ymd_opt(year, 6, 15) else {
                continue;
            };
            let dice = &mut making.dice;
            let due = plus(raised, 200);
            let done = plus(raised, dice.between(60, 300));
            let done = dice.chance(0.7).then_some(done);
            let registered_at = dice.at(raised);
            let updated_at = done.map_or(registered_at, |day| dice.at(day));
            making.m.audit_remarks.push(AuditRemark {
                remark_id: making.id('N', making.m.audit_remarks.len()),
                municipality_code: making.m.code,
                accounting_year: raised.year() - 1,
                area,
                description: "Dokumentation mangler i nogle sager",
                raised_date: raised,
                due_date: Some(due),
                implemented_date: done,
                registered_at,
                updated_at,
            });
        }
    }
}
