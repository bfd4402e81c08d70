//! Spans to an OTLP collector: in batches, on a thread of their own, and never at the expense of the work.

use std::{fmt, time::Duration};

use contract::FixBy;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{
    metric,
    trace::{IDLE, SPANS},
};

/// How long the collector may take to answer: as long as the OpenTelemetry specification has it. Meanwhile spans queue up, and what does
/// not fit the queue is dropped.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many spans wait for it: what several builds and all landing between them make while one answer is awaited.
const QUEUE: usize = 16 << 10;

/// How long the end of the process waits for the last spans to be taken.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where spans go, and as whose.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The collector's address for OTLP over HTTP, such as `http://127.0.0.1:4318`; spans go to `/v1/traces` below it.
    pub endpoint: String,
    /// `service.name` of all spans.
    pub service: String,
    /// `service.instance.id`: which process this is.
    pub instance: String,
    /// `service.version`.
    pub version: String,
}

/// Spans cannot be exported as the settings have it.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot export traces to `{endpoint}`: {reason}; give an address such as http://127.0.0.1:4318 as [telemetry] otlp_endpoint"
)]
pub struct ExportError {
    endpoint: String,
    reason: String,
}

impl ExportError {
    /// Who can fix it.
    pub fn fix_by(&self) -> FixBy {
        FixBy::Settings
    }
}

/// A running export.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
}

impl Export {
    /// Starts it. Whether anybody takes the spans shows later: a collector that is away is no error.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn start(settings: &ExportSettings) -> Result<Self, ExportError> {
        let endpoint = format!("{}/v1/traces", settings.endpoint.trim_end_matches('/'));
        let exporter = Otlp::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|err| ExportError {
                endpoint: settings.endpoint.clone(),
                reason: err.to_string(),
            })?;
        let resource = Resource::builder()
            .with_service_name(settings.service.clone())
            .with_attributes([
                KeyValue::new("service.version", settings.version.clone()),
                KeyValue::new("service.instance.id", settings.instance.clone()),
            ])
            .build();
        let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE);
        let batches =
            BatchSpanProcessor::builder(Counted(exporter)).with_batch_config(batches.build());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(batches.build())
            .build();
        Ok(Self { provider })
    }

    /// The layer that hands spans over. Only those made for [`SPANS`]; log lines are not exported with them.
    pub fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let ours = filter_fn(|it| it.is_span() && it.target() == SPANS);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("pejl"))
            // The parent is the tracing span; which thread and line it is made on is of no use to an operator.
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
            .boxed()
    }

    /// Hands over what is left, and ends. A collector that does not answer is waited for a few seconds only.
    pub fn end(self) {
        if let Err(err) = self.provider.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%err, "the last spans were not exported");
        }
    }
}

/// Counts what the collector did not take.
struct Counted(Otlp);

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl SpanExporter for Counted {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.retain(|span| !span.attributes.iter().any(|it| it.key.as_str() == IDLE));
        if batch.is_empty() {
            return Ok(());
        }
        let spans = batch.len() as u64;
        let exported = self.0.export(batch).await;
        if let Err(err) = &exported {
            metric::SPANS_LOST.add([], spans);
            tracing::warn!(spans, %err, "spans not taken by the collector; the work goes on without them");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
