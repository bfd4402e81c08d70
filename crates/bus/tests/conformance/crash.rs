//! kill -9 at random moments: every acknowledged transaction is there entire, and no other is there in part.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use bus::{EmbeddedLog, Log, Record};

use crate::{
    embedded::Folder,
    place::{DEADLINE, Place, noise, position, read_all, record, value},
};

const ROUNDS: usize = 15;
const TASKS: [&str; 2] = ["even", "odd"];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_whole_transactions() {
    let folder = Folder::new();
    let mut last_acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        // Unpredictable, between right after the start and some commits later.
        let patience = Duration::from_micros(RandomState::new().hash_one(round) % 150_000);
        for (task, n) in acknowledged_before_kill(folder.path(), patience) {
            last_acknowledged.insert(task, n);
        }
        let log = folder.open().await;
        check(
            log.as_ref(),
            &last_acknowledged,
            &format!("round {round}, killed after {patience:?}"),
        )
        .await;
        assert_eq!(folder.count("staged"), 0);
        assert_eq!(folder.count("payloads"), folder.count("blocks"));
    }
    assert_eq!(
        last_acknowledged.len(),
        TASKS.len(),
        "too slow a machine to kill anything at work"
    );
}

/// Runs the writing child, kills it `patience` after its first acknowledgement, and returns all it acknowledged.
fn acknowledged_before_kill(folder: &Path, patience: Duration) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_writes_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("PEJL_BUS_CHILD", folder)
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap();
    let (sender, lines) = channel();
    let output = child.0.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut words = line.split(' ');
            if words.next() == Some("ack") {
                let task = words.next().unwrap().to_owned();
                sender
                    .send((task, words.next().unwrap().parse().unwrap()))
                    .ok();
            }
        }
    });
    let mut acknowledged = vec![
        lines
            .recv_timeout(DEADLINE)
            .expect("the child never wrote anything"),
    ];
    let killing = Instant::now() + patience;
    loop {
        match lines.recv_timeout(killing.saturating_duration_since(Instant::now())) {
            Ok(line) => acknowledged.push(line),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
        }
    }
    drop(child);
    reader.join().unwrap();
    acknowledged.extend(lines);
    acknowledged
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn check(log: &dyn Log, acknowledged: &BTreeMap<String, u64>, round: &str) {
    let mut found: BTreeMap<(String, u64), Vec<String>> = BTreeMap::new();
    for (topic, partitions) in [("a", 3), ("b", 1)] {
        for delivered in read_all(log, topic, partitions).await {
            let task = String::from_utf8(delivered.record.headers[0].1.to_vec()).unwrap();
            let n = delivered.record.timestamp_ms as u64;
            let seen = match topic {
                "b" => "b".to_owned(),
                _ => String::from_utf8(delivered.record.key.clone().unwrap().to_vec()).unwrap(),
            };
            if delivered
                .record
                .value
                .as_ref()
                .is_some_and(|bytes| bytes.len() < 100)
            {
                assert_eq!(value(&delivered.record), n.to_string(), "{round}");
            }
            found.entry((task, n)).or_default().push(seen);
        }
    }
    for task in TASKS {
        let last = log
            .position(task)
            .await
            .unwrap()
            .map_or(0, |at| at.0.as_u64().unwrap());
        let acknowledged = acknowledged.get(task).copied().unwrap_or(0);
        assert!(
            last >= acknowledged,
            "{round}: {task} acknowledged {acknowledged}, found {last}"
        );
        for n in 1..=last {
            let mut expected: Vec<_> = records(task, n)
                .iter()
                .map(|record| String::from_utf8(record.key.clone().unwrap().to_vec()).unwrap())
                .chain(["b".to_owned()])
                .collect();
            let mut whole = found.remove(&(task.to_owned(), n)).unwrap_or_default();
            expected.sort();
            whole.sort();
            assert_eq!(whole, expected, "{round}: transaction {n} of {task}");
        }
    }
    assert!(
        found.is_empty(),
        "{round}: beyond the last position: {:?}",
        found.keys()
    );
}

/// Transaction `n` of a task: every tenth is too large for memory and is staged.
fn records(task: &str, n: u64) -> Vec<Record> {
    let count = if n.is_multiple_of(10) { 8 } else { 1 + n % 40 };
    let one = |i: u64| {
        let mut one = record(&format!("{task} {i}"), &n.to_string());
        if n.is_multiple_of(10) {
            one.value = Some(noise(1 << 20, n * 100 + i).into());
        }
        one.headers.push(("task".into(), task.to_owned().into()));
        one.timestamp_ms = n as i64;
        one
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_kill_leaves_whole_transactions"]
async fn child_writes_until_killed() {
    let Some(folder) = std::env::var_os("PEJL_BUS_CHILD") else {
        return;
    };
    let log = EmbeddedLog::open(Path::new(&folder)).await.unwrap();
    log.ensure_topic("a", 3).await.unwrap();
    log.ensure_topic("b", 1).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in TASKS {
        let log = log.clone();
        tasks.spawn(async move {
            let mut producer = log.producer(task).await.unwrap();
            let mut n = log
                .position(task)
                .await
                .unwrap()
                .map_or(0, |at| at.0.as_u64().unwrap());
            let stop = Instant::now() + DEADLINE;
            while Instant::now() < stop {
                n += 1;
                producer.send("a", records(task, n)).await.unwrap();
                let mut last = record("b", &n.to_string());
                last.headers.push(("task".into(), task.into()));
                last.timestamp_ms = n as i64;
                producer.send("b", vec![last]).await.unwrap();
                producer.commit(Some((task, &position(n)))).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {task} {n}").unwrap();
                out.flush().unwrap();
            }
        });
    }
    tasks.join_all().await;
}
