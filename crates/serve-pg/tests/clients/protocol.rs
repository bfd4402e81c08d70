//! Sessions, scripts, transactions, prepared statements, portals, cursors and copies.

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::SimpleQueryMessage::{CommandComplete, Row};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::{connect, participations, served, sqlstate};

async fn value(client: &Client, sql: &str) -> String {
    let messages = client
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = messages.iter().find_map(|message| match message {
        Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    row.unwrap_or_else(|| panic!("{sql}: no row"))
}

/// What a script answers: `r` for a row, `c` for a completion with its count.
fn told(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let mut told = Vec::new();
    for message in messages {
        match message {
            Row(row) => told.push(format!("r:{}", row.get(0).unwrap_or("NULL"))),
            CommandComplete(count) => told.push(format!("c:{count}")),
            _ => {}
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_session_sets_no_other_sees() {
    let served = served().await;
    let clients = futures::future::join_all((0..8).map(|_| served.client())).await;
    let zones = ["UTC", "Europe/Copenhagen", "Asia/Tokyo", "America/New_York"];
    for (at, client) in clients.iter().enumerate() {
        client
            .batch_execute(&format!(
                "SET TIME ZONE '{}'; SET application_name = 'app{at}'",
                zones[at % 4]
            ))
            .await
            .unwrap();
        client
            .batch_execute(if at % 2 == 0 {
                "SET search_path = raw"
            } else {
                "SET search_path = core"
            })
            .await
            .unwrap();
        client
            .batch_execute(&format!("PREPARE mine AS SELECT {at}"))
            .await
            .unwrap();
    }
    for (at, client) in clients.iter().enumerate() {
        assert_eq!(value(client, "SHOW TimeZone").await, zones[at % 4]);
        assert_eq!(
            value(client, "SELECT current_setting('application_name')").await,
            format!("app{at}")
        );
        assert_eq!(
            value(client, "SELECT count(*) FROM participation").await,
            if at % 2 == 0 { "7" } else { "5" }
        );
        assert_eq!(value(client, "EXECUTE mine").await, at.to_string());
        let expected = [
            "2010-06-30 23:00:00+00",
            "2010-07-01 01:00:00+02",
            "2010-07-01 08:00:00+09",
            "2010-06-30 19:00:00-04",
        ];
        let built = value(
            client,
            "SELECT built_at FROM mart.offer_overview ORDER BY built_at LIMIT 1",
        )
        .await;
        assert!(
            built.starts_with(&expected[at % 4][..19]) && built.contains(&expected[at % 4][19..]),
            "{built}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_a_schema_are_found_along_the_search_path() {
    let served = served().await;
    let client = served.client().await;
    assert_eq!(
        value(&client, "SHOW search_path").await,
        "mart, core, ref, raw"
    );
    assert_eq!(
        value(&client, "SELECT count(*) FROM participation").await,
        "5",
        "core before raw"
    );
    assert_eq!(
        value(&client, "SELECT count(*) FROM pejl.raw.participation").await,
        "7"
    );
    assert_eq!(value(&client, "SELECT current_schema()").await, "mart");
    client
        .batch_execute("SET search_path TO nowhere, raw")
        .await
        .unwrap();
    assert_eq!(
        value(&client, "SELECT count(*) FROM participation").await,
        "7"
    );
    assert_eq!(
        sqlstate(
            &client
                .simple_query("SELECT * FROM benefit")
                .await
                .unwrap_err()
        ),
        "42P01"
    );
    value(&client, "SELECT set_config('search_path', 'core', false)").await;
    assert_eq!(
        value(&client, "SELECT count(*) FROM participation").await,
        "5",
        "set_config sets"
    );
    client.batch_execute("RESET search_path").await.unwrap();
    assert_eq!(value(&client, "SELECT count(*) FROM benefit").await, "2");
    let core = connect(
        served
            .config()
            .options("-c search_path=core -c statement_timeout=5s"),
    )
    .await
    .unwrap();
    assert_eq!(value(&core, "SHOW search_path").await, "core");
    assert_eq!(value(&core, "SHOW statement_timeout").await, "5000ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_answered_statement_by_statement() {
    let served = served().await;
    let client = served.client().await;
    let script = "SELECT 1; SET application_name = 'x;y'; SELECT code FROM ref.benefit ORDER BY 1;; SHOW application_name";
    let messages = client.simple_query(script).await.unwrap();
    assert_eq!(
        told(&messages),
        ["r:1", "c:1", "c:0", "r:112", "r:113", "c:2", "r:x;y", "c:0"]
    );
    assert!(told(&client.simple_query("").await.unwrap()).len() <= 1);
    assert!(told(&client.simple_query(" ; -- nothing\n ;").await.unwrap()).len() <= 1);

    let mut stream = std::pin::pin!(
        client
            .simple_query_raw("SELECT 1; SELECT nothing; SELECT 2")
            .await
            .unwrap()
    );
    let mut before = Vec::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(message) => before.push(message),
            Err(error) => break error,
        }
    };
    assert_eq!(
        told(&before),
        ["r:1", "c:1"],
        "what came before the error is answered"
    );
    assert_eq!(sqlstate(&error), "42703");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_their_sqlstate() {
    let served = served().await;
    let client = served.client().await;
    for (sql, expected) in [
        ("SELECT * FROM mart.nothing", "42P01"),
        ("SELECT * FROM nothing", "42P01"),
        ("SELECT nothing FROM mart.offer_overview", "42703"),
        ("SELECT o.nothing FROM mart.offer_overview o", "42703"),
        (
            "SELECT period FROM mart.offer_overview a, mart.offer_overview b",
            "42702",
        ),
        ("SELEC 1", "42601"),
        ("SELECT 1 +", "42601"),
        ("SELECT 'open", "42601"),
        ("SELECT nothing(1)", "42883"),
        ("SELECT period, count(*) FROM mart.offer_overview", "42803"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 'x'::int", "22P02"),
        ("SELECT '2010-02-31'::date", "22007"),
        ("SELECT '99999999999'::bigint::int", "22003"),
        ("SELECT $1", "42P02"),
        ("PREPARE TRANSACTION 'x'", "0A000"),
        ("EXECUTE nothing", "26000"),
        ("FETCH 1 FROM nothing", "34000"),
        ("SAVEPOINT a", "25P01"),
        ("SET client_encoding = 'LATIN1'", "22023"),
        ("SET server_version = '9'", "55P02"),
        ("SET ROLE other", "42501"),
        ("SELECT 'mart.nothing'::regclass", "42P01"),
    ] {
        match client.simple_query(sql).await {
            Ok(_) => panic!("{sql}: no error"),
            Err(error) => assert_eq!(sqlstate(&error), expected, "{sql}: {error:?}"),
        }
    }
    let error = client
        .simple_query("SELECT nothing FROM mart.offer_overview")
        .await
        .unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "column \"nothing\" does not exist");
    assert!(
        error.hint().unwrap().contains("offer_name"),
        "{:?}",
        error.hint()
    );
    let error = client
        .simple_query("SELECT * FROM mart.nothing")
        .await
        .unwrap_err();
    assert_eq!(
        error.as_db_error().unwrap().message(),
        "relation \"mart.nothing\" does not exist"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_keep_their_state() {
    let served = served().await;
    let mut client = served.client().await;
    client
        .batch_execute("BEGIN READ ONLY; SAVEPOINT a")
        .await
        .unwrap();
    assert_eq!(
        sqlstate(&client.simple_query("SELECT nothing").await.unwrap_err()),
        "42703"
    );
    assert_eq!(
        sqlstate(&client.simple_query("SELECT 1").await.unwrap_err()),
        "25P02"
    );
    assert_eq!(
        sqlstate(&client.query("SELECT 1", &[]).await.unwrap_err()),
        "25P02"
    );
    client
        .batch_execute("ROLLBACK TO SAVEPOINT a")
        .await
        .unwrap();
    assert_eq!(value(&client, "SELECT 1").await, "1");
    assert_eq!(
        sqlstate(&client.batch_execute("ROLLBACK TO b").await.unwrap_err()),
        "3B001"
    );
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        value(&client, "SELECT 2").await,
        "2",
        "a failed transaction ends with COMMIT too"
    );

    client
        .batch_execute("BEGIN; SET LOCAL application_name = 'local'; SET statement_timeout = '7s'")
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW application_name").await, "local");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(value(&client, "SHOW application_name").await, "");
    assert_eq!(value(&client, "SHOW statement_timeout").await, "7000ms");
    client
        .batch_execute("BEGIN; SET statement_timeout = '8s'; ROLLBACK")
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW statement_timeout").await, "7000ms");

    let transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.query("SELECT 1", &[]).await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
    let transaction = client
        .build_transaction()
        .read_only(true)
        .isolation_level(tokio_postgres::IsolationLevel::Serializable)
        .start()
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn people_write_postgres_sql() {
    let served = served().await;
    let client = served.client().await;
    for (sql, expected) in [
        (
            "SELECT to_char(DATE '2010-02-28', 'DD.MM.YYYY')",
            "28.02.2010",
        ),
        ("SELECT to_date('28.02.2010', 'DD.MM.YYYY')", "2010-02-28"),
        (
            "SELECT code FROM ref.benefit ORDER BY code OFFSET 1 ROW FETCH FIRST 1 ROWS ONLY",
            "113",
        ),
        (
            "SELECT count(*) FROM ref.benefit WHERE 'a_b' LIKE 'a/_%' ESCAPE '/' AND 'axb' NOT LIKE 'a/_b' ESCAPE '/'",
            "2",
        ),
        (
            "SELECT DISTINCT ON (offer_id) period FROM mart.offer_overview ORDER BY offer_id, period DESC",
            "2010H2",
        ),
        (
            "SELECT count(*) FROM core.participation WHERE participation_id = ANY('{1,2,9}'::int[])",
            "2",
        ),
        ("TABLE ref.benefit", "112"),
        (
            "SELECT a.n, (SELECT max(p.participation_id) FROM core.participation p WHERE p.participation_id = a.n) FROM (VALUES (3)) AS a (n)",
            "3",
        ),
        ("SELECT 1::float8", "1"),
        (
            "SELECT sum(price_per_week_dkk) FROM offer_overview",
            "1234.45",
        ),
    ] {
        assert_eq!(value(&client, sql).await, expected, "{sql}");
    }
    assert_eq!(
        sqlstate(
            &client
                .simple_query("SELECT to_char(1234.5, '999G999D0')")
                .await
                .unwrap_err()
        ),
        "0A000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_are_read_in_steps() {
    let served = served().await;
    let mut client = served.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind("SELECT value FROM generate_series(1, 20000)", &[])
        .await
        .unwrap();
    let other = transaction
        .bind("SELECT code FROM ref.benefit ORDER BY 1", &[])
        .await
        .unwrap();
    assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 3);
    assert_eq!(
        transaction.query_portal(&other, 1).await.unwrap()[0].get::<_, &str>(0),
        "112"
    );
    let next = transaction.query_portal(&portal, 2).await.unwrap();
    assert_eq!(
        next.iter()
            .map(|row| row.get::<_, i64>(0))
            .collect::<Vec<_>>(),
        [4, 5]
    );
    assert_eq!(
        transaction.query_portal(&portal, 0).await.unwrap().len(),
        19_995
    );
    assert_eq!(transaction.query_portal(&portal, 5).await.unwrap().len(), 0);
    assert_eq!(
        transaction.query_portal(&other, 5).await.unwrap()[0].get::<_, &str>(0),
        "113"
    );
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_statements_are_answered_in_order_and_an_error_ends_only_its_own() {
    let served = served().await;
    let client = served.client().await;
    let good = client.prepare("SELECT $1::int4 AS n").await.unwrap();
    let answers = futures::future::join_all((0..30).map(|n| {
        let (client, good) = (&client, &good);
        async move {
            if n % 5 == 4 {
                client
                    .query("SELECT 1 / (0 * $1::int8)", &[&i64::from(n)])
                    .await
                    .map(|_| -1)
            } else {
                client
                    .query_one(good, &[&n])
                    .await
                    .map(|row| row.get::<_, i32>(0))
            }
        }
    }))
    .await;
    for (n, answer) in (0_i32..).zip(answers) {
        match answer {
            Ok(answer) => assert_eq!(answer, n),
            Err(error) => assert_eq!(
                (n % 5, sqlstate(&error).as_str()),
                (4, "22012"),
                "{error:?}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_reads_what_is_published_now() {
    let served = served().await;
    let client = served.client().await;
    let statement = client
        .prepare("SELECT count(*) FROM core.participation")
        .await
        .unwrap();
    assert_eq!(
        client
            .query_one(&statement, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        5
    );
    served.world.put("core", "participation", participations(9));
    assert_eq!(
        client
            .query_one(&statement, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        9
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_can_be_cleaned_for_the_next_user() {
    let served = served().await;
    let client = served.client().await;
    client.batch_execute("SET application_name = 'x'; PREPARE p (int) AS SELECT $1 + 1; DECLARE c CURSOR WITH HOLD FOR SELECT 1").await.unwrap();
    assert_eq!(value(&client, "EXECUTE p (41)").await, "42");
    client
        .batch_execute(
            "UNLISTEN *; CLOSE ALL; RESET ALL; DEALLOCATE ALL; DISCARD PLANS; DISCARD ALL",
        )
        .await
        .unwrap();
    assert_eq!(value(&client, "SHOW application_name").await, "");
    assert_eq!(
        sqlstate(&client.simple_query("EXECUTE p (1)").await.unwrap_err()),
        "26000"
    );
    let kept = client.prepare("SELECT 1").await.unwrap();
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(
        sqlstate(&client.query(&kept, &[]).await.unwrap_err()),
        "26000"
    );
    let shown = client.query("SHOW server_version", &[]).await.unwrap();
    assert_eq!(shown[0].get::<_, &str>(0), "16.6");
    assert!(
        value(&client, "SELECT version()")
            .await
            .starts_with("PostgreSQL 16.6 ")
    );
    assert_eq!(value(&client, "SHOW never_heard_of").await, "");
    assert_eq!(
        value(&client, "SELECT set_config('application_name', 'y', false)").await,
        "y"
    );
    assert_eq!(value(&client, "SHOW application_name").await, "y");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_are_read_forward() {
    let served = served().await;
    let client = served.client().await;
    client
        .batch_execute(
            "BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT value FROM generate_series(1, 10000)",
        )
        .await
        .unwrap();
    assert_eq!(
        told(&client.simple_query("FETCH 2 FROM c").await.unwrap()),
        ["r:1", "r:2", "c:2"]
    );
    client.batch_execute("MOVE 9000 IN c").await.unwrap();
    assert_eq!(
        told(&client.simple_query("FETCH NEXT FROM c").await.unwrap()),
        ["r:9003", "c:1"]
    );
    assert_eq!(
        sqlstate(&client.simple_query("FETCH PRIOR FROM c").await.unwrap_err()),
        "55000"
    );
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        sqlstate(&client.simple_query("FETCH 1 FROM c").await.unwrap_err()),
        "34000"
    );
    client
        .batch_execute("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT code FROM ref.benefit; COMMIT")
        .await
        .unwrap();
    let rows = client.query("FETCH ALL FROM h", &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    client.batch_execute("CLOSE h").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_copied_out() {
    let served = served().await;
    let client = served.client().await;
    let copy = async |sql: &str| -> Vec<u8> {
        let stream = client
            .copy_out(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        stream
            .try_fold(Vec::new(), |mut all, part| async move {
                all.extend_from_slice(&part);
                Ok(all)
            })
            .await
            .unwrap()
    };
    let columns = "offer_id, offer_name, price_per_week_dkk, suppressed, data_through";
    let query = format!("COPY (SELECT {columns} FROM mart.offer_overview ORDER BY 1, 5)");
    let text = String::from_utf8(copy(&format!("{query} TO STDOUT")).await).unwrap();
    assert_eq!(
        text.lines().next().unwrap(),
        "o1\tJobsøgning på Ærø\t1234.50\tf\t2010-06-30"
    );
    assert_eq!(text.lines().last().unwrap(), "o2\t\\N\t\\N\tt\t9999-12-31");
    let csv = String::from_utf8(
        copy(&format!(
            "{query} TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';')"
        ))
        .await,
    )
    .unwrap();
    assert_eq!(
        csv.lines().next().unwrap(),
        "offer_id;offer_name;price_per_week_dkk;suppressed;data_through"
    );
    assert_eq!(
        csv.lines().nth(2).unwrap(),
        "o1;Jobsøgning på Ærø;-0.05;f;2010-12-31"
    );
    let binary = copy("COPY ref.benefit TO STDOUT (FORMAT binary)").await;
    assert!(binary.starts_with(b"PGCOPY\n\xff\r\n\0") && binary.ends_with(b"\xff\xff"));
    assert_eq!(binary.len(), 19 + 2 * (2 + 4 + 3 + 4 + 1) + 2);
    assert_eq!(
        sqlstate(
            &client
                .copy_out("COPY nothing TO STDOUT")
                .await
                .err()
                .unwrap()
        ),
        "42P01"
    );
}
