//! The socket: accepting, refusing encryption cleanly, reading ahead to notice a client that left, the message loop.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use telemetry::metric;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Join, ReadHalf, SimplexStream, WriteHalf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use warehouse::QueryLog;

use crate::Sessions;
use crate::catalog::Library;
use crate::control::{Control, Plugged, Switchboard};
use crate::extended::{Extended, Prepared};
use crate::session::Session;
use crate::simple::Simple;
use crate::sqlstate;
use crate::startup::Startup;
use crate::users::Verifiers;

/// A client must have proved its password by then.
const STARTUP_TIME: Duration = Duration::from_secs(30);
/// How long connections may take to say goodbye when the server stops.
const GOODBYE_TIME: Duration = Duration::from_secs(5);
/// Sockets beyond the seats: handshakes and cancel requests need room on a full server.
const STANDING_ROOM: usize = 32;
/// Longest message before the password is proved; PostgreSQL's own limit for start-up packets.
const LONGEST_UNPROVEN: usize = 10_000;
/// Longest message afterwards; the longest thing a reader sends is a query with its parameters.
const LONGEST: usize = 64 << 20;
/// Bytes read ahead of the message loop.
const AHEAD: usize = 64 << 10;

/// What all connections share.
pub(crate) struct Server {
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) verifiers: Arc<Verifiers>,
    pub(crate) roles: Vec<String>,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) seats: Arc<Semaphore>,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) library: Arc<Library>,
    pub(crate) query_log: Option<QueryLog>,
}

/// What the handlers of one connection share.
pub(crate) struct Connection {
    pub(crate) server: Arc<Server>,
    pub(crate) control: Arc<Control>,
    /// Set once the password is proved; no handler does anything before.
    pub(crate) session: OnceLock<Arc<Session>>,
    pub(crate) seat: Mutex<Option<OwnedSemaphorePermit>>,
    pub(crate) plugged: Mutex<Option<Plugged>>,
    /// Names of protocol-level prepared statements, for `DEALLOCATE ALL` and `DISCARD ALL`.
    pub(crate) statements: Mutex<HashSet<String>>,
    proven: AtomicBool,
}

impl Connection {
    /// The session, or the error for someone who has none.
    pub(crate) fn session(&self) -> Result<&Arc<Session>, PgWireError> {
        self.session.get().ok_or_else(|| {
            sqlstate::fatal("28000", "not authenticated; send a start-up message first")
        })
    }

    /// From here on the client may send long messages.
    pub(crate) fn prove(&self) {
        self.proven.store(true, Ordering::Release);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.session.get().is_some() {
            metric::SQL_CONNECTIONS.shift([], -1.0);
        }
    }
}

/// Accepts until `stop`, then waits for the connections to close.
pub(crate) async fn accept(
    listener: TcpListener,
    server: Arc<Server>,
    seats: usize,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(
        seats
            .saturating_add(STANDING_ROOM)
            .min(Semaphore::MAX_PERMITS),
    ));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    tracing::warn!(%peer, "postgres connection dropped: no room even to refuse it");
                    continue;
                };
                let server = Arc::clone(&server);
                let stop = stop.child_token();
                connections.spawn(async move {
                    let _place = place;
                    if let Err(cause) = Box::pin(converse(stream, server, stop)).await {
                        tracing::debug!(%peer, %cause, "postgres connection ended by an error");
                    }
                });
            }
            Err(cause) => {
                tracing::warn!(%cause, "cannot accept a postgres connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GOODBYE_TIME, all_gone).await.is_err() {
        connections.shutdown().await;
    }
    tracing::info!("stopped serving postgres");
}

type Line =
    Framed<Join<ReadHalf<SimplexStream>, OwnedWriteHalf>, PgWireMessageServerCodec<Arc<Prepared>>>;

async fn converse(
    stream: TcpStream,
    server: Arc<Server>,
    stop: CancellationToken,
) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    stream.set_nodelay(true)?;
    let control = Arc::new(Control::new(stop.clone()));
    let connection = Arc::new(Connection {
        server: Arc::clone(&server),
        control: Arc::clone(&control),
        session: OnceLock::new(),
        seat: Mutex::default(),
        plugged: Mutex::default(),
        statements: Mutex::default(),
        proven: AtomicBool::new(false),
    });

    let (socket_read, socket_write) = stream.into_split();
    let (ahead_read, ahead_write) = tokio::io::simplex(AHEAD);
    let _reader = AbortOnDropHandle::new(tokio::spawn(read_ahead(
        socket_read,
        ahead_write,
        Arc::clone(&connection),
    )));
    let client = DefaultClient::new(peer, false);
    let mut line: Line = Framed::new(
        tokio::io::join(ahead_read, socket_write),
        PgWireMessageServerCodec::new(client),
    );

    let deadline = tokio::time::sleep(STARTUP_TIME);
    tokio::pin!(deadline);
    tokio::select! {
        () = &mut deadline => return Ok(()),
        agreed = refuse_encryption(&mut line) => agreed?,
    }

    let startup = Arc::new(Startup::new(Arc::clone(&connection)));
    let simple = Arc::new(Simple::new(Arc::clone(&connection)));
    let extended = Arc::new(Extended::new(Arc::clone(&connection)));
    let copy = Arc::new(NoopHandler);
    loop {
        let starting = starting(&line);
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => {
                let goodbye = sqlstate::fatal("57P01", "terminating connection because the server is stopping");
                return hang_up(&mut line, goodbye).await;
            }
            () = &mut deadline, if starting => return Ok(()),
            message = line.next() => message,
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Err(cause)) => return hang_up(&mut line, cause).await,
            Some(Ok(message)) => message,
        };
        let wait_for_sync = message.is_extended_query();
        let handled = process_message(
            message,
            &mut line,
            Arc::clone(&startup),
            Arc::clone(&simple),
            Arc::clone(&extended),
            Arc::clone(&copy),
            Arc::clone(&server.switchboard),
        )
        .await;
        if let Err(error) = handled {
            // An error while starting ends the conversation: process_error would call the client ready.
            if starting || control.gone.is_cancelled() {
                return hang_up(&mut line, error).await;
            }
            let info = ErrorInfo::from(error);
            let fatal = info.is_fatal();
            tracing::debug!(%peer, sqlstate = %info.code, "statement failed");
            metric::SQL_ERRORS.add([info.code.get(..2).unwrap_or("XX")], 1);
            process_error(
                &mut line,
                PgWireError::UserError(Box::new(info)),
                wait_for_sync,
            )
            .await?;
            if fatal {
                return Ok(());
            }
        }
    }
}

fn starting(line: &Line) -> bool {
    matches!(
        line.state(),
        PgWireConnectionState::AwaitingSslRequest
            | PgWireConnectionState::AwaitingStartup
            | PgWireConnectionState::AuthenticationInProgress
    )
}

/// Answers `N` to SSLRequest and GSSENCRequest, in any order, at most once each as libpq sends them.
async fn refuse_encryption(line: &mut Line) -> io::Result<()> {
    for _ in 0..3 {
        match line.next().await {
            Some(Ok(PgWireFrontendMessage::SslNegotiation(
                SslNegotiationMetaMessage::PostgresSsl(_),
            ))) => {
                line.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse))
                    .await?;
            }
            Some(Ok(PgWireFrontendMessage::SslNegotiation(
                SslNegotiationMetaMessage::PostgresGss(_),
            ))) => {
                line.send(PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse))
                    .await?;
            }
            Some(Ok(PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None))) => {
                line.set_state(PgWireConnectionState::AwaitingStartup);
                return Ok(());
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "not a postgres start-up packet",
                ));
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "too many requests for encryption",
    ))
}

/// Tells the client why and closes.
async fn hang_up(line: &mut Line, error: PgWireError) -> io::Result<()> {
    let mut info = ErrorInfo::from(error);
    info.severity = "FATAL".into();
    info.severity_nonlocalized = Some("FATAL".into());
    let farewell = async {
        line.send(PgWireBackendMessage::ErrorResponse(info.into()))
            .await?;
        line.close().await
    };
    tokio::time::timeout(GOODBYE_TIME, farewell)
        .await
        .unwrap_or(Ok(()))
}

/// Moves bytes from the socket to the message loop, and is the one that notices the end of them while a query runs.
async fn read_ahead(
    mut socket: OwnedReadHalf,
    mut ahead: WriteHalf<SimplexStream>,
    connection: Arc<Connection>,
) {
    let mut meter = Meter::default();
    let mut buffer = vec![0; 8192];
    loop {
        let read = match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => &buffer[..read],
        };
        let longest = if connection.proven.load(Ordering::Acquire) {
            LONGEST
        } else {
            LONGEST_UNPROVEN
        };
        let leaving = match meter.pass(read, longest) {
            Ok(leaving) => leaving,
            Err(length) => {
                tracing::warn!(
                    length,
                    longest,
                    "postgres client announced a message that is too long"
                );
                break;
            }
        };
        if leaving {
            // Some drivers say goodbye while their query runs and then wait for the socket to close.
            connection.control.gone.cancel();
        }
        if ahead.write_all(read).await.is_err() {
            break;
        }
    }
    connection.control.gone.cancel();
    ahead.shutdown().await.ok();
}

/// Follows message lengths, so that nobody makes the server hold a gigabyte it was only promised.
#[derive(Debug, Default)]
struct Meter {
    header: Vec<u8>,
    rest: usize,
    typed: bool,
}

impl Meter {
    const SSL_REQUEST: u32 = 80_877_103;
    const GSSENC_REQUEST: u32 = 80_877_104;

    /// Takes in bytes; tells whether a Terminate was among them, or the length of a message that is too long.
    fn pass(&mut self, mut bytes: &[u8], longest: usize) -> Result<bool, usize> {
        let mut leaving = false;
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let wanted = if self.typed { 5 } else { 8 };
            let taken = (wanted - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.header.len() < wanted {
                continue;
            }
            let number = |at: usize| {
                self.header[at..at + 4]
                    .iter()
                    .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte))
            };
            let (length, counted) = if self.typed {
                (number(1) as usize, 4)
            } else {
                (number(0) as usize, 8)
            };
            if length > longest {
                return Err(length);
            }
            leaving |= self.typed && self.header[0] == b'X';
            self.typed =
                self.typed || !matches!(number(4), Self::SSL_REQUEST | Self::GSSENC_REQUEST);
            self.rest = length.saturating_sub(counted);
            self.header.clear();
        }
        Ok(leaving)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn startup(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).unwrap();
        [&length.to_be_bytes()[..], &[0, 3, 0, 0], body].concat()
    }

    #[test]
    fn a_meter_follows_requests_startup_and_messages_whatever_the_cuts() {
        let ssl = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        let query = [&b"Q"[..], &9_u32.to_be_bytes(), b"abcd\0"].concat();
        let goodbye = b"X\0\0\0\x04";
        let stream = [&ssl[..], &startup(b"user\0x\0\0"), &query, &query, goodbye].concat();
        for cut in 1..stream.len() {
            let (mut meter, mut leaving) = (Meter::default(), false);
            for part in stream.chunks(cut) {
                leaving |= meter.pass(part, 100).unwrap();
            }
            assert!(leaving, "cut every {cut} bytes");
            assert_eq!(
                (meter.rest, meter.header.len(), meter.typed),
                (0, 0, true),
                "cut every {cut} bytes"
            );
        }
    }

    #[test]
    fn a_meter_refuses_a_promise_that_is_too_long() {
        let mut meter = Meter::default();
        meter.pass(&startup(b"\0"), 100).unwrap();
        assert_eq!(meter.pass(&[b'Q', 0x3f, 0, 0, 0], 1000), Err(0x3f00_0000));
    }
}
