//! Which rows are meant.

use chrono::{DateTime, Utc};
use contract::QuarantineId;
use datafusion::{
    logical_expr::Expr,
    prelude::{ident, lit, strpos},
    scalar::ScalarValue,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which rows are meant: those that answer to everything that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// These rows, by name.
    pub ids: Vec<String>,
    /// Rows of this source.
    pub source: Option<String>,
    /// Rows of this entity.
    pub entity: Option<String>,
    /// Rows that broke this rule: `type`, `code_list`, `mapping`, …
    pub rule: Option<String>,
    /// Rows in which this field was wrong.
    pub field: Option<String>,
    /// Rows with this text in their reason, in capitals or not.
    pub reason: Option<String>,
    /// Rows set aside at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Rows set aside before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// What was done about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing yet.
    #[default]
    Open,
    /// Something.
    Closed,
    /// Either.
    All,
}

impl Filter {
    /// Whether every row is meant.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As a condition on `ops.quarantine`.
    pub(crate) fn condition(&self, state: State) -> Result<Expr> {
        let mut all = match state {
            State::Open => ident("state").eq(lit("open")),
            State::Closed => ident("state").not_eq(lit("open")),
            State::All => lit(true),
        };
        let mut and = |condition: Expr| all = all.clone().and(condition);
        if !self.ids.is_empty() {
            let mut names = Vec::new();
            for id in &self.ids {
                // Written as the table has it, whatever way it was given.
                names.push(lit(id.parse::<QuarantineId>()?.to_string()));
            }
            and(ident("quarantine_id").in_list(names, false));
        }
        for (column, wanted) in [
            ("source", &self.source),
            ("entity", &self.entity),
            ("rule", &self.rule),
            ("field", &self.field),
        ] {
            if let Some(wanted) = wanted {
                and(ident(column).eq(lit(wanted)));
            }
        }
        if let Some(text) = &self.reason {
            let reason = datafusion::prelude::lower(ident("reason"));
            and(strpos(reason, lit(text.to_lowercase())).gt(lit(0)));
        }
        if let Some(since) = self.since {
            and(ident("quarantined_at").gt_eq(moment(since)));
        }
        if let Some(until) = self.until {
            and(ident("quarantined_at").lt(moment(until)));
        }
        Ok(all)
    }

    /// The same, of which nothing may be left out by oversight.
    ///
    /// # Errors
    /// [`Error::Asked`] where everything is meant and `all` does not say so.
    pub fn checked(self, all: bool) -> Result<Self> {
        if self.is_empty() && !all {
            return Err(Error::Asked(
                "say which rows: by name, --source, --entity, --rule, --field, --reason, --since or --until; or --all".to_owned(),
            ));
        }
        Ok(self)
    }
}

fn moment(at: DateTime<Utc>) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(
        Some(at.timestamp_micros()),
        Some("UTC".into()),
    ))
}
