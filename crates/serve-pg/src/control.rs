//! Stopping a statement: cancel requests, a client that went away, a server that shuts down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use pgwire::api::PidSecretKeyGenerator;
use pgwire::api::cancel::CancelHandler;
use pgwire::api::{ClientInfo, RandomPidSecretKeyGenerator};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tokio_util::sync::CancellationToken;

/// The switch of one connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    statement: Mutex<Option<CancellationToken>>,
    /// Fired when the client's side of the socket is closed.
    pub(crate) gone: CancellationToken,
    /// Fired when the server stops.
    pub(crate) stop: CancellationToken,
}

impl Control {
    pub(crate) fn new(stop: CancellationToken) -> Control {
        Control {
            stop,
            ..Control::default()
        }
    }

    /// Arms the switch for one statement; it is disarmed when the guard goes.
    pub(crate) fn arm(self: &Arc<Self>) -> Armed {
        let token = CancellationToken::new();
        *self
            .statement
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Armed {
            control: Arc::clone(self),
            token,
        }
    }

    fn cancel(&self) {
        if let Some(token) = self
            .statement
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            token.cancel();
        }
    }
}

/// A statement that can be cancelled.
#[derive(Debug)]
pub(crate) struct Armed {
    control: Arc<Control>,
    pub(crate) token: CancellationToken,
}

impl Drop for Armed {
    fn drop(&mut self) {
        *self
            .control
            .statement
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Finds the connection a cancel request means.
#[derive(Debug)]
pub(crate) struct Switchboard {
    next: AtomicI32,
    keys: RandomKeys,
    lines: Mutex<HashMap<i32, Line>>,
}

#[derive(Debug)]
struct Line {
    key: SecretKey,
    control: Weak<Control>,
}

#[derive(Debug, Default)]
struct RandomKeys(RandomPidSecretKeyGenerator);

impl Default for Switchboard {
    fn default() -> Switchboard {
        Switchboard {
            next: AtomicI32::new(1),
            keys: RandomKeys::default(),
            lines: Mutex::default(),
        }
    }
}

impl Switchboard {
    /// Gives a connection its process number and secret key; the line is gone when the guard is dropped.
    pub(crate) fn connect<C: ClientInfo>(
        self: &Arc<Self>,
        client: &mut C,
        control: &Arc<Control>,
    ) -> Plugged {
        let pid = self.next.fetch_add(1, Ordering::Relaxed);
        let (_, key) = self.keys.0.generate(client);
        client.set_pid_and_secret_key(pid, key.clone());
        let line = Line {
            key,
            control: Arc::downgrade(control),
        };
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pid, line);
        Plugged {
            pid,
            switchboard: Arc::clone(self),
        }
    }
}

#[async_trait]
impl CancelHandler for Switchboard {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let control = {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines
                .get(&request.pid)
                .filter(|line| line.key.eq_value(&request.secret_key))
                .and_then(|line| line.control.upgrade())
        };
        match control {
            Some(control) => control.cancel(),
            None => tracing::debug!(
                pid = request.pid,
                "cancel request for no connection of ours"
            ),
        }
    }
}

/// A connection that can be found by its process number.
#[derive(Debug)]
pub(crate) struct Plugged {
    pub(crate) pid: i32,
    switchboard: Arc<Switchboard>,
}

impl Drop for Plugged {
    fn drop(&mut self) {
        self.switchboard
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.pid);
    }
}
