//! A build on a Ballista cluster over an object store gives what a build in one process gives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

#[path = "incremental/tables.rs"]
mod tables;

mod stage;

use std::{
    collections::HashMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lake::Lake;
use warehouse::{Warehouse, WarehouseSettings};

use stage::{Stage, skipped, wait_for};

/// Each executor runs so many tasks at a time.
const TASKS: &str = "2";

#[test]
fn a_build_on_two_executors_gives_the_same_tables() {
    let Ok(endpoint) = std::env::var("PEJL_TEST_S3") else {
        return skipped("CLUSTER SKIPPED: PEJL_TEST_S3 is not set");
    };
    let store = [
        ("aws_endpoint", endpoint.as_str()),
        ("aws_allow_http", "true"),
        ("aws_region", "us-east-1"),
        ("aws_access_key_id", "pejltest"),
        ("aws_secret_access_key", "pejltest-secret"),
    ];
    let mut stage = Stage::canonical(60);
    for (name, value) in store {
        let name = format!("PEJL_LAKE__OPTIONS__{}", name.to_uppercase());
        stage = stage.with_environment(&name, value);
    }
    let lake_at = |name: &str| format!("s3://pejl/cluster-{}/{name}", std::process::id());
    let (here, there) = (lake_at("here"), lake_at("there"));
    let run = |arguments: &[&str], lake: &str, scheduler: &str| {
        let mut command = stage.command(arguments);
        command
            .env("PEJL_LAKE__URL", lake)
            .env("PEJL_CLUSTER__SCHEDULER", scheduler)
            .env("PEJL_CLUSTER__PARTS", "4");
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{arguments:?}: {said}\n{errors}");
        said
    };
    run(&["run", "--once"], &here, "");
    run(&["land", "--once"], &there, "");

    let cluster = Cluster::start(&stage, &there);
    run(&["build"], &there, &cluster.scheduler);
    for folder in &cluster.folders {
        // What an executor gives stays with it for a while.
        assert!(
            fs::read_dir(folder).unwrap().count() > 0,
            "{folder:?} has done nothing"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(16 << 20)
        .build()
        .unwrap();
    let open = |lake: &str| {
        let options: HashMap<String, String> = store
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let lake = Lake::open(lake, options).unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/models");
        runtime
            .block_on(Warehouse::open(lake, &models, WarehouseSettings::default()))
            .unwrap()
    };
    runtime.block_on(tables::assert_same(&open(&there), &open(&here)));

    // A correction is worked in there as here.
    stage.correct_spells();
    run(&["run", "--once"], &here, "");
    run(&["land", "--once"], &there, "");
    let said = run(&["build"], &there, &cluster.scheduler);
    assert!(said.contains("publication 2"), "{said}");
    runtime.block_on(tables::assert_same(&open(&there), &open(&here)));
}

/// A scheduler and two executors, each a process.
struct Cluster {
    scheduler: String,
    folders: Vec<std::path::PathBuf>,
    processes: Vec<Child>,
}

impl Cluster {
    fn start(stage: &Stage, lake: &str) -> Self {
        let scheduler = format!("127.0.0.1:{}", free_port());
        let mut cluster = Self {
            scheduler: scheduler.clone(),
            folders: Vec::new(),
            processes: Vec::new(),
        };
        let begin = |command: &mut Command| {
            command
                .env("PEJL_LAKE__URL", lake)
                .env("PEJL_CLUSTER__SCHEDULER", &scheduler)
                .env("PEJL_CLUSTER__LISTEN", &scheduler)
                .env("PEJL_LOG", "warn,ballista_scheduler::display=off")
                .stdout(Stdio::null())
                .stderr(Stdio::inherit())
                .spawn()
                .unwrap()
        };
        cluster
            .processes
            .push(begin(&mut stage.command(&["scheduler"])));
        for name in ["one", "two"] {
            let folder = stage.path(name);
            let mut command = stage.command(&["executor"]);
            command
                .env("PEJL_CLUSTER__PORT", free_port().to_string())
                .env("PEJL_CLUSTER__FOLDER", &folder)
                .env("PEJL_BUILD__THREADS", TASKS);
            cluster.processes.push(begin(&mut command));
            cluster.folders.push(folder);
        }
        wait_for("the scheduler to listen", Duration::from_secs(60), || {
            std::net::TcpStream::connect(&scheduler).is_ok()
        });
        cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Whoever builds on a cluster that is not there is told where it was looked for.
#[test]
fn a_scheduler_that_is_not_there_is_named() {
    let stage = Stage::canonical(20);
    stage.ok(&["run", "--once"]);
    let nobody = format!("127.0.0.1:{}", free_port());
    stage.correct_spells();
    let out = stage
        .command(&["run", "--once"])
        .env("PEJL_CLUSTER__SCHEDULER", &nobody)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(
        said.contains(&nobody) && said.contains("pejl scheduler"),
        "{said}"
    );
    // And without it the same build goes on.
    assert!(stage.ok(&["build"]).contains("publication 2"));
}
