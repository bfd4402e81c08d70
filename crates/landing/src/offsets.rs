//! A set of offsets of which only the first few are kept.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many offsets are shown.
const SHOWN: usize = 10;

/// Offsets found: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Offsets {
    /// How many.
    pub count: u64,
    /// The first ten.
    pub first: Vec<i64>,
}

impl Offsets {
    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// So many, of which `all` are the first.
    pub(crate) fn of(count: u64, all: impl Iterator<Item = i64>) -> Self {
        Self {
            count,
            first: all.take(SHOWN).collect(),
        }
    }

    pub(crate) fn add(&mut self, offset: i64) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(offset);
        }
    }
}

impl fmt::Display for Offsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        if !self.is_empty() {
            let shown: Vec<String> = self.first.iter().map(i64::to_string).collect();
            let more = if self.count > SHOWN as u64 {
                ", …"
            } else {
                ""
            };
            write!(f, " ({}{more})", shown.join(", "))?;
        }
        Ok(())
    }
}
