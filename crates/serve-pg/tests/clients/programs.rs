//! Programs as people run them: psql from the path, psycopg from the Python named by `PEJL_TEST_PYTHON`.

use std::process::{Command, Output};

use crate::server::{PASSWORD, Served, USER, served};

/// psql's own commands, one a line, which must all answer without an error.
const META_COMMANDS: &str = include_str!("psql_commands.txt");

/// What drivers and tools ask of the catalogue, a query a paragraph.
const CATALOGUE_QUERIES: &str = include_str!("catalogue_queries.sql");

#[tokio::test(flavor = "multi_thread")]
async fn recorded_catalogue_queries_are_answered() {
    let served = served().await;
    let client = served.client().await;
    let mut failed = Vec::new();
    let mut asked = 0;
    for paragraph in CATALOGUE_QUERIES.split("\n\n") {
        let query: String = paragraph
            .lines()
            .filter(|line| !line.starts_with("--"))
            .collect();
        if query.is_empty() {
            continue;
        }
        asked += 1;
        if let Err(error) = client.simple_query(&query).await {
            failed.push(format!("simple {query}\n    {error:?}"));
        } else if let Err(error) = client.query(&query, &[]).await {
            failed.push(format!("extended {query}\n    {error:?}"));
        }
    }
    assert!(asked > 15, "{asked} queries");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let rows = client.query("SELECT c.oid::regclass::text, n.oid::regnamespace::text, 1182::regtype::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'offer_overview' ORDER BY 2", &[]).await.unwrap();
    let shown: Vec<(&str, &str, &str)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert_eq!(
        shown,
        [
            ("core.offer_overview", "core", "date[]"),
            ("offer_overview", "mart", "date[]")
        ]
    );
}

fn psql(served: &Served, arguments: &[&str]) -> Option<Output> {
    let output = Command::new("psql")
        .env("PGPASSWORD", PASSWORD)
        .env("PGOPTIONS", "")
        .args(["-X", "-h", "127.0.0.1", "-U", USER, "-d", "pejl", "-p"])
        .arg(served.serving.addr.port().to_string())
        .args(arguments)
        .output();
    match output {
        Ok(output) => Some(output),
        Err(cause) => {
            eprintln!(
                "SKIPPED: psql cannot be run ({cause}); install postgresql-client to test it"
            );
            None
        }
    }
}

fn text(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_what_there_is() {
    let served = served().await;
    let Some(output) = psql(&served, &["-c", "\\d mart.offer_overview"]) else {
        return;
    };
    let (out, err) = text(&output);
    assert_eq!(err, "", "{out}");
    for line in [
        "municipality_code  | integer",
        "price_per_week_dkk | numeric(12,2)",
        "data_through       | date",
        "built_at           | timestamp with time zone",
        "calendar           | date[]",
    ] {
        assert!(out.contains(line), "{line:?} in\n{out}");
    }
    assert!(
        out.lines()
            .any(|line| line.contains("offer_id") && line.contains("not null")),
        "{out}"
    );

    let (out, _) = text(&psql(&served, &["-At", "-c", "\\dt *.*"]).unwrap());
    for table in [
        "core|participation|table|pejl",
        "mart|offer_overview|table|pejl",
        "raw|participation|table|pejl",
    ] {
        assert!(out.contains(table), "{table:?} in\n{out}");
    }
    let (out, _) = text(&psql(&served, &["-At", "-c", "\\dt"]).unwrap());
    assert!(
        out.contains("mart|offer_overview") && out.contains("core|participation"),
        "{out}"
    );
    assert!(
        !out.contains("core|offer_overview") && !out.contains("raw|participation"),
        "what mart hides is hidden\n{out}"
    );
    let (out, _) = text(&psql(&served, &["-At", "-c", "\\dn"]).unwrap());
    assert_eq!(out, "core|pejl\nmart|pejl\nraw|pejl\nref|pejl\n");
    let (out, _) = text(&psql(&served, &["-At", "-c", "\\l"]).unwrap());
    assert!(out.starts_with("pejl|pejl|UTF8|"), "{out}");
    let (out, _) = text(&psql(&served, &["-c", "\\d+ mart.offer_overview"]).unwrap());
    assert!(
        out.contains("Kommunekode"),
        "columns' descriptions in\n{out}"
    );
    let (out, _) = text(&psql(&served, &["-c", "\\dt+ mart.*"]).unwrap());
    assert!(
        out.contains("Tilbud og deres effekt"),
        "tables' descriptions in\n{out}"
    );
    let (out, err) = text(&psql(&served, &["-c", "\\d nothing"]).unwrap());
    assert!(
        format!("{out}{err}").contains("Did not find any relation named \"nothing\""),
        "{out}{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_commands_answer_without_an_error() {
    let served = served().await;
    if psql(&served, &["-c", "SELECT 1"]).is_none() {
        return;
    }
    let mut failed = Vec::new();
    for command in META_COMMANDS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let output = psql(&served, &["-c", command]).unwrap();
        let (_, err) = text(&output);
        if !output.status.success() || err.contains("ERROR") {
            failed.push(format!("{command}: {err}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_runs_scripts_and_copies() {
    let served = served().await;
    let script = "BEGIN; SELECT 1; SELECT code FROM ref.benefit ORDER BY 1; COMMIT;";
    let Some(output) = psql(&served, &["-At", "-c", script]) else {
        return;
    };
    assert_eq!(
        text(&output),
        ("BEGIN\n1\n112\n113\nCOMMIT\n".into(), String::new())
    );
    let copy = "\\copy (select offer_name, effect_3m from mart.offer_overview order by period, offer_id) to stdout csv header";
    let (out, err) = text(&psql(&served, &["-c", copy]).unwrap());
    assert_eq!(
        (out.as_str(), err.as_str()),
        (
            "offer_name,effect_3m\nJobsøgning på Ærø,0.25\n,\nJobsøgning på Ærø,1\n",
            ""
        )
    );
    let refused = psql(
        &served,
        &[
            "-v",
            "VERBOSITY=verbose",
            "-c",
            "delete from mart.offer_overview",
        ],
    )
    .unwrap();
    let (_, err) = text(&refused);
    assert!(err.contains("25006") && !refused.status.success(), "{err}");
    let fetched = psql(
        &served,
        &[
            "-At",
            "-v",
            "FETCH_COUNT=2",
            "-c",
            "select value from generate_series(1, 5)",
        ],
    )
    .unwrap();
    assert_eq!(text(&fetched), ("1\n2\n3\n4\n5\n".into(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_works_in_text_and_binary() {
    let served = served().await;
    let Ok(python) = std::env::var("PEJL_TEST_PYTHON") else {
        eprintln!(
            "SKIPPED: psycopg is not tested; set PEJL_TEST_PYTHON to a Python that has psycopg 3"
        );
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/psycopg_client.py"
    );
    let output = Command::new(&python)
        .arg(script)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", served.serving.addr.port().to_string())
        .env("PGUSER", USER)
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", "pejl")
        .output()
        .unwrap_or_else(|cause| panic!("{python} cannot be run: {cause}"));
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.ends_with("psycopg: all well\n"), "{out}\n{err}");
    served.world.is_quiet().await;
}
