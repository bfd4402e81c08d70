//! Carrying out commands, the same for the simple and the extended protocol.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::sql::sqlparser::ast::Expr;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::error::PgWireResult;
use pgwire::messages::response::TransactionStatus;

use crate::command::Command;
use crate::copy::CopyFormat;
use crate::cursor::Cursor;
use crate::dialect::{self, Query};
use crate::parameters;
use crate::plan::{self, Batches};
use crate::rows::Rows;
use crate::session::{Session, SqlPrepared, resolve_names};
use crate::shape::Shape;
use crate::sqlstate;
use crate::variables;

/// What a command leads to.
pub(crate) enum Outcome {
    /// Rows, and the tag of their completion: `SELECT`, `FETCH` and such get the number of rows, `SHOW` does not.
    Rows(Rows, &'static str),
    /// Rows to be copied out.
    Copy(CopyFormat, Rows),
    /// Nothing but a tag.
    Done(String),
    /// The transaction status changes.
    Transaction(&'static str, TransactionStatus),
    /// Prepared statements are to be forgotten: one or all.
    Forget(&'static str, Option<String>),
}

/// Parses a query, after putting oids for names.
pub(crate) fn parse(session: &Session, text: &str) -> PgWireResult<Query> {
    dialect::parse(&resolve_names(session, text)?)
}

/// Types of all parameters: the client's word first, then the query's own, then what the planner infers, then text.
pub(crate) async fn types(
    session: &Session,
    query: &Query,
    given: &[Option<Type>],
) -> PgWireResult<Vec<Type>> {
    let named = parameters::named_types(&query.statement, query.placeholders);
    let mut types: Vec<Option<Type>> = named
        .into_iter()
        .enumerate()
        .map(|(at, named)| {
            given
                .get(at)
                .cloned()
                .flatten()
                .filter(|kind| *kind != Type::UNKNOWN)
                .or(named)
        })
        .collect();
    if types.iter().any(Option::is_none) {
        let mut statement = query.statement.clone();
        let values: Vec<Option<Expr>> = types
            .iter()
            .map(|kind| kind.as_ref().map(parameters::null_of))
            .collect();
        parameters::substitute(&mut statement, &values)?;
        let inferred = match plan::plan(&session.ctx, statement).await {
            Ok(plan) => plan.get_parameter_types().unwrap_or_default(),
            // The plan with all parameters typed, which follows, tells what is wrong.
            Err(_) => Default::default(),
        };
        for (at, slot) in types.iter_mut().enumerate() {
            let found = inferred.get(&format!("${}", at + 1)).cloned().flatten();
            if slot.is_none()
                && let Some(found) = found
            {
                *slot = datafusion_postgres::arrow_pg::datatypes::into_pg_type(&found).ok();
            }
        }
    }
    Ok(types
        .into_iter()
        .map(|kind| {
            kind.filter(|kind| *kind != Type::UNKNOWN)
                .unwrap_or(Type::TEXT)
        })
        .collect())
}

/// The shape of a query's result, from its types alone.
pub(crate) async fn describe(
    session: &Session,
    query: &Query,
    types: &[Type],
) -> PgWireResult<Shape> {
    let nulls = describe_with(
        session,
        query,
        types.iter().map(parameters::null_of).collect(),
    )
    .await;
    match nulls {
        Err(error) if !types.is_empty() => {
            let samples = types.iter().map(parameters::sample_of).collect();
            describe_with(session, query, samples)
                .await
                .map_err(|_| error)
        }
        described => described,
    }
}

async fn describe_with(session: &Session, query: &Query, values: Vec<Expr>) -> PgWireResult<Shape> {
    let mut statement = query.statement.clone();
    let values: Vec<Option<Expr>> = values.into_iter().map(Some).collect();
    parameters::substitute(&mut statement, &values)?;
    let plan = plan::plan(&session.ctx, statement).await?;
    Shape::of(plan.schema().as_arrow(), &query.names, &session.zone())
}

/// The shape of what a command other than a query returns, if it returns rows.
pub(crate) async fn shape_of(session: &Session, command: &Command) -> PgWireResult<Option<Shape>> {
    Ok(match command {
        Command::Show(name) => Some(Shape::texts(&[&variables::shown(name)])),
        Command::ShowAll => Some(Shape::texts(&["name", "setting", "description"])),
        Command::Fetch {
            name, moves: false, ..
        } => session
            .cursors
            .lock()
            .await
            .get(name)
            .map(|cursor| cursor.shape.clone()),
        Command::Execute { name, .. } => {
            let prepared = prepared(session, name)?;
            let query = parse(session, &prepared.text)?;
            let types = types(session, &query, &prepared.types).await?;
            Some(describe(session, &query, &types).await?)
        }
        _ => None,
    })
}

/// Plans and starts a query on the tables as they are now.
pub(crate) async fn run(
    session: &Session,
    query: &Query,
    values: &[Expr],
    described: Option<&Shape>,
) -> PgWireResult<(Shape, Batches)> {
    // set_config() in the statement before changed variables without a SET.
    session.apply();
    let answering = session.begin(query);
    let mut statement = query.statement.clone();
    let values: Vec<Option<Expr>> = values.iter().cloned().map(Some).collect();
    parameters::substitute(&mut statement, &values)?;
    let plan = plan::plan(&session.ctx, statement).await?;
    let shape = match described {
        Some(shape) => shape.clone(),
        None => Shape::of(plan.schema().as_arrow(), &query.names, &session.zone())?,
    };
    if shape.len() != plan.schema().fields().len() {
        return Err(sqlstate::error(
            "0A000",
            "cached plan must not change result type; prepare it again",
        ));
    }
    Ok((shape, Batches::start(&session.ctx, plan, answering)))
}

/// A query's rows.
pub(crate) async fn rows(
    session: &Session,
    query: &Query,
    values: &[Expr],
    described: Option<&Shape>,
    format: &Format,
) -> PgWireResult<Rows> {
    let (shape, batches) = run(session, query, values, described).await?;
    let fields = shape.fields(format, &session.format())?;
    Ok(Rows::running(shape, fields, batches))
}

/// Carries out one command.
pub(crate) async fn execute(
    session: &Session,
    command: &Command,
    status: TransactionStatus,
    format: &Format,
) -> PgWireResult<Outcome> {
    Ok(match command {
        Command::Query(text) => {
            let query = parse(session, text)?;
            Outcome::Rows(rows(session, &query, &[], None, format).await?, query.tag)
        }
        Command::CopyOut { query, format } => {
            let query = parse(session, query)?;
            let wire = if format.is_binary() {
                Format::UnifiedBinary
            } else {
                Format::UnifiedText
            };
            Outcome::Copy(
                format.clone(),
                rows(session, &query, &[], None, &wire).await?,
            )
        }
        Command::Declare { name, query, hold } => {
            let query = parse(session, query)?;
            declare(
                session,
                name,
                &query,
                &[],
                *hold || status == TransactionStatus::Idle,
            )
            .await?
        }
        Command::Fetch { name, count, moves } => {
            let mut cursors = session.cursors.lock().await;
            let missing = || sqlstate::error("34000", format!("cursor \"{name}\" does not exist"));
            let cursor = cursors.get_mut(name).ok_or_else(missing)?;
            session.goes_on(cursor.answering());
            let batches = cursor.fetch(*count, *moves).await?;
            if *moves {
                let moved: usize = batches.iter().map(RecordBatch::num_rows).sum();
                Outcome::Done(format!("MOVE {moved}"))
            } else {
                let fields = cursor.shape.fields(format, &session.format())?;
                Outcome::Rows(Rows::ready(cursor.shape.clone(), fields, batches), "FETCH")
            }
        }
        Command::Close(name) => {
            let mut cursors = session.cursors.lock().await;
            match name {
                None => cursors.clear(),
                Some(name) if cursors.remove(name).is_some() => {}
                Some(name) => {
                    return Err(sqlstate::error(
                        "34000",
                        format!("cursor \"{name}\" does not exist"),
                    ));
                }
            }
            Outcome::Done(
                if name.is_some() {
                    "CLOSE CURSOR"
                } else {
                    "CLOSE CURSOR ALL"
                }
                .into(),
            )
        }
        Command::Prepare { name, types, text } => {
            let query = parse(session, text)?;
            let all = self::types(session, &query, types).await?;
            describe(session, &query, &all).await?;
            let prepared = SqlPrepared {
                text: text.clone(),
                types: all.into_iter().map(Some).collect(),
            };
            session.prepared().insert(name.clone(), prepared);
            Outcome::Done("PREPARE".into())
        }
        Command::Execute { name, arguments } => {
            let prepared = prepared(session, name)?;
            let query = parse(session, &prepared.text)?;
            let values = arguments_of(session, name, arguments, &prepared.types).await?;
            Outcome::Rows(
                rows(session, &query, &values, None, format).await?,
                query.tag,
            )
        }
        Command::Deallocate(name) => {
            match name {
                None => session.prepared().clear(),
                Some(name) => drop(session.prepared().remove(name)),
            }
            Outcome::Forget(
                if name.is_some() {
                    "DEALLOCATE"
                } else {
                    "DEALLOCATE ALL"
                },
                name.clone(),
            )
        }
        Command::Set { name, value, local } => {
            session.variables().set(name, value.as_deref(), *local)?;
            session.apply();
            tracing::debug!(variable = %name, "session variable set");
            Outcome::Done("SET".into())
        }
        Command::Reset(name) => {
            match name {
                None => session.variables().reset_all(),
                Some(name) => session.variables().set(name, None, false)?,
            }
            session.apply();
            Outcome::Done("RESET".into())
        }
        Command::Show(name) => {
            let value = session.variables().get(name).to_owned();
            texts(
                session,
                Shape::texts(&[&variables::shown(name)]),
                &[vec![value]],
                format,
            )?
        }
        Command::ShowAll => {
            let lines: Vec<Vec<String>> = session
                .variables()
                .all()
                .map(|(name, value)| vec![name, value, String::new()])
                .collect();
            texts(
                session,
                Shape::texts(&["name", "setting", "description"]),
                &lines,
                format,
            )?
        }
        Command::Discard(all) => {
            if !all {
                return Ok(Outcome::Done("DISCARD".into()));
            }
            if status != TransactionStatus::Idle {
                return Err(sqlstate::error(
                    "25001",
                    "DISCARD ALL cannot run inside a transaction block",
                ));
            }
            session.cursors.lock().await.clear();
            session.prepared().clear();
            session.variables().reset_all();
            session.apply();
            Outcome::Forget("DISCARD ALL", None)
        }
        Command::Nothing(tag) => Outcome::Done((*tag).to_owned()),
        Command::Write(tag) => return Err(sqlstate::read_only(tag)),
        Command::Begin(_)
        | Command::Commit
        | Command::Rollback
        | Command::Savepoint(_)
        | Command::Release(_)
        | Command::RollbackTo(_) => return transaction(session, command, status).await,
    })
}

/// Opens a cursor.
pub(crate) async fn declare(
    session: &Session,
    name: &str,
    query: &Query,
    values: &[Expr],
    hold: bool,
) -> PgWireResult<Outcome> {
    if session.cursors.lock().await.contains_key(name) {
        return Err(sqlstate::error(
            "42P03",
            format!("cursor \"{name}\" already exists"),
        ));
    }
    let (shape, batches) = run(session, query, values, None).await?;
    session
        .cursors
        .lock()
        .await
        .insert(name.to_owned(), Cursor::new(shape, batches, hold));
    Ok(Outcome::Done("DECLARE CURSOR".into()))
}

/// Transactions change nothing here but what clients see of them: status, local settings, cursors.
async fn transaction(
    session: &Session,
    command: &Command,
    status: TransactionStatus,
) -> PgWireResult<Outcome> {
    let block = |what: &str| {
        if status == TransactionStatus::Idle {
            Err(sqlstate::error(
                "25P01",
                format!("{what} can only be used in transaction blocks"),
            ))
        } else {
            Ok(())
        }
    };
    Ok(match command {
        Command::Begin(tag) => {
            session.variables().begin();
            session.hold(true);
            Outcome::Transaction(tag, status.to_in_transaction_state())
        }
        Command::Commit | Command::Rollback => {
            session.hold(false);
            session.savepoints().clear();
            session.cursors.lock().await.retain(|_, cursor| cursor.hold);
            let back = matches!(command, Command::Rollback) || status == TransactionStatus::Error;
            if back {
                session.variables().rollback();
            } else {
                session.variables().commit();
            }
            session.apply();
            Outcome::Transaction(
                if back { "ROLLBACK" } else { "COMMIT" },
                TransactionStatus::Idle,
            )
        }
        Command::Savepoint(name) => {
            block("SAVEPOINT")?;
            session.savepoints().push(name.clone());
            Outcome::Done("SAVEPOINT".into())
        }
        Command::Release(name) => {
            block("RELEASE SAVEPOINT")?;
            let at = savepoint(session, name)?;
            session.savepoints().truncate(at);
            Outcome::Done("RELEASE".into())
        }
        Command::RollbackTo(name) => {
            block("ROLLBACK TO SAVEPOINT")?;
            let at = savepoint(session, name)?;
            session.savepoints().truncate(at + 1);
            Outcome::Transaction("ROLLBACK", TransactionStatus::Transaction)
        }
        _ => Outcome::Done(String::new()),
    })
}

fn savepoint(session: &Session, name: &str) -> PgWireResult<usize> {
    let found = session.savepoints().iter().rposition(|known| known == name);
    found.ok_or_else(|| sqlstate::error("3B001", format!("savepoint \"{name}\" does not exist")))
}

fn prepared(session: &Session, name: &str) -> PgWireResult<SqlPrepared> {
    let found = session.prepared().get(name).cloned();
    found.ok_or_else(|| {
        sqlstate::error(
            "26000",
            format!("prepared statement \"{name}\" does not exist"),
        )
    })
}

async fn arguments_of(
    session: &Session,
    name: &str,
    arguments: &str,
    types: &[Option<Type>],
) -> PgWireResult<Vec<Expr>> {
    use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr, Statement};
    let mut values = Vec::new();
    if !arguments.trim().is_empty() {
        let query = parse(session, &format!("SELECT {arguments}"))?;
        if let Statement::Query(query) = query.statement
            && let SetExpr::Select(select) = *query.body
        {
            for item in select.projection {
                if let SelectItem::UnnamedExpr(value)
                | SelectItem::ExprWithAlias { expr: value, .. } = item
                {
                    values.push(value);
                }
            }
        }
    }
    if values.len() != types.len() {
        let message = format!(
            "wrong number of parameters for prepared statement \"{name}\": expected {}, got {}",
            types.len(),
            values.len()
        );
        return Err(sqlstate::error("42601", message));
    }
    let typed = values.into_iter().zip(types);
    Ok(typed
        .map(|(value, kind)| parameters::typed(value, kind.as_ref()))
        .collect())
}

fn texts(
    session: &Session,
    shape: Shape,
    lines: &[Vec<String>],
    format: &Format,
) -> PgWireResult<Outcome> {
    let fields = shape.fields(format, &session.format())?;
    let columns: Vec<ArrayRef> = (0..shape.len())
        .map(|at| {
            Arc::new(StringArray::from_iter_values(
                lines.iter().map(|line| &line[at]),
            )) as ArrayRef
        })
        .collect();
    let batch = RecordBatch::try_new(Arc::clone(shape.schema()), columns)
        .map_err(|cause| sqlstate::error("XX000", cause.to_string()))?;
    Ok(Outcome::Rows(
        Rows::ready(shape, fields, vec![batch]),
        "SHOW",
    ))
}
