//! A world: what happens in some municipalities, and what their sources know of it on a day.

use std::{borrow::Cow, sync::Arc};

use chrono::{Days, NaiveDate, NaiveTime};

use crate::{
    Agreement, Attendance, AuditRemark, Benchmark, BenefitSpell, CaseReview, Citizen, Complaint,
    CprNumber, DialogueMeeting, Goal, ImprovementAction, Interview, LabourForce, Moment, Offer,
    Participation, Person, ProgressMeasurement, Provider, Record, Requirement, Result, Sanction,
    Settings, SingleOrder, SupervisionVisit, SurveyResponse, Truth, Unit, generate,
    record::Table,
    settings::{Place, Span},
};

/// Some municipalities over some years, as their sources know them on a day.
///
/// A clone, and the same world on another day, share everything: both are cheap.
#[derive(Debug, Clone)]
pub struct World {
    inner: Arc<Inner>,
    as_of: NaiveDate,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    span: Span,
    municipalities: Vec<Municipality>,
    country: Municipality,
    truth: Truth,
}

/// One municipality, or the whole country under code 0. Rows are as things turn out in the end.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "one list per entity")]
pub struct Municipality {
    /// The code.
    pub code: i32,
    /// The name.
    pub name: String,
    pub(crate) people: Vec<CprNumber>,
    pub units: Vec<Unit>,
    pub providers: Vec<Provider>,
    pub agreements: Vec<Agreement>,
    pub offers: Vec<Offer>,
    pub requirements: Vec<Requirement>,
    pub single_orders: Vec<SingleOrder>,
    pub citizens: Vec<Citizen>,
    pub benefit_spells: Vec<BenefitSpell>,
    pub participations: Vec<Participation>,
    pub interviews: Vec<Interview>,
    pub attendances: Vec<Attendance>,
    pub progress_measurements: Vec<ProgressMeasurement>,
    pub survey_responses: Vec<SurveyResponse>,
    pub complaints: Vec<Complaint>,
    pub supervision_visits: Vec<SupervisionVisit>,
    pub sanctions: Vec<Sanction>,
    pub dialogue_meetings: Vec<DialogueMeeting>,
    pub improvement_actions: Vec<ImprovementAction>,
    pub case_reviews: Vec<CaseReview>,
    pub audit_remarks: Vec<AuditRemark>,
    pub goals: Vec<Goal>,
    pub labour_forces: Vec<LabourForce>,
    pub benchmarks: Vec<Benchmark>,
}

impl World {
    /// Makes a world, seen from `settings.as_of`.
    pub fn generate(settings: &Settings) -> Result<Self> {
        let span = settings.span()?;
        let mut truth = Truth::default();
        let mut municipalities = Vec::new();
        for place in settings.places()? {
            municipalities.push(generate::municipality(settings, span, &place, &mut truth)?);
        }
        let country = generate::country(settings, span, &mut truth);
        Ok(Self {
            as_of: settings.as_of,
            inner: Arc::new(Inner {
                settings: settings.clone(),
                span,
                municipalities,
                country,
                truth,
            }),
        })
    }

    /// The same world as its sources know it at the end of `date`. A later date only ever adds
    /// records and newer images of records.
    pub fn as_of(&self, date: NaiveDate) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            as_of: date,
        }
    }

    /// The same world `days` later.
    pub fn grow(&self, days: u32) -> Self {
        let later = self.as_of.checked_add_days(Days::new(u64::from(days)));
        self.as_of(later.unwrap_or(self.as_of))
    }

    /// The day the sources stand at.
    pub fn date(&self) -> NaiveDate {
        self.as_of
    }

    /// The last moment that is visible.
    pub fn now(&self) -> Moment {
        let end = NaiveTime::from_num_seconds_from_midnight_opt(86_399, 999_999_000);
        self.as_of.and_time(end.unwrap_or_default()).and_utc()
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The last day on which anything new begins.
    pub fn last_day(&self) -> NaiveDate {
        self.inner.span.until
    }

    /// What was planted.
    pub fn truth(&self) -> &Truth {
        &self.inner.truth
    }

    /// The municipalities, by code.
    pub fn municipalities(&self) -> &[Municipality] {
        &self.inner.municipalities
    }

    /// One municipality; 0 is the whole country, which has statistics only.
    pub fn municipality(&self, code: i32) -> Option<&Municipality> {
        self.areas().find(|it| it.code == code)
    }

    /// Everything of one entity that the sources show, each thing once, in its latest image.
    pub fn seen<R: Record>(&self) -> impl Iterator<Item = Cow<'_, R>> {
        let now = self.now();
        self.areas()
            .flat_map(R::rows)
            .filter_map(move |it| it.image(now))
    }

    /// The whole country, then the municipalities.
    pub(crate) fn areas(&self) -> impl Iterator<Item = &Municipality> {
        std::iter::once(&self.inner.country).chain(&self.inner.municipalities)
    }
}

impl Municipality {
    pub(crate) fn new(place: &Place) -> Self {
        Self {
            code: place.code,
            name: place.name.clone(),
            ..Self::default()
        }
    }

    /// The CPR number of a citizen of this municipality, for tests that play a source.
    pub fn cpr(&self, person: Person) -> Option<CprNumber> {
        self.people.get(person.0 as usize).copied()
    }

    /// The number of people, each a [`Person`] from 0.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// Every entity with its rows, in the order in which they refer to one another.
    pub(crate) fn tables(&self) -> [&dyn Table; 23] {
        [
            &self.units,
            &self.providers,
            &self.agreements,
            &self.offers,
            &self.requirements,
            &self.goals,
            &self.citizens,
            &self.benefit_spells,
            &self.participations,
            &self.single_orders,
            &self.interviews,
            &self.attendances,
            &self.progress_measurements,
            &self.survey_responses,
            &self.complaints,
            &self.supervision_visits,
            &self.sanctions,
            &self.dialogue_meetings,
            &self.improvement_actions,
            &self.case_reviews,
            &self.audit_remarks,
            &self.labour_forces,
            &self.benchmarks,
        ]
    }

    /// The rows of one entity.
    pub(crate) fn table(&self, entity: &str) -> Option<&dyn Table> {
        self.tables().into_iter().find(|it| it.entity() == entity)
    }
}
