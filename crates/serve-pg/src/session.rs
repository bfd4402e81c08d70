//! One connection's session: its context, variables, cursors, savepoints and prepared statements.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use pgwire::api::{
    METADATA_APPLICATION_NAME, METADATA_CLIENT_ENCODING, METADATA_DATABASE, METADATA_USER, Type,
};
use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;
use warehouse::{Answering, QueryLog};

use crate::ServeError;
use crate::catalog::{self, SEARCH_PATH, Served};
use crate::cursor::Cursor;
use crate::script;
use crate::sqlstate;
use crate::variables::Variables;
use crate::wire::Connection;

/// Where unqualified names are looked for, in this order, as far as the schemas exist.
const FIRST_PATH: &[&str] = &["mart", "core", "release", "ref", "raw", "ops", "public"];

/// The session of one connection.
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) ctx: SessionContext,
    pub(crate) served: Arc<Served>,
    variables: Arc<Mutex<Variables>>,
    pub(crate) cursors: tokio::sync::Mutex<BTreeMap<String, Cursor>>,
    savepoints: Mutex<Vec<String>>,
    prepared: Mutex<BTreeMap<String, SqlPrepared>>,
    pub(crate) query_log: Option<QueryLog>,
    /// The query that the statement at hand sends rows of.
    pub(crate) answering: Mutex<Option<Arc<Answering>>>,
}

/// A statement prepared by SQL's `PREPARE`.
#[derive(Debug, Clone)]
pub(crate) struct SqlPrepared {
    pub(crate) text: String,
    pub(crate) types: Vec<Option<Type>>,
}

impl Session {
    /// Opens a session for a user whose password is proved.
    pub(crate) async fn open(
        connection: &Connection,
        pid: i32,
        startup: &HashMap<String, String>,
    ) -> PgWireResult<Session> {
        let server = &connection.server;
        let user = startup.get(METADATA_USER).cloned().unwrap_or_default();
        let given = server.sessions.open(&user).await.map_err(|cause| {
            tracing::error!(%cause, "cannot open a session");
            sqlstate::fatal("XX000", contract::scrub(&cause.to_string()).into_owned())
        })?;
        let (ctx, served) = own_context(&given, connection).map_err(|cause| {
            tracing::error!(%cause, "cannot build a session");
            sqlstate::fatal("XX000", cause.to_string())
        })?;

        let schemas = served.schemas();
        let path: Vec<&str> = FIRST_PATH
            .iter()
            .copied()
            .filter(|name| schemas.iter().any(|s| s == name))
            .collect();
        let mut variables = Variables::new(&user, &path.join(", "), server.statement_timeout);
        apply_startup(&mut variables, startup)?;
        variables.start();
        let variables = Arc::new(Mutex::new(variables));
        served.know(Arc::clone(&variables));
        let session = Session {
            user,
            ctx,
            served,
            variables,
            cursors: tokio::sync::Mutex::default(),
            savepoints: Mutex::default(),
            prepared: Mutex::default(),
            query_log: server.query_log.clone(),
            answering: Mutex::default(),
        };
        session.apply();
        catalog::functions::register(&session, pid);
        Ok(session)
    }

    pub(crate) fn variables(&self) -> MutexGuard<'_, Variables> {
        self.variables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn variables_handle(&self) -> Arc<Mutex<Variables>> {
        Arc::clone(&self.variables)
    }

    pub(crate) fn savepoints(&self) -> MutexGuard<'_, Vec<String>> {
        self.savepoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prepared(&self) -> MutexGuard<'_, BTreeMap<String, SqlPrepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How values are written as text at this moment.
    pub(crate) fn format(&self) -> Arc<FormatOptions> {
        Arc::new(self.variables().format())
    }

    pub(crate) fn zone(&self) -> String {
        self.variables().get("timezone").to_owned()
    }

    /// Whether queries read the same publication from now on, or each the current one.
    pub(crate) fn hold(&self, held: bool) {
        let state = self.ctx.state_ref();
        let hold = state.read().config().get_extension::<warehouse::Hold>();
        match hold {
            Some(hold) if held => hold.hold(),
            Some(hold) => hold.release(),
            None => {}
        }
    }

    /// Lets the variables take effect that more than `SHOW` depends on.
    pub(crate) fn apply(&self) {
        let (path, zone) = {
            let variables = self.variables();
            (
                variables.get("search_path").to_owned(),
                variables.get("timezone").to_owned(),
            )
        };
        let path = path
            .split(',')
            .map(|name| name.trim().trim_matches('"').replace("$user", &self.user));
        self.served
            .look_in(path.filter(|name| !name.is_empty()).collect());
        self.ctx
            .state_ref()
            .write()
            .config_mut()
            .options_mut()
            .execution
            .time_zone = Some(zone);
    }
}

/// A context that shares nothing changeable with any other, whatever `given` shares.
fn own_context(
    given: &SessionContext,
    connection: &Connection,
) -> Result<(SessionContext, Arc<Served>), ServeError> {
    let state = given.state();
    let name = state.config_options().catalog.default_catalog.clone();
    let inner = state
        .catalog_list()
        .catalog(&name)
        .ok_or_else(|| ServeError::Session(format!("the session has no catalog {name:?}")))?;
    let served = Arc::new(Served::new(
        &name,
        inner,
        Arc::clone(&connection.server.library),
        connection.server.roles.clone(),
        state.config().get_extension::<warehouse::Docs>(),
    ));
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(name.clone(), Arc::clone(&served) as _);
    let mut config = state
        .config()
        .clone()
        .with_default_catalog_and_schema(name, SEARCH_PATH)
        .with_create_default_catalog_and_schema(false)
        // The served catalogue brings an information_schema with PostgreSQL's columns and types.
        .with_information_schema(false);
    config.options_mut().execution.time_zone = Some("UTC".into());
    let state = SessionStateBuilder::new_from_existing(state)
        .with_session_id(format!("pg-{:016x}", rand::random::<u64>()))
        .with_config(config)
        .with_catalog_list(Arc::new(catalogs))
        .with_type_planner(Arc::new(PgOidTypePlanner))
        .build();
    Ok((SessionContext::new_with_state(state), served))
}

/// Start-up parameters are the session's first `SET`s; `options` may hold more of them as `-c name=value`.
fn apply_startup(variables: &mut Variables, startup: &HashMap<String, String>) -> PgWireResult<()> {
    for (name, value) in startup {
        match name.as_str() {
            METADATA_USER | METADATA_DATABASE | "replication" => {}
            // Whatever the client asks for, it is told UTF8 and has to read that.
            METADATA_CLIENT_ENCODING => {}
            METADATA_APPLICATION_NAME => {
                let printable: String =
                    value.chars().filter(|c| !c.is_control()).take(63).collect();
                variables.set(name, Some(&printable), false)?;
            }
            "options" => {
                for (name, value) in options(value) {
                    variables.set(&name, Some(&value), false)?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => variables.set(name, Some(value), false)?,
        }
    }
    Ok(())
}

fn options(text: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut settings = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let setting = match words[at]
            .strip_prefix("-c")
            .or_else(|| words[at].strip_prefix("--"))
        {
            Some("") => {
                at += 1;
                words.get(at).copied().unwrap_or_default()
            }
            Some(setting) => setting,
            None => "",
        };
        if let Some((name, value)) = setting.split_once('=') {
            settings.push((name.replace('-', "_"), value.replace("\\ ", " ")));
        }
        at += 1;
    }
    settings
}

/// Puts oids in the place of names that are cast to them, `'mart.x'::regclass`, before anything is parsed.
///
/// The library does it with a subquery, which only finds tables of the current schema.
pub(crate) fn resolve_names(session: &Session, text: &str) -> PgWireResult<String> {
    if !text.to_ascii_lowercase().contains("reg") {
        return Ok(text.to_owned());
    }
    let Ok(statements) = script::split(text) else {
        return Ok(text.to_owned());
    };
    let [statement] = statements.as_slice() else {
        return Ok(text.to_owned());
    };
    let mut resolved = String::with_capacity(text.len());
    let mut done = 0;
    let words = &statement.words;
    for (at, word) in words.iter().enumerate() {
        let script::Kind::Text(name) = &word.kind else {
            continue;
        };
        if !words.get(at + 1).is_some_and(|w| w.is_sign(':'))
            || !words.get(at + 2).is_some_and(|w| w.is_sign(':'))
        {
            continue;
        }
        let qualified = words.get(at + 3).is_some_and(|w| w.is("pg_catalog"))
            && words.get(at + 4).is_some_and(|w| w.is_sign('.'));
        let kind_at = if qualified { at + 5 } else { at + 3 };
        let Some(kind) = words.get(kind_at) else {
            continue;
        };
        let oid = if name.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() {
            name.parse().ok()
        } else if kind.is("regclass") {
            let found = session.served.relation(name);
            Some(found.ok_or_else(|| {
                sqlstate::error("42P01", format!("relation \"{name}\" does not exist"))
            })?)
        } else if kind.is("regnamespace") {
            let found = session.served.namespace(name);
            Some(found.ok_or_else(|| {
                sqlstate::error("3F000", format!("schema \"{name}\" does not exist"))
            })?)
        } else if kind.is("regtype") {
            crate::parameters::type_named(name).map(|kind| kind.oid().cast_signed())
        } else {
            None
        };
        if kind.is("regproc") && oid.is_none() {
            // The library's tables keep function names where PostgreSQL keeps regproc.
            let function = name.rsplit('.').next().unwrap_or(name).replace('\'', "''");
            resolved.push_str(&format!(
                "{}'{function}'",
                &statement.text[done..word.start]
            ));
            done = kind.end;
            continue;
        }
        let is_name_cast = ["regclass", "regnamespace", "regtype"]
            .iter()
            .any(|k| kind.is(k));
        if let (Some(oid), true) = (oid, is_name_cast) {
            resolved.push_str(&statement.text[done..word.start]);
            resolved.push_str(&oid.to_string());
            done = kind.end;
        }
    }
    resolved.push_str(&statement.text[done..]);
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_startup_message_are_settings() {
        let expected = [
            ("search_path", "core"),
            ("statement_timeout", "5s"),
            ("geqo", "off"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            options("-c search_path=core -cstatement_timeout=5s --geqo=off"),
            expected
        );
    }
}
