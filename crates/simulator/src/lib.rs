//! Synthetic municipalities with a known truth, which play the source systems that Pejl reads.
//!
//! [`World::generate`] makes everything that happens in some municipalities over some years, the
//! same for the same [`Settings`], byte for byte. [`World::as_of`] is the same world as its sources
//! know it on a day; everything below writes or serves that view:
//! [`CaseSystem`] and [`statbank()`] over HTTP, [`write_provider_drops`] and [`write_survey_export`]
//! as files, [`write_canonical`] as files that need no mapping, and [`pipelines()`] the pipeline
//! files that read them all. [`World::truth`] is what a correct overview has to find.
//!
//! Everyone in it is impossible: see [`CprNumber`].

mod canonical;
mod case_system;
mod cpr;
mod danish;
mod dice;
mod drops;
mod entities;
mod generate;
mod output;
mod pipelines;
mod record;
mod settings;
mod statbank;
mod survey_export;
mod truth;
mod world;

use std::path::{Path, PathBuf};

use contract::FixBy;

pub use canonical::{Written, generate_canonical, write_canonical};
pub use case_system::CaseSystem;
pub use cpr::CprNumber;
pub use drops::{BadRow, Drops, write_provider_drops};
pub use entities::{
    Agreement, Attendance, AuditRemark, Benchmark, BenefitSpell, CaseReview, Citizen, Complaint,
    DialogueMeeting, Goal, ImprovementAction, Interview, LabourForce, Offer, Participation,
    ProgressMeasurement, Provider, Requirement, Sanction, SingleOrder, SupervisionVisit,
    SurveyResponse, Unit,
};
pub use pipelines::pipelines;
pub use record::{Cell, Id, Kroner, Moment, Person, Record};
pub use settings::{Municipalities, Settings};
pub use statbank::statbank;
pub use survey_export::write_survey_export;
pub use truth::{MunicipalityTruth, OfferTruth, Truth};
pub use world::{Municipality, World};

/// The result of simulating.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the simulator could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings ask for an impossible world.
    #[error("simulator settings: {0}")]
    Settings(String),
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}; check that the folder exists and is writable", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The generator broke its own promise.
    #[error("the simulator is wrong: {0}")]
    Bug(String),
}

impl Error {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        match self {
            Self::Settings(_) | Self::Write { .. } | Self::Listen { .. } => FixBy::Settings,
            Self::Bug(_) => FixBy::Us,
        }
    }

    pub(crate) fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Write { path, source }
    }
}
