//! Who gets in, and what is refused once inside.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{PASSWORD, USER, connect, served, served_with, sqlstate};
use serve_pg::{Secret, ServeError, Settings, User};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let served = served().await;
    let mut answers = Vec::new();
    for (user, password) in [(USER, "wrong"), ("nobody", PASSWORD), ("nobody", "wrong")] {
        let error = connect(served.config().user(user).password(password))
            .await
            .unwrap_err();
        assert_eq!(sqlstate(&error), "28P01", "{user}");
        answers.push(
            error
                .as_db_error()
                .unwrap()
                .message()
                .replace(user, "<user>"),
        );
    }
    answers.dedup();
    assert_eq!(
        answers,
        ["password authentication failed for user \"<user>\""]
    );
    connect(&served.config()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_scram_is_offered_and_nothing_runs_before_it() {
    let served = served().await;
    let mut socket = TcpStream::connect(served.serving.addr).await.unwrap();
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    let gss_request = [0, 0, 0, 8, 4, 210, 22, 48];
    for request in [gss_request, ssl_request] {
        socket.write_all(&request).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'N');
    }
    let body = format!("user\0{USER}\0database\0pejl\0\0");
    let length = u32::try_from(8 + body.len()).unwrap();
    socket
        .write_all(&[&length.to_be_bytes()[..], &[0, 3, 0, 0], body.as_bytes()].concat())
        .await
        .unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'R');
    let length = socket.read_u32().await.unwrap();
    let mut methods = vec![0; length as usize - 4];
    socket.read_exact(&mut methods).await.unwrap();
    assert_eq!(methods, b"\0\0\0\x0aSCRAM-SHA-256\0\0");

    let query = b"SELECT * FROM raw.endless\0";
    let length = u32::try_from(4 + query.len()).unwrap();
    socket
        .write_all(&[&b"Q"[..], &length.to_be_bytes(), query].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[0], b'E', "an error, then the end");
    assert!(
        !answer.windows(2).any(|two| two == b"ZI"),
        "never told to be ready"
    );
    assert_eq!(
        served
            .world
            .running
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_and_still_takes_cancel_requests() {
    let served = served_with(|settings| settings.max_connections = 1).await;
    let only = served.client().await;
    let error = connect(&served.config()).await.unwrap_err();
    assert_eq!(sqlstate(&error), "53300");
    let token = only.cancel_token();
    let endless = tokio::spawn(async move {
        only.simple_query("SELECT count(*) FROM raw.endless")
            .await
            .map(|_| ())
    });
    served.world.is_busy().await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert_eq!(sqlstate(&endless.await.unwrap().unwrap_err()), "57014");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while connect(&served.config()).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the seat of a client that left is never free again"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_users_that_lets_anyone_in_is_refused() {
    let user = |name: &str, password: &str| User {
        name: name.into(),
        password: Secret::new(password),
    };
    for users in [
        vec![],
        vec![user("a", "")],
        vec![user("", "x")],
        vec![user("a", "x"), user("a", "y")],
    ] {
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            users,
            statement_timeout: None,
            max_connections: 1,
            query_log: None,
        };
        let world = std::sync::Arc::new(crate::server::World::new());
        let error = serve_pg::serve(world, settings, Default::default())
            .await
            .unwrap_err();
        assert!(matches!(error, ServeError::Users(_)), "{error}");
        assert_eq!(error.fix_by(), contract::FixBy::Settings);
    }
    assert_eq!(format!("{:?}", Secret::new("x")), "Secret(..)");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_writes_is_refused() {
    let served = served().await;
    let client = served.client().await;
    for sql in [
        "INSERT INTO mart.offer_overview VALUES (1)",
        "UPDATE mart.offer_overview SET period = ''",
        "DELETE FROM mart.offer_overview",
        "TRUNCATE mart.offer_overview",
        "CREATE TABLE mart.x AS SELECT 1",
        "CREATE TEMP TABLE x (a int)",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW mart.v AS SELECT 1",
        "DROP TABLE mart.offer_overview",
        "ALTER TABLE mart.offer_overview ADD COLUMN x int",
        "COPY mart.offer_overview FROM STDIN",
        "GRANT SELECT ON mart.offer_overview TO other",
        "VACUUM",
        "EXPLAIN ANALYZE INSERT INTO mart.offer_overview SELECT * FROM mart.offer_overview",
        "SELECT 1 AS a INTO mart.y",
    ] {
        let simple = client.simple_query(sql).await.unwrap_err();
        assert_eq!(sqlstate(&simple), "25006", "{sql}: {simple:?}");
        let extended = client.query(sql, &[]).await.unwrap_err();
        assert_eq!(sqlstate(&extended), "25006", "{sql}: {extended:?}");
    }
    assert_eq!(
        sqlstate(
            &client
                .simple_query("COPY (SELECT 1) TO '/tmp/x'")
                .await
                .unwrap_err()
        ),
        "42501"
    );
    assert_eq!(
        sqlstate(
            &client
                .simple_query("SELECT * FROM '/etc/passwd'")
                .await
                .unwrap_err()
        )
        .len(),
        5
    );
}
