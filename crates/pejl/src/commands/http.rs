//! The HTTP server that every long-running role has.

use anyhow::Context;
use bus::SharedLog;
use ingest::Control;
use quarantine::Settle;
use serve_http::{Metrics, Parts, Question, Readiness, Serving, Token};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::owner::{self, Announced},
    output,
    settings::{Secret, Settings},
    wiring,
};

/// What a role offers over HTTP beside its health.
#[derive(Default)]
pub(crate) struct Offers {
    /// Steers sources, where there is a log.
    pub(crate) control: Option<Control>,
    /// Settles rows set aside, where there are tables too.
    pub(crate) settle: Option<Settle>,
    /// See `status.rs`.
    pub(crate) status: Option<Question>,
    /// See `verify.rs`.
    pub(crate) verify: Option<Question>,
}

/// The server while it runs.
pub(crate) struct Watching {
    serving: Serving,
    announced: Option<Announced>,
}

/// Starts it. A process that `holds_log`, the embedded one, says where others can ask it.
pub(crate) async fn start(
    settings: &Settings,
    readiness: &Readiness,
    offers: Offers,
    holds_log: bool,
    stop: CancellationToken,
) -> anyhow::Result<Watching> {
    let http = &settings.http;
    let holds_log = holds_log && settings.log.brokers.is_empty();
    let own = holds_log.then(|| Secret::random(32));
    let tokens = http.token.iter().chain(&own);
    let parts = Parts {
        metrics: Metrics::start(env!("CARGO_PKG_VERSION"))?,
        readiness: readiness.clone(),
        control: offers.control,
        settle: offers.settle,
        status: offers.status,
        verify: offers.verify,
        tokens: tokens.map(|it| Token::new(&it.0)).collect(),
    };
    let serving = serve_http::serve(http.listen, parts, stop);
    let serving = serving.await.with_context(|| {
        format!(
            "cannot listen on {} for health and metrics; give another address with --http or [http] listen",
            http.listen
        )
    })?;
    tracing::info!(address = %serving.addr, "serving health and metrics");
    let announced = own.map(|token| owner::announce(settings, serving.addr, token));
    let announced = announced
        .transpose()
        .with_context(|| format!("cannot leave a note in {}", settings.data.display()))?;
    output::line(&format!("health and metrics on http://{}", serving.addr))?;
    Ok(Watching { serving, announced })
}

impl Watching {
    /// Waits until it has ended after its stop.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        let ended = self.serving.task.await;
        drop(self.announced);
        Ok(ended.context("serving health and metrics")??)
    }
}

/// Steers the sources from a process that runs none. An embedded log that it could open has no worker at it.
pub(crate) fn control_from_outside(settings: &Settings, log: &SharedLog) -> Control {
    let control = control(settings, log);
    if settings.log.brokers.is_empty() {
        control.alone()
    } else {
        control
    }
}

/// Steers the sources over their log.
pub(crate) fn control(settings: &Settings, log: &SharedLog) -> Control {
    let read = wiring::read_pipelines(settings);
    Control::new(SharedLog::clone(log), connectors::ALL, read)
}
