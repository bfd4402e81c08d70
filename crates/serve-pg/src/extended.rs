//! The extended protocol: parse, bind, describe, execute in steps, sync.
//!
//! A statement is planned when it is parsed, for its types and for its errors, and again at every execution, with its
//! parameters as constants, so that a statement kept for a week reads this minute's publication.

use std::fmt::Debug;
use std::ops::DerefMut;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use futures::{Sink, SinkExt, StreamExt};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{
    DescribePortalResponse, DescribeStatementResponse, FieldInfo, QueryResponse, Response,
};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    Sync as SyncMessage, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};

use crate::command::Command;
use crate::dialect::Query;
use crate::execute::{self, Outcome};
use crate::parameters;
use crate::rows::Rows;
use crate::session::Session;
use crate::shape::Shape;
use crate::simple::{
    announce, commands, complete, copy_out, count_rows, counted, describe, finish, guarded,
    measured, refuse_in_failed_transaction,
};
use crate::sqlstate;
use crate::wire::Connection;

/// A parsed statement.
#[derive(Debug)]
pub(crate) struct Prepared {
    command: Command,
    /// The query in it, when there is one: of a `SELECT`, a `COPY`, a `DECLARE`.
    query: Option<Query>,
    types: Vec<Type>,
    shape: Option<Shape>,
}

/// The extended protocol of one connection.
pub(crate) struct Extended {
    connection: Arc<Connection>,
    parser: Arc<StatementParser>,
}

/// Parses and describes statements.
pub(crate) struct StatementParser(Arc<Connection>);

impl Extended {
    pub(crate) fn new(connection: Arc<Connection>) -> Extended {
        Extended {
            parser: Arc::new(StatementParser(Arc::clone(&connection))),
            connection,
        }
    }

    /// Starts a portal or goes on with it, and sends up to `limit` rows; 0 is all.
    async fn portal<C>(
        &self,
        client: &mut C,
        portal: &Portal<Arc<Prepared>>,
        limit: usize,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        let prepared = &portal.statement.statement;
        refuse_in_failed_transaction(status, &prepared.command)?;
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            let told: Vec<_> = self.connection.session()?.variables().announced().collect();
            match Box::pin(self.start(portal, status)).await? {
                Outcome::Rows(rows, tag) => {
                    *state = PortalExecutionState::Suspended(stream_of(rows, tag))
                }
                Outcome::Copy(format, rows) => {
                    *state = PortalExecutionState::Finished;
                    return copy_out(client, &format, rows).await;
                }
                other => {
                    *state = PortalExecutionState::Finished;
                    finish(&self.connection, client, other).await?;
                    return announce(&self.connection, client, &told).await;
                }
            }
        }
        let PortalExecutionState::Suspended(rows) = state.deref_mut() else {
            return complete(client, counted("SELECT", 0)).await;
        };
        let tag = rows.command_tag().to_owned();
        let mut sent = 0;
        while limit == 0 || sent < limit {
            match rows.data_rows().next().await {
                Some(row) => client.feed(PgWireBackendMessage::DataRow(row?)).await?,
                None => {
                    count_rows(sent);
                    *state = PortalExecutionState::Finished;
                    return complete(client, counted(&tag, sent)).await;
                }
            }
            sent += 1;
        }
        count_rows(sent);
        client
            .feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))
            .await?;
        Ok(())
    }

    async fn start(
        &self,
        portal: &Portal<Arc<Prepared>>,
        status: TransactionStatus,
    ) -> PgWireResult<Outcome> {
        let session = self.connection.session()?;
        let prepared = &portal.statement.statement;
        let values = values(prepared, portal)?;
        let described = prepared.shape.as_ref();
        match (&prepared.command, &prepared.query) {
            (Command::Query(_), Some(query)) => {
                let rows = execute::rows(
                    session,
                    query,
                    &values,
                    described,
                    &portal.result_column_format,
                )
                .await?;
                Ok(Outcome::Rows(rows, query.tag))
            }
            (Command::CopyOut { format, .. }, Some(query)) => {
                let wire = if format.is_binary() {
                    Format::UnifiedBinary
                } else {
                    Format::UnifiedText
                };
                Ok(Outcome::Copy(
                    format.clone(),
                    execute::rows(session, query, &values, described, &wire).await?,
                ))
            }
            (Command::Declare { name, hold, .. }, Some(query)) => {
                execute::declare(
                    session,
                    name,
                    query,
                    &values,
                    *hold || status == TransactionStatus::Idle,
                )
                .await
            }
            (command, _) => {
                Box::pin(execute::execute(
                    session,
                    command,
                    status,
                    &portal.result_column_format,
                ))
                .await
            }
        }
    }

    fn remember(&self, name: &str) {
        let mut statements = self
            .connection
            .statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        statements.insert(name.to_owned());
    }
}

fn stream_of(rows: Rows, tag: &str) -> QueryResponse {
    let fields = Arc::clone(&rows.fields);
    let stream = futures::stream::unfold(Some(rows), |rows| async {
        let mut rows = rows?;
        match rows.next().await {
            Ok(Some(row)) => Some((Ok(row), Some(rows))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = QueryResponse::new(fields, stream);
    response.set_command_tag(tag);
    response
}

async fn described(
    session: &Session,
    query: &Query,
    given: &[Option<Type>],
) -> PgWireResult<(Vec<Type>, Shape)> {
    let types = execute::types(session, query, given).await?;
    let shape = execute::describe(session, query, &types).await?;
    Ok((types, shape))
}

/// Bound values as literals.
fn values(
    prepared: &Prepared,
    portal: &Portal<Arc<Prepared>>,
) -> PgWireResult<Vec<datafusion::sql::sqlparser::ast::Expr>> {
    if portal.parameters.len() != prepared.types.len() {
        let message = format!(
            "bind message supplies {} parameters, but prepared statement requires {}",
            portal.parameters.len(),
            prepared.types.len()
        );
        return Err(sqlstate::error("08P01", message));
    }
    if let Format::Individual(formats) = &portal.parameter_format
        && formats.len() != portal.parameters.len()
    {
        return Err(sqlstate::error(
            "08P01",
            "bind message has another number of parameter formats than parameters",
        ));
    }
    let given = prepared.types.iter().zip(&portal.parameters).enumerate();
    given
        .map(|(at, (kind, value))| {
            let binary = !Shape::is_text(&portal.parameter_format, at);
            parameters::literal(at + 1, kind, binary, value.as_deref())
        })
        .collect()
}

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        given: &[Option<Type>],
    ) -> PgWireResult<Option<Arc<Prepared>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let session = self.0.session()?;
        let mut commands = commands(sql)?;
        if commands.len() > 1 {
            return Err(sqlstate::error(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let Some(command) = commands.pop() else {
            return Ok(None);
        };
        refuse_in_failed_transaction(client.transaction_status(), &command)?;
        let text = match &command {
            Command::Query(text) => text,
            Command::CopyOut { query, .. } | Command::Declare { query, .. } => query,
            Command::Write(tag) => return Err(sqlstate::read_only(tag)),
            _ => {
                let shape = Box::pin(execute::shape_of(session, &command)).await?;
                return Ok(Some(Arc::new(Prepared {
                    command,
                    query: None,
                    types: Vec::new(),
                    shape,
                })));
            }
        };
        let query = execute::parse(session, text)?;
        let described = described(session, &query, given).await;
        let (types, shape) = described.inspect_err(|error| session.refused(&query, error))?;
        Ok(Some(Arc::new(Prepared {
            command,
            query: Some(query),
            types,
            shape: Some(shape),
        })))
    }

    fn get_parameter_types(&self, statement: &Arc<Prepared>) -> PgWireResult<Vec<Type>> {
        Ok(statement.types.clone())
    }

    fn get_result_schema(
        &self,
        statement: &Arc<Prepared>,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match (&statement.command, &statement.shape) {
            (Command::CopyOut { .. } | Command::Declare { .. }, _) | (_, None) => Ok(Vec::new()),
            (_, Some(shape)) => shape.fields(
                format.unwrap_or(&Format::UnifiedText),
                &self.0.session()?.format(),
            ),
        }
    }
}

#[async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Arc<Prepared>;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        Arc::clone(&self.parser)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message
            .name
            .clone()
            .unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let parsed = guarded(
            &self.connection,
            StoredStatement::parse(client, &message, Arc::clone(&self.parser)),
        )
        .await?;
        match parsed {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        self.remember(&name);
        client
            .feed(PgWireBackendMessage::ParseComplete(ParseComplete::new()))
            .await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => {
                let limit = usize::try_from(message.max_rows).unwrap_or(0);
                let work = Box::pin(self.portal(client, &portal, limit));
                measured(&self.connection, work).await?;
            }
            Some(Entry::Empty) => {
                client
                    .feed(PgWireBackendMessage::EmptyQueryResponse(
                        EmptyQueryResponse::new(),
                    ))
                    .await?;
            }
            None => {
                return Err(sqlstate::error(
                    "34000",
                    format!("portal \"{name}\" does not exist"),
                ));
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn on_sync<C>(&self, client: &mut C, _message: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        // Portals live as long as their transaction, which outside a block ends here.
        if status == TransactionStatus::Idle {
            client.portal_store().clear_portals();
        }
        pgwire::api::query::send_ready_for_query(client, status).await
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            client.portal_store().rm_statement(name);
            self.connection
                .statements
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(name);
        } else {
            client.portal_store().rm_portal(name);
        }
        client
            .feed(PgWireBackendMessage::CloseComplete(CloseComplete::new()))
            .await?;
        Ok(())
    }

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // A cursor is a portal that SQL named; psycopg asks for its columns by the protocol.
        if let (TARGET_TYPE_BYTE_PORTAL, Some(name)) = (message.target_type, &message.name)
            && client.portal_store().get_portal(name).is_none()
        {
            let session = self.connection.session()?;
            if let Some(cursor) = session.cursors.lock().await.get(name) {
                let fields = cursor
                    .shape
                    .fields(&Format::UnifiedText, &session.format())?;
                return describe(client, &fields).await;
            }
            return Err(sqlstate::error(
                "34000",
                format!("portal \"{name}\" does not exist"),
            ));
        }
        self._on_describe(client, message).await
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        target: &StoredStatement<Arc<Prepared>>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &target.statement;
        let fields = self.parser.get_result_schema(statement, None)?;
        Ok(DescribeStatementResponse::new(
            statement.types.clone(),
            fields,
        ))
    }

    async fn do_describe_portal<C>(
        &self,
        _client: &mut C,
        target: &Portal<Arc<Prepared>>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = &target.statement.statement;
        let fields = self
            .parser
            .get_result_schema(statement, Some(&target.result_column_format))?;
        Ok(DescribePortalResponse::new(fields))
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        _portal: &Portal<Arc<Prepared>>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(sqlstate::error(
            "XX000",
            "portals are executed in on_execute",
        ))
    }
}
