//! `pejl`: every stage of the quality warehouse as a command; reads settings, wires the crates, holds no logic.

mod args;
mod commands;
mod output;
mod progress;
mod settings;
mod wiring;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::{Args, LogFormat};

/// Exit codes, also in `pejl --help`.
mod exit {
    /// Something failed; the text says what and who can fix it.
    pub(crate) const FAILED: u8 = 1;
    /// The settings are wrong (also clap's code for a wrong command line).
    pub(crate) const SETTINGS: u8 = 2;
    /// `pejl verify` found records missing, doubled or foreign.
    pub(crate) const UNCLEAN: u8 = 3;
}

fn main() -> ExitCode {
    let args = Args::parse();
    start_logging(&args);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Planning deep SQL recurses; the default 2 MiB is too little without optimisation.
        .thread_stack_size(16 << 20)
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(commands::run(args));
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            ended
        }
        Err(err) => Err(err.into()),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(err) => {
            output::error(&err);
            ExitCode::from(if is_about_settings(&err) {
                exit::SETTINGS
            } else {
                exit::FAILED
            })
        }
    }
}

/// Whether starting again without a change to the settings would end the same.
fn is_about_settings(err: &anyhow::Error) -> bool {
    let log = err
        .downcast_ref::<bus::Error>()
        .or_else(|| match err.downcast_ref()? {
            ingest::Error::Log(err) => Some(err),
            _ => None,
        })
        .or_else(|| match err.downcast_ref()? {
            landing::Error::Log(err) => Some(err),
            _ => None,
        });
    matches!(log, Some(bus::Error::Settings(_)))
        || err.is::<settings::Mistake>()
        || err.is::<spec::Mistake>()
}

/// Logs go to stderr: as JSON when nobody watches, as text when asked; silent under progress bars
/// unless a level is given.
fn start_logging(args: &Args) {
    let watched = progress::is_watched();
    let default = if watched {
        "error"
    } else {
        "info,buoyant_kernel=warn,datafusion=warn,deltalake=warn,deltalake_core=warn"
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
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        let layer = fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr);
        registry.with(layer).init();
    } else {
        registry
            .with(fmt::layer().with_writer(std::io::stderr))
            .init();
    }
}
