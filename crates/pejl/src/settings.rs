//! `pejl.toml` and its environment overrides: the only place where settings are read.

mod cluster;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use landing::LandingSettings;
use rand::RngExt;
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use cluster::Cluster;

use crate::args::Args;

/// All settings. Every key can be overridden from the environment: `PEJL_SERVE__LISTEN` is
/// `[serve] listen`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Folder for the embedded log and, by default, the tables.
    pub(crate) data: PathBuf,
    /// Folder with `sources/`, `models/` and `definitions/`.
    pub(crate) pipelines: PathBuf,
    /// Key for pseudonyms, at least 32 bytes. Only workers need it; best given as
    /// `PEJL_PSEUDONYM_KEY`.
    pub(crate) pseudonym_key: Option<Secret>,
    /// Values for `${NAME}` in pipelines; the environment comes first.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// This process among others.
    pub(crate) node: Node,
    /// The log.
    pub(crate) log: Log,
    /// The tables.
    pub(crate) lake: Lake,
    /// Landing.
    pub(crate) landing: Landing,
    /// Building.
    pub(crate) build: Build,
    /// Building on several machines.
    pub(crate) cluster: Cluster,
    /// Serving SQL.
    pub(crate) serve: Serve,
    /// Health, metrics and steering over HTTP.
    pub(crate) http: Http,
    /// Traces for a collector.
    pub(crate) telemetry: Telemetry,
    /// What builds do, for a catalogue.
    pub(crate) openlineage: Openlineage,
}

/// A host's name is at most as long.
const LONGEST_NAME: usize = 64;

/// `[node]`: this process among the others that share its work.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// Its name. No two workers and no two landers may have the same; one that is restarted under its
    /// name within ten seconds goes on with its work, and nobody else's moves. At most 64 letters (a to z),
    /// digits, `.`, `_` and `-`.
    pub(crate) name: String,
}

/// `[log]`: Kafka when brokers are named, else the embedded log in the data folder.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `host:port,host:port`; empty for the embedded log.
    pub(crate) brokers: String,
    /// Partitions of topics that Pejl creates.
    pub(crate) partitions: i32,
    /// Replicas of topics that Pejl creates (Kafka).
    pub(crate) replication_factor: i32,
    /// Put before the name of every topic and transactional id, so that installations can share a
    /// Kafka cluster.
    pub(crate) prefix: String,
    /// Passed to the Kafka client as they are.
    pub(crate) properties: BTreeMap<String, String>,
}

/// `[lake]`: where tables are.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Lake {
    /// A folder or an object store URL (`s3://bucket/prefix`, `az://…`, `gs://…`). Empty: `lake` in
    /// the data folder.
    pub(crate) url: String,
    /// Options of the store, such as `aws_region`.
    #[serde(deserialize_with = "texts")]
    pub(crate) options: HashMap<String, String>,
    /// Hours between two tidyings of a table while a lander and a builder run; 0 for never, where
    /// `pejl tidy` does it.
    pub(crate) tidy_hours: f64,
    /// Days that files stay which no current version and none of the last publications needs; at least
    /// [`LEAST_KEEP_DAYS`].
    pub(crate) keep_days: f64,
}

/// What the environment's names of store options begin with, after `PEJL_`.
const OPTIONS: &str = "lake__options__";

/// A file is no version's yet while it is uploaded; with a day, no upload comes near losing one.
const LEAST_KEEP_DAYS: f64 = 1.0;

/// Options may be passwords.
impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake")
            .field("url", &self.url)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// `[landing]`: a table is flushed when one of these is reached.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Landing {
    /// Rows.
    pub(crate) flush_rows: usize,
    /// Bytes of records.
    pub(crate) flush_bytes: usize,
    /// Seconds since the first row not yet landed.
    pub(crate) flush_seconds: f64,
    /// Days that landed records stay in the embedded log; none keeps them for good.
    pub(crate) keep_days: Option<u32>,
}

/// `[build]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Build {
    /// Seconds between looks for landed changes while `pejl up` runs.
    pub(crate) every_seconds: f64,
    /// Memory for a build in MiB, beyond which it spills to disk.
    pub(crate) memory_mib: usize,
    /// Threads; none for one per core.
    pub(crate) threads: Option<usize>,
}

/// `[serve]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Serve {
    /// Address of the PostgreSQL server.
    pub(crate) listen: SocketAddr,
    /// User name to password.
    pub(crate) users: BTreeMap<String, Secret>,
    /// User name to the audience whose releases are all that user sees; one without sees everything.
    pub(crate) audiences: BTreeMap<String, String>,
    /// Seconds a statement may take.
    pub(crate) statement_timeout_seconds: u64,
    /// Connections at a time.
    pub(crate) max_connections: usize,
}

/// `[http]`: health, metrics and steering.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Address of the server that every long-running role has; port 0 for any free one.
    pub(crate) listen: SocketAddr,
    /// What must be shown to steer sources; without it nobody may over HTTP.
    pub(crate) token: Option<Secret>,
}

/// `[telemetry]`: traces for a collector.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    /// Its address for OTLP over HTTP, such as `http://127.0.0.1:4318`; empty for no traces. `OTEL_EXPORTER_OTLP_ENDPOINT` sets it too.
    pub(crate) otlp_endpoint: String,
    /// As what the spans of this installation are known there.
    pub(crate) service_name: String,
}

/// `[openlineage]`: what builds read, make and check, for a catalogue.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Openlineage {
    /// A file that events are put at the end of, one a line.
    pub(crate) file: Option<PathBuf>,
    /// An address that events are posted to, such as `http://marquez:5000/api/v1/lineage`; empty for none.
    pub(crate) url: String,
    /// What must be shown there.
    pub(crate) key: Option<Secret>,
    /// What the jobs and tables of this installation are known under there.
    pub(crate) namespace: String,
}

/// A text that is never printed.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl Secret {
    /// One that nobody can guess: so many letters and digits.
    pub(crate) fn random(length: usize) -> Self {
        let mut rng = rand::rng();
        let text = (0..length).map(|_| char::from(rng.sample(rand::distr::Alphanumeric)));
        Self(text.collect())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Wrong settings; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mistake(pub(crate) String);

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: "pejl-data".into(),
            pipelines: "pipelines".into(),
            pseudonym_key: None,
            secrets: BTreeMap::new(),
            node: Node::default(),
            log: Log::default(),
            lake: Lake::default(),
            landing: Landing::default(),
            build: Build::default(),
            cluster: Cluster::default(),
            serve: Serve::default(),
            http: Http::default(),
            telemetry: Telemetry::default(),
            openlineage: Openlineage::default(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        let host = nix::unistd::gethostname().ok();
        let name = host.and_then(|it| it.into_string().ok());
        Self {
            name: name.unwrap_or_else(|| "pejl".to_owned()),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            partitions: 4,
            replication_factor: 1,
            prefix: String::new(),
            properties: BTreeMap::new(),
        }
    }
}

impl Default for Lake {
    fn default() -> Self {
        Self {
            url: String::new(),
            options: HashMap::new(),
            tidy_hours: 6.0,
            keep_days: 7.0,
        }
    }
}

impl Default for Landing {
    fn default() -> Self {
        let LandingSettings {
            flush_rows,
            flush_bytes,
            flush_seconds,
            ..
        } = LandingSettings::default();
        Self {
            flush_rows,
            flush_bytes,
            flush_seconds,
            keep_days: None,
        }
    }
}

impl Default for Build {
    fn default() -> Self {
        Self {
            every_seconds: 5.0,
            memory_mib: 4096,
            threads: None,
        }
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5433)),
            users: BTreeMap::new(),
            audiences: BTreeMap::new(),
            statement_timeout_seconds: 300,
            max_connections: 100,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp_endpoint: String::new(),
            service_name: "pejl".to_owned(),
        }
    }
}

impl Default for Openlineage {
    fn default() -> Self {
        Self {
            file: None,
            url: String::new(),
            key: None,
            namespace: "pejl".to_owned(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8088)),
            token: None,
        }
    }
}

/// Defaults, then the file, then the environment, then the command line.
pub(crate) fn load(args: &Args) -> Result<Settings, Mistake> {
    let file = match &args.config {
        Some(file) if !file.is_file() => {
            return Err(Mistake(format!(
                "{}: no such settings file",
                file.display()
            )));
        }
        Some(file) => file.clone(),
        None => PathBuf::from("pejl.toml"),
    };
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if file.is_file() {
        figment = figment.merge(Toml::file_exact(&file));
    }
    let mut settings: Settings = figment
        .merge(
            // The name every program with OpenTelemetry in it goes by.
            Env::raw()
                .only(&["OTEL_EXPORTER_OTLP_ENDPOINT"])
                .map(|_| "telemetry.otlp_endpoint".into()),
        )
        .merge(
            Env::prefixed("PEJL_")
                .ignore(&[
                    "config",
                    "log",
                    "test_kafka",
                    "test_kafka_tls",
                    "test_python",
                    "test_s3",
                    "broker",
                    "chaos_rounds",
                    "chaos_seed",
                    "chaos_report",
                    "chaos_logs",
                    "slt_complete",
                ])
                .filter(|key| !key.starts_with(OPTIONS))
                .split("__"),
        )
        .extract()
        .map_err(|err| Mistake(explain(&err, &file)))?;
    // As they stand: elsewhere `0123` would be a number, and a key must keep its first digit.
    for (name, value) in environment() {
        let option = name.strip_prefix("PEJL_").and_then(|it| {
            let it = it.to_ascii_lowercase();
            it.strip_prefix(OPTIONS).map(str::to_owned)
        });
        if let Some(option) = option {
            let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            let value = quoted.unwrap_or(&value).to_owned();
            settings.lake.options.insert(option, value);
        }
    }
    if let Some(data) = &args.data {
        settings.data.clone_from(data);
    }
    if let Some(listen) = args.http {
        settings.http.listen = listen;
    }
    if let Some(name) = &args.name {
        settings.node.name.clone_from(name);
    }
    if let Some(pipelines) = &args.pipelines {
        settings.pipelines.clone_from(pipelines);
    }
    check_name(&settings.node.name)?;
    check_lake(&settings.lake)?;
    Ok(settings)
}

/// What brokers take for the name of a group's member, and a host for its own.
fn check_name(name: &str) -> Result<(), Mistake> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() <= LONGEST_NAME && name.chars().all(legal) && !matches!(name, "" | "." | "..") {
        return Ok(());
    }
    Err(Mistake(format!(
        "[node] name `{}` cannot be used; give at most {LONGEST_NAME} letters (a to z), digits, `.`, `_` and `-` there or with --name",
        name.escape_default()
    )))
}

/// The variables of the environment that are texts.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Texts by name, where `true` and `5` may stand without quotes.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<HashMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Yes(bool),
        Whole(i64),
        Number(f64),
    }
    let values = HashMap::<String, Value>::deserialize(from)?.into_iter();
    let text = |value| match value {
        Value::Text(text) => text,
        Value::Yes(yes) => yes.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
    };
    Ok(values.map(|(name, value)| (name, text(value))).collect())
}

/// Values that can be read and would do harm.
fn check_lake(lake: &Lake) -> Result<(), Mistake> {
    if !(LEAST_KEEP_DAYS..=36_500.0).contains(&lake.keep_days) {
        return Err(Mistake(format!(
            "[lake] keep_days is {}: give at least {LEAST_KEEP_DAYS} day; files that are still being uploaded, or \
             read by a long query, would be removed as if nobody needed them",
            lake.keep_days
        )));
    }
    if !(0.0..=8_760.0).contains(&lake.tidy_hours) {
        return Err(Mistake(format!(
            "[lake] tidy_hours is {}: give hours between two tidyings, or 0 for never",
            lake.tidy_hours
        )));
    }
    Ok(())
}

/// The value of a `${NAME}` in a pipeline.
pub(crate) fn lookup(settings: &Settings, name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .or_else(|| settings.secrets.get(name).map(|it| it.0.clone()))
}

/// Names the key and the file, never the value: it may be a secret.
fn explain(err: &figment::Error, file: &Path) -> String {
    let key = err.path.join(".");
    let what = match &err.kind {
        figment::error::Kind::UnknownField(field, known) => {
            format!("unknown key `{field}`; one of {}", known.join(", "))
        }
        figment::error::Kind::InvalidType(_, expected) => format!("expected {expected}"),
        // Its first line is the place; the ones after it quote the file.
        figment::error::Kind::Message(text) if text.starts_with("TOML parse error") => {
            text.lines().next().unwrap_or_default().to_owned()
        }
        figment::error::Kind::Message(_) | figment::error::Kind::InvalidValue(..) => {
            "not a valid value".to_owned()
        }
        _ => "cannot be read".to_owned(),
    };
    let place = if key.is_empty() {
        file.display().to_string()
    } else {
        format!(
            "`{key}` ({} or PEJL_{})",
            file.display(),
            key.to_uppercase().replace('.', "__")
        )
    };
    format!("{place}: {what}")
}
