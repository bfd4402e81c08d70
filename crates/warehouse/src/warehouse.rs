//! The warehouse itself: opened over a lake and a folder of models, it builds, and it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use chrono::{DateTime, NaiveDate, Utc};
use datafusion::{
    catalog::SchemaProvider,
    error::DataFusionError,
    execution::{
        context::QueryPlanner,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::FutureExt;
use lake::Lake;
use spec::{Obligation, ReleaseKind};
use telemetry::metric;
use tokio::sync::Mutex;

use crate::{
    Error, Result,
    build::{BuildEvent, BuildReport, Builder, Candidates, Computed, Failure, Planned, Proofs},
    deliveries::{self, Owed},
    explain::{AsPublished, Explanation, Question, Walk},
    lineage::Lineage,
    models::{Catalog, SCHEMAS},
    openlineage::Teller,
    publication::{self, Publication, Run},
    query_log::QueryLog,
    release::{self, Draft, FrozenTables, Made, Maker, Release, Shelf, Shown, Verified},
    session::{self, Current, EndOfPlanning, Hold, Ops, Pin, Tables, Traced, Versions},
};

/// How a warehouse works.
#[derive(Debug, Clone)]
pub struct WarehouseSettings {
    /// In how many parts a query runs.
    pub threads: usize,
    /// How many models are computed side by side.
    pub models_at_once: usize,
    /// Bytes that queries and builds may hold together; sorts and aggregates beyond it go to disk. `None` is
    /// no limit.
    pub memory_limit: Option<usize>,
    /// Where they go; the system's place for temporary files where left out.
    pub spill: Option<PathBuf>,
    /// The folder with the definitions; `definitions` beside the models where left out.
    pub definitions: Option<PathBuf>,
    /// The delivery calendar; `calendar.yaml` beside the models where left out. There need not be one.
    pub calendar: Option<PathBuf>,
    /// The kinds of release; `releases.yaml` beside the models where left out. There need not be any.
    pub releases: Option<PathBuf>,
    /// Where the queries of builds run; in this process where left out.
    pub elsewhere: Option<Arc<dyn QueryPlanner + Send + Sync>>,
    /// What time it is, for publications, for what is late, and for who sees which release.
    pub now: fn() -> DateTime<Utc>,
}

impl Default for WarehouseSettings {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            models_at_once: 4,
            memory_limit: None,
            spill: None,
            definitions: None,
            calendar: None,
            releases: None,
            elsewhere: None,
            now: Utc::now,
        }
    }
}

/// Models over a lake. Cheap to clone; clones are the same warehouse.
#[derive(Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
}

struct Inner {
    lake: Lake,
    catalog: Arc<Catalog>,
    traced: Arc<Traced>,
    calendar: Arc<[Obligation]>,
    kinds: Arc<[ReleaseKind]>,
    shelf: Arc<Shelf>,
    settings: WarehouseSettings,
    runtime: Arc<RuntimeEnv>,
    current: Arc<Current>,
    docs: OnceLock<Arc<Docs>>,
    proofs: Proofs,
    /// Builds of one process take turns.
    computed: Mutex<Computed>,
}

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warehouse")
            .field("lake", &self.inner.lake)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

/// What is known of a table for its readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDoc {
    /// What it holds.
    pub doc: String,
    /// The columns that tell its rows apart.
    pub grain: Vec<String>,
    /// Each column with what it holds, in order.
    pub columns: Vec<(String, String)>,
}

/// What is known of every table, by its name. An extension of the configuration of readers' sessions.
#[derive(Debug)]
pub struct Docs(BTreeMap<String, TableDoc>);

impl Docs {
    /// What is known of `schema.name`.
    pub fn get(&self, table: &str) -> Option<&TableDoc> {
        self.0.get(table)
    }
}

impl Warehouse {
    /// Opens the warehouse with the models of a folder: `<models>/<schema>/<name>.sql`.
    ///
    /// # Errors
    /// [`Error::Models`] with every mistake in the files, [`Error::Settings`].
    pub async fn open(lake: Lake, models: &Path, settings: WarehouseSettings) -> Result<Self> {
        let definitions = match &settings.definitions {
            Some(folder) => folder.clone(),
            None => models.with_file_name("definitions"),
        };
        let catalog = Arc::new(Catalog::read(models, &definitions)?);
        let calendar = match &settings.calendar {
            Some(file) => file.clone(),
            None => models.with_file_name("calendar.yaml"),
        };
        let calendar = deliveries::read(&calendar, &catalog)?.into();
        let kinds = match &settings.releases {
            Some(file) => file.clone(),
            None => models.with_file_name("releases.yaml"),
        };
        let kinds = release::read(&kinds, &catalog)?.into();
        let runtime = runtime(&settings)?;
        let current = Arc::new(Current::default());
        current.look(&lake).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                lake,
                traced: Arc::new(Traced::new(Arc::clone(&catalog))),
                catalog,
                calendar,
                kinds,
                shelf: Arc::default(),
                settings,
                runtime,
                current,
                docs: OnceLock::new(),
                proofs: Proofs::default(),
                computed: Mutex::default(),
            }),
        })
    }

    /// Computes what changed since the last publication, checks it, and publishes everything together if no
    /// check stops it. What is served meanwhile, and after a failure, is the last publication.
    ///
    /// # Errors
    /// Only what keeps a build from running at all, such as a lake that cannot be reached; failed checks and
    /// models are in the report.
    pub async fn build(&self, observe: &(dyn Fn(BuildEvent) + Send + Sync)) -> Result<BuildReport> {
        let mut computed = self.inner.computed.lock().await;
        let session = |candidates: Arc<Candidates>| self.inner.open_to_build(candidates);
        let builder = self.builder(&session, observe);
        // Named no further: whoever spawns a build need not see through all of it to know that it may move between threads.
        let report = builder.run(&mut computed).boxed().await;
        measure(report.as_ref().ok());
        let report = report?;
        if report.is_publishable() {
            // All is published, and kept from there on.
            computed.clear();
        }
        self.inner.current.look(&self.inner.lake).await?;
        Ok(report)
    }

    /// What a build would compute now, and why; each table after those it reads. Computes and publishes nothing.
    pub async fn plan(&self) -> Result<Vec<Planned>> {
        let computed = self.inner.computed.lock().await;
        let session = |candidates: Arc<Candidates>| self.inner.open_to_build(candidates);
        self.builder(&session, &|_| {}).plan(&computed).await
    }

    fn builder<'a>(
        &'a self,
        session: &'a (dyn Fn(Arc<Candidates>) -> Result<SessionContext> + Send + Sync),
        observe: &'a (dyn Fn(BuildEvent) + Send + Sync),
    ) -> Builder<'a> {
        Builder {
            lake: &self.inner.lake,
            catalog: &self.inner.catalog,
            at_once: self.inner.settings.models_at_once.max(1),
            now: self.inner.settings.now,
            kinds: &self.inner.kinds,
            shelf: &self.inner.shelf,
            is_sent: self.inner.settings.elsewhere.is_some(),
            proofs: &self.inner.proofs,
            session,
            observe,
        }
    }

    /// A new session: `raw` as landed, `core` and `mart` as published, `ref`, `ops`. Each query sees one
    /// publication, the current one when it is planned, unless the session's [`Hold`] keeps an earlier one.
    ///
    /// Sessions share nothing but memory and what they know of tables.
    pub async fn session(&self) -> Result<SessionContext> {
        let inner = &self.inner;
        inner.current.look(&inner.lake).await?;
        let hold = Arc::new(Hold::default());
        let current = Arc::clone(&inner.current);
        let pin = Pin::new(inner.lake.clone(), current, Arc::clone(&hold));
        let ctx = inner.open(Arc::new(pin))?;
        ctx.add_analyzer_rule(Arc::new(EndOfPlanning(Arc::clone(&hold))));
        let state = ctx.state_ref();
        state.write().config_mut().set_extension(hold);
        state.write().config_mut().set_extension(self.said());
        Ok(ctx)
    }

    /// A session of an audience: of `release` and `ops.release` what it may see today, and `ref`. Nothing else.
    ///
    /// # Errors
    /// [`Error::Release`] when no kind of release has such an audience.
    pub fn session_of(&self, audience: &str) -> Result<SessionContext> {
        let inner = &self.inner;
        let all: BTreeSet<&str> = self.audiences().collect();
        if !all.contains(audience) {
            let known: Vec<&str> = all.into_iter().collect();
            return Err(Error::Release(format!(
                "there is no audience `{audience}`; releases.yaml has: {}",
                known.join(", ")
            )));
        }
        let frozen = inner.frozen(Some(audience.to_owned()));
        let schemas: Vec<(&str, Arc<dyn SchemaProvider>)> = vec![
            ("release", Arc::new(frozen.clone())),
            (
                "ref",
                session::reference_schema(inner.catalog.definitions()).map_err(failed)?,
            ),
            ("ops", Arc::new(Shown(frozen))),
        ];
        let config = session::config(Some(inner.settings.threads))
            .with_default_catalog_and_schema(session::CATALOG, "release")
            .with_extension(self.said());
        session::open(config, Arc::clone(&inner.runtime), schemas).map_err(failed)
    }

    /// Opens `ops.query_log` for a server that answers from this warehouse. A task of its own writes it.
    pub fn start_query_log(&self) -> QueryLog {
        QueryLog::start(self.inner.lake.clone())
    }

    /// Every audience that some kind of release has.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        let all = self.inner.kinds.iter().flat_map(|it| &it.audiences);
        all.map(|it| it.name.as_str())
    }

    /// Freezes numbers of the current publication.
    ///
    /// # Errors
    /// [`Error::Release`] where the draft cannot be one, or its name is taken; [`Error::Disclosure`] where earlier releases and this one
    /// would tell together what neither shows.
    pub async fn create_release(&self, draft: Draft) -> Result<Made> {
        let inner = &self.inner;
        let maker = Maker {
            lake: &inner.lake,
            catalog: &inner.catalog,
            kinds: &inner.kinds,
            shelf: &inner.shelf,
            now: (inner.settings.now)(),
        };
        let publication = inner.current.look(&inner.lake).await?;
        release::create(&maker, draft, publication.as_deref()).await
    }

    /// All releases, in the order they were made.
    pub async fn releases(&self) -> Result<Vec<Arc<Release>>> {
        self.inner.shelf.all(&self.inner.lake).await
    }

    /// Whether a release is what was presented, table by table.
    ///
    /// # Errors
    /// [`Error::Release`] where there is none of this name.
    pub async fn verify_release(&self, name: &str) -> Result<Vec<Verified>> {
        let inner = &self.inner;
        release::verify(&inner.lake, &inner.catalog, &inner.runtime, name).await
    }

    /// The current publication, if there is one yet.
    pub async fn publication(&self) -> Result<Option<Publication>> {
        let found = self.inner.current.look(&self.inner.lake).await?;
        Ok(found.map(|it| it.as_ref().clone()))
    }

    /// The last build that computed anything, published or not.
    pub async fn last_build(&self) -> Result<Option<Run>> {
        Ok(publication::runs(&self.inner.lake, 1).await?.pop())
    }

    /// The delivery calendar as it stood at the end of a day in Denmark; today where left out. Held against the
    /// current publication, as `ops.delivery_calendar` is.
    pub async fn delivery_calendar(&self, as_of: Option<NaiveDate>) -> Result<Vec<Owed>> {
        let today = || contract::civil_day((self.inner.settings.now)());
        let as_of = as_of.unwrap_or_else(today);
        if self.inner.calendar.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |err| Error::query("reading what has been delivered", err);
        let session = self.session().await?;
        if !session.table_exist(deliveries::COVERAGE).map_err(failed)? {
            return Err(Error::Unpublished(deliveries::COVERAGE));
        }
        let rows = session.table(deliveries::COVERAGE).await.map_err(failed)?;
        let came = deliveries::coverage(rows).await.map_err(failed)?;
        Ok(deliveries::judge(&self.inner.calendar, &came, as_of))
    }

    /// What every column comes from.
    ///
    /// # Errors
    /// [`Error::Models`] where a model cannot be planned.
    pub async fn lineage(&self) -> Result<Arc<Lineage>> {
        self.inner.traced.lineage().await
    }

    /// Tells one build to catalogues that understand OpenLineage. `namespace` is what jobs and tables of this installation are
    /// known under there.
    pub async fn teller(&self, namespace: &str) -> Result<Teller> {
        let catalog = Arc::clone(&self.inner.catalog);
        Ok(Teller::new(namespace, catalog, self.lineage().await?))
    }

    /// The models and definitions.
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// What is behind numbers of the current publication, in the versions it names.
    ///
    /// # Errors
    /// [`Error::Question`] where the question cannot be understood, [`Error::Unpublished`] where there is nothing to explain yet.
    pub async fn explain(&self, question: &Question) -> Result<Explanation> {
        let publication = self.publication().await?;
        let publication = publication.ok_or(Error::Unpublished("the warehouse"))?;
        let ctx = self
            .inner
            .open(Arc::new(AsPublished(publication.clone())))?;
        let lineage = self.lineage().await?;
        let walk = Walk {
            catalog: &self.inner.catalog,
            lineage: &lineage,
            publication: &publication,
            ctx: &ctx,
        };
        Box::pin(walk.explain(question)).await
    }

    /// The same for sessions; once for all.
    fn said(&self) -> Arc<Docs> {
        let said = self.inner.docs.get_or_init(|| Arc::new(Docs(self.docs())));
        Arc::clone(said)
    }

    /// Every table the warehouse builds, with what it and its columns hold.
    pub fn docs(&self) -> BTreeMap<String, TableDoc> {
        let nodes = self.inner.catalog.nodes().iter();
        let own = |(name, doc): (&str, &str)| (name.to_owned(), doc.to_owned());
        let models = nodes.map(|(table, node)| {
            let doc = TableDoc {
                doc: node.doc().to_owned(),
                grain: node.grain().to_vec(),
                columns: node.columns().into_iter().map(own).collect(),
            };
            (table.clone(), doc)
        });
        models
            .chain(release::docs(&self.inner.catalog, &self.inner.kinds))
            .collect()
    }
}

impl Inner {
    fn frozen(&self, audience: Option<String>) -> FrozenTables {
        FrozenTables {
            lake: self.lake.clone(),
            kinds: Arc::clone(&self.kinds),
            shelf: Arc::clone(&self.shelf),
            audience,
            now: self.settings.now,
        }
    }

    /// A session of this process.
    fn open(&self, versions: Arc<dyn Versions>) -> Result<SessionContext> {
        let schemas = self.schemas(&versions, false)?;
        session::open(self.config(), Arc::clone(&self.runtime), schemas).map_err(failed)
    }

    /// A session of a build, whose queries may run elsewhere.
    fn open_to_build(&self, versions: Arc<dyn Versions>) -> Result<SessionContext> {
        let Some(planner) = &self.settings.elsewhere else {
            return self.open(versions);
        };
        let schemas = self.schemas(&versions, true)?;
        let (runtime, planner) = (Arc::clone(&self.runtime), Arc::clone(planner));
        session::open_elsewhere(self.config(), runtime, planner, schemas).map_err(failed)
    }

    fn config(&self) -> SessionConfig {
        session::config(Some(self.settings.threads))
    }

    fn schemas(
        &self,
        versions: &Arc<dyn Versions>,
        is_sent: bool,
    ) -> Result<Vec<(&'static str, Arc<dyn SchemaProvider>)>> {
        let mut schemas: Vec<(&str, Arc<dyn SchemaProvider>)> = Vec::new();
        for schema in ["raw"].into_iter().chain(SCHEMAS) {
            let tables = Tables {
                schema,
                lake: self.lake.clone(),
                versions: Arc::clone(versions),
                is_sent,
            };
            schemas.push((schema, Arc::new(tables)));
        }
        schemas.push(("release", Arc::new(self.frozen(None))));
        schemas.push((
            "ref",
            session::reference_schema(self.catalog.definitions()).map_err(failed)?,
        ));
        schemas.push((
            "ops",
            Arc::new(Ops {
                lake: self.lake.clone(),
                catalog: Arc::clone(&self.catalog),
                traced: Arc::clone(&self.traced),
                calendar: Arc::clone(&self.calendar),
                kinds: Arc::clone(&self.kinds),
                shelf: Arc::clone(&self.shelf),
                versions: Arc::clone(versions),
                now: self.settings.now,
            }),
        ));
        Ok(schemas)
    }
}

fn failed(err: DataFusionError) -> Error {
    Error::query("opening a session", err)
}

/// Counts a build by what came of it; `None` is one that did not come to its end.
fn measure(report: Option<&BuildReport>) {
    let outcome = match report {
        None => "broken",
        Some(it) if it.published.is_some() => "published",
        Some(it) if it.is_publishable() => "unchanged",
        Some(_) => "failed",
    };
    metric::BUILDS.add([outcome], 1);
    let Some(report) = report else { return };
    let (mut checks, mut models, mut blocked) = (0.0, 0.0, 0.0);
    for failure in report.failures() {
        match failure {
            Failure::Check(_) => checks += 1.0,
            Failure::Model { .. } => models += 1.0,
            Failure::Blocked { .. } => blocked += 1.0,
        }
    }
    for (kind, count) in [("check", checks), ("model", models), ("blocked", blocked)] {
        metric::BUILD_FAILURES.set([kind], count);
    }
}

/// One memory pool for everything the warehouse runs.
fn runtime(settings: &WarehouseSettings) -> Result<Arc<RuntimeEnv>> {
    let mut builder = RuntimeEnvBuilder::new();
    if let Some(bytes) = settings.memory_limit {
        let named = NonZeroUsize::new(5).unwrap_or(NonZeroUsize::MIN);
        let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), named);
        builder = builder.with_memory_pool(Arc::new(pool));
    }
    if let Some(folder) = &settings.spill {
        let mode = DiskManagerMode::Directories(vec![folder.clone()]);
        builder = builder.with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode));
    }
    builder
        .build_arc()
        .map_err(|err| Error::Settings(format!("spill folder: {err}")))
}
