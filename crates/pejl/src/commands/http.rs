//! The HTTP server that every long-running role has.

use anyhow::Context;
use bus::SharedLog;
use ingest::Control;
use quarantine::Settle;
use serve_http::{Metrics, Parts, Readiness, Serving, Token};
use tokio_util::sync::CancellationToken;

use crate::{settings::Settings, wiring};

/// Starts it. `control` steers sources where there is a log; `settle` settles rows set aside where there are tables too.
pub(crate) async fn start(
    settings: &Settings,
    readiness: &Readiness,
    control: Option<Control>,
    settle: Option<Settle>,
    stop: CancellationToken,
) -> anyhow::Result<Serving> {
    let http = &settings.http;
    let parts = Parts {
        metrics: Metrics::start(env!("CARGO_PKG_VERSION"))?,
        readiness: readiness.clone(),
        control,
        settle,
        token: http.token.as_ref().map(|it| Token::new(&it.0)),
    };
    let serving = serve_http::serve(http.listen, parts, stop);
    let serving = serving.await.with_context(|| {
        format!(
            "cannot listen on {} for health and metrics; give another address with --http or [http] listen",
            http.listen
        )
    })?;
    tracing::info!(address = %serving.addr, "serving health and metrics");
    Ok(serving)
}

/// Steers the sources over their log.
pub(crate) fn control(settings: &Settings, log: &SharedLog) -> Control {
    let read = wiring::read_pipelines(settings);
    Control::new(SharedLog::clone(log), connectors::ALL, read)
}
