//! When a source is tried again, told by the pauses its task chooses: nothing here waits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{LazyLock, Mutex},
};

use async_trait::async_trait;
use bus::{Assignment, Board, Consumer, Log, Membership, Polled, Producer, Range, Record, Topic};
use connector_api::{Batch, Connector, Entry, Error as Failure, Source, entry};
use contract::Position;
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::Pipelines;

const SECOND: Duration = Duration::from_secs(1);

fn dead() -> Option<Failure> {
    Some(Failure::Source("the line went dead".to_owned()))
}

#[tokio::test]
async fn the_other_side_is_asked_less_and_less_then_probed_and_then_read_as_before() {
    let nine_failures = (0..9).map(|_| dead());
    let then_well_and_failing_once_more = [None, dead(), None];
    let script = nine_failures.chain(then_well_and_failing_once_more);
    let (pauses, reports) = pauses("circuit", script.collect()).await;
    // Closed: 1, 2, 4, 8, 16 s, each shortened by up to half. Open from the sixth failure on: one try in five minutes at most.
    let full = [1, 2, 4, 8, 16, 300, 300, 300, 300].map(Duration::from_secs);
    for (pause, full) in pauses.iter().zip(full) {
        assert!(*pause >= full / 2 && *pause <= full, "{pauses:?}");
    }
    // The probe that succeeded has closed it: the schedule is that of the file, and the next failure is a first one.
    assert_eq!(pauses[9], SECOND);
    assert!(pauses[10] <= SECOND, "{pauses:?}");
    assert_eq!(pauses[11], SECOND);
    assert_eq!(pauses.len(), 12);

    // Each try is told, and each failure with the time of the next.
    let degraded = reports.iter().filter(|it| it.state == State::Degraded);
    let failures: Vec<u32> = degraded.clone().map(|it| it.failures).collect();
    assert_eq!(failures, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1]);
    assert!(degraded.clone().all(|it| it.next.is_some()));
    let tries = reports.iter().filter(|it| it.state == State::Running);
    assert_eq!(tries.count(), 12);
    // Since when it is degraded: the tries in between do not count.
    let since: BTreeSet<DateTime<Utc>> = degraded.take(9).map(|it| it.since).collect();
    assert_eq!(since.len(), 1);
}

#[tokio::test]
async fn the_other_side_is_not_asked_again_before_it_said() {
    let busy = Failure::Busy {
        reason: "429 Too Many Requests".to_owned(),
        wait: SECOND * 3600,
    };
    let (pauses, _) = pauses("busy", [Some(busy), dead()].into()).await;
    assert_eq!(pauses[0], SECOND * 3600);
    // Its wish was for once.
    assert!(pauses[1] <= SECOND * 2, "{pauses:?}");
}

/// The pauses a task chooses while its source fails as told, and what it reports.
async fn pauses(name: &str, script: VecDeque<Option<Failure>>) -> (Vec<Duration>, Vec<Report>) {
    let (count, stop) = (script.len(), CancellationToken::new());
    SCRIPTS.lock().unwrap().insert(name.to_owned(), script);
    let chosen: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let (noted, until) = (Arc::clone(&chosen), stop.clone());
    let sleep: Sleep = Arc::new(move |pause| {
        let mut chosen = noted.lock().unwrap();
        chosen.push(pause);
        if chosen.len() == count {
            until.cancel();
        }
        Box::pin(std::future::ready(()))
    });
    let told: Arc<Mutex<Vec<Report>>> = Arc::default();
    let telling = Arc::clone(&told);
    let observe: Observer = Arc::new(move |it| telling.lock().unwrap().push(it.clone()));
    let text = format!(
        "doc: Fails as told.\nconnector: scripted\nentity: unit\nschedule: every 1s\nsettings: {{ script: {name} }}\n"
    );
    let pipeline = spec::parse_pipeline(name, "scripted.yaml", &text, &|_| None);
    let wishes = Wishes {
        pipelines: Pipelines::from([(name.to_owned(), pipeline)]),
        ..Wishes::default()
    };
    let (_kept, wishes) = watch::channel(Arc::new(wishes));
    let claim = Claim {
        membership: Arc::new(Quiet::default()),
        slot: 0,
    };
    let ingest = Ingest::new(Arc::new(Quiet::default()), &CONNECTORS, None, 1);
    let report = Report::begun(name, "one", None);
    let task = Task::new(ingest, claim, wishes, observe, sleep, report);
    task.run(stop).await;
    let (chosen, told) = (chosen.lock().unwrap().clone(), told.lock().unwrap().clone());
    (chosen, told)
}

/// What happens at each try of a source: a failure, or nothing new.
static SCRIPTS: LazyLock<Mutex<HashMap<String, VecDeque<Option<Failure>>>>> =
    LazyLock::new(Mutex::default);

static CONNECTORS: [Entry; 1] = [entry::<Scripted>()];

struct Scripted;

#[derive(Deserialize, JsonSchema)]
struct Config {
    script: String,
}

impl Connector for Scripted {
    const NAME: &'static str = "scripted";
    const SUMMARY: &'static str = "Fails as told.";
    type Config = Config;

    async fn open(config: Config, _: Option<Position>) -> connector_api::Result<Box<dyn Source>> {
        let mut scripts = SCRIPTS.lock().unwrap();
        let next = scripts.get_mut(&config.script).unwrap().pop_front();
        match next.flatten() {
            Some(failure) => Err(failure),
            None => Ok(Box::new(Scripted)),
        }
    }
}

impl Source for Scripted {
    fn next(&mut self) -> BoxFuture<'_, connector_api::Result<Option<Batch>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A log in memory, and a group of one member.
#[derive(Debug, Clone, Default)]
struct Quiet(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    positions: BTreeMap<String, Position>,
    boards: HashMap<Board, BTreeMap<String, String>>,
}

#[async_trait]
impl Log for Quiet {
    async fn ensure_topic(&self, name: &str, partitions: i32) -> bus::Result<Topic> {
        Ok(Topic {
            name: name.to_owned(),
            id: "only".to_owned(),
            partitions,
        })
    }

    async fn topics(&self, _prefix: &str) -> bus::Result<Vec<Topic>> {
        Ok(Vec::new())
    }

    async fn range(&self, _topic: &str, _partition: i32) -> bus::Result<Range> {
        Ok(Range { low: 0, high: 0 })
    }

    async fn producer(&self, _task: &str) -> bus::Result<Box<dyn Producer>> {
        Ok(Box::new(self.clone()))
    }

    async fn position(&self, source: &str) -> bus::Result<Option<Position>> {
        Ok(self.0.lock().unwrap().positions.get(source).cloned())
    }

    async fn positions(&self) -> bus::Result<Vec<(String, Position)>> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .positions
            .clone()
            .into_iter()
            .collect())
    }

    async fn consumer(&self, _assignments: &[Assignment]) -> bus::Result<Box<dyn Consumer>> {
        Ok(Box::new(Nothing))
    }

    async fn trim(&self, _topic: &str, _partition: i32, _before: i64) -> bus::Result<()> {
        Ok(())
    }

    async fn board(&self, board: Board) -> bus::Result<BTreeMap<String, String>> {
        let state = self.0.lock().unwrap();
        Ok(state.boards.get(&board).cloned().unwrap_or_default())
    }

    async fn post(&self, board: Board, key: &str, text: Option<&str>) -> bus::Result<()> {
        let mut state = self.0.lock().unwrap();
        let board = state.boards.entry(board).or_default();
        match text {
            Some(text) => board.insert(key.to_owned(), text.to_owned()),
            None => board.remove(key),
        };
        Ok(())
    }

    async fn join(&self, _group: bus::Group, _member: &str) -> bus::Result<Box<dyn Membership>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Producer for Quiet {
    async fn send(&mut self, _topic: &str, _records: Vec<Record>) -> bus::Result<()> {
        Ok(())
    }

    async fn commit(&mut self, position: Option<(&str, &Position)>) -> bus::Result<()> {
        if let Some((source, position)) = position {
            let mut state = self.0.lock().unwrap();
            state.positions.insert(source.to_owned(), position.clone());
        }
        Ok(())
    }

    async fn abort(&mut self) -> bus::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Membership for Quiet {
    fn count(&self) -> u32 {
        1
    }

    fn slots(&self) -> watch::Receiver<BTreeSet<u32>> {
        watch::channel(BTreeSet::from([0])).1
    }

    async fn confirm(&self, _slot: u32) -> bus::Result<bool> {
        Ok(true)
    }

    async fn lost(&self) -> bus::Error {
        std::future::pending().await
    }
}

struct Nothing;

#[async_trait]
impl Consumer for Nothing {
    async fn poll(&mut self, _max: usize, _wait: Duration) -> bus::Result<Vec<Polled>> {
        Ok(Vec::new())
    }

    fn position(&self, _topic: &str, _partition: i32) -> bus::Result<i64> {
        Ok(0)
    }
}
