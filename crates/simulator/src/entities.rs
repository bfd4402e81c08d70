//! The canonical entities as rows; the contract says what each column means.

use std::borrow::Cow;

use chrono::NaiveDate;

use crate::{
    Municipality,
    record::{Cell, Id, Kroner, Moment, Person, Record, Value, record},
};

record! {
    /// A job centre, an employment centre or the central administration.
    Unit "unit" in units, late [] {
        unit_id: Id,
        municipality_code: i32,
        name: String,
        kind: &'static str,
    }
}

record! {
    /// Who delivers offers.
    Provider "provider" in providers, late [] {
        provider_id: Id,
        municipality_code: i32,
        name: String,
        kind: &'static str,
        cvr: Option<String>,
    }
}

record! {
    /// The terms that offers are bought on.
    Agreement "agreement" in agreements, late [] {
        agreement_id: Id,
        municipality_code: i32,
        provider_id: Id,
        kind: &'static str,
        title: String,
        valid_from: NaiveDate,
        valid_to: Option<NaiveDate>,
        sanction_terms: bool,
        bonus_self_support_dkk: Option<Kroner>,
        bonus_fit_full_dkk: Option<Kroner>,
        bonus_fit_partial_dkk: Option<Kroner>,
    }
}

record! {
    /// What a citizen can take part in.
    Offer "offer" in offers, late [] {
        offer_id: Id,
        municipality_code: i32,
        provider_id: Id,
        agreement_id: Option<Id>,
        name: String,
        package: &'static str,
        legal_basis: &'static str,
        hours_per_week_min: Option<i32>,
        hours_per_week_max: Option<i32>,
        weeks_min: Option<i32>,
        weeks_max: Option<i32>,
        price_per_week_dkk: Option<Kroner>,
        capacity: Option<i32>,
        accessible: Option<bool>,
        description: Option<String>,
        valid_from: NaiveDate,
        valid_to: Option<NaiveDate>,
    }
}

record! {
    /// What an agreement demands.
    Requirement "requirement" in requirements, late [] {
        requirement_id: Id,
        municipality_code: i32,
        agreement_id: Id,
        offer_id: Option<Id>,
        topic: &'static str,
        description: &'static str,
        metric: Option<&'static str>,
        minimum: Option<f64>,
        maximum: Option<f64>,
    }
}

record! {
    /// One course bought for one citizen.
    SingleOrder "single_order" in single_orders, late [delivered_date, goal_reached] {
        order_id: Id,
        municipality_code: i32,
        participation_id: Id,
        goal: &'static str,
        ordered_date: NaiveDate,
        due_date: NaiveDate,
        delivered_date: Option<NaiveDate>,
        goal_reached: Option<bool>,
    }
}

record! {
    /// Someone the employment services know.
    Citizen "citizen" in citizens, late [exit_date, exit_reason] {
        citizen_id: Person,
        municipality_code: i32,
        birth_year: i32,
        origin: &'static str,
        exit_date: Option<NaiveDate>,
        exit_reason: Option<&'static str>,
    }
}

record! {
    /// A stretch of one benefit.
    BenefitSpell "benefit_spell" in benefit_spells, late [to_date, end_reason] {
        spell_id: Id,
        municipality_code: i32,
        citizen_id: Person,
        benefit: &'static str,
        match_group: Option<&'static str>,
        from_date: NaiveDate,
        to_date: Option<NaiveDate>,
        partial: bool,
        end_reason: Option<&'static str>,
    }
}

record! {
    /// A citizen's course in an offer.
    Participation "participation" in participations, late [end_date, end_reason] {
        participation_id: Id,
        municipality_code: i32,
        citizen_id: Person,
        offer_id: Id,
        unit_id: Id,
        target_group: &'static str,
        start_date: NaiveDate,
        planned_end_date: Option<NaiveDate>,
        end_date: Option<NaiveDate>,
        end_reason: Option<&'static str>,
        hours_per_week: Option<i32>,
        workplace: &'static str,
        complaint_guidance_given: Option<bool>,
    }
}

record! {
    /// An interview that falls due.
    Interview "interview" in interviews, late [held_date, lapsed_reason, no_show_reason] {
        interview_id: Id,
        municipality_code: i32,
        citizen_id: Person,
        unit_id: Id,
        population: &'static str,
        due_date: NaiveDate,
        held_date: Option<NaiveDate>,
        lapsed_reason: Option<&'static str>,
        no_show_reason: Option<&'static str>,
    }
}

record! {
    /// Hours of one day in a course, as one of three sources has them.
    Attendance "attendance" in attendances, late [] {
        participation_id: Id,
        date: NaiveDate,
        source: &'static str,
        municipality_code: i32,
        planned_hours: f64,
        attended_hours: f64,
    }
}

record! {
    /// One score of one dimension.
    ProgressMeasurement "progress_measurement" in progress_measurements, late [] {
        measurement_id: Id,
        municipality_code: i32,
        citizen_id: Person,
        participation_id: Option<Id>,
        measured_date: NaiveDate,
        instrument_version: &'static str,
        dimension: &'static str,
        score: f64,
    }
}

record! {
    /// An invitation to a survey, and the answers.
    SurveyResponse "survey_response" in survey_responses,
    late [
        answered_date, satisfaction, closer_to_job, informed, respected, moved, listened,
        influence, job_focus, prepared, clear_next_step
    ] {
        response_id: Id,
        municipality_code: i32,
        survey_id: String,
        instrument_version: &'static str,
        participation_id: Option<Id>,
        offer_id: Option<Id>,
        unit_id: Option<Id>,
        invited_date: NaiveDate,
        answered_date: Option<NaiveDate>,
        satisfaction: Option<i32>,
        closer_to_job: Option<i32>,
        informed: Option<i32>,
        respected: Option<i32>,
        moved: Option<i32>,
        listened: Option<i32>,
        influence: Option<i32>,
        job_focus: Option<i32>,
        prepared: Option<i32>,
        clear_next_step: Option<i32>,
    }
}

record! {
    /// A complaint.
    Complaint "complaint" in complaints, late [outcome, closed_date] {
        complaint_id: Id,
        municipality_code: i32,
        offer_id: Option<Id>,
        unit_id: Option<Id>,
        citizen_id: Option<Person>,
        received_date: NaiveDate,
        channel: &'static str,
        kind: &'static str,
        authority: &'static str,
        outcome: Option<&'static str>,
        closed_date: Option<NaiveDate>,
    }
}

record! {
    /// A visit to a provider.
    SupervisionVisit "supervision_visit" in supervision_visits, late [] {
        visit_id: Id,
        municipality_code: i32,
        provider_id: Id,
        offer_id: Option<Id>,
        visit_date: NaiveDate,
        kind: &'static str,
        agreement: &'static str,
        working_environment: &'static str,
        values: &'static str,
        ethnic_equality: &'static str,
        attendance_record: &'static str,
        physical_presence: &'static str,
        planned_content: &'static str,
        facilities: &'static str,
        persons_enrolled: Option<i32>,
        persons_on_protocol: Option<i32>,
        persons_present: Option<i32>,
        follow_up_due: Option<NaiveDate>,
        note: Option<&'static str>,
    }
}

record! {
    /// A step against a provider.
    Sanction "sanction" in sanctions, late [lifted_date] {
        sanction_id: Id,
        municipality_code: i32,
        provider_id: Id,
        offer_id: Option<Id>,
        step: &'static str,
        decided_date: NaiveDate,
        lifted_date: Option<NaiveDate>,
        amount_dkk: Option<Kroner>,
        reason: &'static str,
    }
}

record! {
    /// A talk with a provider about its results.
    DialogueMeeting "dialogue_meeting" in dialogue_meetings, late [] {
        meeting_id: Id,
        municipality_code: i32,
        provider_id: Id,
        held_date: NaiveDate,
        topics: &'static str,
    }
}

record! {
    /// Something agreed upon.
    ImprovementAction "improvement_action" in improvement_actions, late [done_date] {
        action_id: Id,
        municipality_code: i32,
        origin: &'static str,
        origin_id: Option<Id>,
        description: &'static str,
        responsible: &'static str,
        due_date: NaiveDate,
        done_date: Option<NaiveDate>,
    }
}

record! {
    /// One check of one sampled case.
    CaseReview "case_review" in case_reviews, late [] {
        review_id: Id,
        municipality_code: i32,
        unit_id: Id,
        review_date: NaiveDate,
        theme: &'static str,
        stratum: &'static str,
        sample_kind: &'static str,
        outcome: &'static str,
        refund_at_risk_dkk: Option<Kroner>,
    }
}

record! {
    /// A remark of the auditors.
    AuditRemark "audit_remark" in audit_remarks, late [implemented_date] {
        remark_id: Id,
        municipality_code: i32,
        accounting_year: i32,
        area: &'static str,
        description: &'static str,
        raised_date: NaiveDate,
        due_date: Option<NaiveDate>,
        implemented_date: Option<NaiveDate>,
    }
}

record! {
    /// A goal of a contract.
    Goal "goal" in goals, late [] {
        goal_id: Id,
        municipality_code: i32,
        contract: &'static str,
        unit_id: Option<Id>,
        focus_area: &'static str,
        indicator: &'static str,
        comparator: &'static str,
        target: f64,
        valid_from: NaiveDate,
        valid_to: NaiveDate,
        cadence: &'static str,
    }
}

record! {
    /// The labour force of one origin at the end of a November.
    LabourForce "labour_force" in labour_forces, late [] {
        municipality_code: i32,
        reference_date: NaiveDate,
        origin: &'static str,
        labour_force: f64,
        unemployed: f64,
        source_table: &'static str,
    }
}

record! {
    /// Expected and actual values published nationally.
    Benchmark "benchmark" in benchmarks, late [] {
        municipality_code: i32,
        period: String,
        measure: &'static str,
        expected: Option<f64>,
        actual: Option<f64>,
        source_table: &'static str,
    }
}
