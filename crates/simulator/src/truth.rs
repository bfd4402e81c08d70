//! What was planted: the answers that a correct warehouse has to find.

use std::collections::BTreeMap;

/// The planted truth of a world, over all its years, whatever its sources have shown so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// By offer id.
    pub offers: BTreeMap<String, OfferTruth>,
    /// By municipality code; 0 is the whole country.
    pub municipalities: BTreeMap<i32, MunicipalityTruth>,
}

/// What was planted for one offer.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferTruth {
    /// The municipality.
    pub municipality_code: i32,
    /// The chance that a citizen of middling prospects supports themselves three months after the
    /// end (`effect_3m`). None for mentors, who accompany another offer and have no effect of their own.
    pub self_support: Option<f64>,
    /// The chance that an answer about it is 4 or 5.
    pub satisfied: f64,
    /// The chance that a participation leads to a complaint naming the offer.
    pub complained: f64,
    /// Whether its provider was made to fail at supervision.
    pub poor_supervision: bool,
    /// Participations that ended, were not cancelled and whose citizen stayed for three months.
    pub ended: u32,
    /// The sum of their citizens' chances of `effect_3m`.
    pub expected: f64,
    /// How many of them succeeded.
    pub successes: u32,
}

/// What was planted for one municipality.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MunicipalityTruth {
    /// By year of the due date: the chance that an interview with an unemployed citizen is in time.
    pub timely_unemployed: BTreeMap<i32, f64>,
    /// By year of the due date: the chance that an interview with a sick citizen is in time.
    pub timely_sick: BTreeMap<i32, f64>,
    /// By year of the start: the chance that a course has a workplace.
    pub workplace: BTreeMap<i32, f64>,
    /// By year, end of November: percentage points by which unemployment among people of
    /// non-western origin exceeds that of all.
    pub excess_unemployment: BTreeMap<i32, f64>,
}
