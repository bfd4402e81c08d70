//! Whether every role of this process works, and what keeps those that do not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// What keeps a role from its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// What is wrong, or missing yet.
    pub why: String,
    /// What to do about it.
    pub step: String,
}

/// The roles of a process, and what keeps them from their work. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<Obstacle>>>>);

/// One role that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Waiting {
    role: &'static str,
    #[serde(flatten)]
    obstacle: Obstacle,
}

impl Readiness {
    /// `roles` are about to begin.
    pub fn starting(roles: &[&'static str]) -> Self {
        let readiness = Self::default();
        for role in roles {
            let obstacle = Obstacle {
                why: "it has not begun yet".to_owned(),
                step: "wait: it is starting".to_owned(),
            };
            readiness.set(role, Some(obstacle));
        }
        readiness
    }

    /// What keeps a role from its work now; `None` when it works.
    pub fn set(&self, role: &'static str, obstacle: Option<Obstacle>) {
        let mut roles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = roles.insert(role, obstacle.clone());
        if before.as_ref() == Some(&obstacle) {
            return;
        }
        match obstacle {
            None => tracing::info!(role, "ready"),
            Some(Obstacle { why, step }) => tracing::warn!(role, why, step, "not ready"),
        }
    }

    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let roles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = roles.iter().filter_map(|(role, obstacle)| {
            obstacle.clone().map(|obstacle| Waiting { role, obstacle })
        });
        waiting.collect()
    }
}
