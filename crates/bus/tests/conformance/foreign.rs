//! What other programs do to our topics: delete them and make them again, and write headers that are no text.
#![expect(unsafe_code, reason = "no safe call writes such headers")]

use std::ptr;

use rdkafka::{
    bindings as c,
    producer::{BaseProducer, Producer},
};

use crate::{
    kafka::cluster,
    place::{DEADLINE, Place, read_all, record, value, write},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_has_a_new_identity() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    let first = log.ensure_topic("t", 1).await.unwrap();
    cluster.delete("t").await;
    let second = log.ensure_topic("t", 3).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(second.partitions, 3);
    assert_eq!(
        cluster.open().await.ensure_topic("t", 1).await.unwrap(),
        second
    );
}

/// Filled past its old offsets, nothing else tells it from the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_someone_else_makes_again_has_a_new_identity() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    let first = log.ensure_topic("t", 1).await.unwrap();
    write(log.as_ref(), "task", "t", vec![record("k", "1")]).await;
    assert_eq!(log.topics("t").await.unwrap().first(), Some(&first));
    cluster.delete("t").await;
    cluster.make("t", 1).await;
    let records = (0..5).map(|n| record("k", &n.to_string())).collect();
    write(log.as_ref(), "task", "t", records).await;
    let second = log.topics("t").await.unwrap().pop().unwrap();
    assert_ne!(first.id, second.id);
    // Every process agrees, and it stays.
    let other = cluster.open().await;
    assert_eq!(other.ensure_topic("t", 1).await.unwrap(), second);
    assert_eq!(log.topics("").await.unwrap(), [second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_whose_name_is_no_text_spoils_nothing() {
    let Some(cluster) = cluster() else { return };
    let log = cluster.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let producer: BaseProducer = cluster.plain().create().unwrap();
    let topic = std::ffi::CString::new(cluster.physical("t")).unwrap();
    // SAFETY: the producer outlives the call; the headers are librdkafka's from there on, and it copies the rest.
    let sent = unsafe {
        let headers = c::rd_kafka_headers_new(1);
        c::rd_kafka_header_add(headers, c"bl\xe5".as_ptr(), 3, ptr::null(), 0);
        c::rd_kafka_producev(
            producer.client().native_ptr(),
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            c"kept".as_ptr(),
            4_usize,
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            c::RD_KAFKA_MSG_F_COPY,
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            headers,
            c::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(sent, c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    tokio::task::spawn_blocking(move || producer.flush(DEADLINE).unwrap())
        .await
        .unwrap();
    let read = read_all(log.as_ref(), "t", 1).await;
    assert_eq!(read.len(), 1);
    assert_eq!(value(&read[0].record), "kept");
    assert_eq!(read[0].record.headers[0].0, "bl\u{fffd}");
}
