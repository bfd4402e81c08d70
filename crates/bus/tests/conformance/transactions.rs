//! Transactions: all or nothing, in order, one writer a task.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bus::{Error, MAX_RECORD_BYTES, Range, SharedLog, partition_of};
use bytes::Bytes;

use crate::place::{
    Place, from_start, noise, peek, position, read_all, read_to_end, record, value, write,
};

pub(crate) async fn a_transaction_over_topics_is_all_or_nothing(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("a", 2).await.unwrap();
    log.ensure_topic("b", 1).await.unwrap();
    let mut assignments = from_start(log.as_ref(), "a", 2).await;
    assignments.extend(from_start(log.as_ref(), "b", 1).await);
    let mut consumer = log.consumer(&assignments).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    producer
        .send("a", (0..50).map(|i| record(&i.to_string(), "a")).collect())
        .await
        .unwrap();
    producer.send("b", vec![record("k", "b")]).await.unwrap();
    assert_eq!(peek(consumer.as_mut()).await, []);
    assert_eq!(log.position("source").await.unwrap(), None);
    producer
        .commit(Some(("source", &position(7))))
        .await
        .unwrap();
    assert_eq!(log.position("source").await.unwrap(), Some(position(7)));
    let read = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    assert_eq!((read["a"].len(), read["b"].len()), (50, 1));
}

pub(crate) async fn an_aborted_transaction_is_never_visible(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    producer.abort().await.unwrap();
    for i in 0..5 {
        producer
            .send("t", vec![record("k", "wrong")])
            .await
            .unwrap();
        producer.abort().await.unwrap();
        producer
            .send("t", vec![record("k", &i.to_string())])
            .await
            .unwrap();
        producer
            .commit(Some(("source", &position(i))))
            .await
            .unwrap();
    }
    producer
        .send("t", vec![record("k", "wrong")])
        .await
        .unwrap();
    producer.abort().await.unwrap();
    let read = read_all(log.as_ref(), "t", 1).await;
    let values: Vec<_> = read
        .iter()
        .map(|delivered| value(&delivered.record))
        .collect();
    assert_eq!(values, ["0", "1", "2", "3", "4"]);
    assert_eq!(log.position("source").await.unwrap(), Some(position(4)));
}

pub(crate) async fn a_dropped_transaction_is_never_visible(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut dropped = log.producer("one").await.unwrap();
    dropped.send("t", vec![record("k", "wrong")]).await.unwrap();
    drop(dropped);
    write(log.as_ref(), "two", "t", vec![record("k", "right")]).await;
    let assignments = from_start(log.as_ref(), "t", 1).await;
    let mut consumer = log.consumer(&assignments).await.unwrap();
    // Well before a broker would time the dropped one out.
    let polled = consumer.poll(10, Duration::from_secs(20)).await.unwrap();
    assert_eq!(polled.len(), 1, "{polled:?}");
    assert_eq!(value(&polled[0].records[0].record), "right");
    let rest = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    assert!(rest.is_empty(), "{rest:?}");
}

pub(crate) async fn an_open_transaction_is_hidden(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    write(log.as_ref(), "before", "t", vec![record("k", "before")]).await;
    let mut open = log.producer("open").await.unwrap();
    open.send("t", vec![record("k", "open")]).await.unwrap();
    let assignments = from_start(log.as_ref(), "t", 1).await;
    let mut consumer = log.consumer(&assignments).await.unwrap();
    let read = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    assert_eq!(read["t"].len(), 1);
    assert_eq!(peek(consumer.as_mut()).await, []);
    open.commit(None).await.unwrap();
    let read = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    assert_eq!(value(&read["t"][0].record), "open");
}

pub(crate) async fn an_earlier_producer_is_fenced(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut earlier = log.producer("task").await.unwrap();
    earlier.send("t", vec![record("k", "lost")]).await.unwrap();
    let mut idle = log.producer("other task").await.unwrap();
    let mut later = log.producer("task").await.unwrap();
    let refused = earlier.commit(Some(("source", &position(1)))).await;
    assert!(
        matches!(&refused, Err(Error::Fenced(task)) if task == "task"),
        "{refused:?}"
    );
    later.send("t", vec![record("k", "kept")]).await.unwrap();
    later.commit(Some(("source", &position(2)))).await.unwrap();
    idle.send("t", vec![record("k", "other")]).await.unwrap();
    idle.commit(None).await.unwrap();
    let values: BTreeSet<_> = read_all(log.as_ref(), "t", 1)
        .await
        .iter()
        .map(|delivered| value(&delivered.record))
        .collect();
    assert_eq!(
        values,
        BTreeSet::from(["kept".to_owned(), "other".to_owned()])
    );
    assert_eq!(log.position("source").await.unwrap(), Some(position(2)));
}

pub(crate) async fn tasks_write_side_by_side(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 2).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6_u64 {
        let log = SharedLog::clone(&log);
        tasks.spawn(async move {
            let name = format!("task {task}");
            let mut producer = log.producer(&name).await.unwrap();
            for n in 0..10_u64 {
                let records = (0..5)
                    .map(|i| record(&name, &(n * 5 + i).to_string()))
                    .collect();
                producer.send("t", records).await.unwrap();
                producer.commit(Some((&name, &position(n)))).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut by_task: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for delivered in read_all(log.as_ref(), "t", 2).await {
        let n = value(&delivered.record).parse().unwrap();
        by_task.entry(delivered.record.key).or_default().push(n);
    }
    assert_eq!(by_task.len(), 6);
    for values in by_task.values() {
        assert_eq!(*values, (0..50).collect::<Vec<_>>());
    }
    let positions = log.positions().await.unwrap();
    assert_eq!(positions.len(), 6);
    assert!(
        positions.iter().all(|(_, at)| *at == position(9)),
        "{positions:?}"
    );
}

pub(crate) async fn records_of_a_key_stay_in_order(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 4).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    for round in 0..20 {
        let records =
            (0..30).map(|i| record(&format!("key {}", i % 10), &format!("{}", round * 30 + i)));
        producer.send("t", records.collect()).await.unwrap();
        if round % 3 == 0 {
            producer.commit(None).await.unwrap();
        }
    }
    producer.commit(None).await.unwrap();
    let read = read_all(log.as_ref(), "t", 4).await;
    assert_eq!(read.len(), 600);
    let mut by_key: BTreeMap<Bytes, Vec<u32>> = BTreeMap::new();
    for delivered in read {
        let key = delivered.record.key.clone().unwrap();
        assert_eq!(delivered.partition, partition_of(&key, 4));
        by_key
            .entry(key)
            .or_default()
            .push(value(&delivered.record).parse().unwrap());
    }
    assert_eq!(by_key.len(), 10);
    for values in by_key.values() {
        assert_eq!(values.len(), 60);
        assert!(values.is_sorted(), "{values:?}");
    }
}

pub(crate) async fn a_position_is_replaced_with_its_records(place: &dyn Place) {
    let log = place.open().await;
    let mut producer = log.producer("task").await.unwrap();
    producer.commit(None).await.unwrap();
    assert_eq!(log.positions().await.unwrap(), []);
    for n in 0..5 {
        producer.commit(Some(("a", &position(n)))).await.unwrap();
    }
    producer.commit(Some(("b/ø", &position(1)))).await.unwrap();
    assert_eq!(log.position("a").await.unwrap(), Some(position(4)));
    assert_eq!(log.position("missing").await.unwrap(), None);
    let positions = log.positions().await.unwrap();
    assert_eq!(
        positions,
        [
            ("a".to_owned(), position(4)),
            ("b/ø".to_owned(), position(1))
        ]
    );
}

pub(crate) async fn a_failed_send_spoils_its_transaction(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    producer
        .send("t", vec![record("k", "first")])
        .await
        .unwrap();
    let mut large = record("k", "");
    large.value = Some(vec![b'x'; MAX_RECORD_BYTES].into());
    let refused = producer
        .send("t", vec![record("k", "second"), large.clone()])
        .await;
    assert!(
        matches!(refused, Err(Error::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(
        producer
            .commit(Some(("source", &position(1))))
            .await
            .is_err()
    );
    producer.abort().await.unwrap();
    large.value = Some(noise(MAX_RECORD_BYTES - 1, 1).into());
    producer.send("t", vec![large.clone()]).await.unwrap();
    producer.commit(None).await.unwrap();
    let read = read_all(log.as_ref(), "t", 1).await;
    assert_eq!(read.len(), 1);
    assert!(read[0].record == large);
    assert_eq!(log.position("source").await.unwrap(), None);
}

pub(crate) async fn large_transactions_arrive_whole(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 4).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    for part in 0..10 {
        let records =
            (0..10_000).map(|i| record(&(part * 10_000 + i).to_string(), &"x".repeat(200)));
        producer.send("t", records.collect()).await.unwrap();
    }
    // Noise does not compress, so the embedded log has to stage some of it.
    for i in 0..12 {
        let mut large = record(&format!("large {i}"), "");
        large.value = Some(noise(1 << 20, i).into());
        producer.send("t", vec![large]).await.unwrap();
    }
    for partition in 0..4 {
        let Range { low, high } = log.range("t", partition).await.unwrap();
        assert_eq!(low, high, "visible before the commit");
    }
    producer
        .commit(Some(("source", &position(1))))
        .await
        .unwrap();
    let read = read_all(log.as_ref(), "t", 4).await;
    assert_eq!(read.len(), 100_012);
    let by_key: BTreeMap<_, _> = read
        .iter()
        .map(|delivered| {
            (
                delivered.record.key.clone().unwrap(),
                delivered.record.value.clone().unwrap(),
            )
        })
        .collect();
    assert_eq!(by_key.len(), 100_012);
    for i in 0..12 {
        assert!(
            by_key[format!("large {i}").as_bytes()] == noise(1 << 20, i),
            "large {i}"
        );
    }
}
