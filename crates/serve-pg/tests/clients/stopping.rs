//! Queries that have to stop: cancelled, out of time, without a client, without a server.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use tokio_postgres::NoTls;

use crate::server::{served, served_with, sqlstate};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_planning_running_and_sending() {
    let served = served().await;
    for sql in [
        "SELECT count(*) FROM raw.endless",
        "SELECT n FROM raw.endless",
    ] {
        for extended in [false, true] {
            let client = served.client().await;
            let token = client.cancel_token();
            let running = tokio::spawn(async move {
                let error = if extended {
                    let rows = client.query_raw(sql, Vec::<i32>::new()).await.unwrap();
                    rows.try_for_each(|_| async { Ok(()) }).await.unwrap_err()
                } else {
                    let rows = client.simple_query_raw(sql).await.unwrap();
                    rows.try_for_each(|_| async { Ok(()) }).await.unwrap_err()
                };
                (client, error)
            });
            served.world.is_busy().await;
            token.cancel_query(NoTls).await.unwrap();
            let (client, error) = running.await.unwrap();
            assert_eq!(sqlstate(&error), "57014", "{sql}");
            assert!(
                error
                    .as_db_error()
                    .unwrap()
                    .message()
                    .contains("user request")
            );
            served.world.is_quiet().await;
            let row = client.query_one("SELECT 1 AS one", &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), 1, "the session goes on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_with_the_wrong_key_stops_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let served = served().await;
    let (client, connection) = served.config().connect(NoTls).await.unwrap();
    let line = tokio::spawn(connection);
    let running = tokio::spawn(async move {
        client
            .simple_query("SELECT count(*) FROM raw.endless")
            .await
            .map(|_| ())
    });
    served.world.is_busy().await;
    for pid in 1..4_u32 {
        let mut socket = tokio::net::TcpStream::connect(served.serving.addr)
            .await
            .unwrap();
        let request = [
            &16_u32.to_be_bytes()[..],
            &80_877_102_u32.to_be_bytes(),
            &pid.to_be_bytes(),
            &[1, 2, 3, 4],
        ];
        socket.write_all(&request.concat()).await.unwrap();
        assert_eq!(
            socket.read(&mut [0; 1]).await.unwrap(),
            0,
            "closed without a word"
        );
    }
    assert_eq!(served.world.running.load(Ordering::SeqCst), 1);
    line.abort();
    running.abort();
    served.world.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_bounds_running_not_only_planning() {
    let served =
        served_with(|settings| settings.statement_timeout = Some(Duration::from_millis(300))).await;
    let client = served.client().await;
    for sql in [
        "SELECT count(*) FROM raw.endless",
        "SELECT n FROM raw.endless",
    ] {
        let started = Instant::now();
        let simple = client.simple_query(sql).await.unwrap_err();
        assert_eq!(sqlstate(&simple), "57014", "{sql}");
        assert!(
            simple
                .as_db_error()
                .unwrap()
                .message()
                .contains("statement timeout")
        );
        let extended = client.query(sql, &[]).await.unwrap_err();
        assert_eq!(sqlstate(&extended), "57014", "{sql}");
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{:?}",
            started.elapsed()
        );
        served.world.is_quiet().await;
    }
    client
        .batch_execute("SET statement_timeout = '1ms'")
        .await
        .unwrap();
    let shown = client.query_one("SHOW statement_timeout", &[]).await;
    assert!(shown.is_err() || shown.unwrap().get::<_, String>(0) == "1ms");
    client
        .batch_execute("SET statement_timeout = 0; SELECT count(*) FROM generate_series(1, 100000)")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_query_with_it() {
    let served = served().await;
    for sql in [
        "SELECT count(*) FROM raw.endless",
        "SELECT n FROM raw.endless",
    ] {
        let (client, connection) = served.config().connect(NoTls).await.unwrap();
        let line = tokio::spawn(connection);
        let query = tokio::spawn(async move { client.simple_query(sql).await.map(|_| ()) });
        served.world.is_busy().await;
        line.abort();
        query.abort();
        served.world.is_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_clients() {
    let served = served().await;
    let (idle, busy) = (served.client().await, served.client().await);
    let running = tokio::spawn(async move {
        busy.simple_query("SELECT count(*) FROM raw.endless")
            .await
            .map(|_| ())
    });
    served.world.is_busy().await;
    served.stop.cancel();
    assert_eq!(sqlstate(&running.await.unwrap().unwrap_err()), "57P01");
    tokio::time::timeout(Duration::from_secs(15), served.serving.task)
        .await
        .expect("the server ends")
        .unwrap();
    assert!(idle.simple_query("SELECT 1").await.is_err());
    served.world.is_quiet().await;
    assert!(
        tokio::net::TcpStream::connect(served.serving.addr)
            .await
            .is_err(),
        "the port is closed"
    );
}
