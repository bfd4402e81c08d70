//! The handshake: SCRAM-SHA-256 and nothing else, a seat, a session, and only then "ready".

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::auth::sasl::scram::ScramAuth;
use pgwire::api::auth::sasl::{SASLState, SCRAM_SHA_256_METHOD};
use pgwire::api::auth::{
    AuthSource, ServerParameterProvider, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, METADATA_USER, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use telemetry::metric;
use tokio::sync::Mutex;

use crate::session::Session;
use crate::sqlstate;
use crate::wire::Connection;

/// The handshake of one connection.
pub(crate) struct Startup {
    connection: Arc<Connection>,
    scram: ScramAuth,
    state: Mutex<SASLState>,
}

impl Startup {
    pub(crate) fn new(connection: Arc<Connection>) -> Startup {
        let verifiers: Arc<dyn AuthSource> = Arc::clone(&connection.server.verifiers) as _;
        Startup {
            connection,
            scram: ScramAuth::new(verifiers),
            state: Mutex::new(SASLState::Initial),
        }
    }

    /// Takes a seat; who finds none is told so before any password is asked for.
    fn sit_down(&self) -> PgWireResult<()> {
        let seat = Arc::clone(&self.connection.server.seats)
            .try_acquire_owned()
            .map_err(|_| {
                tracing::warn!("postgres connection refused: all seats are taken");
                sqlstate::fatal(
                    "53300",
                    "sorry, too many clients already; close a session or raise max_connections",
                )
            })?;
        *self
            .connection
            .seat
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(seat);
        Ok(())
    }

    async fn open<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let plugged = self
            .connection
            .server
            .switchboard
            .connect(client, &self.connection.control);
        let session = Session::open(&self.connection, plugged.pid, client.metadata()).await?;
        *self
            .connection
            .plugged
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(plugged);
        self.connection.prove();
        tracing::info!(user = %session.user, peer = %client.socket_addr(), "postgres session opened");
        if self.connection.session.set(Arc::new(session)).is_ok() {
            metric::SQL_CONNECTIONS.shift([], 1.0);
        }
        Ok(())
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if client
                    .metadata()
                    .get(METADATA_USER)
                    .is_none_or(String::is_empty)
                {
                    return Err(sqlstate::fatal(
                        "28000",
                        "no user name in the start-up message",
                    ));
                }
                if client
                    .metadata()
                    .get("replication")
                    .is_some_and(|wish| wish != "false" && wish != "off")
                {
                    return Err(sqlstate::fatal(
                        "0A000",
                        "replication connections are not served",
                    ));
                }
                self.sit_down()?;
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let methods = Authentication::SASL(vec![SCRAM_SHA_256_METHOD.to_owned()]);
                client
                    .send(PgWireBackendMessage::Authentication(methods))
                    .await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let mut state = self.state.lock().await;
                let message = if matches!(*state, SASLState::Initial) {
                    let first = message.into_sasl_initial_response()?;
                    if first.auth_method != SCRAM_SHA_256_METHOD {
                        return Err(sqlstate::fatal("28000", "only SCRAM-SHA-256 is accepted"));
                    }
                    *state = SASLState::ScramClientFirstReceived;
                    PasswordMessageFamily::SASLInitialResponse(first)
                } else {
                    PasswordMessageFamily::SASLResponse(message.into_sasl_response()?)
                };
                let (answer, next) =
                    self.scram.process_scram_message(client, message, &state).await.map_err(|error| match error {
                        PgWireError::InvalidPassword(_) => {
                            let user = client.metadata().get(METADATA_USER).map_or("", String::as_str);
                            metric::SQL_REFUSED.add([], 1);
                            tracing::warn!(user, peer = %client.socket_addr(), "postgres login refused");
                            sqlstate::fatal("28P01", format!("password authentication failed for user \"{user}\""))
                        }
                        other => other,
                    })?;
                *state = next;
                if !matches!(*state, SASLState::Finished) {
                    client
                        .send(PgWireBackendMessage::Authentication(answer))
                        .await?;
                    return Ok(());
                }
                self.open(client).await?;
                client
                    .feed(PgWireBackendMessage::Authentication(answer))
                    .await?;
                let session = Arc::clone(self.connection.session()?);
                finish_authentication(client, &Announced(session)).await
            }
            _ => Err(sqlstate::fatal(
                "08P01",
                "unexpected message during the handshake",
            )),
        }
    }
}

/// The variables told to the client at the end of the handshake.
struct Announced(Arc<Session>);

impl ServerParameterProvider for Announced {
    fn server_parameters<C>(&self, _client: &C) -> Option<HashMap<String, String>>
    where
        C: ClientInfo,
    {
        Some(self.0.variables().announced().collect())
    }
}
