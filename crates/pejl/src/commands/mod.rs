//! One file per command; each takes settings, uses the crates below, and says what it did.

mod build;
mod calendar;
mod cluster;
mod connector;
mod definition;
mod demo;
mod docs;
mod explain;
mod functions;
mod health;
mod http;
mod lineage;
mod owner;
mod quarantine;
mod query;
mod release;
mod roles;
mod run;
mod schema;
mod serve;
mod source;
mod status;
mod tidy;
mod up;
mod verify;

use warehouse::explain::Question;

use crate::{args::Command, settings::Settings};

/// Does what is asked for; the number is the exit code.
pub(crate) async fn run(command: Command, settings: Settings) -> anyhow::Result<u8> {
    match command {
        Command::Demo {
            municipalities,
            years,
            citizens,
            seed,
            exit,
        } => {
            let world = demo::Size {
                municipalities,
                years,
                citizens,
                seed,
            };
            demo::run(settings, world, exit).await
        }
        Command::Up => up::run(settings).await,
        Command::Run { sources, .. } => run::once(&settings, &sources).await,
        Command::Worker => roles::worker(settings).await,
        Command::Land { once } => roles::land(settings, once).await,
        Command::Build { plan: true, format } => build::plan(&settings, format).await,
        Command::Build { .. } => build::run(&settings).await,
        Command::Scheduler => cluster::schedule(&settings).await,
        Command::Executor => cluster::execute(&settings).await,
        Command::Serve => roles::serve(settings).await,
        Command::Query {
            sql,
            audience,
            format,
        } => query::run(&settings, &sql, audience.as_deref(), format).await,
        Command::Release(command) => release::run(&settings, command).await,
        Command::Calendar {
            as_of,
            all,
            fail_on_overdue,
            format,
        } => {
            let asked = calendar::Asked {
                as_of,
                all,
                fail_on_overdue,
            };
            calendar::run(&settings, asked, format).await
        }
        Command::Verify { since_last, format } => verify::run(&settings, since_last, format).await,
        Command::Tidy { format } => tidy::run(&settings, format).await,
        Command::Status { format } => status::run(&settings, format).await,
        Command::Connector(command) => connector::run(&settings, &command).await,
        Command::Source(command) => source::run(&settings, command).await,
        Command::Quarantine(command) => quarantine::run(&settings, command).await,
        Command::Schema(command) => schema::run(&command),
        Command::Explain {
            table,
            predicate,
            columns,
            limit,
            lang,
            format,
        } => {
            let question = Question {
                table,
                predicate,
                columns,
                limit,
            };
            explain::run(&settings, &question, lang, format).await
        }
        Command::Lineage {
            target,
            down,
            format,
            ..
        } => lineage::run(&settings, &target, down, format).await,
        Command::Docs { out } => docs::run(&settings, &out).await,
        Command::Definition(command) => definition::run(&settings, &command),
        Command::Functions => functions::run(),
    }
}
