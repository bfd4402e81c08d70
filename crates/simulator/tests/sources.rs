//! The sources a simulated world plays: HTTP with pages, tokens and limits; files with their quirks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
};

use chrono::NaiveDate;
use encoding_rs::WINDOWS_1252;
use serde_json::{Value, json};
use simulator::{
    Attendance, Benchmark, BenefitSpell, CaseSystem, Citizen, Complaint, Interview, LabourForce,
    Municipalities, Participation, ProgressMeasurement, Record, Settings, SupervisionVisit,
    SurveyResponse, World, pipelines, write_provider_drops, write_survey_export,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};

const TOKEN: &str = "open-sesame";

fn world() -> World {
    World::generate(&Settings {
        municipalities: Municipalities::Codes(vec![101, 630]),
        citizens_per_municipality: 400,
        years: 2,
        as_of: day(2011, 3, 15),
        ..Settings::default()
    })
    .unwrap()
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// A running case system and the guard that stops it.
struct Running {
    system: CaseSystem,
    address: SocketAddr,
    _stop: DropGuard,
}

/// Status, headers in lower case, body.
type Reply = (u16, String, String);

impl Running {
    async fn start(world: &World) -> Self {
        let system = CaseSystem::new(world, TOKEN);
        let stop = CancellationToken::new();
        let any = "127.0.0.1:0".parse().unwrap();
        let address = system.serve(any, stop.clone()).await.unwrap();
        Self {
            system,
            address,
            _stop: stop.drop_guard(),
        }
    }

    async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: sim\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        let reply = String::from_utf8(reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    /// One page, asked for again as long as the system wants it asked again; how often that was.
    async fn page(&self, path: &str) -> (Value, u32) {
        for turned_away in 0..5 {
            let (status, head, body) = self.call("GET", path, TOKEN, "").await;
            if status == 200 {
                return (serde_json::from_str(&body).unwrap(), turned_away);
            }
            assert!(status == 429 || status == 503, "{path}: {status} {body}");
            assert!(head.contains("retry-after: 0"), "{head}");
        }
        panic!("{path}: turned away again and again");
    }

    /// All records of an entity; how often we were turned away.
    async fn all(&self, entity: &str, query: &str) -> (Vec<Value>, u32) {
        let mut records = Vec::new();
        let mut turned_away = 0;
        for page in 1.. {
            let path = format!("/api/101/{entity}?page={page}&page_size=50{query}");
            let (body, again) = self.page(&path).await;
            turned_away += again;
            assert_eq!(body["page"], page);
            let data = body["data"].as_array().unwrap();
            if data.is_empty() {
                assert!(page > body["pages"].as_u64().unwrap() || page == 1);
                break;
            }
            records.extend(data.iter().cloned());
        }
        (records, turned_away)
    }
}

#[tokio::test]
async fn pages_are_complete_and_in_the_systems_own_words() {
    let world = world();
    let running = Running::start(&world).await;
    let (records, turned_away) = running.all("participation", "").await;
    let seen: Vec<_> = world
        .seen::<Participation>()
        .filter(|it| it.municipality_code == 101)
        .collect();
    let ids: BTreeSet<String> = records
        .iter()
        .map(|it| it["forloebId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(records.len(), seen.len());
    assert_eq!(
        ids,
        seen.iter()
            .map(|it| it.participation_id.to_string())
            .collect()
    );
    assert!(turned_away > 0, "nobody was ever turned away");
    let words: BTreeSet<&str> = records
        .iter()
        .map(|it| it["virksomhedsplads"].as_str().unwrap())
        .collect();
    assert!(
        words.contains("Ingen") && words.contains("Virksomhedspraktik"),
        "{words:?}"
    );
    assert!(records.iter().any(|it| it["cprNummer"].is_number()));
    assert!(records.iter().any(|it| {
        it["cprNummer"]
            .as_str()
            .is_some_and(|cpr| cpr.as_bytes()[6] == b'-')
    }));
    for record in &records {
        assert!(record.get("citizen_id").is_none() && record.get("start_date").is_none());
        let text = match &record["cprNummer"] {
            Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        assert!(contract::Cpr::parse(&text).is_some());
    }
    let (body, _) = running.page("/api/101/participation").await;
    assert_eq!(body["complete_through"], "2011-03-15");
}

#[tokio::test]
async fn strangers_and_nonsense_are_refused_in_json() {
    let running = Running::start(&world()).await;
    let (status, _, body) = running.call("GET", "/api/101/citizen", "wrong", "").await;
    assert_eq!(status, 401);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["fejl"]["status"], 401);
    for (path, expected) in [
        ("/api/999/citizen", 404),
        ("/api/101/horoscope", 404),
        ("/api/101/citizen?changed_since=yesterday", 400),
    ] {
        let (status, _, body) = running.call("GET", path, TOKEN, "").await;
        assert_eq!(status, expected, "{path}");
        serde_json::from_str::<Value>(&body).unwrap();
    }
}

#[tokio::test]
async fn only_what_changed_since_is_told() {
    let world = world();
    let running = Running::start(&world).await;
    let (before, _) = running.all("benefit_spell", "").await;
    let latest = before
        .iter()
        .map(|it| it["opdateret"].as_str().unwrap())
        .max()
        .unwrap()
        .to_owned();
    let since = format!("&changed_since={latest}");
    assert!(running.all("benefit_spell", &since).await.0.is_empty());
    assert_eq!(running.system.advance(30), day(2011, 4, 14));
    let (changed, _) = running.all("benefit_spell", &since).await;
    let expected: BTreeSet<String> = running
        .system
        .world()
        .seen::<BenefitSpell>()
        .filter(|it| it.municipality_code == 101 && it.updated_at > world.now())
        .map(|it| it.spell_id.to_string())
        .collect();
    assert!(!expected.is_empty());
    let told = changed
        .iter()
        .map(|it| it["ydelsesforloebId"].as_str().unwrap().to_owned());
    assert_eq!(told.collect::<BTreeSet<String>>(), expected);
    let known: BTreeSet<&str> = before
        .iter()
        .map(|it| it["ydelsesforloebId"].as_str().unwrap())
        .collect();
    let renewed = expected
        .iter()
        .filter(|it| known.contains(it.as_str()))
        .count();
    assert!(
        renewed > 0 && renewed < expected.len(),
        "both new and ended spells"
    );
}

#[tokio::test]
async fn pages_of_one_reading_hold_still_while_time_goes_on() {
    let world = world();
    let running = Running::start(&world).await;
    let mut read = Vec::new();
    for page in 1.. {
        let path = format!("/api/101/interview?page={page}&page_size=40");
        let (body, _) = running.page(&path).await;
        assert_eq!(body["complete_through"], "2011-03-15");
        let data = body["data"].as_array().unwrap();
        if data.is_empty() {
            break;
        }
        read.extend(
            data.iter()
                .map(|it| it["samtaleId"].as_str().unwrap().to_owned()),
        );
        let (status, _, _) = running
            .call("POST", "/control/advance?days=20", TOKEN, "")
            .await;
        assert!([200, 429, 503].contains(&status));
    }
    let expected: BTreeSet<String> = world
        .seen::<Interview>()
        .filter(|it| it.municipality_code == 101)
        .map(|it| it.interview_id.to_string())
        .collect();
    assert_eq!(read.len(), expected.len());
    assert_eq!(read.into_iter().collect::<BTreeSet<String>>(), expected);
    assert!(running.system.world().date() > world.date());
}

#[tokio::test]
async fn statistics_denmark_answers_in_its_own_shapes() {
    let world = world().as_of(day(2011, 12, 31));
    let running = Running::start(&world).await;
    let ask = |path: &'static str, body: Value| {
        let running = &running;
        async move { running.call("POST", path, "", &body.to_string()).await }
    };
    let (status, _, info) = ask("/statbank/v1/tableinfo", json!({"table": "RAS201"})).await;
    assert_eq!(status, 200);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["updated"], "2011-10-28T08:00:00");
    let years: Vec<&str> = info["variables"][3]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(years, ["2009", "2010"]);
    let asked = |format: &str| {
        json!({
            "table": "RAS201", "lang": "da", "format": format, "valuePresentation": "Code",
            "variables": [
                {"code": "OMRÅDE", "values": ["101"]}, {"code": "SOCIO", "values": ["BES", "LED"]},
                {"code": "HERKOMST", "values": ["2"]}, {"code": "TID", "values": ["2009"]},
            ],
        })
    };
    let (_, head, csv) = ask("/statbank/v1/data", asked("csv")).await;
    assert!(head.contains("text/csv; charset=utf-8"), "{head}");
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "\u{feff}OMRÅDE;SOCIO;HERKOMST;TID;INDHOLD");
    let number = |line: &str| line.rsplit(';').next().unwrap().parse::<f64>().unwrap();
    let row = world
        .seen::<LabourForce>()
        .find(|it| it.municipality_code == 101 && it.origin == "non_western")
        .unwrap();
    assert_eq!(number(lines[1]) + number(lines[2]), row.labour_force);
    assert_eq!(lines[2], format!("101;LED;2;2009;{}", row.unemployed));
    let (_, _, stat) = ask("/statbank/v1/data", asked("jsonstat")).await;
    let stat: Value = serde_json::from_str(&stat).unwrap();
    let dataset = &stat["dataset"];
    assert_eq!(
        dataset["value"],
        json!([number(lines[1]), number(lines[2])])
    );
    let dimensions = json!(["OMRÅDE", "SOCIO", "HERKOMST", "ContentsCode", "Tid"]);
    assert_eq!(dataset["dimension"]["id"], dimensions);
    assert_eq!(dataset["dimension"]["size"], json!([1, 2, 1, 1, 1]));
    let (status, _, _) = ask(
        "/statbank/v1/data",
        json!({"table": "FOLK1A", "format": "CSV"}),
    )
    .await;
    assert_eq!(status, 404);
    let unknown = json!({"table": "RAS201", "format": "CSV", "variables": [{"code": "KØN", "values": ["*"]}]});
    let (status, _, body) = ask("/statbank/v1/data", unknown).await;
    assert_eq!((status, body.contains("EXTRACT-NOTFOUND")), (400, true));
}

fn read(dir: &Path, file: &str) -> Vec<Vec<String>> {
    let bytes = fs::read(dir.join(file)).unwrap();
    let (text, _, broken) = WINDOWS_1252.decode(&bytes);
    assert!(!broken, "{file} is not Windows-1252");
    assert!(text.ends_with("\r\n") && !text.contains("\u{feff}"));
    csv::ReaderBuilder::new()
        .delimiter(b';')
        .has_headers(false)
        .from_reader(text.as_bytes())
        .records()
        .map(|it| it.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

/// Names and contents of everything under `dir/<municipality>/`.
fn folder(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for place in fs::read_dir(dir).unwrap() {
        for file in fs::read_dir(place.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn drops_are_danish_spreadsheets_with_exactly_the_bad_rows_told() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let drops = write_provider_drops(&world, dir.path()).unwrap();
    let files = folder(dir.path());
    assert_eq!(drops.files as usize, files.len());
    // Seven wrong rows for each of two municipalities.
    assert_eq!(drops.bad.len(), 14, "{:?}", drops.bad);
    let mut rows = 0;
    for file in files.keys() {
        let lines = read(dir.path(), file);
        rows += lines.len() - 1;
        assert!(lines.iter().all(|it| it.len() == lines[0].len()));
    }
    assert_eq!(drops.rows as usize, rows);
    for bad in &drops.bad {
        let lines = read(dir.path(), &bad.file);
        let line = &lines[bad.line as usize - 1];
        let wrong = ["syv", "gætværk", "høj", "måske", "01-01-1999", "brok"];
        let found: Vec<&String> = line
            .iter()
            .filter(|it| wrong.contains(&it.as_str()))
            .collect();
        assert_eq!(found.len(), 1, "{bad:?}: {line:?}");
    }
    let attendance = files.keys().find(|it| it.contains("fremmoede")).unwrap();
    let lines = read(dir.path(), attendance);
    assert_eq!(lines[0][4], "Fremmødte timer");
    let all: String = lines.iter().flatten().map(|it| format!("{it} ")).collect();
    assert!(
        lines[1][1].len() == 10 && &lines[1][1][2..3] == "-",
        "{}",
        lines[1][1]
    );
    assert!(!all.contains('.'), "a decimal point in {attendance}");
}

#[test]
fn each_month_brings_new_files_and_leaves_the_old_ones() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let first = write_provider_drops(&world, dir.path()).unwrap();
    let before = folder(dir.path());
    assert!(
        before.keys().all(|it| !it.contains("2011-03")),
        "the month was not over"
    );
    let second = write_provider_drops(&world.grow(60), dir.path()).unwrap();
    let after = folder(dir.path());
    assert!(after.keys().any(|it| it.contains("2011-04")));
    assert!(second.files > first.files);
    assert_eq!(first.bad, second.bad);
    for (name, bytes) in &before {
        assert!(after[name] == *bytes, "{name} changed");
    }
    // What closed in April is delivered again in April.
    let april = day(2011, 4, 1)..=day(2011, 4, 30);
    let later = world.grow(60);
    let mut closed = later
        .seen::<Complaint>()
        .filter(|it| it.municipality_code == 101)
        .filter(|it| {
            it.closed_date.is_some_and(|on| april.contains(&on))
                && !april.contains(&it.received_date)
        });
    assert!(closed.next().is_some(), "the test needs such a complaint");
    let delivered = |file: &str| -> Vec<String> {
        read(dir.path(), file)
            .into_iter()
            .skip(1)
            .map(|it| it[0].clone())
            .collect()
    };
    let april = delivered("101/klager-2011-04.csv");
    let earlier: Vec<String> = after
        .keys()
        .filter(|it| it.starts_with("101/klager") && it.as_str() < "101/klager-2011-04.csv")
        .flat_map(|it| delivered(it))
        .collect();
    assert!(april.iter().any(|it| earlier.contains(it)));
}

#[test]
fn everything_seen_by_the_end_of_a_month_is_in_the_drops() {
    let world = world().as_of(day(2011, 3, 31));
    let dir = tempfile::tempdir().unwrap();
    let drops = write_provider_drops(&world, dir.path()).unwrap();
    let bad: BTreeSet<(&str, u64)> = drops
        .bad
        .iter()
        .map(|it| (it.file.as_str(), it.line))
        .collect();
    let mut delivered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in folder(dir.path()).keys() {
        let kind = file.split('/').nth(1).unwrap().split('-').next().unwrap();
        for (line, fields) in read(dir.path(), file).into_iter().enumerate().skip(1) {
            if !bad.contains(&(file.as_str(), line as u64 + 1)) {
                let width = if kind == "fremmoede" { 3 } else { 1 };
                delivered
                    .entry(kind.to_owned())
                    .or_default()
                    .insert(fields[..width].join(" "));
            }
        }
    }
    let danish = |it: NaiveDate| it.format("%d-%m-%Y").to_string();
    let attendance = world
        .seen::<Attendance>()
        .map(|it| format!("{} {} {}", it.participation_id, danish(it.date), it.source));
    assert_eq!(delivered["fremmoede"], attendance.collect());
    let visits = world
        .seen::<SupervisionVisit>()
        .map(|it| it.visit_id.to_string());
    assert_eq!(delivered["tilsyn"], visits.collect());
    let complaints = world
        .seen::<Complaint>()
        .map(|it| it.complaint_id.to_string());
    assert_eq!(delivered["klager"], complaints.collect());
    let scores = world
        .seen::<ProgressMeasurement>()
        .map(|it| it.measurement_id.to_string());
    assert_eq!(delivered["progression"], scores.collect());
}

#[test]
fn a_survey_export_is_rewritten_as_answers_come_in() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let written = write_survey_export(&world, dir.path()).unwrap();
    assert_eq!(
        written.rows as usize,
        world.seen::<SurveyResponse>().count()
    );
    let before = folder(dir.path());
    for (name, bytes) in &before {
        assert!(
            bytes.starts_with(b"\xef\xbb\xbf\"id\";\"submitdate\""),
            "{name}"
        );
        assert!(bytes.ends_with(b"\"\r\n\r\n"), "{name}");
    }
    let name = "101/survey-tilbud-2011H1.csv";
    let rows = |bytes: &[u8]| -> Vec<csv::StringRecord> {
        let reader = csv::ReaderBuilder::new()
            .delimiter(b';')
            .from_reader(bytes)
            .into_records();
        reader.map(Result::unwrap).collect()
    };
    let answered = |bytes: &[u8]| rows(bytes).iter().filter(|it| !it[1].is_empty()).count();
    assert!(answered(&before[name]) < rows(&before[name]).len());
    write_survey_export(&world.grow(20), dir.path()).unwrap();
    let after = folder(dir.path());
    assert!(answered(&after[name]) > answered(&before[name]));
    assert!(after["101/survey-tilbud-2010H1.csv"] == before["101/survey-tilbud-2010H1.csv"]);
}

#[test]
fn the_pipelines_are_well_formed_and_cover_every_entity() {
    let world = world();
    let files = pipelines(
        &world,
        "http://127.0.0.1:8700/",
        Path::new("drops/it's here"),
    );
    let lookup = |name: &str| (name == "SIM_TOKEN").then(|| TOKEN.to_owned());
    let mut entities = BTreeSet::new();
    for (file, text) in &files {
        let name = file.strip_suffix(".yaml").unwrap();
        let pipeline = spec::parse_pipeline(name, file, text, &lookup)
            .unwrap_or_else(|err| panic!("{err}\n{text}"));
        entities.insert(pipeline.entity.name.as_str());
        match pipeline.connector.as_str() {
            "http" => assert_eq!(pipeline.settings["auth"]["token"], TOKEN),
            "files" => {
                let path = pipeline.settings["path"].as_str().unwrap();
                assert!(path.starts_with("drops/it's here/"), "{path}");
            }
            other => panic!("{file}: unexpected connector {other}"),
        }
        for field in &pipeline.entity.fields {
            let taken = pipeline.select.contains_key(&field.name);
            let same_name = ["name", "municipality_code", "cvr"].contains(&field.name.as_str());
            assert!(
                taken || same_name || pipeline.connector == "http",
                "{file}: {}",
                field.name
            );
        }
    }
    let names: BTreeSet<&str> = files.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names.len(), files.len());
    // A delivery and a watermark are the platform's own.
    let expected = contract::entities()
        .iter()
        .map(|it| it.name.as_str())
        .filter(|it| !["delivery", "watermark"].contains(it));
    assert_eq!(entities, expected.collect());
}

#[tokio::test]
async fn every_column_a_pipeline_names_is_in_the_case_systems_records() {
    let world = world().as_of(day(2012, 6, 30));
    let running = Running::start(&world).await;
    let files = pipelines(&world, "http://sim", Path::new("drops"));
    let lookup = |_: &str| Some(TOKEN.to_owned());
    for (file, text) in files.iter().filter(|it| it.0.starts_with("case-101")) {
        let pipeline = spec::parse_pipeline(file, file, text, &lookup).unwrap();
        let entity = &pipeline.entity.name;
        let (body, _) = running
            .page(&format!("/api/101/{entity}?page_size=5"))
            .await;
        let record = &body["data"][0];
        for field in &pipeline.entity.fields {
            if field.name == "municipality_code" {
                continue;
            }
            let column = pipeline
                .select
                .get(&field.name)
                .map_or(field.name.clone(), |sql| {
                    sql.split('"').nth(1).unwrap().to_owned()
                });
            assert!(
                record.get(&column).is_some(),
                "{file}: no {column} in {record}"
            );
        }
    }
    assert!(world.seen::<Benchmark>().count() > 0 && world.seen::<Citizen>().count() > 0);
    assert_eq!(Citizen::ENTITY, "citizen");
}
