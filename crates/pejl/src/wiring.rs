//! Opens the parts of Pejl that a command needs, from the settings.

use std::{
    ffi::OsStr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bus::{EmbeddedLog, KafkaLog, KafkaSettings, SharedLog};
use cluster::Cluster;
use contract::PseudonymKey;
use datafusion::execution::context::QueryPlanner;
use ingest::{Ingest, Pipelines, ReadPipelines};
use lake::Lake;
use landing::{Lander, LandingSettings, Pinned, Upkeep};
use quarantine::Settle;
use spec::{Pipeline, parse_pipeline};
use warehouse::{Warehouse, WarehouseSettings, models::Catalog};

use crate::settings::{self, Mistake, Settings};

/// Kafka when brokers are named, else the embedded log.
pub(crate) async fn open_log(settings: &Settings) -> anyhow::Result<SharedLog> {
    let log = &settings.log;
    if log.brokers.is_empty() {
        std::fs::create_dir_all(&settings.data)
            .with_context(|| format!("cannot make the data folder {}", settings.data.display()))?;
        return Ok(Arc::new(EmbeddedLog::open(&settings.data).await?));
    }
    let kafka = KafkaSettings {
        bootstrap_servers: log.brokers.clone(),
        prefix: log.prefix.clone(),
        properties: log.properties.iter().map(dotted).collect(),
        replication_factor: log.replication_factor,
    };
    Ok(Arc::new(KafkaLog::connect(kafka).await?))
}

/// The name of a variable has no dots, and that of a property no `_`.
fn dotted((name, value): (&String, &String)) -> (String, String) {
    (name.replace('_', "."), value.clone())
}

/// The tables, for whoever writes them: a store that would lose commits is refused.
pub(crate) async fn open_lake_to_write(settings: &Settings) -> anyhow::Result<Lake> {
    let lake = open_lake(settings)?;
    lake.probe().await?;
    Ok(lake)
}

/// The tables: the configured store, else `lake` in the data folder.
pub(crate) fn open_lake(settings: &Settings) -> anyhow::Result<Lake> {
    let url = if settings.lake.url.is_empty() {
        let folder = settings.data.join("lake");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the table folder {}", folder.display()))?;
        folder.display().to_string()
    } else {
        settings.lake.url.clone()
    };
    let environment = settings::environment();
    lake::store_options(&url, &settings.lake.options, environment)
        .and_then(|options| Lake::open(&url, options))
        .map_err(|err| Mistake(err.to_string()).into())
}

/// How long files stay that nothing needs.
pub(crate) fn keep(settings: &Settings) -> Duration {
    Duration::from_secs_f64(settings.lake.keep_days * 86_400.0)
}

/// How often tables are tidied; `None` for never.
pub(crate) fn tidy_every(settings: &Settings) -> Option<Duration> {
    let hours = settings.lake.tidy_hours;
    (hours > 0.0).then(|| Duration::from_secs_f64(hours * 3600.0))
}

/// Versions of tables that stay readable: those of the last publications.
pub(crate) const PUBLICATIONS_KEPT: usize = 20;

/// The upkeep of landed tables, unless it is done by hand.
fn upkeep(settings: &Settings, lake: &Lake) -> Option<Upkeep> {
    let lake = lake.clone();
    let pinned: Pinned = Arc::new(move || {
        let lake = lake.clone();
        Box::pin(async move {
            let pinned = warehouse::pinned(&lake, PUBLICATIONS_KEPT).await;
            pinned.map_err(|err| err.to_string())
        })
    });
    Some(Upkeep {
        every: tidy_every(settings)?,
        keep: keep(settings),
        pinned,
    })
}

/// The lander over a log and a lake.
pub(crate) fn lander(settings: &Settings, log: &SharedLog, lake: &Lake) -> Lander {
    let landing = &settings.landing;
    let lander = Lander::new(
        Arc::clone(log),
        lake.clone(),
        LandingSettings {
            flush_rows: landing.flush_rows,
            flush_bytes: landing.flush_bytes,
            flush_seconds: landing.flush_seconds,
            retention: landing
                .keep_days
                .map(|days| Duration::from_secs(u64::from(days) * 86_400)),
            ..LandingSettings::default()
        },
    );
    match upkeep(settings, lake) {
        Some(upkeep) => lander.with_upkeep(upkeep),
        None => lander,
    }
}

/// The folder with the models.
fn models(settings: &Settings) -> Result<PathBuf, Mistake> {
    let models = settings.pipelines.join("models");
    if models.is_dir() {
        return Ok(models);
    }
    Err(Mistake(format!(
        "{}: no such folder; give the folder that holds `models/` with --pipelines DIR",
        models.display()
    )))
}

/// The models and definitions of the pipelines folder, without a warehouse.
pub(crate) fn catalog(settings: &Settings) -> anyhow::Result<Catalog> {
    let models = models(settings)?;
    Ok(Catalog::read(
        &models,
        &models.with_file_name("definitions"),
    )?)
}

/// The warehouse with the models of the pipelines folder.
pub(crate) async fn open_warehouse(settings: &Settings, lake: &Lake) -> anyhow::Result<Warehouse> {
    let models = models(settings)?;
    let defaults = WarehouseSettings::default();
    let scheduler = &settings.cluster.scheduler;
    let elsewhere: Option<Arc<dyn QueryPlanner + Send + Sync>> = if scheduler.is_empty() {
        None
    } else {
        Some(Arc::new(Cluster::new(scheduler, settings.cluster.parts)))
    };
    let warehouse = WarehouseSettings {
        threads: threads(settings).map_or(defaults.threads, NonZeroUsize::get),
        elsewhere,
        memory_limit: Some(settings.build.memory_mib << 20),
        ..defaults
    };
    Ok(Warehouse::open(lake.clone(), &models, warehouse).await?)
}

/// How many threads were asked for.
pub(crate) fn threads(settings: &Settings) -> Option<NonZeroUsize> {
    settings.build.threads.and_then(NonZeroUsize::new)
}

/// The ingest side, with the pseudonym key where one is set.
pub(crate) fn ingest(settings: &Settings, log: &SharedLog) -> anyhow::Result<Ingest> {
    Ok(Ingest::new(
        Arc::clone(log),
        connectors::ALL,
        pseudonym_key(settings)?,
        settings.log.partitions,
    ))
}

/// Settles rows that were set aside, by the pipeline files as they are when it does.
pub(crate) fn settle(
    settings: &Settings,
    log: &SharedLog,
    lake: &Lake,
    warehouse: &Warehouse,
) -> anyhow::Result<Settle> {
    Ok(Settle {
        log: Arc::clone(log),
        lake: lake.clone(),
        warehouse: warehouse.clone(),
        ingest: ingest(settings, log)?,
        pipelines: read_pipelines(settings),
        partitions: settings.log.partitions,
    })
}

/// The key for pseudonyms, if one is set.
pub(crate) fn pseudonym_key(settings: &Settings) -> Result<Option<PseudonymKey>, Mistake> {
    let Some(secret) = &settings.pseudonym_key else {
        return Ok(None);
    };
    PseudonymKey::new(secret.0.as_bytes())
        .map(Some)
        .map_err(|err| Mistake(format!("pseudonym_key: {err}")))
}

/// Reads the pipeline files anew each time.
pub(crate) fn read_pipelines(settings: &Settings) -> ReadPipelines {
    let settings = settings.clone();
    Arc::new(move || pipelines(&settings).map_err(|err| err.to_string()))
}

/// All enabled sources, by name. `only` narrows them down; a name that is not there is a mistake.
pub(crate) fn sources(settings: &Settings, only: &[String]) -> anyhow::Result<Vec<Pipeline>> {
    let folder = settings.pipelines.join("sources");
    let all = pipelines(settings)?;
    let all: Vec<Pipeline> = all.into_values().collect::<Result<_, _>>()?;
    for name in only {
        if !all.iter().any(|it| &it.name == name) {
            let known: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
            return Err(Mistake(format!(
                "no source `{name}` in {}; there are: {}",
                folder.display(),
                known.join(", ")
            ))
            .into());
        }
    }
    Ok(all
        .into_iter()
        .filter(|it| {
            if only.is_empty() {
                it.enabled
            } else {
                only.contains(&it.name)
            }
        })
        .collect())
}

/// All sources by name, also those that are not enabled: somebody may resume them.
pub(crate) fn pipelines(settings: &Settings) -> Result<Pipelines, Mistake> {
    let folder = settings.pipelines.join("sources");
    let lost = |err| {
        Mistake(format!(
            "{}: {err}; give the folder that holds `sources/` with --pipelines DIR",
            folder.display()
        ))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(lost)? {
        files.push(entry.map_err(lost)?.path());
    }
    files.sort();
    let mut pipelines = Pipelines::new();
    for file in &files {
        let is_pipeline = |ext: &OsStr| ext == "yaml" || ext == "yml";
        let Some(stem) = file
            .file_stem()
            .filter(|_| file.extension().is_some_and(is_pipeline))
        else {
            continue;
        };
        let name = stem.to_string_lossy().into_owned();
        let read = if pipelines.contains_key(&name) {
            let twice = format!("`{name}` has another file already; take one of them away");
            Err(spec::Mistake::in_file(&file.display().to_string(), twice))
        } else {
            read_pipeline(settings, &name, file)
        };
        pipelines.insert(name, read);
    }
    Ok(pipelines)
}

fn read_pipeline(settings: &Settings, name: &str, file: &Path) -> Result<Pipeline, spec::Mistake> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|err| spec::Mistake::in_file(&shown, format!("cannot be read: {err}")))?;
    let lookup = |variable: &str| settings::lookup(settings, variable);
    parse_pipeline(name, &shown, &text, &lookup)
}
