//! The simple protocol: a script, its statements one after another, each answered before the next is planned.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::portal::Format;
use pgwire::api::query::{SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::RowDescription;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::ParameterStatus;
use telemetry::{SPANS, metric};
use tracing::{Instrument, Span, field::Empty};

use crate::command::Command;
use crate::copy::CopyFormat;
use crate::execute::{Outcome, execute};
use crate::rows::Rows;
use crate::script;
use crate::sqlstate;
use crate::wire::Connection;

/// The simple protocol of one connection.
pub(crate) struct Simple {
    connection: Arc<Connection>,
}

impl Simple {
    pub(crate) fn new(connection: Arc<Connection>) -> Simple {
        Simple { connection }
    }

    async fn statement<C>(&self, client: &mut C, command: &Command) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = self.connection.session()?;
        let status = client.transaction_status();
        refuse_in_failed_transaction(status, command)?;
        let told: Vec<_> = session.variables().announced().collect();
        match Box::pin(execute(session, command, status, &Format::UnifiedText)).await? {
            Outcome::Rows(mut rows, tag) => {
                describe(client, &rows.fields).await?;
                let mut sent = 0;
                while let Some(row) = rows.next().await? {
                    client.feed(PgWireBackendMessage::DataRow(row)).await?;
                    sent += 1;
                }
                count_rows(sent);
                complete(client, counted(tag, sent)).await?;
            }
            Outcome::Copy(format, rows) => copy_out(client, &format, rows).await?,
            other => finish(&self.connection, client, other).await?,
        }
        announce(&self.connection, client, &told).await
    }
}

#[async_trait]
impl SimpleQueryHandler for Simple {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.connection.session()?;
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let commands = commands(&query.query)?;
        if commands.is_empty() {
            client
                .feed(PgWireBackendMessage::EmptyQueryResponse(
                    EmptyQueryResponse::new(),
                ))
                .await?;
        }
        for command in &commands {
            let work = Box::pin(self.statement(client, command));
            measured(&self.connection, work).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, client.transaction_status()).await
    }

    async fn do_query<C>(&self, _client: &mut C, _query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(sqlstate::error(
            "XX000",
            "queries are answered one by one in on_query",
        ))
    }
}

/// The commands of a script; one that does not read stops them all, as in PostgreSQL.
pub(crate) fn commands(text: &str) -> PgWireResult<Vec<Command>> {
    let statements = script::split(text).map_err(|script::Unterminated(what)| {
        sqlstate::error("42601", format!("unterminated {what}"))
    })?;
    statements.iter().map(Command::read).collect()
}

/// Runs one statement as [`guarded`] does, measured and in a span of its own. Neither has the text of the query.
pub(crate) async fn measured<T>(
    connection: &Connection,
    work: impl Future<Output = PgWireResult<T>>,
) -> PgWireResult<T> {
    let span = tracing::info_span!(
        target: SPANS,
        parent: None,
        "statement",
        publication = Empty,
        rows = Empty,
    );
    let begun = Instant::now();
    let done = guarded(connection, work).instrument(span.clone()).await;
    metric::SQL_SECONDS.record([], begun.elapsed().as_secs_f64());
    if let Ok(session) = connection.session() {
        session.answered(done.as_ref().err());
    }
    if let Err(error) = &done {
        telemetry::failed(&span, sqlstate::code(error));
    }
    done
}

/// Counts rows sent, for the statement at hand and for all.
pub(crate) fn count_rows(sent: usize) {
    metric::SQL_ROWS.add([], sent as u64);
    Span::current().record("rows", sent);
}

/// Runs one statement under the session's timeout, until someone cancels it, the client leaves or the server stops.
pub(crate) async fn guarded<T>(
    connection: &Connection,
    work: impl Future<Output = PgWireResult<T>>,
) -> PgWireResult<T> {
    let armed = connection.control.arm();
    let limit = connection.session()?.variables().statement_timeout();
    let timeout = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = armed.token.cancelled() => Err(sqlstate::error("57014", "canceling statement due to user request")),
        () = connection.control.gone.cancelled() => Err(sqlstate::fatal("08006", "the client closed the connection")),
        () = connection.control.stop.cancelled() => {
            Err(sqlstate::fatal("57P01", "terminating connection because the server is stopping"))
        }
        () = timeout => Err(sqlstate::with_hint(
            "57014",
            "canceling statement due to statement timeout",
            Some("ask for less, or SET statement_timeout higher".into()),
        )),
        done = work => done,
    }
}

pub(crate) fn refuse_in_failed_transaction(
    status: TransactionStatus,
    command: &Command,
) -> PgWireResult<()> {
    if status == TransactionStatus::Error && !command.ends_a_failed_transaction() {
        let message =
            "current transaction is aborted, commands ignored until end of transaction block";
        return Err(sqlstate::error("25P02", message));
    }
    Ok(())
}

/// Tells of rows' columns.
pub(crate) async fn describe<C>(client: &mut C, fields: &[FieldInfo]) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let description = RowDescription::new(fields.iter().map(Into::into).collect());
    client
        .feed(PgWireBackendMessage::RowDescription(description))
        .await?;
    Ok(())
}

/// The tag of a completed statement.
pub(crate) async fn complete<C>(client: &mut C, tag: Tag) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    client
        .feed(PgWireBackendMessage::CommandComplete(tag.into()))
        .await?;
    Ok(())
}

pub(crate) fn counted(tag: &str, rows: usize) -> Tag {
    if matches!(tag, "SELECT" | "FETCH" | "COPY") {
        Tag::new(tag).with_rows(rows)
    } else {
        Tag::new(tag)
    }
}

/// Completes what has no rows.
pub(crate) async fn finish<C>(
    connection: &Connection,
    client: &mut C,
    outcome: Outcome,
) -> PgWireResult<()>
where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send,
    C::PortalStore: PortalStore,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    match outcome {
        Outcome::Done(tag) => complete(client, Tag::new(&tag)).await,
        Outcome::Transaction(tag, status) => {
            client.set_transaction_status(status);
            if status == TransactionStatus::Idle {
                client.portal_store().clear_portals();
            }
            complete(client, Tag::new(tag)).await
        }
        Outcome::Forget(tag, name) => {
            let forgotten: Vec<String> = {
                let mut statements = connection
                    .statements
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                match &name {
                    Some(name) => statements.take(name).into_iter().collect(),
                    None => statements.drain().collect(),
                }
            };
            for name in forgotten {
                client.portal_store().rm_statement(&name);
            }
            complete(client, Tag::new(tag)).await
        }
        Outcome::Rows(..) | Outcome::Copy(..) => {
            Err(sqlstate::error("XX000", "rows cannot be completed unsent"))
        }
    }
}

/// Tells the client which of the variables it follows have changed.
pub(crate) async fn announce<C>(
    connection: &Connection,
    client: &mut C,
    before: &[(String, String)],
) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let now: Vec<_> = connection.session()?.variables().announced().collect();
    for (name, value) in now.into_iter().filter(|pair| !before.contains(pair)) {
        client
            .feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(
                name, value,
            )))
            .await?;
    }
    Ok(())
}

/// Sends rows in a copy format.
pub(crate) async fn copy_out<C>(
    client: &mut C,
    format: &CopyFormat,
    mut rows: Rows,
) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let binary = i8::from(format.is_binary());
    let columns = rows.shape.len();
    let header = CopyOutResponse::new(binary, columns as i16, vec![i16::from(binary); columns]);
    client
        .feed(PgWireBackendMessage::CopyOutResponse(header))
        .await?;
    let mut opening = format.opening(&rows.shape.names());
    if !format.is_binary()
        && let Some(line) = opening.take()
    {
        client
            .feed(PgWireBackendMessage::CopyData(CopyData::new(line)))
            .await?;
    }
    let mut sent = 0;
    loop {
        let row = rows.next().await?;
        let body = row
            .as_ref()
            .map_or_else(|| format.closing(), |row| Some(format.row(row)));
        // PostgreSQL sends the binary header together with what follows it, and clients count on that.
        let data = match (opening.take(), body) {
            (Some(header), Some(body)) => Some([header, body].concat().into()),
            (header, body) => header.or(body),
        };
        if let Some(data) = data {
            client
                .feed(PgWireBackendMessage::CopyData(CopyData::new(data)))
                .await?;
        }
        if row.is_none() {
            break;
        }
        sent += 1;
    }
    count_rows(sent);
    client
        .feed(PgWireBackendMessage::CopyDone(CopyDone::new()))
        .await?;
    complete(client, counted("COPY", sent)).await
}
