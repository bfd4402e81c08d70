//! What is measured in this process, as Prometheus reads it.

use std::fmt;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use telemetry::{Kind, metric};

/// The measurements of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// Starts measuring, as `version` of Pejl. Once in a process: what is measured before is not kept.
    ///
    /// # Errors
    /// When measuring has been started already.
    pub fn start(version: &str) -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for metric in metric::ALL.iter().filter(|it| it.kind == Kind::Histogram) {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, metric.buckets())?;
        }
        let handle = builder.install_recorder()?;
        metric::describe();
        metric::BUILD_INFO.set([version], 1.0);
        let process = Collector::default();
        Ok(Self { handle, process })
    }

    pub(crate) fn text(&self) -> String {
        self.process.collect();
        self.handle.run_upkeep();
        self.handle.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
