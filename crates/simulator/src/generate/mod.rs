//! How a municipality comes about: its market, its citizens' lives, what they say, who looks after it all.

mod courses;
mod experience;
mod lives;
mod market;
mod oversight;
mod statistics;
mod support;

use chrono::NaiveDate;

use crate::{
    Id, Municipality, Result, Settings, Truth,
    dice::Dice,
    settings::{Place, Span},
};

/// Makes one municipality. It depends on its code and the settings, not on who else takes part.
pub(crate) fn municipality(
    settings: &Settings,
    span: Span,
    place: &Place,
    truth: &mut Truth,
) -> Result<Municipality> {
    let mut making = Making {
        dice: Dice::new(settings.seed, place.code),
        span,
        m: Municipality::new(place),
        plans: Vec::new(),
    };
    market::open(&mut making);
    let mut planted = statistics::plant(&mut making);
    statistics::goals(&mut making);
    lives::live(&mut making, settings, place.slot, &planted)?;
    experience::ask(&mut making);
    experience::attend(&mut making);
    experience::measure(&mut making);
    oversight::watch(&mut making);
    statistics::labour_force(&mut making, &mut planted);
    statistics::benchmarks(&mut making);
    truth.municipalities.insert(place.code, planted);
    for plan in making.plans {
        truth
            .offers
            .insert(plan.id.to_string(), plan.truth(place.code));
    }
    Ok(making.m)
}

/// Makes the whole country's statistics.
pub(crate) fn country(settings: &Settings, span: Span, truth: &mut Truth) -> Municipality {
    let mut making = Making {
        dice: Dice::new(settings.seed, 0),
        span,
        m: Municipality {
            name: "Hele landet".to_owned(),
            ..Municipality::default()
        },
        plans: Vec::new(),
    };
    let mut planted = crate::MunicipalityTruth::default();
    statistics::labour_force(&mut making, &mut planted);
    truth.municipalities.insert(0, planted);
    making.m
}

/// A municipality in the making.
struct Making {
    dice: Dice,
    span: Span,
    m: Municipality,
    plans: Vec<OfferPlan>,
}

impl Making {
    fn id(&self, kind: char, number: usize) -> Id {
        Id::new(self.m.code, kind, number)
    }

    /// The years from the first to the last.
    fn years(&self) -> impl Iterator<Item = i32> + use<> {
        use chrono::Datelike;
        self.span.from.year()..=self.span.until.year()
    }
}

/// Whom an offer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Insured,
    Cash1,
    Cash2,
    Cash3,
    Sick,
    Rehabilitation,
}

impl Group {
    const ALL: [Self; 6] = [
        Self::Insured,
        Self::Cash1,
        Self::Cash2,
        Self::Cash3,
        Self::Sick,
        Self::Rehabilitation,
    ];

    fn target_group(self) -> &'static str {
        match self {
            Self::Insured => "unemployment_benefit",
            Self::Cash1 => "cash_benefit_1",
            Self::Cash2 => "cash_benefit_2",
            Self::Cash3 => "cash_benefit_3",
            Self::Sick => "sickness_benefit",
            Self::Rehabilitation => "rehabilitation",
        }
    }

    fn benefit(self) -> &'static str {
        match self {
            Self::Insured => "unemployment_benefit",
            Self::Cash1 | Self::Cash2 | Self::Cash3 => "cash_benefit",
            Self::Sick => "sickness_benefit",
            Self::Rehabilitation => "rehabilitation_benefit",
        }
    }

    fn match_group(self) -> Option<&'static str> {
        match self {
            Self::Cash1 => Some("1"),
            Self::Cash2 => Some("2"),
            Self::Cash3 => Some("3"),
            Self::Insured | Self::Sick | Self::Rehabilitation => None,
        }
    }
}

/// An offer as the generator knows it: what it is, what was planted, what came of it.
#[derive(Debug)]
struct OfferPlan {
    id: Id,
    provider: Id,
    agreement_kind: &'static str,
    groups: &'static [Group],
    weeks: (i64, i64),
    hours: Option<(i64, i64)>,
    workplace: &'static str,
    /// Accompanies another offer instead of having an effect of its own.
    companion: bool,
    opens: NaiveDate,
    self_support: f64,
    satisfied: f64,
    complained: f64,
    poor_supervision: bool,
    ended: u32,
    expected: f64,
    successes: u32,
}

impl OfferPlan {
    /// Whether the municipality inspects it of its own accord.
    fn is_inspected(&self) -> bool {
        !matches!(
            self.agreement_kind,
            "state_framework" | "ordinary_education"
        )
    }

    fn truth(&self, municipality_code: i32) -> crate::OfferTruth {
        crate::OfferTruth {
            municipality_code,
            self_support: (!self.companion).then_some(self.self_support),
            satisfied: self.satisfied,
            complained: self.complained,
            poor_supervision: self.poor_supervision,
            ended: self.ended,
            expected: self.expected,
            successes: self.successes,
        }
    }
}
