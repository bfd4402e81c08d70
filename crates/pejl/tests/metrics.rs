//! What a running Pejl measures: everything in the list, nothing beside it, and numbers that fit what was done.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bus::{EmbeddedLog, Log, Record};
use stage::{Stage, Up, wait_for};
use telemetry::{Kind, metric::ALL};
use tokio_postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(180);

/// A name that no metric may have learnt.
const NAME: &str = "Kommunens Hemmelige Enhed";

#[test]
fn everything_listed_is_measured_and_nothing_else() {
    let stage = Stage::empty()
        .with_environment("PEJL_LAKE__TIDY_HOURS", "0.0003")
        .with_environment("PEJL_LANDING__FLUSH_SECONDS", "0.2");
    let drops = stage.path("drops");
    fs::create_dir_all(&drops).unwrap();
    let units = format!(
        "unit_id,municipality_code,name,kind,updated_at\n\
         u1,101,{NAME},jobcenter,2010-07-01T00:00:00Z\n\
         u2,101,Jobcenter,jobcenter,2010-07-01T00:00:00Z\n\
         u3,101,Jobcenter,bakery,2010-07-01T00:00:00Z\n"
    );
    fs::write(drops.join("units.csv"), units).unwrap();
    stage.write_source("unit", &drops);
    stage.write_source("offer", &stage.path("there/is/no/such/folder"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(put_garbage(&stage));

    let up = stage.up(&[]);
    wait_for("two units and what is told of their file", PATIENCE, || {
        let found = scrape(&up);
        let landed = |table| found.sum_where("pejl_landing_commit_rows_sum", "table", table);
        ["raw.unit", "raw.delivery", "raw.quarantine"].map(landed) == [2.0, 1.0, 1.0]
    });
    wait_for("a publication", PATIENCE, || {
        scrape(&up).sum("pejl_publication_number") >= 1.0
    });
    // The first one may have been built before the units had landed. Another process looks: nothing is counted here.
    wait_for("a publication with both units", PATIENCE, || {
        let units = stage.sorted("select unit_id from core.unit");
        units.lines().count() == 3
    });
    let session = runtime.block_on(ask(&up));
    let missing = || -> Vec<&str> {
        let found = scrape(&up);
        let names = ALL.iter().map(|it| it.name);
        names.filter(|it| !found.kinds.contains_key(*it)).collect()
    };
    wait_for("all metrics to appear", PATIENCE, || missing().is_empty());
    wait_for("the lag to be measured and worked off", PATIENCE, || {
        let found = scrape(&up);
        let lag = "pejl_landing_lag_records";
        found.of(lag).count() >= 4 && found.sum(lag) == 0.0
    });

    let found = scrape(&up);
    for (name, kind) in &found.kinds {
        let listed = ALL.iter().find(|it| it.name == name);
        let listed = listed.unwrap_or_else(|| panic!("{name} is not in the list"));
        assert_eq!(listed.kind.name(), kind, "{name}");
        for sample in found.of(name) {
            let labels = sample.labels.keys().map(String::as_str);
            let labels: BTreeSet<&str> = labels.filter(|it| *it != "le").collect();
            assert_eq!(labels, listed.labels.iter().copied().collect(), "{name}");
            assert!(sample.value >= 0.0, "{name}: {}", sample.value);
        }
        if listed.kind == Kind::Histogram {
            assert!(found.sum(&format!("{name}_count")) >= 1.0, "{name}");
        }
    }
    assert!(!found.text.contains("Hemmelige"));

    // One file of three rows, one of them of a kind there is not.
    let unit = |name: &str| found.sum_where(name, "source", "unit");
    assert_eq!(unit("pejl_source_read_records_total"), 3.0);
    assert_eq!(unit("pejl_source_sent_records_total"), 2.0);
    assert_eq!(unit("pejl_source_filtered_records_total"), 0.0);
    let rule = found.one("pejl_source_rejected_records_total");
    assert_eq!((rule.value, rule.labels["rule"].as_str()), (1.0, "values"));
    assert_eq!(unit("pejl_source_batch_records_sum"), 3.0);
    assert_eq!(unit("pejl_source_state"), 1.0, "in one state");
    let offer = |name: &str| found.sum_where(name, "source", "offer");
    assert!(offer("pejl_source_failures_total") >= 1.0);
    assert_eq!(offer("pejl_source_last_success_timestamp_seconds"), 0.0);

    let landed = |table: &str| found.sum_where("pejl_landing_commit_rows_sum", "table", table);
    assert_eq!(landed("raw.unit"), 2.0);
    assert_eq!(landed("raw.quarantine"), 1.0, "what ingest set aside");
    assert_eq!(landed("raw.delivery"), 1.0);
    let refused = found.one("pejl_landing_rejected_records_total");
    assert_eq!((refused.value, &*refused.labels["entity"]), (1.0, "unit"));
    assert_eq!(refused.labels["rule"], "encoding");
    assert_eq!(found.sum("pejl_landing_data_age_seconds"), 0.0);
    for table in ["raw.unit", "core.unit"] {
        let bytes = found.sum_where("pejl_table_written_bytes_total", "table", table);
        assert!(bytes > 500.0, "{table}: {bytes}");
    }

    assert_eq!(found.sum("pejl_build_failures"), 0.0);
    assert_eq!(
        found.sum_where("pejl_builds_total", "outcome", "failed"),
        0.0
    );
    assert_eq!(
        found.sum("pejl_publication_number"),
        found.sum_where("pejl_builds_total", "outcome", "published")
    );
    assert_eq!(found.sum("pejl_sql_connections"), 1.0);
    assert_eq!(found.sum("pejl_sql_refused_logins_total"), 1.0);
    let errors = found.one("pejl_sql_errors_total");
    assert_eq!((errors.value, &*errors.labels["class"]), (1.0, "42"));
    assert_eq!(found.sum("pejl_sql_rows_total"), 3.0);
    assert_eq!(found.sum("pejl_sql_statement_seconds_count"), 3.0);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for name in [
        "pejl_publication_timestamp_seconds",
        "pejl_landing_newest_record_timestamp_seconds",
        "process_start_time_seconds",
    ] {
        for sample in found.of(name) {
            let ago = now.as_secs_f64() - sample.value;
            assert!((-2.0..3600.0).contains(&ago), "{name}: {ago} s ago");
        }
    }
    assert!(found.sum("process_resident_memory_bytes") > 20e6);
    assert!(found.sum("pejl_log_bytes") > 4096.0);
    assert!(found.sum("pejl_log_transactions_total") >= 1.0);
    assert_eq!(found.sum("pejl_build_info"), 1.0);

    drop(session);
    wait_for("the session to end", PATIENCE, || {
        scrape(&up).sum("pejl_sql_connections") == 0.0
    });
}

/// A record that is no unit, on the topic of units.
async fn put_garbage(stage: &Stage) {
    fs::create_dir_all(stage.path("data")).unwrap();
    let log = EmbeddedLog::open(&stage.path("data")).await.unwrap();
    log.ensure_topic("pejl.unit", 4).await.unwrap();
    let mut producer = log.producer("somebody else").await.unwrap();
    let garbage = Record {
        key: Some("[\"u9\"]".into()),
        value: Some("no Avro".into()),
        ..Record::default()
    };
    producer.send("pejl.unit", vec![garbage]).await.unwrap();
    producer.commit(None).await.unwrap();
}

/// Three statements, one of them wrong, on a session that stays open; and a wrong password.
async fn ask(up: &Up) -> Client {
    let address: std::net::SocketAddr = up.sql().parse().unwrap();
    let connect = async |password: &str| {
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port());
        config.user("analyst").password(password).dbname("pejl");
        config.connect(NoTls).await
    };
    let (client, connection) = connect("not a secret").await.unwrap();
    tokio::spawn(connection);
    let units = client.simple_query("select unit_id from core.unit; select 1");
    assert_eq!(units.await.unwrap().len(), 7, "two results");
    assert!(
        client
            .simple_query("select nothing from core.unit")
            .await
            .is_err()
    );
    assert!(connect("a guess").await.is_err());
    client
}

fn scrape(up: &Up) -> Samples {
    let answer = up.get("/metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("200 OK"), "{head}");
    Samples::read(text)
}

/// A page of Prometheus text.
struct Samples {
    text: String,
    kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    fn read(text: &str) -> Self {
        let mut kinds = BTreeMap::new();
        let mut samples = Vec::new();
        for line in text.lines().filter(|it| !it.is_empty()) {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                samples.push(Sample::read(line));
            }
        }
        Self {
            text: text.to_owned(),
            kinds,
            samples,
        }
    }

    /// Samples of a metric, with those of a histogram's parts.
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let is_part = |it: &str| matches!(it, "" | "_bucket" | "_sum" | "_count");
        let samples = self.samples.iter();
        samples.filter(move |it| it.name.strip_prefix(name).is_some_and(is_part))
    }

    /// The only sample of a counter that is not 0.
    fn one<'a>(&'a self, name: &'a str) -> &'a Sample {
        let mut found = self.of(name).filter(|it| it.value > 0.0);
        let first = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} more than once");
        first
    }

    fn sum(&self, name: &str) -> f64 {
        let named = self.samples.iter().filter(|it| it.name == name);
        named.map(|it| it.value).sum()
    }

    fn sum_where(&self, name: &str, label: &str, value: &str) -> f64 {
        let named = self.samples.iter().filter(|it| it.name == name);
        let ours = named.filter(|it| it.labels.get(label).is_some_and(|it| it == value));
        ours.map(|it| it.value).sum()
    }
}

impl Sample {
    /// `name{label="value",…} 1.5`; no value has a quote in it here.
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut parts = labels.trim_end_matches('}').split('"');
        let mut pairs = BTreeMap::new();
        while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
            let label = label.trim_start_matches(',').trim_end_matches('=');
            pairs.insert(label.to_owned(), value.to_owned());
        }
        Self {
            name: name.to_owned(),
            labels: pairs,
            value: value.parse().unwrap(),
        }
    }
}
