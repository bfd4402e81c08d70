//! A full disk: nothing half done shows or stays, the error says what to do, and landing goes on once there is room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use contract::FixBy;
use landing::What;
use stage::{Stage, UNITS, units};
use tokio_util::sync::CancellationToken;

/// The small disk, for the run of this test that has one.
const DISK: &str = "LANDING_TEST_SMALL_DISK";

/// What a file on it takes up at least.
const PAGE: u64 = 4096;

#[test]
fn landing_outlasts_a_full_disk() {
    if let Some(disk) = std::env::var_os(DISK) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(outlast(Path::new(&disk)));
    }
    // Again in a mount namespace of its own, where anybody may mount a small disk.
    let folder = tempfile::tempdir().unwrap();
    let with_disk = |then: &str| {
        let script = format!("mount -t tmpfs -o size=1m none \"$1\" && {then}");
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            "sh",
        ]);
        command.arg(folder.path());
        command
    };
    if !with_disk("true").status().is_ok_and(|it| it.success()) {
        let text = b"FULL DISK SKIPPED: this system lets nobody mount a small one\n";
        return std::io::stderr().write_all(text).unwrap();
    }
    let mut again = with_disk("exec \"$2\" --exact landing_outlasts_a_full_disk --nocapture");
    let again = again.arg(std::env::current_exe().unwrap());
    let done = again.env(DISK, folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}

async fn outlast(disk: &Path) {
    let mut stage = Stage::new().await;
    stage.disk = Some(disk.join("lake"));
    stage.send(UNITS, units(0..10)).await;
    stage.catch_up().await;
    let before = files(disk);

    // Room for ever more of what must be written: each write of a landing is the one that fails, once.
    let filler = disk.join("filler");
    let size = fill(&filler);
    stage.send(UNITS, units(10..20)).await;
    let mut failures = 0;
    for pages in 0.. {
        let file = File::options().write(true).open(&filler).unwrap();
        file.set_len(size - pages * PAGE).unwrap();
        let Err(err) = stage.restarted().catch_up(&stage.observe()).await else {
            break;
        };
        failures += 1;
        assert_eq!(
            (err.fix_by(), err.is_retryable()),
            (FixBy::Settings, true),
            "{err}"
        );
        assert!(err.to_string().contains("no space left"), "{err}");
        assert_eq!(stage.count("unit").await, 10);
        // What an upload had written goes as it is dropped, a moment later.
        let mut left = before.clone();
        left.push(filler.clone());
        left.sort();
        stage.until(async || files(disk) == left).await;
    }
    assert!(failures > 1, "{failures}");
    assert_eq!(stage.count("unit").await, 20);

    // A running lander tells, and goes on by itself.
    fill(&filler);
    stage.send(UNITS, units(20..30)).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (lander, stop, observe) = (stage.restarted(), stop.clone(), stage.observe());
        async move { lander.run("lander", stop, &observe).await }
    });
    let told =
        |what: &What| matches!(what, What::Failed { error, .. } if error.contains("no space left"));
    stage.until(async || stage.saw(told) > 0).await;
    fs::remove_file(&filler).unwrap();
    stage.until(async || stage.count("unit").await == 30).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    stage.assert_complete().await;
}

/// Writes until there is no room for a byte, and tells how many there was room for.
fn fill(path: &Path) -> u64 {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    file.metadata().unwrap().len()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
