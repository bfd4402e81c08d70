//! Log lines to stderr, and spans to a collector where one is set.

use telemetry::{Export, ExportSettings};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    args::{Args, LogFormat},
    progress,
    settings::{Mistake, Settings},
};

/// Starts both. Logs are JSON when nobody watches, text when asked for; silent under progress bars unless a level is given.
pub(crate) fn start(args: &Args, settings: &Settings) -> Result<Option<Export>, Mistake> {
    let telemetry = &settings.telemetry;
    let export = (!telemetry.otlp_endpoint.is_empty()).then(|| {
        Export::start(&ExportSettings {
            endpoint: telemetry.otlp_endpoint.clone(),
            service: telemetry.service_name.clone(),
            instance: settings.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    });
    let export = export.transpose().map_err(|err| Mistake(err.to_string()))?;
    let mut layers = vec![lines(args)];
    layers.extend(export.as_ref().map(Export::layer));
    tracing_subscriber::registry().with(layers).init();
    Ok(export)
}

fn lines(args: &Args) -> Box<dyn Layer<Registry> + Send + Sync> {
    let watched = progress::is_watched();
    let default = if watched {
        "error"
    } else {
        "info,ballista_core=warn,ballista_executor=warn,ballista_scheduler=warn,ballista_scheduler::display=off,\
         buoyant_kernel=warn,datafusion=warn,deltalake=warn,deltalake_core=warn"
    };
    let filter = match &args.log_level {
        Some(level) => EnvFilter::new(level),
        None => EnvFilter::new(default),
    };
    let json = match args.log_format {
        LogFormat::Auto => !watched,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    if json {
        // The innermost span is the last in the list of all.
        let lines = lines.json().flatten_event(true).with_current_span(false);
        lines.with_filter(filter).boxed()
    } else {
        lines.with_filter(filter).boxed()
    }
}
