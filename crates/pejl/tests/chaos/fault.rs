//! What is done to the platform in a round.

use std::fmt;

use rand::{RngExt, rngs::StdRng};

/// One kind of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    KillWorker,
    KillLander,
    PauseWorker,
    PauseLander,
    KillBroker,
    StoreErrors,
    LostAnswers,
    FullDisk,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::KillWorker,
        Self::KillLander,
        Self::PauseWorker,
        Self::PauseLander,
        Self::KillBroker,
        Self::StoreErrors,
        Self::LostAnswers,
        Self::FullDisk,
    ];

    /// Every fault once, in order; then whatever the dice say.
    pub(crate) fn of_round(number: usize, dice: &mut StdRng) -> Self {
        let any = dice.random_range(0..Self::ALL.len());
        *Self::ALL.get(number - 1).unwrap_or(&Self::ALL[any])
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillWorker => "kill -9 of a worker",
            Self::KillLander => "kill -9 of a lander",
            Self::PauseWorker => "worker stopped past its session, then resumed",
            Self::PauseLander => "lander stopped past its session, then resumed",
            Self::KillBroker => "kill -9 of the broker, started again",
            Self::StoreErrors => "the store answers 503 and drops connections",
            Self::LostAnswers => "the store does what it is asked and its answers are lost",
            Self::FullDisk => "no room on the disk of a lander",
        })
    }
}
