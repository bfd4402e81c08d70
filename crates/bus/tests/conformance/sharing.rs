//! Boards, and work shared between processes: who has which slot when they come, go, die and sleep.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use bus::{
    Board, Error, Group, KafkaLog, KafkaSettings, Log, Membership, Producer, SharedLog, slot_of,
};

use crate::{
    kafka::cluster,
    place::{DEADLINE, Place, position, read_all, record, value},
};

/// Into how many slots a new group's work is divided.
const SLOTS: usize = 64;

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
    let member = log.join(Group::Workers, "one").await.unwrap();
    assert_eq!(member.count() as usize, SLOTS);
    has(member.as_ref(), |slots| slots.len() == SLOTS).await;
    assert!(member.confirm(3).await.unwrap());
    assert!(!member.confirm(member.count()).await.unwrap());
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
async fn a_group_keeps_the_number_of_slots_it_was_made_with() {
    let Some(cluster) = cluster() else { return };
    cluster.make("pejl._slots.workers", 5).await;
    let log = cluster.open().await;
    let member = log.join(Group::Workers, "one").await.unwrap();
    assert_eq!(member.count(), 5);
    has(member.as_ref(), |slots| slots.len() == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_share_all_slots_and_two_take_over_from_the_third() {
    let Some(cluster) = cluster() else { return };
    let (one, two) = (cluster.open().await, cluster.open().await);
    let one = one.join(Group::Workers, "one").await.unwrap();
    has(one.as_ref(), |slots| slots.len() == SLOTS).await;
    let two = two.join(Group::Workers, "two").await.unwrap();
    let mut three = Holder::start(&cluster.settings(), "three");
    let [first, second, third] = evenly(one.as_ref(), two.as_ref(), &mut three).await;
    let (kept, lost) = (*first.first().unwrap(), *third.first().unwrap());
    assert!(one.confirm(kept).await.unwrap());
    assert!(!two.confirm(kept).await.unwrap());
    assert!(!one.confirm(lost).await.unwrap());
    // Another group is another matter.
    let lander = cluster.open().await.join(Group::Landers, "one").await;
    has(lander.unwrap().as_ref(), |slots| slots.len() == SLOTS).await;

    three.process.kill().unwrap();
    three.process.wait().unwrap();
    has(one.as_ref(), |slots| slots.len() == SLOTS / 2).await;
    has(two.as_ref(), |slots| slots.len() == SLOTS / 2).await;
    let (more, most) = (slots(one.as_ref()), slots(two.as_ref()));
    assert!(more.is_disjoint(&most), "{more:?} {most:?}");
    assert!(more.is_superset(&first), "{first:?} became {more:?}");
    assert!(most.is_superset(&second), "{second:?} became {most:?}");

    let mut three = Holder::start(&cluster.settings(), "three");
    let [first, second, _] = evenly(one.as_ref(), two.as_ref(), &mut three).await;
    assert!(first.is_subset(&more), "{more:?} became {first:?}");
    assert!(second.is_subset(&most), "{most:?} became {second:?}");
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
    let member = log.join(Group::Workers, "one").await.unwrap();
    has(member.as_ref(), |slots| slots.len() == SLOTS).await;
    let mut child = Holder::start(&settings, "two");
    child.until(|slots| slots.len() == SLOTS / 2);
    has(member.as_ref(), |slots| slots.len() == SLOTS / 2).await;
    let mut mine = member.slots();
    mine.mark_unchanged();

    child.process.kill().unwrap();
    child.process.wait().unwrap();
    let mut again = Holder::start(&settings, "two");
    again.until(|slots| *slots == child.slots);
    assert!(!mine.has_changed().unwrap(), "{:?}", mine.borrow());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_under_a_name_ends_the_first() {
    let Some(cluster) = cluster() else { return };
    let (one, two) = (cluster.open().await, cluster.open().await);
    let first = one.join(Group::Workers, "twin").await.unwrap();
    has(first.as_ref(), |slots| slots.len() == SLOTS).await;
    let second = two.join(Group::Workers, "twin").await.unwrap();
    let lost = tokio::time::timeout(DEADLINE, first.lost()).await.unwrap();
    assert!(
        matches!(&lost, Error::Settings(text) if text.contains("[node] name")),
        "{lost:?}"
    );
    has(first.as_ref(), BTreeSet::is_empty).await;
    assert!(!first.confirm(3).await.unwrap());
    has(second.as_ref(), |slots| slots.len() == SLOTS).await;
}

/// A paused zombie wakes up in the middle of a transaction: what it writes is refused by the brokers, whatever it believes.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_past_its_session_writes_nothing() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut child = Holder::start(&cluster.settings(), "two");
    child.until(|slots| slots.len() == SLOTS);
    child.line_with("sent");
    signal(&child.process, "-STOP");
    let member = log.join(Group::Workers, "one").await.unwrap();
    has(member.as_ref(), |slots| slots.len() == SLOTS).await;
    let mut producer = log.producer("task").await.unwrap();
    assert!(member.confirm(0).await.unwrap());
    assert_eq!(log.position("source").await.unwrap(), None);
    signal(&child.process, "-CONT");
    child.line_with("commit fenced");
    producer.send("t", vec![record("k", "mine")]).await.unwrap();
    let mine = ("source", &position(1));
    producer.commit(Some(mine)).await.unwrap();
    let read = read_all(log.as_ref(), "t", 1).await;
    let values: Vec<_> = read.iter().map(|read| value(&read.record)).collect();
    assert_eq!(values, ["mine"]);
    assert_eq!(log.position("source").await.unwrap(), Some(position(1)));
    // It comes back in good order.
    has(member.as_ref(), |slots| slots.len() == SLOTS / 2).await;
}

/// Waits until the three have all slots between them, as evenly as can be.
async fn evenly(
    one: &dyn Membership,
    two: &dyn Membership,
    three: &mut Holder,
) -> [BTreeSet<u32>; 3] {
    let end = Instant::now() + DEADLINE;
    loop {
        three.hear();
        let shares = [slots(one), slots(two), three.slots.clone()];
        let all: BTreeSet<u32> = shares.iter().flatten().copied().collect();
        let count: usize = shares.iter().map(BTreeSet::len).sum();
        let fair = SLOTS / 3..=SLOTS.div_ceil(3);
        if all.len() == SLOTS
            && count == SLOTS
            && shares.iter().all(|share| fair.contains(&share.len()))
        {
            return shares;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {shares:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

/// A process of its own that is a member, tells which slots it has, and once it has all of them begins a transaction.
struct Holder {
    process: Child,
    lines: Receiver<String>,
    slots: BTreeSet<u32>,
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
        Self {
            process,
            lines,
            slots: BTreeSet::new(),
        }
    }

    /// Takes in what it has said, without waiting.
    fn hear(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
    }

    fn until(&mut self, wanted: impl Fn(&BTreeSet<u32>) -> bool) {
        self.wait(|child, _| wanted(&child.slots));
    }

    fn line_with(&mut self, wanted: &str) {
        self.wait(|_, line| line == wanted);
    }

    fn wait(&mut self, wanted: impl Fn(&Self, &str) -> bool) {
        let end = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.note(&line);
                    if wanted(self, &line) {
                        return;
                    }
                    seen.push(line);
                }
                Err(err) => panic!("{err}; the member said {seen:?}"),
            }
        }
    }

    fn note(&mut self, line: &str) {
        if let Some(slots) = line.strip_prefix("slots") {
            self.slots = slots
                .split_whitespace()
                .map(|slot| slot.parse().unwrap())
                .collect();
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
    let log: SharedLog = Arc::new(KafkaLog::connect(settings).await.unwrap());
    let member = log.join(Group::Workers, &name).await.unwrap();
    let mut slots = member.slots();
    let mut open = None;
    let stop = Instant::now() + 3 * DEADLINE;
    let mut asked = Instant::now();
    while Instant::now() < stop {
        let changed = tokio::time::timeout(Duration::from_millis(20), slots.changed());
        let changed = changed.await.is_ok();
        let now = Instant::now();
        // Time has passed that this process knows nothing of: it was stopped.
        let slept = now.duration_since(asked) > Duration::from_secs(5);
        asked = now;
        if slept && let Some(mut producer) = open.take() {
            let theirs = position(2);
            let producer: &mut Box<dyn Producer> = &mut producer;
            match producer.commit(Some(("source", &theirs))).await {
                Err(Error::Fenced(_)) => say("commit fenced"),
                other => say(&format!("commit {other:?}")),
            }
        }
        if changed {
            let slots = slots.borrow_and_update().clone();
            let names: Vec<String> = slots.iter().map(u32::to_string).collect();
            say(&format!("slots {}", names.join(" ")));
            if slots.len() == SLOTS && name == "two" && open.is_none() {
                open = begin(&log).await;
            }
        }
    }
}

/// An open transaction on topic `t`, where there is one.
async fn begin(log: &SharedLog) -> Option<Box<dyn Producer>> {
    let topic = log.topics("t").await.unwrap().pop()?;
    let mut producer = log.producer("task").await.unwrap();
    let records = vec![record("k", "theirs")];
    producer.send(&topic.name, records).await.unwrap();
    say("sent");
    Some(producer)
}

fn say(line: &str) {
    // The parent may be gone.
    writeln!(std::io::stdout().lock(), "{line}").ok();
}
