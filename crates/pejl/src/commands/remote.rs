//! Asking the process that holds the embedded log, over its HTTP server.

use anyhow::Context;
use fetch::{Address, Client, Limits, Method, Request};
use serde::{Serialize, de::DeserializeOwned};

use crate::settings::Settings;

/// A running Pejl on this machine.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    root: Address,
    token: Option<String>,
    /// Why it is asked: the log could not be opened here.
    why: String,
}

impl Remote {
    /// The one at `[http] listen`.
    pub(crate) fn of(settings: &Settings, why: &str) -> anyhow::Result<Self> {
        let limits = Limits {
            max_attempts: 1,
            ..Limits::default()
        };
        Ok(Self {
            client: Client::new(limits)?,
            root: Address::parse(&format!("http://{}", settings.http.listen))?,
            token: settings.http.token.as_ref().map(|it| it.0.clone()),
            why: why.to_owned(),
        })
    }

    /// Posts a body; the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_value(body)?;
        let mut request = Request::new(Method::Post, self.root.below(path)).json(&body);
        if let Some(token) = &self.token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        let reply = self.client.send(&request).await.with_context(|| {
            format!(
                "{}; and asking that process over HTTP ([http] listen) failed too",
                self.why
            )
        })?;
        Ok(serde_json::from_value(reply.json()?)?)
    }
}
