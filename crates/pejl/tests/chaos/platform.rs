//! Three workers and three landers as processes, and what is done to them.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    time::Instant,
};

use rand::{RngExt, rngs::StdRng};
use serde_json::Value;

use crate::{
    PATIENCE,
    broker::Broker,
    fault::Fault,
    source::Growing,
    stage::{Stage, wait_for},
    store::{Mood, Store},
};

const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
const LANDERS: [&str; 3] = ["lander-1", "lander-2", "lander-3"];

/// The platform under attack.
pub(crate) struct Platform {
    stage: Stage,
    running: BTreeMap<&'static str, Child>,
    entities: Vec<String>,
    broker: Broker,
    store: Store,
}

impl Platform {
    /// Everything started, nothing delivered.
    pub(crate) fn start(growing: &Growing, broker: Broker, store: Store) -> Self {
        let stage = Stage::empty();
        let drops = stage.path("drops");
        for entity in growing.entities() {
            fs::create_dir_all(drops.join(entity)).unwrap();
            stage.write_source(entity, &drops.join(entity));
        }
        let settings = format!(
            "[log]
brokers = \"{}\"
prefix = \"chaos.\"
[log.properties]
\"session.timeout.ms\" = \"6000\"
\"heartbeat.interval.ms\" = \"1000\"
\"transaction.timeout.ms\" = \"20000\"
[lake]
url = \"s3://pejl/chaos-{}/lake\"
tidy_hours = 0.01
[lake.options]
aws_endpoint = \"{}\"
aws_allow_http = \"true\"
aws_region = \"us-east-1\"
aws_access_key_id = \"pejltest\"
aws_secret_access_key = \"pejltest-secret\"
[landing]
flush_seconds = 0.3
",
            broker.address,
            std::process::id(),
            store.endpoint,
        );
        fs::write(stage.path("pejl.toml"), settings).unwrap();
        let mut platform = Self {
            stage,
            running: BTreeMap::new(),
            entities: growing.entities().to_vec(),
            broker,
            store,
        };
        for name in WORKERS.into_iter().chain(LANDERS) {
            platform.run(name);
        }
        platform
    }

    /// One round: pieces are dropped, the fault happens among them, and all that was dropped must land. Tells who was hurt, and the
    /// seconds from the moment nothing stood in the way any more until everything had landed.
    pub(crate) fn suffer(
        &mut self,
        fault: Fault,
        growing: &mut Growing,
        dice: &mut StdRng,
        what: &str,
    ) -> (String, f64) {
        let drops = self.stage.path("drops");
        let all = growing.per_round();
        let before = dice.random_range(0..=all / 2);
        growing.drop_into(&drops, before);
        let rest = |growing: &mut Growing| growing.drop_into(&drops, all - before);
        let worker = WORKERS[dice.random_range(0..WORKERS.len())];
        let lander = LANDERS[dice.random_range(0..LANDERS.len())];
        let (hurt, seconds) = match fault {
            Fault::KillWorker | Fault::KillLander => {
                let name = if fault == Fault::KillWorker {
                    worker
                } else {
                    lander
                };
                self.kill(name);
                rest(growing);
                // The others take over; it comes back to a platform that is whole.
                let seconds = self.until_landed(growing, what);
                self.run(name);
                (name, seconds)
            }
            Fault::PauseWorker | Fault::PauseLander => {
                let name = if fault == Fault::PauseWorker {
                    worker
                } else {
                    lander
                };
                self.signal(name, "-STOP");
                rest(growing);
                let seconds = self.until_landed(growing, what);
                // A zombie now: what it was about to write, others have written.
                self.signal(name, "-CONT");
                (name, seconds)
            }
            Fault::KillBroker => {
                self.broker.kill();
                rest(growing);
                self.broker.restart();
                ("broker", self.until_landed(growing, what))
            }
            Fault::StoreErrors | Fault::LostAnswers => {
                let mood = if fault == Fault::StoreErrors {
                    Mood::Failing
                } else {
                    Mood::Mute
                };
                self.store.be(mood);
                rest(growing);
                self.store.be(Mood::Well);
                ("store", self.until_landed(growing, what))
            }
            Fault::FullDisk => {
                self.kill(lander);
                self.run_without_disk(lander);
                rest(growing);
                let seconds = self.until_landed(growing, what);
                self.kill(lander);
                self.run(lander);
                (lander, seconds)
            }
        };
        self.insist_on_all_alive(what);
        (hurt.to_owned(), seconds)
    }

    /// The answer of `pejl verify`, once nothing waits.
    pub(crate) fn verify(&self) -> Value {
        let out = self.stage.pejl(&["verify", "--format", "json"]);
        let text = String::from_utf8(out.stdout).unwrap();
        serde_json::from_str(&text)
            .unwrap_or_else(|err| panic!("{err}: {text}{}", String::from_utf8_lossy(&out.stderr)))
    }

    /// The marts, built from what has landed.
    pub(crate) fn marts(&self) -> String {
        self.stage.ok(&["build"]);
        self.stage.marts()
    }

    fn until_landed(&self, growing: &Growing, what: &str) -> f64 {
        let started = Instant::now();
        wait_for(&format!("all rows to land: {what}"), PATIENCE, || {
            // The broker may not be back yet.
            let out = self.stage.pejl(&["verify", "--format", "json"]);
            let Ok(audit) = serde_json::from_slice::<Value>(&out.stdout) else {
                return false;
            };
            let landed = sum(&audit, |it| {
                let topic = it["topic"].as_str()?.strip_prefix("pejl.")?;
                let ours = self.entities.iter().any(|it| it == topic);
                it["landed"].as_u64().filter(|_| ours)
            });
            assert!(
                landed <= growing.dropped(),
                "{what}: more landed than was dropped: {audit}"
            );
            audit["verdict"] == "clean" && landed == growing.dropped()
        });
        started.elapsed().as_secs_f64()
    }

    fn run(&mut self, name: &'static str) {
        let command = self.command(name);
        self.spawn(name, command);
    }

    /// The same with no file of it allowed to grow at all.
    fn run_without_disk(&mut self, name: &'static str) {
        let command = self.command(name);
        let mut limited = Command::new("sh");
        limited
            .current_dir(command.get_current_dir().unwrap())
            .args(["-c", "ulimit -f 0; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            limited.env(key, value.unwrap_or_default());
        }
        self.spawn(name, limited);
    }

    fn command(&self, name: &str) -> Command {
        let role = if WORKERS.contains(&name) {
            "worker"
        } else {
            "land"
        };
        let mut command = self
            .stage
            .command(&[role, "--name", name, "--log-level", "warn"]);
        command.env("RUST_BACKTRACE", "1");
        command
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log_of(name))
            .spawn()
            .unwrap();
        self.running.insert(name, child);
    }

    /// A pipe read by nobody would fill, a file would be one that a full disk cannot have.
    fn log_of(&self, name: &str) -> Stdio {
        let Ok(folder) = std::env::var("PEJL_CHAOS_LOGS") else {
            return Stdio::null();
        };
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{folder}/{name}.log"));
        file.unwrap().into()
    }

    fn kill(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn signal(&self, name: &str, signal: &str) {
        let id = self.running[name].id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// A process that gave up by itself has not healed.
    fn insist_on_all_alive(&mut self, what: &str) {
        for (name, child) in &mut self.running {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: {name} ended by itself: {ended:?}");
        }
        assert_eq!(self.running.len(), WORKERS.len() + LANDERS.len());
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Something of every partition of an audit, added up.
pub(crate) fn sum(audit: &Value, of: impl Fn(&Value) -> Option<u64>) -> u64 {
    let partitions = audit["partitions"].as_array().unwrap();
    partitions.iter().filter_map(of).sum()
}
