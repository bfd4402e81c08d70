//! Whether every role of this process works yet.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The roles that do not work yet. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

impl Readiness {
    /// `roles` do not work yet.
    pub fn of(roles: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(roles.iter().copied().collect())))
    }

    /// A role works now.
    pub fn ready(&self, role: &'static str) {
        self.waiting().remove(role);
    }

    /// A role works no longer.
    pub fn broken(&self, role: &'static str) {
        self.waiting().insert(role);
    }

    pub(crate) fn waiting_for(&self) -> Vec<&'static str> {
        self.waiting().iter().copied().collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
