//! The process that holds the embedded log: it leaves its address beside the log's lock, and other commands ask it over HTTP.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::Duration,
};

use anyhow::anyhow;
use bus::SharedLog;
use fetch::{Address, Client, Limits, Method, Request};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    settings::{Secret, Settings},
    wiring,
};

/// Beside `log.lock`.
const FILE: &str = "owner.json";

/// An audit of a large installation takes its time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// How to reach whoever holds the log. Whoever can read the file can read the log, so its token lets them steer.
#[derive(Deserialize, Serialize)]
struct Note {
    address: SocketAddr,
    token: Secret,
}

/// The note while it is there; dropping it takes it away.
#[derive(Debug)]
pub(crate) struct Announced(PathBuf);

/// Leaves a note of where this process, which holds the embedded log, listens; `token` is of this run only.
pub(crate) fn announce(
    settings: &Settings,
    address: SocketAddr,
    token: Secret,
) -> io::Result<Announced> {
    let path = settings.data.join(FILE);
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let address = reachable(address);
    file.write_all(&serde_json::to_vec(&Note { address, token })?)?;
    fs::rename(&new, &path)?;
    Ok(Announced(path))
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %err, "left behind; it does no harm");
        }
    }
}

/// An address for every interface is not one to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The way to the log.
pub(crate) enum Way {
    /// Itself.
    Log(SharedLog),
    /// Through the process that holds it.
    Owner(Box<Owner>),
}

/// Opens the log, or finds who has it.
///
/// # Errors
/// When the log cannot be had for another reason than that somebody has it.
pub(crate) async fn way(settings: &Settings) -> anyhow::Result<Way> {
    match wiring::open_log(settings).await {
        Ok(log) => Ok(Way::Log(log)),
        Err(err) if settings.log.brokers.is_empty() => {
            Ok(Way::Owner(Box::new(Owner::of(settings, err)?)))
        }
        Err(err) => Err(err),
    }
}

/// A running Pejl that holds the embedded log.
pub(crate) struct Owner {
    client: Client,
    root: Address,
    address: SocketAddr,
    token: Option<Secret>,
    /// Why the log itself cannot be had.
    why: anyhow::Error,
}

impl Owner {
    /// By its note, or else where the settings say that it listens. A token in the settings goes before the note's.
    fn of(settings: &Settings, why: anyhow::Error) -> anyhow::Result<Self> {
        let note = fs::read(settings.data.join(FILE)).ok();
        let note: Option<Note> = note.and_then(|it| serde_json::from_slice(&it).ok());
        let (address, token) = match note {
            Some(note) => (note.address, Some(note.token)),
            None => (settings.http.listen, None),
        };
        let limits = Limits {
            max_attempts: 1,
            timeout: PATIENCE,
            ..Limits::default()
        };
        Ok(Self {
            client: Client::new(limits)?,
            root: Address::parse(&format!("http://{address}"))?,
            address,
            token: settings.http.token.clone().or(token),
            why,
        })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::Get, path, None).await
    }

    /// Posts a body; the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_value(body)?;
        self.ask(Method::Post, path, Some(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::Put, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let mut request = Request::new(method, self.root.below(path));
        if let Some(Secret(token)) = &self.token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = match self.client.send(&request).await {
            Ok(reply) => reply,
            Err(err) => return Err(self.refused(err)),
        };
        Ok(serde_json::from_value(reply.json()?)?)
    }

    fn refused(&self, err: fetch::Error) -> anyhow::Error {
        let (fetch::Error::Refused { body, .. } | fetch::Error::NotAccepted { body, .. }) = &err
        else {
            let Self { why, address, .. } = self;
            return anyhow!(err).context(format!(
                "{why}; and that process could not be asked on {address}"
            ));
        };
        let said: Option<Value> = serde_json::from_str(body).ok();
        let text = |key| Some(said.as_ref()?.get(key)?.as_str()?.to_owned());
        match (text("error"), text("step")) {
            (Some(error), Some(step)) => {
                anyhow!(err).context(format!("{error}\n  what to do: {step}"))
            }
            _ => anyhow!(err),
        }
    }
}
