//! What of a session goes into `ops.query_log`: queries that name tables of the warehouse.

use std::sync::{Arc, PoisonError};

use datafusion::sql::parser::Statement as DfStatement;
use pgwire::error::PgWireError;
use warehouse::Answering;

use crate::dialect::Query;
use crate::session::Session;
use crate::sqlstate;

impl Session {
    /// Begins to note a query that the statement at hand runs. It ends with its last row, with the statement if that fails, or else with
    /// the portal or cursor that keeps the rest of it. A portal's later step that is cancelled ends it, too, as one that nobody wanted more of.
    pub(crate) fn begin(&self, query: &Query) -> Option<Arc<Answering>> {
        let answering = self.note(query).map(Arc::new);
        self.goes_on(answering.as_ref());
        answering
    }

    /// The statement at hand sends rows of this query, which an earlier one began.
    pub(crate) fn goes_on(&self, answering: Option<&Arc<Answering>>) {
        *self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = answering.cloned();
    }

    /// The statement at hand has come to its end.
    pub(crate) fn answered(&self, error: Option<&PgWireError>) {
        let answering = self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(answering), Some(error)) = (answering, error) {
            answering.fail(sqlstate::code(error));
        }
    }

    /// Notes a query that could not even be described.
    pub(crate) fn refused(&self, query: &Query, error: &PgWireError) {
        if let Some(answering) = self.note(query) {
            answering.fail(sqlstate::code(error));
        }
    }

    /// `None` where there is no log, and where the query names none of the warehouse's tables. Its text has parameters by number, even
    /// where `EXECUTE` gives their values in SQL.
    fn note(&self, query: &Query) -> Option<Answering> {
        let log = self.query_log.as_ref()?;
        let statement = DfStatement::Statement(Box::new(query.statement.clone()));
        let state = self.ctx.state_ref();
        let named = state.read().resolve_table_references(&statement).ok()?;
        let tables = self.served.own(&named);
        if tables.is_empty() {
            return None;
        }
        let role = self.variables().get("role").to_owned();
        let role = if role.is_empty() || role.eq_ignore_ascii_case("none") {
            &self.user
        } else {
            &role
        };
        Some(log.begin(&self.user, role, &query.text, tables))
    }
}
