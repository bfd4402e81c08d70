//! Sends requests: paced, bounded, repeated where that helps, and sorted into errors where it does not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
    redirect,
};

use crate::{
    Auth, Error, Limits, Method, Reply, Request, Result,
    error::excerpt,
    retry::{Pace, backoff, retry_after},
};

/// The HTTP client of one source. Clones share its pace and its connections.
///
/// A proxy named in the usual environment variables (`HTTPS_PROXY`, `NO_PROXY`) is used.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    limits: Limits,
    auth: Auth,
    pace: Arc<Pace>,
}

impl Client {
    /// A client without authentication. [`Error::Settings`] when TLS cannot be set up.
    pub fn new(limits: Limits) -> Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent("pejl")
            .timeout(limits.timeout)
            .redirect(redirect::Policy::custom(|attempt| {
                let from = attempt.previous().last().map(|it| it.origin());
                if from == Some(attempt.url().origin()) && attempt.previous().len() < 10 {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            }))
            .build()
            .map_err(|err| Error::Settings {
                request: "HTTP client".into(),
                reason: causes(&err),
            })?;
        Ok(Self {
            http,
            pace: Arc::new(Pace::new(limits.requests_per_second)),
            limits,
            auth: Auth::default(),
        })
    }

    /// The same client with credentials.
    #[must_use]
    pub fn with_auth(self, auth: Auth) -> Self {
        Self { auth, ..self }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// Connection failures, timeouts and the statuses 408, 429 and 5xx are tried again, after the time
    /// `Retry-After` asks for or else after a doubling wait. Everything else is an error at once.
    pub async fn send(&self, request: &Request) -> Result<Reply> {
        let mut attempt = 1;
        loop {
            tokio::time::sleep(self.pace.reserve(Instant::now())).await;
            let passing = match self.attempt(request).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Lasting(err)) => return Err(err),
                Err(Failure::Passing(passing)) => passing,
            };
            let unavailable = |reason| Error::Unavailable {
                request: request.to_string(),
                attempts: attempt,
                reason,
                wait: passing.wait,
            };
            if attempt >= self.limits.max_attempts {
                return Err(unavailable(passing.reason.clone()));
            }
            let wait = passing
                .wait
                .unwrap_or_else(|| backoff(&self.limits, attempt, rand::random()));
            if wait > self.limits.max_wait {
                let seconds = wait.as_secs();
                return Err(unavailable(format!(
                    "{}; it asks us to wait {seconds} s",
                    passing.reason
                )));
            }
            tracing::debug!(%request, attempt, wait_ms = wait.as_millis(), reason = passing.reason, "request tried again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Reply, Failure> {
        let prepared = self.prepare(request)?.build().map_err(|err| {
            Failure::Lasting(Error::Settings {
                request: request.to_string(),
                reason: causes(&err),
            })
        })?;
        let secrets = self.secrets(&prepared);
        let response = self
            .http
            .execute(prepared)
            .await
            .map_err(|err| broken(&err))?;
        if response.status().is_success() {
            return self.read(request, response).await;
        }
        Err(self.refusal(request, response, &secrets).await)
    }

    /// What an answer may echo and an error must not: the secret, and its encoded form.
    fn secrets(&self, prepared: &reqwest::Request) -> Vec<String> {
        let sent = prepared
            .headers()
            .get(AUTHORIZATION)
            .and_then(|it| it.to_str().ok());
        let sent = sent.and_then(|it| it.split_whitespace().last());
        let secrets = self.auth.secret().into_iter().chain(sent);
        secrets.map(str::to_owned).collect()
    }

    fn prepare(&self, request: &Request) -> Result<RequestBuilder, Failure> {
        let wrong = |reason: String| {
            Failure::Lasting(Error::Settings {
                request: request.to_string(),
                reason,
            })
        };
        let header = |name: &str, value: &str| {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let name =
                parsed.map_err(|_| wrong(format!("`{name}` is not the name of a header")))?;
            let value = HeaderValue::from_str(value).map_err(|_| {
                wrong(format!(
                    "the value of header `{name}` holds characters it may not"
                ))
            })?;
            Ok::<_, Failure>((name, value))
        };
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let mut builder = self.http.request(method, request.address.0.clone());
        for (name, value) in &request.headers {
            let (name, value) = header(name, value)?;
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let (name, mut value) = match &self.auth {
            Auth::None {} => return Ok(builder),
            Auth::Basic { user, password } => {
                return Ok(builder.basic_auth(user, Some(password.expose())));
            }
            Auth::Bearer { token } => header(
                AUTHORIZATION.as_str(),
                &format!("Bearer {}", token.expose()),
            )?,
            Auth::Header { name, value } => header(name, value.expose())?,
        };
        value.set_sensitive(true);
        Ok(builder.header(name, value))
    }

    /// Reads the body piece by piece, so that a small answer that unpacks into a huge one is stopped.
    async fn read(&self, request: &Request, mut response: Response) -> Result<Reply, Failure> {
        let limit = self.limits.max_body_bytes;
        let headers = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| broken(&err))? {
            if body.len() + chunk.len() > limit {
                return Err(Failure::Lasting(Error::TooLarge {
                    request: request.to_string(),
                    limit,
                }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            request: request.to_string(),
            status: response.status().as_u16(),
            headers,
            body,
        })
    }

    async fn refusal(
        &self,
        request: &Request,
        mut response: Response,
        secrets: &[String],
    ) -> Failure {
        let status = response.status();
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|it| it.to_str().ok())
                .map(str::to_owned)
        };
        let (retry, date, location) = (text(RETRY_AFTER), text(DATE), text(LOCATION));
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= 4096 {
                break;
            }
        }
        let body = excerpt(&body, secrets);
        let request = request.to_string();
        let code = status.as_u16();
        let refused = [401, 403].contains(&code) || self.limits.refused_statuses.contains(&code);
        if refused {
            return Failure::Lasting(Error::Refused {
                request,
                status: code,
                body,
            });
        }
        if status.is_redirection() {
            let to = location
                .as_deref()
                .and_then(|it| crate::Address::parse(it).ok());
            let to = to.map_or_else(|| "elsewhere".to_owned(), |it| format!("to {it}"));
            return Failure::Lasting(Error::Settings {
                request,
                reason: format!(
                    "answered {code} and sends us {to}; put the right address in the settings"
                ),
            });
        }
        let passing = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        if !passing {
            return Failure::Lasting(Error::NotAccepted {
                request,
                status: code,
                body,
            });
        }
        let says = if body.is_empty() {
            String::new()
        } else {
            format!(": {body}")
        };
        Failure::Passing(Passing {
            reason: format!("it answered {code}{says}"),
            wait: retry.and_then(|it| retry_after(&it, date.as_deref(), Utc::now())),
        })
    }
}

enum Failure {
    Lasting(Error),
    Passing(Passing),
}

/// A failure that may be over in a moment.
struct Passing {
    reason: String,
    wait: Option<Duration>,
}

/// A connection that could not be made or broke.
fn broken(err: &reqwest::Error) -> Failure {
    let kind = if err.is_timeout() {
        "no answer in time"
    } else {
        "the connection failed"
    };
    Failure::Passing(Passing {
        reason: format!("{kind}: {}", causes(err)),
        wait: None,
    })
}

/// The innermost cause, which names no address: the outer texts of `reqwest` hold the whole query.
fn causes(err: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, err) {
        let kind = if err.is_timeout() {
            "timeout"
        } else {
            "broken request"
        };
        return kind.to_owned();
    }
    cause.to_string()
}
