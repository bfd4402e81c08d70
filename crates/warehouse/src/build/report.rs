//! What a build tells: events while it runs, a report at its end.

use std::{collections::BTreeMap, fmt};

use super::{Extent, Outcome};
use crate::publication::Checked;

/// Something that happened during a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// Nothing the model comes from has changed; its published version stays.
    Kept {
        /// The table.
        model: String,
    },
    /// A candidate is being computed.
    Building {
        /// The table.
        model: String,
    },
    /// A candidate is written and checked.
    Built {
        /// The table.
        model: String,
        /// How much of it was computed.
        extent: Extent,
        /// How many rows that is.
        rows: u64,
        /// How many of its checks failed.
        failed: usize,
    },
    /// A model could not be computed.
    Failed {
        /// The table.
        model: String,
    },
    /// All tables are served in their new versions.
    Published {
        /// The publication.
        id: u64,
    },
}

impl fmt::Display for BuildEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { model } => write!(f, "{model} unchanged"),
            Self::Building { model } => write!(f, "{model} building"),
            Self::Built {
                model,
                extent,
                rows,
                failed,
            } => {
                write!(f, "{model} built, {rows} rows")?;
                if let Extent::Parts(parts, _) = extent {
                    match parts.len() {
                        1 => f.write_str(" of 1 municipality")?,
                        count => write!(f, " of {count} municipalities")?,
                    }
                }
                match failed {
                    0 => Ok(()),
                    failed => write!(f, ", {failed} checks failed"),
                }
            }
            Self::Failed { model } => write!(f, "{model} failed"),
            Self::Published { id } => write!(f, "publication {id}"),
        }
    }
}

/// What a build came to.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildReport {
    /// What was served before it.
    pub previous: Option<u64>,
    /// What it published; `None` when nothing changed or something failed.
    pub published: Option<u64>,
    /// The models computed anew.
    pub built: Vec<BuiltModel>,
    /// How many models stayed as they were published.
    pub kept: usize,
    /// What came of every check of what was computed anew.
    pub checks: Vec<Checked>,
    failures: Vec<Failure>,
}

/// A model that was computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltModel {
    /// The table.
    pub model: String,
    /// Its version.
    pub version: i64,
    /// How much of it was computed.
    pub extent: Extent,
    /// How many rows that is.
    pub rows: u64,
}

/// Why nothing is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// A check failed.
    Check(Checked),
    /// A model could not be computed.
    Model {
        /// The table.
        model: String,
        /// Why, and whose doing it is.
        reason: String,
    },
    /// A model reads one that could not be computed.
    Blocked {
        /// The table.
        model: String,
        /// What it reads.
        by: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(checked) => {
                write!(f, "{}", checked.result)?;
                match checked.since {
                    Some(since) => write!(
                        f,
                        "; failing since {}",
                        since.format("%Y-%m-%d %H:%M:%S UTC")
                    ),
                    None => Ok(()),
                }
            }
            Self::Model { model, reason } => write!(f, "{model}: {reason}"),
            Self::Blocked { model, by } => write!(f, "{model}: not built, it reads {by}"),
        }
    }
}

impl BuildReport {
    pub(super) fn new(
        previous: Option<u64>,
        outcomes: &BTreeMap<String, Outcome>,
        checks: Vec<Checked>,
    ) -> Self {
        let mut report = Self {
            previous,
            published: None,
            built: Vec::new(),
            kept: 0,
            checks,
            failures: Vec::new(),
        };
        for (model, outcome) in outcomes {
            let model = model.clone();
            match outcome {
                Outcome::Kept { .. } => report.kept += 1,
                Outcome::Made { candidate, .. } => report.built.push(BuiltModel {
                    model,
                    version: candidate.version,
                    extent: candidate.extent.clone(),
                    rows: candidate.rows,
                }),
                Outcome::Failed(reason) => report.failures.push(Failure::Model {
                    model,
                    reason: reason.clone(),
                }),
                Outcome::Blocked(by) => report.failures.push(Failure::Blocked {
                    model,
                    by: by.clone(),
                }),
            }
        }
        let stopping = report.checks.iter().filter(|it| it.result.stops());
        report
            .failures
            .extend(stopping.cloned().map(Failure::Check));
        report
    }

    /// Whether nothing stood in the way of publishing, even if there was nothing new to publish.
    pub fn is_publishable(&self) -> bool {
        self.failures.is_empty()
    }

    /// What stood in the way.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Checks that failed and stop nothing.
    pub fn warnings(&self) -> impl Iterator<Item = &Checked> {
        let failed = |it: &&Checked| !it.result.passed() && !it.result.stops();
        self.checks.iter().filter(failed)
    }
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = |f: &mut fmt::Formatter<'_>| match self.previous {
            Some(id) => write!(f, "publication {id} stays"),
            None => write!(f, "nothing is published yet"),
        };
        if !self.is_publishable() {
            write!(f, "nothing published, {} failures; ", self.failures.len())?;
            return served(f);
        }
        let Some(id) = self.published else {
            write!(f, "nothing changed; ")?;
            return served(f);
        };
        let rows: u64 = self.built.iter().map(|it| it.rows).sum();
        let passed = self.checks.iter().filter(|it| it.result.passed()).count();
        write!(
            f,
            "publication {id}: {} models with {rows} rows, {} unchanged, {passed} checks passed",
            self.built.len(),
            self.kept
        )?;
        match self.warnings().count() {
            0 => Ok(()),
            count => write!(f, ", {count} warnings"),
        }
    }
}

#[cfg(test)]
impl BuildReport {
    /// One model computed, its grain checked.
    pub(crate) fn example(model: &str, version: i64, rows: u64, published: Option<u64>) -> Self {
        let result = crate::checks::CheckResult {
            model: model.to_owned(),
            check: "grain".to_owned(),
            is_error: true,
            is_set_aside: false,
            failed_rows: 0,
            sample: Vec::new(),
        };
        Self {
            previous: None,
            published,
            built: vec![BuiltModel {
                model: model.to_owned(),
                version,
                extent: Extent::Whole(super::Reason::New),
                rows,
            }],
            kept: 0,
            checks: vec![Checked {
                result,
                since: None,
            }],
            failures: Vec::new(),
        }
    }
}
