//! The warehouse on a made-up nation: outcomes beside DuckDB on the same Parquet files, a full rebuild of everything within a memory limit,
//! and what one changed municipality and one changed record cost.
//!
//! `make bench` runs it; by hand: `PEJL_TEST_PYTHON=… cargo bench --package warehouse --bench national [-- SCALE…]`, where scale 1 is 3.8
//! million participations and 7 million spells. With `PEJL_BENCH_PLOT=FILE.svg` what builds of all these nations cost is drawn; what was
//! measured on other days is by `-- draw FILE.svg SCALE=REBUILD,MUNICIPALITY,RECORD…`, in seconds. Every measurement is a process of its
//! own, so that its peak memory is its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark: its output is its purpose"
)]

#[path = "../../pejl/src/allocator.rs"]
mod allocator;
#[path = "national/country.rs"]
mod country;
#[path = "national/plot.rs"]
mod plot;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
};
use datafusion::prelude::SessionContext;
use lake::Lake;
use serde_json::{Value, json};
use warehouse::{BuildReport, Extent, Warehouse, WarehouseSettings};

use country::{Size, land};
use plot::{Cost, draw};

const THREADS: usize = 2;
const GIB: usize = 1 << 30;

fn main() {
    allocator::keep_freed();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match text.as_slice() {
        ["child", work, lake, number] => run(child(work, Path::new(lake), number)),
        ["draw", file, costs @ ..] => {
            // cargo passes `--bench`.
            let costs = costs.iter().filter(|it| it.contains('='));
            let costs: Vec<Cost> = costs.map(|it| cost(it)).collect();
            draw(&costs, Path::new(file));
        }
        others => {
            // cargo passes `--bench`.
            let scales: Vec<f64> = others.iter().filter_map(|it| it.parse().ok()).collect();
            let scales = if scales.is_empty() { vec![1.0] } else { scales };
            let costs: Vec<Cost> = scales.into_iter().map(measure).collect();
            if let Some(file) = std::env::var_os("PEJL_BENCH_PLOT") {
                draw(&costs, Path::new(&file));
            }
        }
    }
}

/// `3=460,25,1.4` in words.
fn cost(text: &str) -> Cost {
    let (scale, seconds) = text.split_once('=').unwrap();
    let seconds = seconds.split(',').map(|it| it.parse().unwrap());
    Cost {
        scale: scale.parse().unwrap(),
        seconds: BUILDS.into_iter().zip(seconds).collect(),
    }
}

fn run(work: impl Future<Output = Value>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .thread_stack_size(16 << 20)
        .build()
        .unwrap();
    println!("{}", runtime.block_on(work));
}

/// Larger nations are only built: DuckDB holds 9 GiB for the outcomes of this one, and within 2 GiB it is built, too.
const RACED: f64 = 1.0;

/// What is timed of every nation.
const BUILDS: [&str; 3] = [
    "full rebuild",
    "one changed municipality",
    "one changed record",
];

/// All measurements of one nation.
fn measure(scale: f64) -> Cost {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let size = Size::times(scale);
    println!(
        "\nnation x {scale}: {} participations, {} spells, {} citizens, 98 municipalities; {THREADS} threads",
        size.participations, size.spells, size.citizens
    );
    let ask = |work: &str, number: &str| asked(work, folder.path(), number);
    let made = ask("generate", &scale.to_string());
    println!("generated in {:.0} s", made["seconds"].as_f64().unwrap());
    let mut full = 0.0;
    // The last is what changes are held against.
    let limits = [2.0, 4.0];
    let limits = limits.into_iter().filter(|it| scale <= RACED || *it > 2.0);
    for gib in limits {
        clear(folder.path());
        let built = ask("build", &format!("{}", gib * GIB as f64));
        full = built["seconds"].as_f64().unwrap();
        println!(
            "full rebuild, {gib} GiB limit:  {full:>7.1} s, peak {} MiB; {}",
            built["peak_mib"],
            built["report"].as_str().unwrap()
        );
    }
    // Before anything is changed: DuckDB reads every file of a folder, and there must be one version.
    if scale <= RACED {
        race(folder.path());
    }
    let mut costs = vec![(BUILDS[0], full)];
    for (work, what) in ["municipality", "record"].into_iter().zip(&BUILDS[1..]) {
        let built = ask(work, "0");
        let seconds = built["seconds"].as_f64().unwrap();
        println!(
            "{what:<24}:  {seconds:>7.2} s, {:.1} % of the full rebuild, peak {} MiB; {}",
            100.0 * seconds / full,
            built["peak_mib"],
            built["report"].as_str().unwrap()
        );
        if std::env::var_os("PEJL_BENCH_MODELS").is_some() {
            println!("{}", built["models"].as_str().unwrap());
        }
        costs.push((*what, seconds));
    }
    Cost {
        scale,
        seconds: costs,
    }
}

/// Outcomes, ours and DuckDB's, and whether they agree.
fn race(lake: &Path) {
    let Some(python) = std::env::var_os("PEJL_TEST_PYTHON") else {
        println!("outcomes beside DuckDB: skipped, PEJL_TEST_PYTHON names no Python with duckdb");
        return;
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    // One after the other and again, so that neither has the warmer files.
    for _ in 0..2 {
        ours.push(asked("outcomes", lake, "0"));
        let answer = Command::new(&python)
            .arg(here.join("benches/national/rival.py"))
            .arg(lake)
            .arg(here.join("../../schemas/reference/benefit.csv"))
            .arg(THREADS.to_string())
            .output()
            .unwrap();
        assert!(
            answer.status.success(),
            "{}",
            String::from_utf8_lossy(&answer.stderr)
        );
        theirs.push(serde_json::from_slice::<Value>(&answer.stdout).unwrap());
    }
    assert_eq!(ours[0]["rows"], theirs[0]["rows"], "the answers differ");
    let best = |all: &[Value]| {
        let seconds = all.iter().map(|it| it["seconds"].as_f64().unwrap());
        seconds.fold(f64::MAX, f64::min)
    };
    println!(
        "outcomes of all participations: {:.2} s, peak {} MiB; DuckDB {:.2} s, peak {} MiB; {:.2} x as fast, same answers",
        best(&ours),
        ours[0]["peak_mib"],
        best(&theirs),
        theirs[0]["peak_mib"],
        best(&theirs) / best(&ours)
    );
}

/// Runs a measurement in a process of its own.
fn asked(work: &str, lake: &Path, number: &str) -> Value {
    let answer = Command::new(std::env::current_exe().unwrap())
        .args(["child", work, lake.to_str().unwrap(), number])
        .output()
        .unwrap();
    assert!(
        answer.status.success(),
        "{work}: {}",
        String::from_utf8_lossy(&answer.stderr)
    );
    serde_json::from_slice(&answer.stdout).unwrap()
}

async fn child(work: &str, folder: &Path, number: &str) -> Value {
    let lake = Lake::open(folder.to_str().unwrap(), HashMap::new()).unwrap();
    match work {
        "generate" => {
            let begun = Instant::now();
            land(&lake, Size::times(number.parse().unwrap())).await;
            json!({ "seconds": begun.elapsed().as_secs_f64() })
        }
        "build" => {
            let limit = number.parse::<f64>().unwrap() as usize;
            let warehouse = open(lake, Some(limit), folder).await;
            built(&warehouse).await
        }
        "municipality" => {
            let warehouse = open(lake.clone(), Some(4 * GIB), folder).await;
            // A process that serves has built before.
            correct(&lake, "benefit_spell", "spell_id = 's-3000'").await;
            warehouse.build(&|_| {}).await.unwrap();
            correct(
                &lake,
                "benefit_spell",
                "municipality_code = 751 and _offset % 10 = 0",
            )
            .await;
            correct(
                &lake,
                "participation",
                "municipality_code = 751 and _offset % 10 = 0",
            )
            .await;
            built(&warehouse).await
        }
        "record" => {
            let warehouse = open(lake.clone(), Some(4 * GIB), folder).await;
            // A process that serves has built before.
            correct(&lake, "benefit_spell", "spell_id = 's-1000'").await;
            warehouse.build(&|_| {}).await.unwrap();
            correct(&lake, "benefit_spell", "spell_id = 's-2000'").await;
            built(&warehouse).await
        }
        "outcomes" => outcomes(&lake).await,
        // By hand, to see what a query spends its time on: `… child explain LAKE "select …"`.
        "explain" => {
            let warehouse = open(lake, None, folder).await;
            let session = warehouse.session().await.unwrap();
            let analyzed = session.sql(&format!("explain analyze {number}")).await;
            let told = analyzed.unwrap().collect().await.unwrap();
            let told = arrow::util::pretty::pretty_format_batches(&told).unwrap();
            eprintln!("{told}");
            json!({})
        }
        other => panic!("no measurement called {other}"),
    }
}

async fn open(lake: Lake, limit: Option<usize>, folder: &Path) -> Warehouse {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/models");
    let settings = WarehouseSettings {
        threads: THREADS,
        models_at_once: 2,
        memory_limit: limit,
        spill: Some(folder.join("spill")),
        ..WarehouseSettings::default()
    };
    std::fs::create_dir_all(folder.join("spill")).unwrap();
    Warehouse::open(lake, &models, settings).await.unwrap()
}

async fn built(warehouse: &Warehouse) -> Value {
    let begun = Instant::now();
    let times = std::sync::Mutex::new(Vec::new());
    let report = warehouse
        .build(&|event| {
            times
                .lock()
                .unwrap()
                .push(format!("{:>8.2} {event}", begun.elapsed().as_secs_f64()))
        })
        .await
        .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(report.is_publishable(), "{:?}", report.failures());
    json!({
        "seconds": seconds,
        "peak_mib": peak_mib(),
        "report": told(&report),
        "models": times.into_inner().unwrap().join("\n"),
    })
}

fn told(report: &BuildReport) -> String {
    let whole = report
        .built
        .iter()
        .filter(|it| matches!(it.extent, Extent::Whole(_)));
    let rows: u64 = report.built.iter().map(|it| it.rows).sum();
    format!(
        "{} models computed ({} whole), {rows} rows, {} unchanged",
        report.built.len(),
        whole.count(),
        report.kept
    )
}

/// Lands some records again, a little later than they were.
async fn correct(lake: &Lake, entity: &str, which: &str) {
    let entity = contract::entity(entity).unwrap();
    let table = entity.raw_table();
    let ctx = SessionContext::new();
    let landed = lake.provider(&table, None).await.unwrap().unwrap();
    ctx.register_table("landed", landed).unwrap();
    let columns: Vec<String> = contract::raw_schema(entity)
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "_offset" => "1000000000 + _offset".to_owned(),
            "to_date" => "to_date + 1".to_owned(),
            "hours_per_week" => "hours_per_week + 1".to_owned(),
            name => format!("\"{name}\""),
        })
        .collect();
    let sql = format!(
        "select {} from landed where {which} and _offset < 1000000000",
        columns.join(", ")
    );
    let batches = ctx.sql(&sql).await.unwrap().collect().await.unwrap();
    assert!(
        batches.iter().any(|it| it.num_rows() > 0),
        "nothing corrected"
    );
    lake.append(&table, &contract::raw_schema(entity), batches, &[])
        .await
        .unwrap();
}

/// The outcomes of all participations from current state, with nothing prepared: the models' own SQL, calendars and all.
async fn outcomes(lake: &Lake) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/models/core");
    let outcome = std::fs::read_to_string(folder.join("participation_outcome.sql")).unwrap();
    // The tables behind the two that are prepared for each municipality.
    let query = [
        (
            "core.offer_citizen as c on c.municipality_code = p.municipality_code and c.citizen_id = p.citizen_id",
            "core.citizen as c on c.citizen_id = p.citizen_id",
        ),
        (
            "core.support_calendar as k on k.municipality_code = p.municipality_code and k.citizen_id = p.citizen_id",
            "(select s.citizen_id, support_calendar(s.from_date, s.to_date) as calendar
              from core.benefit_spell as s
              join ref.benefit as b on b.code = s.benefit
                  and (b.valid_from is null or b.valid_from <= s.from_date)
                  and (b.valid_to is null or b.valid_to >= s.from_date)
              where b.counts_as_support
              group by s.citizen_id) as k on k.citizen_id = p.citizen_id",
        ),
    ]
    .into_iter()
    .fold(format!("({outcome}\n)"), |query, (prepared, behind)| {
        assert!(query.contains(prepared), "the model joins otherwise");
        query.replace(prepared, behind)
    });
    let counts = [
        ("effect_1m", vec!["success", "failure", "pending", "lost"]),
        ("effect_3m", vec!["success", "failure"]),
        ("effect_3m_sustained", vec!["success", "failure"]),
        ("effect_7m", vec!["success", "failure", "pending", "lost"]),
    ];
    let counts: Vec<String> = counts
        .iter()
        .flat_map(|(effect, states)| {
            states
                .iter()
                .map(move |state| format!("count(*) filter (where o.{effect} = '{state}')"))
        })
        .collect();
    let sql = format!(
        "select cast(o.municipality_code as bigint) as code, count(*), {}, cast(round(sum(o.prior_weeks) * 10) as bigint)
         from {query} as o group by o.municipality_code order by code",
        counts.join(", ")
    );
    let warehouse = open(lake.clone(), None, Path::new(lake_folder(lake).as_str())).await;
    let session = warehouse.session().await.unwrap();
    let begun = Instant::now();
    let answer = session.sql(&sql).await.unwrap().collect().await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    json!({ "seconds": seconds, "peak_mib": peak_mib(), "rows": numbers(&answer) })
}

fn lake_folder(lake: &Lake) -> String {
    let path = lake.path_of("spill");
    let path = path.strip_prefix("file://").unwrap_or(&path).to_owned();
    Path::new(&path).parent().unwrap().display().to_string()
}

fn numbers(batches: &[RecordBatch]) -> Vec<Vec<i64>> {
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| {
            let columns = batch.columns().iter();
            columns
                .map(|it| it.as_primitive::<Int64Type>().value(row))
                .collect()
        })
    });
    rows.collect()
}

/// Removes all that was built.
fn clear(lake: &Path) {
    for built in ["core", "mart", "_publications", "_runs"] {
        let _ = std::fs::remove_dir_all(lake.join(built));
    }
}

/// A disk, not a file system in memory.
fn scratch() -> PathBuf {
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The most memory this process has held, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|it| it.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    kib / 1024
}
