//! A log whose group of workers is in the test's hands, and workers on it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bus::{
    Assignment, Board, Consumer, EmbeddedLog, Error, Log, Membership, Producer, Range, Result,
    SharedLog, Topic, slot_of,
};
use connector_api::BoxFuture;
use contract::Position;
use ingest::{Control, Ingest, Observer, Pipelines, ReadPipelines, ReadReport, Report, Standing};
use spec::{Mistake, Pipeline, parse_pipeline};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::numbers::CONNECTORS;

/// Longest wait for anything that must happen.
const DEADLINE: Duration = Duration::from_secs(60);

const SLOTS: u32 = 64;

pub(crate) struct Stage {
    pub(crate) log: SharedLog,
    files: Arc<Mutex<Pipelines>>,
    _folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(EmbeddedLog::open(folder.path()).await.unwrap());
        Self {
            log,
            files: Arc::default(),
            _folder: folder,
        }
    }

    /// Puts a pipeline file there, or another in its place.
    pub(crate) fn write(&self, pipeline: Pipeline) {
        let mut files = self.files.lock().unwrap();
        files.insert(pipeline.name.clone(), Ok(pipeline));
    }

    /// Has a pipeline file hold a mistake.
    pub(crate) fn spoil(&self, name: &str) {
        let mistake = Mistake::in_file("numbers.yaml", "`colour` is unknown");
        let mut files = self.files.lock().unwrap();
        files.insert(name.to_owned(), Err(mistake));
    }

    pub(crate) fn delete(&self, name: &str) {
        self.files.lock().unwrap().remove(name);
    }

    fn read_files(&self) -> ReadPipelines {
        let files = Arc::clone(&self.files);
        Arc::new(move || Ok(files.lock().unwrap().clone()))
    }

    pub(crate) fn pipeline(&self, name: &str) -> Pipeline {
        let text = format!(
            "doc: Counts.\nconnector: numbers\nentity: unit\nschedule: every 1s\nsettings: {{ script: {name} }}\n"
        );
        parse_pipeline(name, "numbers.yaml", &text, &|_| None).unwrap()
    }

    pub(crate) fn disabled(&self, name: &str) -> Pipeline {
        Pipeline {
            enabled: false,
            ..self.pipeline(name)
        }
    }

    pub(crate) async fn read(&self, name: &str) -> ingest::Result<ReadReport> {
        let stop = CancellationToken::new();
        let ingest = Ingest::new(Arc::clone(&self.log), &CONNECTORS, None, 2);
        ingest.read(&self.pipeline(name), &stop, &|_| {}).await
    }

    pub(crate) fn ingest_over(&self, log: Shared) -> Ingest {
        Ingest::new(Arc::new(log), &CONNECTORS, None, 2)
    }

    /// A group in which nobody has anything yet.
    pub(crate) fn shared(&self) -> Shared {
        Shared {
            log: Arc::clone(&self.log),
            group: Arc::default(),
            on_position: None,
        }
    }

    /// A group in which `member` has everything.
    pub(crate) fn shared_alone(&self, member: &str) -> Shared {
        let shared = self.shared();
        shared
            .group
            .lock()
            .unwrap()
            .slots(member)
            .send_replace((0..SLOTS).collect());
        shared
    }

    pub(crate) fn worker(&self, name: &str, shared: &Shared, sources: &[&str]) -> Worker {
        let pipelines = sources.iter().map(|it| self.pipeline(it)).collect();
        self.worker_of(name, shared, pipelines)
    }

    pub(crate) fn worker_alone(&self, name: &str, sources: &[&str]) -> Worker {
        self.worker(name, &self.shared_alone(name), sources)
    }

    pub(crate) fn worker_of(
        &self,
        name: &str,
        shared: &Shared,
        pipelines: Vec<Pipeline>,
    ) -> Worker {
        self.worker_told(name, shared, pipelines, Arc::new(|_| {}))
    }

    /// A worker that tells `observe` of every report.
    pub(crate) fn worker_told(
        &self,
        name: &str,
        shared: &Shared,
        pipelines: Vec<Pipeline>,
        observe: Observer,
    ) -> Worker {
        let stop = CancellationToken::new();
        let ingest = self.ingest_over(shared.clone());
        let standing = ingest.standing();
        pipelines.into_iter().for_each(|it| self.write(it));
        let (member, read, until) = (name.to_owned(), self.read_files(), stop.clone());
        let work = tokio::spawn(async move { ingest.run(&member, read, until, observe).await });
        Worker {
            standing,
            stop,
            work,
        }
    }

    pub(crate) fn control(&self) -> Control {
        Control::new(Arc::clone(&self.log), &CONNECTORS, self.read_files())
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition() {
            assert!(Instant::now() < end, "waited {DEADLINE:?} until {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the board says what is wanted of a source.
    pub(crate) async fn until_report(
        &self,
        source: &str,
        wanted: impl Fn(&Report) -> bool,
    ) -> Report {
        let end = Instant::now() + DEADLINE;
        loop {
            let board = self.log.board(Board::Reports).await.unwrap();
            let report: Option<Report> = board
                .get(source)
                .map(|it| serde_json::from_str(it).unwrap());
            if let Some(report) = report.clone().filter(&wanted) {
                return report;
            }
            assert!(
                Instant::now() < end,
                "waited {DEADLINE:?}; the board says {report:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn until_off_the_board(&self, source: &str) {
        let end = Instant::now() + DEADLINE;
        while self
            .log
            .board(Board::Reports)
            .await
            .unwrap()
            .contains_key(source)
        {
            assert!(Instant::now() < end, "{source} is still on the board");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The numbers on the topic, sorted; twice there is twice here.
    pub(crate) async fn numbers(&self) -> Vec<i64> {
        let mut numbers = Vec::new();
        let topic = self.log.ensure_topic("pejl.unit", 2).await.unwrap();
        for partition in 0..topic.partitions {
            let range = self.log.range(&topic.name, partition).await.unwrap();
            let from = Assignment {
                topic: topic.name.clone(),
                partition,
                offset: range.low,
            };
            let mut consumer = self.log.consumer(&[from]).await.unwrap();
            while consumer.position(&topic.name, partition).unwrap() < range.high {
                for polled in consumer.poll(1000, Duration::from_secs(5)).await.unwrap() {
                    for delivered in polled.records {
                        let key = delivered.record.key.unwrap();
                        let key: Vec<String> = serde_json::from_slice(&key).unwrap();
                        numbers.push(key[0].parse().unwrap());
                    }
                }
            }
        }
        numbers.sort_unstable();
        numbers
    }
}

pub(crate) struct Worker {
    /// How it stands with its group and the log.
    pub(crate) standing: watch::Receiver<Standing>,
    stop: CancellationToken,
    work: JoinHandle<ingest::Result<()>>,
}

impl Worker {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended().await.unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> ingest::Result<()> {
        let ended = tokio::time::timeout(DEADLINE, self.work).await;
        ended.expect("it ends").unwrap()
    }
}

type Hook = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The log, with the group in the test's hands.
#[derive(Clone)]
pub(crate) struct Shared {
    log: SharedLog,
    group: Arc<Mutex<Group>>,
    on_position: Option<Hook>,
}

#[derive(Default)]
struct Group {
    members: HashMap<String, watch::Sender<BTreeSet<u32>>>,
    refused: BTreeSet<String>,
    /// Whether the log does not answer when asked what is on a board.
    mute: bool,
    replaced: BTreeSet<String>,
    /// Told when somebody is replaced.
    lost: Arc<Notify>,
    asked: HashMap<String, u32>,
    /// Producers opened.
    producers: u32,
}

impl Group {
    fn slots(&mut self, member: &str) -> &watch::Sender<BTreeSet<u32>> {
        self.members.entry(member.to_owned()).or_default()
    }
}

impl Shared {
    /// Happens after a position was read and before whoever asked hears of it.
    pub(crate) fn when_position_is_read(
        mut self,
        hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.on_position = Some(Arc::new(hook));
        self
    }

    /// Gives a source's slot to one member and takes it from all others.
    pub(crate) fn give(&self, source: &str, member: &str) {
        let slot = slot_of(source, SLOTS);
        let mut group = self.group.lock().unwrap();
        group.slots(member);
        for (name, slots) in &group.members {
            slots.send_modify(|slots| {
                if name == member {
                    slots.insert(slot);
                } else {
                    slots.remove(&slot);
                }
            });
        }
    }

    /// From now on the group knows nothing of this member, which has not noticed.
    pub(crate) fn refuse(&self, member: &str) {
        self.group.lock().unwrap().refused.insert(member.to_owned());
    }

    /// From now on the log does not say what is on a board, or does again.
    pub(crate) fn mute(&self, mute: bool) {
        self.group.lock().unwrap().mute = mute;
    }

    /// Another process has joined under this member's name.
    pub(crate) fn replace(&self, member: &str) {
        let mut group = self.group.lock().unwrap();
        group.replaced.insert(member.to_owned());
        group.slots(member).send_replace(BTreeSet::new());
        group.lost.notify_waiters();
    }

    pub(crate) fn producers(&self) -> u32 {
        self.group.lock().unwrap().producers
    }

    pub(crate) fn asked(&self, member: &str) -> u32 {
        self.group
            .lock()
            .unwrap()
            .asked
            .get(member)
            .copied()
            .unwrap_or(0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[async_trait]
impl Log for Shared {
    async fn ensure_topic(&self, name: &str, partitions: i32) -> Result<Topic> {
        self.log.ensure_topic(name, partitions).await
    }

    async fn topics(&self, prefix: &str) -> Result<Vec<Topic>> {
        self.log.topics(prefix).await
    }

    async fn range(&self, topic: &str, partition: i32) -> Result<Range> {
        self.log.range(topic, partition).await
    }

    async fn producer(&self, task: &str) -> Result<Box<dyn Producer>> {
        self.group.lock().unwrap().producers += 1;
        self.log.producer(task).await
    }

    async fn position(&self, source: &str) -> Result<Option<Position>> {
        let position = self.log.position(source).await;
        if let Some(hook) = &self.on_position {
            hook().await;
        }
        position
    }

    async fn positions(&self) -> Result<Vec<(String, Position)>> {
        self.log.positions().await
    }

    async fn consumer(&self, assignments: &[Assignment]) -> Result<Box<dyn Consumer>> {
        self.log.consumer(assignments).await
    }

    async fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        self.log.trim(topic, partition, before).await
    }

    async fn board(&self, board: Board) -> Result<BTreeMap<String, String>> {
        if self.group.lock().unwrap().mute {
            return Err(Error::Unavailable("no broker answered".to_owned()));
        }
        self.log.board(board).await
    }

    async fn post(&self, board: Board, key: &str, text: Option<&str>) -> Result<()> {
        self.log.post(board, key, text).await
    }

    async fn join(&self, _group: bus::Group, member: &str) -> Result<Box<dyn Membership>> {
        self.group.lock().unwrap().slots(member);
        Ok(Box::new(Member {
            name: member.to_owned(),
            group: Arc::clone(&self.group),
        }))
    }
}

struct Member {
    name: String,
    group: Arc<Mutex<Group>>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl Membership for Member {
    fn count(&self) -> u32 {
        SLOTS
    }

    fn slots(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.group.lock().unwrap().slots(&self.name).subscribe()
    }

    async fn confirm(&self, slot: u32) -> Result<bool> {
        let mut group = self.group.lock().unwrap();
        *group.asked.entry(self.name.clone()).or_default() += 1;
        let has = group.slots(&self.name).borrow().contains(&slot);
        Ok(has && !group.refused.contains(&self.name))
    }

    async fn lost(&self) -> Error {
        let lost = Arc::clone(&self.group.lock().unwrap().lost);
        loop {
            let told = lost.notified();
            if self.group.lock().unwrap().replaced.contains(&self.name) {
                return Error::Settings(format!("`{}` is another's name", self.name));
            }
            told.await;
        }
    }
}
