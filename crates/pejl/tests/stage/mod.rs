//! A folder with a small synthetic world in it, and the real `pejl` binary to run over it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of the stage"
)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use chrono::NaiveDate;
use contract::PseudonymKey;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use simulator::{Municipalities, Settings, World};

/// What must be the same whatever happened on the way.
pub const MARTS: [&str; 4] = [
    "core.participation_outcome",
    "mart.offer_overview",
    "mart.visitation_guide",
    "mart.contract_status",
];

/// Entities delivered as canonical CSV files.
const KEY: &[u8] = b"a key for tests, long enough to be one";

pub struct Stage {
    pub folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A running `pejl` and the address of its HTTP server; killed when it is dropped.
pub struct Up {
    child: Child,
    pub address: String,
    sql: mpsc::Receiver<String>,
}

impl Up {
    /// Where it serves SQL, once it does; to be asked once.
    pub fn sql(&self) -> String {
        self.sql.recv().unwrap()
    }

    /// The answer to a request, with its head.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Stops it as a service manager does.
    pub fn stop(mut self) {
        let process = Pid::from_raw(self.child.id().cast_signed());
        signal::kill(process, Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Stage {
    /// A world of two municipalities as canonical CSV files, one folder and one source per entity.
    pub fn canonical(citizens: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::generate(&Settings {
            seed: 7,
            municipalities: Municipalities::Codes(vec![101, 630]),
            first_year: 2010,
            years: 2,
            citizens_per_municipality: citizens,
            as_of: NaiveDate::from_ymd_opt(2011, 12, 31).unwrap(),
        })
        .unwrap();
        let drops = folder.path().join("drops");
        simulator::write_canonical(&world, &drops, &PseudonymKey::new(KEY).unwrap()).unwrap();
        let stage = Self {
            folder,
            environment: Vec::new(),
        };
        stage.link_models();
        let mut entities: Vec<String> = fs::read_dir(&drops)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        entities.sort();
        for entity in entities {
            stage.write_source(&entity, &drops.join(&entity));
        }
        stage
    }

    /// An empty stage: sources and files are the test's own.
    pub fn empty() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        };
        stage.link_models();
        stage
    }

    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// A source that reads canonical CSV files of `entity` from `folder`.
    pub fn write_source(&self, entity: &str, folder: &Path) {
        let yaml = format!(
            "doc: Canonical files of {entity}.\nconnector: files\nentity: {entity}\nschedule: every 1s\nsettings:\n  path: {}\n",
            folder.display()
        );
        let sources = self.path("pipelines/sources");
        fs::create_dir_all(&sources).unwrap();
        fs::write(sources.join(format!("{entity}.yaml")), yaml).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pejl"));
        command
            .current_dir(self.folder.path())
            .args(["--data", "data", "--pipelines", "pipelines"])
            .args(arguments)
            .env("PEJL_HTTP__LISTEN", "127.0.0.1:0")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    pub fn pejl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs and insists on success; the answer is stdout.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let out = self.pejl(arguments);
        assert!(
            out.status.success(),
            "pejl {arguments:?}: {}\n{}\n{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    /// Starts `pejl up` and waits until it serves health.
    pub fn up(&self, environment: &[(&str, &str)]) -> Up {
        self.role("up", environment)
    }

    /// Starts a long-running role, which a test follows by itself.
    pub fn spawn(&self, role: &str, environment: &[(&str, &str)]) -> Child {
        self.command(&[role])
            .env("PEJL_SERVE__LISTEN", "127.0.0.1:0")
            .env("PEJL_SERVE__USERS__ANALYST", "not a secret")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The same as [`Stage::up`] of any long-running role.
    pub fn role(&self, role: &str, environment: &[(&str, &str)]) -> Up {
        let mut child = self.spawn(role, environment);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once("metrics on http://")?.1.to_owned()))
            .unwrap();
        let (tell, sql) = mpsc::channel();
        // Read on, or the pipe fills.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("serving SQL on ") {
                    let address = rest.split(';').next().unwrap_or(rest);
                    // Not every test wants to know.
                    tell.send(address.to_owned()).ok();
                }
            }
        });
        Up {
            child,
            address,
            sql,
        }
    }

    /// Rows of a query, sorted as text, header first.
    pub fn sorted(&self, sql: &str) -> String {
        let csv = self.ok(&["query", sql, "--format", "csv"]);
        let mut lines: Vec<&str> = csv.lines().collect();
        let mut rows = lines.split_off(1);
        rows.sort_unstable();
        lines.extend(rows);
        lines.join("\n")
    }

    /// All of [`MARTS`], sorted: equal texts are equal marts.
    pub fn marts(&self) -> String {
        MARTS
            .iter()
            .map(|table| {
                let rows = self.sorted(&format!("select * from {table}"));
                assert!(
                    rows.lines().count() > 10,
                    "{table} is nearly empty:\n{rows}"
                );
                format!("{table}\n{rows}\n")
            })
            .collect()
    }

    /// Delivers some spells again: they were over on their first day.
    pub fn correct_spells(&self) {
        let drops = self.path("drops/benefit_spell");
        let file = fs::read_dir(&drops).unwrap().next().unwrap().unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let at = |name: &str| header.iter().position(|it| *it == name).unwrap();
        let (from, to) = (at("from_date"), at("to_date"));
        let mut corrected = vec![header.join(",")];
        for line in lines.step_by(7).take(20) {
            let mut cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), header.len(), "{line}");
            cells[to] = cells[from];
            corrected.push(cells.join(","));
        }
        fs::write(drops.join("corrected.csv"), corrected.join("\n") + "\n").unwrap();
    }

    fn link_models(&self) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
        fs::create_dir_all(self.path("pipelines")).unwrap();
        for part in ["models", "definitions"] {
            let from = fs::canonicalize(repository.join(part)).unwrap();
            std::os::unix::fs::symlink(from, self.path("pipelines").join(part)).unwrap();
        }
    }
}

/// Asks until `ready` says so; panics after `deadline` with what was waited for.
pub fn wait_for(what: &str, deadline: Duration, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !ready() {
        assert!(Instant::now() < end, "waited {deadline:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Says on stderr, past the test's own capture, that the other side could not be had.
pub fn skipped(what: &str) {
    let said = writeln!(io::stderr().lock(), "{what}");
    said.unwrap();
}
