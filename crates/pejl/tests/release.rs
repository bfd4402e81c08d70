//! `pejl release` as a quality manager uses it: presented, corrected later, never changed, and never telling more than was shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod stage;

use std::{fs, net::TcpListener, path::Path, time::Duration};

use stage::{Stage, wait_for};
use tokio_postgres::{NoTls, SimpleQueryMessage};

const PATIENCE: Duration = Duration::from_secs(60);

const NAME: &str = "overview-2010H2";

/// Runs and insists on the exit code; both outputs.
fn ended(stage: &Stage, arguments: &[&str], code: i32) -> String {
    let out = stage.pejl(arguments);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(out.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// Delivers the participations of one citizen who finished an offer in the second half-year of 2010 again, in another offer.
fn move_one(stage: &Stage, from: &str) {
    let folder = stage.path("drops/participation");
    let files = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
    let read = |file: &Path| -> (csv::StringRecord, Vec<csv::StringRecord>) {
        let mut reader = csv::Reader::from_path(file).unwrap();
        let header = reader.headers().unwrap().clone();
        (header, reader.records().map(Result::unwrap).collect())
    };
    let all = files.map(|it| read(&it));
    let is_of_offer = |(_, rows): &(_, Vec<csv::StringRecord>)| {
        rows.iter().any(|row| row.iter().any(|it| it == from))
    };
    let (header, rows) = all.into_iter().find(is_of_offer).unwrap();
    let at = |name: &str| header.iter().position(|it| it == name).unwrap();
    let (offer, end, citizen, reason) = (
        at("offer_id"),
        at("end_date"),
        at("citizen_id"),
        at("end_reason"),
    );
    let to = rows.iter().find(|it| &it[offer] != from).unwrap()[offer].to_owned();
    let last = rows.iter().find(|it| {
        &it[offer] == from && it[end].starts_with("2010-1") && &it[reason] != "cancelled"
    });
    let who = &last.unwrap()[citizen];
    let mut writer = csv::Writer::from_path(folder.join("late.csv")).unwrap();
    writer.write_record(&header).unwrap();
    for row in rows
        .iter()
        .filter(|it| &it[offer] == from && &it[citizen] == who)
    {
        let moved = row.iter().enumerate();
        let moved = moved.map(|(at, value)| if at == offer { to.as_str() } else { value });
        writer.write_record(moved).unwrap();
    }
    writer.flush().unwrap();
}

#[test]
fn what_was_presented_stays_and_what_changed_is_told() {
    let stage = Stage::canonical(300);
    let kinds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/releases.yaml");
    fs::copy(kinds, stage.path("pipelines/releases.yaml")).unwrap();
    stage.ok(&["run", "--once"]);

    let audiences = "centre_managers=2011-01-20,committee=2011-02-05,providers=2999-02-20";
    let said = stage.ok(&[
        "release",
        "create",
        NAME,
        "--audience",
        audiences,
        "--note",
        "for the meeting in January",
        "--by",
        "kim",
    ]);
    assert!(
        said.starts_with("released overview-2010H2: mart.offer_overview (")
            && said.contains("providers from 2999-02-20"),
        "{said}"
    );
    let frozen = stage.sorted("select * from release.offer_overview");
    let shown = "offer_id, target_group, in_offer, finished, effect_3m, effect_3m_n, satisfaction_mean, complaints, suppressed";
    assert_eq!(
        stage.sorted(&format!(
            "select {shown} from release.offer_overview where release = '{NAME}'"
        )),
        stage.sorted(&format!(
            "select {shown} from mart.offer_overview where period = '2010H2'"
        ))
    );
    let listed = stage.ok(&["release", "list"]);
    assert!(
        listed.contains(NAME)
            && listed.contains("kim")
            && listed.contains("for the meeting in January"),
        "{listed}"
    );
    let record: serde_json::Value =
        serde_json::from_str(&stage.ok(&["release", "show", NAME])).unwrap();
    assert!(
        record["inputs"]["raw.participation"].is_i64()
            && record["models"]["core.small_cell"].is_string(),
        "{record}"
    );
    let definitions = record["definitions"].as_array().unwrap();
    assert!(
        definitions.contains(&"effect_3m@1".into())
            && definitions.contains(&"small_cells@1".into()),
        "{record}"
    );
    let again = ended(
        &stage,
        &["release", "create", NAME, "--audience", audiences],
        1,
    );
    assert!(
        again.contains("is there already")
            && again.contains("correct it with a new one, overview-2010H2.1"),
        "{again}"
    );

    // Each audience from its day on, and nothing but releases.
    let seen = |audience: &str| {
        let sql = "select count(*) > 10 from release.offer_overview";
        stage
            .ok(&["query", sql, "--audience", audience, "--format", "csv"])
            .lines()
            .last()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (seen("committee"), seen("providers")),
        ("true".to_owned(), "false".to_owned())
    );
    ended(
        &stage,
        &[
            "query",
            "select * from mart.offer_overview",
            "--audience",
            "committee",
        ],
        1,
    );

    over_the_wire(&stage);

    let largest = "select offer_id from release.offer_overview where target_group = 'all' and finished is not null
                   order by finished desc, offer_id limit 1";
    let largest = stage.ok(&["query", largest, "--format", "csv"]);
    move_one(&stage, largest.lines().last().unwrap());
    stage.ok(&["run", "--once"]);
    stage.ok(&["tidy"]);
    let revisions = stage.ok(&[
        "query",
        "select why, count(*) as n from mart.revision where until_publication is null group by why",
        "--format",
        "csv",
    ]);
    assert!(
        revisions.contains("data: participation corrected (through pejl.participation/"),
        "{revisions}"
    );
    let small = "select count(*) from mart.revision where column_name in ('in_offer', 'finished', 'effect_3m_n', 'pending', 'lost') \
                 and (cast(old as bigint) between 1 and 4 or cast(new as bigint) between 1 and 4)";
    assert_eq!(
        stage
            .ok(&["query", small, "--format", "csv"])
            .lines()
            .last(),
        Some("0"),
        "small numbers are in neither"
    );
    assert_eq!(stage.sorted("select * from release.offer_overview"), frozen);
    let verified = stage.ok(&["release", "verify", NAME, "--format", "csv"]);
    assert!(verified.contains(",same,same,same"), "{verified}");

    let later = "centre_managers=2011-03-20,committee=2011-04-05";
    let correction = [
        "release",
        "create",
        "overview-2010H2.1",
        "--audience",
        later,
    ];
    let refused = ended(&stage, &correction, 1);
    assert!(
        refused.contains("overview-2010H2.1 is not made")
            && refused.contains("offer_id=")
            && refused.contains("--keep-earlier"),
        "{refused}"
    );
    let made = stage.ok(&[&correction[..], &["--keep-earlier"]].concat());
    assert!(
        made.contains("rows keep the numbers of overview-2010H2"),
        "{made}"
    );
    assert_eq!(
        stage.sorted(&format!(
            "select * from release.offer_overview where release = '{NAME}'"
        )),
        frozen
    );
    let wrong = ended(
        &stage,
        &[
            "release",
            "create",
            "overview-2011H1",
            "--audience",
            "committee",
        ],
        2,
    );
    assert!(wrong.contains("`committee` is not NAME=DATE"), "{wrong}");
}

/// A user of an audience, from psql or Power BI, sees what `--audience` shows; a mistake in the settings is told at the start.
fn over_the_wire(stage: &Stage) {
    // Closed again so that the server can have it.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let listen = address.to_string();
    let _server = stage.role(
        "serve",
        &[
            ("PEJL_SERVE__LISTEN", listen.as_str()),
            ("PEJL_SERVE__USERS__BIU", "a password"),
            ("PEJL_SERVE__USERS__SUPPLIER", "a password"),
            ("PEJL_SERVE__AUDIENCES__BIU", "committee"),
            ("PEJL_SERVE__AUDIENCES__SUPPLIER", "providers"),
        ],
    );
    wait_for("the SQL port", PATIENCE, || {
        std::net::TcpStream::connect(address).is_ok()
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let ask = |user: &str, sql: &str| {
        runtime.block_on(async {
            let password = if user == "analyst" {
                "not a secret"
            } else {
                "a password"
            };
            let mut config = tokio_postgres::Config::new();
            config
                .host("127.0.0.1")
                .port(address.port())
                .user(user)
                .password(password)
                .dbname("pejl");
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            let rows = client
                .simple_query(sql)
                .await
                .map_err(|err| format!("{err:?}"))?;
            let rows = rows.into_iter().filter_map(|it| match it {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            Ok::<_, String>(rows.collect::<Vec<_>>())
        })
    };
    let releases = "select distinct release from offer_overview";
    assert_eq!(
        ask("biu", releases).unwrap(),
        [NAME],
        "the schema is on the path"
    );
    assert!(ask("supplier", releases).unwrap().is_empty());
    assert_eq!(
        ask(
            "analyst",
            "select distinct release from release.offer_overview"
        )
        .unwrap(),
        [NAME]
    );
    assert_eq!(
        ask("analyst", "select count(*) > 0 from mart.offer_overview").unwrap(),
        ["t"]
    );
    ask("biu", "select 1 from mart.offer_overview limit 1").unwrap_err();
    let tables = "select table_schema from information_schema.tables where table_schema in ('raw', 'core', 'mart')";
    assert!(ask("biu", tables).unwrap().is_empty());

    for (user, audience, expected) in [
        ("BIU", "council", "no audience `council`"),
        ("BUI", "committee", "bui: there is no such user"),
    ] {
        let out = stage
            .command(&["serve"])
            .env("PEJL_SERVE__LISTEN", "127.0.0.1:0")
            .env("PEJL_SERVE__USERS__BIU", "a password")
            .env(format!("PEJL_SERVE__AUDIENCES__{user}"), audience)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            out.status.code() == Some(2) && said.contains(expected),
            "{said}"
        );
    }
}
