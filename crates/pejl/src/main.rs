//! `pejl`: every stage of the quality warehouse as a command; reads settings, wires the crates, holds no logic.

mod allocator;
mod args;
mod commands;
mod logging;
mod openlineage;
mod output;
mod progress;
mod settings;
mod tree;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Args, settings::Settings};

/// Exit codes, also in `pejl --help`.
mod exit {
    /// Something failed; the text says what and who can fix it.
    pub(crate) const FAILED: u8 = 1;
    /// The settings are wrong (also clap's code for a wrong command line).
    pub(crate) const SETTINGS: u8 = 2;
    /// `pejl verify` found records missing, doubled or foreign; `pejl calendar --fail-on-overdue` deliveries missing.
    pub(crate) const UNCLEAN: u8 = 3;
}

fn main() -> ExitCode {
    allocator::keep_freed();
    let args = Args::parse();
    let started = settings::load(&args)
        .and_then(|settings| Ok((logging::start(&args, &settings)?, settings)));
    let (export, settings) = match started {
        Ok(started) => started,
        Err(mistake) => {
            output::error(&mistake.into());
            return ExitCode::from(exit::SETTINGS);
        }
    };
    std::panic::set_hook(Box::new(log_panic));
    let code = run(args, settings);
    if let Some(export) = export {
        export.end();
    }
    code
}

fn run(args: Args, settings: Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Planning deep SQL recurses; the default 2 MiB is too little without optimisation.
        .thread_stack_size(16 << 20)
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(commands::run(args.command, settings));
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

/// A panic may quote what it choked on, and stderr is a log.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let text = contract::scrub(panic.payload_as_str().unwrap_or("no text"));
    let place = panic.location().map(ToString::to_string);
    tracing::error!(%text, place, "a bug in Pejl: it panicked");
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
        || matches!(
            err.downcast_ref(),
            Some(warehouse::Error::Models(_) | warehouse::Error::Question(_))
        )
        || err.is::<settings::Mistake>()
        || err.is::<spec::Mistake>()
}
