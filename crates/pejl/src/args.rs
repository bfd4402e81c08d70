//! The command line: what can be asked of `pejl`, and the help that teaches it.

use std::{net::SocketAddr, path::PathBuf};

use chrono::NaiveDate;
use clap::{Parser, Subcommand, ValueEnum};

/// Pejl takes a bearing on what works: connectors pull from case systems, provider reports and
/// surveys; every record lands exactly once; and the quality warehouse answers in SQL.
///
/// Try it: `pejl demo`. Read a folder of CSV files: `pejl run --once --pipelines DIR`.
#[derive(Debug, Parser)]
#[command(
    name = "pejl",
    version,
    after_help = "Exit codes: 0 done, 1 something failed, 2 settings or command line wrong, 3 `verify` found a difference, `release verify` too, or `calendar --fail-on-overdue` something missing."
)]
pub(crate) struct Args {
    /// Settings file. Without it `pejl.toml` in this folder is read if there is one.
    #[arg(long, global = true, env = "PEJL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder with `sources/`, `models/` and `definitions/` [default: pipelines].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) pipelines: Option<PathBuf>,
    /// Folder for the log and, unless the lake is elsewhere, the tables [default: pejl-data].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Name of this process among others that share its work [default: the host's name].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Address for health, metrics and steering [default: 127.0.0.1:8088; port 0 for any free one].
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) http: Option<SocketAddr>,
    /// What to log, such as `info` or `ingest=debug,warn`.
    #[arg(long, global = true, env = "PEJL_LOG", value_name = "FILTER")]
    pub(crate) log_level: Option<String>,
    /// How to log: text, json, or auto (json when stderr is not a terminal).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto)]
    pub(crate) log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// JSON when stderr is not a terminal.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a row.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Simulated municipalities, everything in one process; prints where psql and the marts are.
    Demo {
        /// Municipalities to simulate (1-98).
        #[arg(long, default_value_t = 3)]
        municipalities: usize,
        /// Years of history (1-10).
        #[arg(long, default_value_t = 2)]
        years: u32,
        /// Citizens in each municipality.
        #[arg(long, default_value_t = 400)]
        citizens: usize,
        /// The same seed gives the same people.
        #[arg(long, default_value_t = 2010)]
        seed: u64,
        /// Stop once the marts are published instead of serving them.
        #[arg(long)]
        exit: bool,
    },
    /// Everything in one process: sources on their schedules, landing, building, SQL. Ctrl-C stops cleanly.
    Up,
    /// Reads all sources to their end, lands, builds, publishes and exits.
    Run {
        /// Required: a single pass. (For a pass that never ends use `pejl up`.)
        #[arg(long, required = true)]
        once: bool,
        /// Only these sources.
        #[arg(long = "source", value_name = "NAME")]
        sources: Vec<String>,
    },
    /// Only reads sources onto topics.
    Worker,
    /// Only lands topics in tables.
    Land {
        /// Land what is in the log now, and exit.
        #[arg(long)]
        once: bool,
    },
    /// Only builds and publishes the models: what changed, and what that can reach.
    Build {
        /// Shows what would be computed and why, and computes nothing.
        #[arg(long)]
        plan: bool,
        /// How the plan looks.
        #[arg(long, value_enum, default_value_t = Format::Table, requires = "plan")]
        format: Format,
    },
    /// Splits builds among executors; those whose [cluster] scheduler names it send them here. When it pays: docs/scale-out.md.
    Scheduler,
    /// Runs parts of builds for a scheduler.
    Executor,
    /// Only serves SQL.
    Serve,
    /// Answers one SQL statement.
    Query {
        /// The statement, for example "select * from mart.offer_overview limit 5".
        sql: String,
        /// Answers as this audience would be: releases it may see today, and nothing else.
        #[arg(long, value_name = "NAME")]
        audience: Option<String>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Releases: numbers frozen as they were presented.
    #[command(subcommand)]
    Release(Release),
    /// Deliveries that are owed (`calendar.yaml`): what is missing first, then what may still come in time.
    Calendar {
        /// As it stood at the end of this day, such as 2026-11-01; what came later is left out [default: today].
        #[arg(long, value_name = "DATE")]
        as_of: Option<NaiveDate>,
        /// Also what has come, in time or late.
        #[arg(long)]
        all: bool,
        /// Exit code 3 when something is overdue or has come only in part.
        #[arg(long)]
        fail_on_overdue: bool,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Audits every topic against its table: each record there exactly once? Runs beside production.
    #[command(
        after_help = "Exit codes: 0 nothing is wrong (records may still wait to land), 3 something is, 1 the audit could not be made, 2 settings wrong.\n\
        What the answer says, and what to do when it is not clean: docs/delivery.md."
    )]
    Verify {
        /// Audits only what has landed since the last audit that passed. Cheap enough for every hour; what it cannot see, an audit
        /// without this does.
        #[arg(long)]
        since_last: bool,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Puts small files of all tables together and removes those nothing needs any more. Landers and builders do it by
    /// themselves every [lake] tidy_hours; this is for cron.
    Tidy {
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Sources and positions, topics, tables, and the current publication.
    Status {
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Lists and tries connectors and the sources that use them.
    #[command(subcommand)]
    Connector(Connector),
    /// What sources do, and steering them: pause, resume, restart, positions.
    #[command(subcommand)]
    Source(Source),
    /// Rows that were set aside: seen, retried once their mapping is mended, discarded.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Shows and checks the contract.
    #[command(subcommand)]
    Schema(Schema),
    /// Where numbers come from: definition, publication, the rows behind them table by table, topic offsets, delivered files.
    #[command(
        after_help = "Example: pejl explain mart.offer_overview --where \"offer_id = '17' and period = '2010H1'\" --column finished\n\
        Rows in which small cells are hidden are named and not followed. What is told, and what is not: docs/lineage.md."
    )]
    Explain {
        /// The table, such as mart.offer_overview.
        table: String,
        /// Which rows: SQL over the table's columns.
        #[arg(long = "where", value_name = "PREDICATE")]
        predicate: String,
        /// Which columns [default: all that are no key].
        #[arg(long = "column", value_name = "NAME")]
        columns: Vec<String>,
        /// At most so many rows of each table are shown; all are counted.
        #[arg(long, default_value_t = 5, value_name = "ROWS")]
        limit: usize,
        /// Definitions only in this language [default: both].
        #[arg(long, value_enum)]
        lang: Option<Language>,
        /// How the answer looks: table is a tree for people; json holds everything.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// What a table or column comes from, down to what has landed; or, with --down, what comes from it.
    #[command(
        after_help = "How a column comes from another: copy, computed, aggregated carry its values; condition, window, filter, join, group, sort\n\
        and rows steer them. All of it is in ops.column_lineage, too. What it means: docs/lineage.md."
    )]
    Lineage {
        /// The table, such as mart.offer_overview, or one of its columns, such as mart.offer_overview.finished.
        #[arg(value_name = "TABLE[.COLUMN]")]
        target: String,
        /// What it comes from; the default.
        #[arg(long)]
        up: bool,
        /// What comes from it.
        #[arg(long, conflicts_with = "up")]
        down: bool,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Tables, columns, lineage, checks, definitions, entities and code lists as a static site.
    Docs {
        /// Where the site is written.
        #[arg(long, default_value = "pejl-docs", value_name = "DIR")]
        out: PathBuf,
    },
    /// What the numbers mean: definitions and their versions, in Danish and English, with the seed's words.
    #[command(subcommand)]
    Definition(Definition),
    /// The SQL functions beyond the usual ones, with their definitions.
    Functions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Connector {
    /// Connectors there are, and the sources that use them.
    List,
    /// The settings of a connector, or the pipeline of a source.
    Show {
        /// A connector (`files`) or a source.
        name: String,
    },
    /// Tries a source: settings, network, authentication, first rows, mapping, contract. Writes nothing.
    Check {
        /// The source: its file name without `.yaml`.
        source: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// What every source does: state and since when, last success and next try, who must act and how.
    List {
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Everything known of one source, as JSON.
    Show {
        /// The source: its file name without `.yaml`.
        source: String,
    },
    /// Has a source rest. The transaction it is in is given up and read again later.
    Pause {
        /// The source.
        source: String,
    },
    /// Has a source work, also one whose file says `enabled: false`.
    Resume {
        /// The source.
        source: String,
    },
    /// Has a source read at once, with its failures forgotten. (A pipeline file that changes is read again by itself.)
    Restart {
        /// The source.
        source: String,
    },
    /// Where a source goes on from, as JSON; or puts it elsewhere while no worker reads it.
    Position {
        /// The source.
        source: String,
        /// The new position, as `pejl source position` shows it. What is read again lands as new versions.
        #[arg(long, value_name = "JSON")]
        set: Option<String>,
        /// Has it read all again from its start.
        #[arg(long, conflicts_with = "set")]
        clear: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Freezes numbers of the current publication. A release is never changed: a correction is a new one.
    #[command(
        after_help = "Example: pejl release create overview-2010H2 --audience centre_managers=2011-01-20,committee=2011-02-05,providers=2011-02-20\n\
        Kinds and audiences are in releases.yaml; what is refused, and what to do then: docs/releases.md."
    )]
    Create {
        /// Kind and period, such as overview-2010H2; overview-101-2010H2 of one municipality; overview-2010H2.1 its first correction.
        name: String,
        /// Only this table of the kind.
        #[arg(long, value_name = "TABLE")]
        table: Option<String>,
        /// Only rows that answer to this condition, such as "municipality_code = 101".
        #[arg(long = "where", value_name = "CONDITION")]
        condition: Option<String>,
        /// Who sees it from when, and nobody else; without it as releases.yaml says.
        #[arg(long = "audience", value_name = "NAME=DATE", value_delimiter = ',')]
        audiences: Vec<String>,
        /// Why it is made; all who see it can read this.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// In a correction: rows that would tell too much beside an earlier release keep that one's numbers.
        #[arg(long)]
        keep_earlier: bool,
        /// Who makes it [default: the user of the system, else the name of this process].
        #[arg(long, env = "USER", hide_env = true, value_name = "NAME")]
        by: Option<String>,
    },
    /// All releases, in the order they were made.
    List {
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Everything known of a release, as JSON.
    Show {
        /// The release.
        name: String,
    },
    /// Is a release what was presented? Its copy, the versions it names, and what the models give from them. Exit code 3 when not.
    Verify {
        /// The release.
        name: String,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// Rows, the newest first, with what was wrong and where they came from.
    List {
        #[command(flatten)]
        which: Which,
        /// Open rows, closed ones, or all.
        #[arg(long, value_enum, default_value_t = RowState::Open)]
        state: RowState,
        /// Count alike rows instead of listing them.
        #[arg(long)]
        group: bool,
        /// At most so many rows.
        #[arg(long, default_value_t = 50, value_name = "ROWS")]
        limit: usize,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Everything known of one row, as JSON: all that was wrong, what was kept of it, what was done about it.
    Show {
        /// The row, such as quarantine-0-17.
        id: String,
    },
    /// Tries rows again with the pipeline files as they are now. A row that passes lands once, however often this is run or killed;
    /// one that would undo a newer version is closed as superseded. Exit code 1 when a row is still bad.
    Retry {
        #[command(flatten)]
        which: Which,
        /// All open rows.
        #[arg(long)]
        all: bool,
        /// Say what would come of each row, and do nothing.
        #[arg(long)]
        dry_run: bool,
        /// Who asks for it [default: the user of the system, else the name of this process].
        #[arg(long, env = "USER", hide_env = true, value_name = "NAME")]
        by: Option<String>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Closes rows for good that nobody wants.
    Discard {
        #[command(flatten)]
        which: Which,
        /// All open rows.
        #[arg(long)]
        all: bool,
        /// Why: kept with the row.
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// Who discards them [default: the user of the system, else the name of this process].
        #[arg(long, env = "USER", hide_env = true, value_name = "NAME")]
        by: Option<String>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// Which rows: those that answer to all that is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// These rows, such as quarantine-0-17.
    #[arg(value_name = "ROW")]
    pub(crate) rows: Vec<String>,
    /// Rows of this source.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Rows of this entity.
    #[arg(long, value_name = "NAME")]
    pub(crate) entity: Option<String>,
    /// Rows that broke this rule: type, required, code_list, mapping, unreadable, …
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Rows in which this field was wrong.
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,
    /// Rows with this text in their reason.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Rows set aside on this day, at this moment, or later.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Rows set aside before.
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
}

/// What was done about rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowState {
    /// Nothing yet.
    Open,
    /// Retried, superseded, filtered or discarded.
    Closed,
    /// Either.
    All,
}

impl From<RowState> for quarantine::State {
    fn from(state: RowState) -> Self {
        match state {
            RowState::Open => Self::Open,
            RowState::Closed => Self::Closed,
            RowState::All => Self::All,
        }
    }
}

/// A language that definitions are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Danish.
    Da,
    /// English.
    En,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Definition {
    /// Every version of every definition, with the models that follow it.
    List {
        /// Only in this language [default: both].
        #[arg(long, value_enum)]
        lang: Option<Language>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// One definition: its text, where it comes from, its parameters, the models that follow it.
    Show {
        /// The definition, such as effect_3m, or effect_3m@1 for a version other than the last.
        id: String,
        /// Only in this language [default: both].
        #[arg(long, value_enum)]
        lang: Option<Language>,
        /// How the answer looks.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schema {
    /// Is every schema compatible with the last committed version?
    Check {
        /// Folder with the `.avsc` files.
        #[arg(long, default_value = "schemas", value_name = "DIR")]
        schemas: PathBuf,
        /// The git revision to compare with.
        #[arg(long, default_value = "HEAD")]
        against: String,
    },
    /// The columns of an entity.
    Show {
        /// The entity, such as `participation`; all of them where left out.
        entity: Option<String>,
    },
}
