//! Boards, and work shared between processes: who has which slot when they come, go, die and sleep.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use bus::{Board, KafkaLog, KafkaSettings, Log, Membership, slot_of};

use crate::{
    kafka::cluster,
    place::{DEADLINE, Place},
};

const SLOTS: u32 = 16;

pub(crate) async fn a_board_keeps_the_last_text_of_each_key(place: &dyn Place) {
    let log = place.open().await;
    assert!(log.board(Board::Orders).await.unwrap().is_empty());
    log.post(Board::Orders, "a", Some("1")).await.unwrap();
    log.post(Board::Orders, "b", Some("2")).await.unwrap();
    log.post(Board::Reports, "a", Some("elsewhere"))
        .await
        .unwrap();
    log.post(Board::Orders, "a", Some("3")).await.unwrap();
    log.post(Board::Orders, "b", None).await.unwrap();
    let orders = [("a".to_owned(), "3".to_owned())].into();
    assert_eq!(log.board(Board::Orders).await.unwrap(), orders);
    drop(log);
    let log = place.open().await;
    assert_eq!(log.board(Board::Orders).await.unwrap(), orders);
    assert_eq!(log.board(Board::Reports).await.unwrap().len(), 1);
    // Boards are nobody's topics.
    assert!(log.topics("").await.unwrap().is_empty());
}

pub(crate) async fn a_single_member_has_all_the_work(place: &dyn Place) {
    let log = place.open().await;
    let member = log.join("workers", "one", SLOTS).await.unwrap();
    assert_eq!(member.count(), SLOTS);
    has(member.as_ref(), |slots| slots.len() == SLOTS as usize).await;
    assert!(member.confirm(3).await.unwrap());
    assert!(!member.confirm(SLOTS).await.unwrap());
}

#[test]
fn names_are_spread_over_the_slots() {
    let mut counts = [0; 8];
    for n in 0..800 {
        counts[slot_of(&format!("source-{n}"), 8) as usize] += 1;
    }
    assert!(
        counts.iter().all(|count| (50..150).contains(count)),
        "{counts:?}"
    );
    assert_eq!(slot_of("anything", 1), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_all_slots_and_each_slot_has_one() {
    let Some(cluster) = cluster() else { return };
    let (one, two) = (cluster.open().await, cluster.open().await);
    let first = one.join("workers", "one", SLOTS).await.unwrap();
    has(first.as_ref(), |slots| slots.len() == SLOTS as usize).await;
    // A group keeps the number it was made with.
    let second = two.join("workers", "two", 4 * SLOTS).await.unwrap();
    assert_eq!(second.count(), SLOTS);
    has(second.as_ref(), |slots| slots.len() == SLOTS as usize / 2).await;
    has(first.as_ref(), |slots| slots.len() == SLOTS as usize / 2).await;
    let (mine, theirs) = (slots(first.as_ref()), slots(second.as_ref()));
    assert!(mine.is_disjoint(&theirs), "{mine:?} {theirs:?}");
    let kept = *mine.first().unwrap();
    assert!(first.confirm(kept).await.unwrap());
    assert!(!second.confirm(kept).await.unwrap());
    // Another group is another matter.
    let lander = one.join("landers", "one", 4).await.unwrap();
    has(lander.as_ref(), |slots| slots.len() == 4).await;

    drop(second);
    has(first.as_ref(), |slots| slots.len() == SLOTS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_killed_process_is_taken_over() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    let member = log.join("workers", "one", SLOTS).await.unwrap();
    has(member.as_ref(), |slots| slots.len() == SLOTS as usize).await;
    let mut child = Holder::start(&cluster.settings(), "two");
    child.until(|count| count == SLOTS as usize / 2);
    child.process.kill().unwrap();
    child.process.wait().unwrap();
    has(member.as_ref(), |slots| slots.len() == SLOTS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_restarted_finds_its_work_and_moves_nobody_elses() {
    let Some(cluster) = cluster() else { return };
    let mut settings = cluster.settings();
    // Long enough for a restart on a busy machine.
    settings
        .properties
        .insert("session.timeout.ms".into(), "45000".into());
    let log = KafkaLog::connect(settings.clone()).await.unwrap();
    let member = log.join("workers", "one", SLOTS).await.unwrap();
    has(member.as_ref(), |slots| slots.len() == SLOTS as usize).await;
    let mut child = Holder::start(&settings, "two");
    child.until(|count| count == SLOTS as usize / 2);
    let half = |slots: &BTreeSet<u32>| slots.len() == SLOTS as usize / 2;
    has(member.as_ref(), half).await;
    let mut mine = member.slots();
    mine.mark_unchanged();

    child.process.kill().unwrap();
    child.process.wait().unwrap();
    let mut again = Holder::start(&settings, "two");
    again.until(|count| count == SLOTS as usize / 2);
    assert!(!mine.has_changed().unwrap(), "{:?}", mine.borrow());
}

/// What keeps a paused zombie from starting its task again: it believes to have the slot, and asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_past_its_session_is_told_no() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    let mut child = Holder::start(&cluster.settings(), "two");
    child.until(|count| count == SLOTS as usize);
    signal(&child.process, "-STOP");
    let member = log.join("workers", "one", SLOTS).await.unwrap();
    has(member.as_ref(), |slots| slots.len() == SLOTS as usize).await;
    signal(&child.process, "-CONT");
    child.line_with("confirmed false");
    let half = |slots: &BTreeSet<u32>| slots.len() == SLOTS as usize / 2;
    // It comes back in good order.
    has(member.as_ref(), half).await;
}

/// Waits until the slots are as wanted.
async fn has(member: &dyn Membership, wanted: impl Fn(&BTreeSet<u32>) -> bool) {
    let mut slots = member.slots();
    let waited = tokio::time::timeout(DEADLINE, slots.wait_for(&wanted)).await;
    let seen = member.slots().borrow().clone();
    assert!(waited.is_ok(), "not within {DEADLINE:?}; it has {seen:?}");
}

fn slots(member: &dyn Membership) -> BTreeSet<u32> {
    member.slots().borrow().clone()
}

fn signal(process: &Child, signal: &str) {
    let id = process.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(sent.success());
}

/// A process of its own that is a member and tells how many slots it has.
struct Holder {
    process: Child,
    lines: Receiver<String>,
}

impl Holder {
    fn start(settings: &KafkaSettings, name: &str) -> Self {
        let timeout = settings.properties.get("session.timeout.ms");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sharing::child_holds_slots",
                "--ignored",
                "--nocapture",
            ])
            .env("PEJL_BUS_MEMBER", name)
            .env("PEJL_BUS_PREFIX", &settings.prefix)
            .env("PEJL_BUS_SESSION", timeout.map_or("6000", String::as_str))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = process.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    fn until(&mut self, wanted: impl Fn(usize) -> bool) {
        self.wait(|line| {
            line.strip_prefix("slots ")
                .is_some_and(|count| wanted(count.parse().unwrap()))
        });
    }

    fn line_with(&mut self, wanted: &str) {
        self.wait(|line| line == wanted);
    }

    fn wait(&mut self, wanted: impl Fn(&str) -> bool) {
        let end = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return,
                Ok(line) => seen.push(line),
                Err(err) => panic!("{err}; the member said {seen:?}"),
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests above"]
async fn child_holds_slots() {
    use std::io::Write;
    let Ok(name) = std::env::var("PEJL_BUS_MEMBER") else {
        return;
    };
    let settings = KafkaSettings {
        bootstrap_servers: std::env::var("PEJL_TEST_KAFKA").unwrap(),
        prefix: std::env::var("PEJL_BUS_PREFIX").unwrap(),
        properties: [(
            "session.timeout.ms".to_owned(),
            std::env::var("PEJL_BUS_SESSION").unwrap(),
        )]
        .into(),
        ..KafkaSettings::default()
    };
    let log = KafkaLog::connect(settings).await.unwrap();
    let member = log.join("workers", &name, SLOTS).await.unwrap();
    let mut slots = member.slots();
    let say = |line: String| {
        // The parent may be gone.
        writeln!(std::io::stdout().lock(), "{line}").ok();
    };
    let stop = Instant::now() + 3 * DEADLINE;
    let mut asked = Instant::now();
    while Instant::now() < stop {
        let changed = tokio::time::timeout(std::time::Duration::from_millis(20), slots.changed());
        let changed = changed.await.is_ok();
        let now = Instant::now();
        // Time has passed that this process knows nothing of: it was stopped.
        let slept = now.duration_since(asked) > std::time::Duration::from_secs(5);
        asked = now;
        if slept && let Some(slot) = slots.borrow().first().copied() {
            say(format!("confirmed {}", member.confirm(slot).await.unwrap()));
        } else if slept {
            say("confirmed false".to_owned());
        }
        if changed {
            say(format!("slots {}", slots.borrow_and_update().len()));
        }
    }
}
