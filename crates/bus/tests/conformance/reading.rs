//! Reading: from any offset, to the end, losing nothing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bus::{Assignment, Error, Range, partition_of};

use crate::place::{
    DEADLINE, Place, from_start, peek, read_all, read_to_end, record, value, write,
};

pub(crate) async fn a_reader_resumes_at_an_offset(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    for i in 0..100 {
        let records = (0..5)
            .map(|j| record("k", &(i * 5 + j).to_string()))
            .collect();
        producer.send("t", records).await.unwrap();
        producer.commit(None).await.unwrap();
    }
    let all = read_all(log.as_ref(), "t", 1).await;
    for skip in [1, 137, 499] {
        let start = [Assignment {
            topic: "t".into(),
            partition: 0,
            offset: all[skip].offset,
        }];
        let mut consumer = log.consumer(&start).await.unwrap();
        assert_eq!(consumer.position("t", 0).unwrap(), all[skip].offset);
        let rest = read_to_end(log.as_ref(), consumer.as_mut(), &start).await;
        assert_eq!(rest["t"], all[skip..]);
    }
    let Range { high, .. } = log.range("t", 0).await.unwrap();
    let start = [Assignment {
        topic: "t".into(),
        partition: 0,
        offset: high,
    }];
    let mut consumer = log.consumer(&start).await.unwrap();
    assert_eq!(peek(consumer.as_mut()).await, []);
    producer.send("t", vec![record("k", "new")]).await.unwrap();
    producer.commit(None).await.unwrap();
    let rest = read_to_end(log.as_ref(), consumer.as_mut(), &start).await;
    assert_eq!(value(&rest["t"][0].record), "new");
}

pub(crate) async fn a_caught_up_reader_stands_at_the_end(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 2).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    for commits in [true, false, true, false] {
        producer
            .send("t", (0..20).map(|i| record(&i.to_string(), "v")).collect())
            .await
            .unwrap();
        if commits {
            producer.commit(None).await.unwrap();
        } else {
            producer.abort().await.unwrap();
        }
    }
    let assignments = from_start(log.as_ref(), "t", 2).await;
    let mut consumer = log.consumer(&assignments).await.unwrap();
    for Assignment {
        partition, offset, ..
    } in &assignments
    {
        assert_eq!(consumer.position("t", *partition).unwrap(), *offset);
    }
    let read = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    assert_eq!(read["t"].len(), 40);
    for Assignment { partition, .. } in &assignments {
        let Range { high, .. } = log.range("t", *partition).await.unwrap();
        assert_eq!(consumer.position("t", *partition).unwrap(), high);
    }
    assert!(matches!(consumer.position("t", 9), Err(Error::Settings(_))));
}

pub(crate) async fn many_partitions_are_read_together(place: &dyn Place) {
    let log = place.open().await;
    let mut producer = log.producer("task").await.unwrap();
    let mut assignments = Vec::new();
    for topic in ["a", "b", "c"] {
        log.ensure_topic(topic, 24).await.unwrap();
        producer
            .send(
                topic,
                (0..2000).map(|i| record(&i.to_string(), topic)).collect(),
            )
            .await
            .unwrap();
        assignments.extend(from_start(log.as_ref(), topic, 24).await);
    }
    producer.commit(None).await.unwrap();
    let mut consumer = log.consumer(&assignments).await.unwrap();
    let read = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    for topic in ["a", "b", "c"] {
        let keys: BTreeSet<_> = read[topic]
            .iter()
            .map(|delivered| delivered.record.key.clone())
            .collect();
        assert_eq!((read[topic].len(), keys.len()), (2000, 2000));
        let partitions: BTreeSet<_> = read[topic]
            .iter()
            .map(|delivered| delivered.partition)
            .collect();
        assert_eq!(partitions.len(), 24);
        assert!(
            read[topic]
                .iter()
                .all(|delivered| value(&delivered.record) == topic)
        );
    }
}

pub(crate) async fn offsets_outside_the_log_are_refused(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    write(log.as_ref(), "task", "t", vec![record("k", "v")]).await;
    let Range { high, .. } = log.range("t", 0).await.unwrap();
    for offset in [-1, high + 1] {
        let wanted = [Assignment {
            topic: "t".into(),
            partition: 0,
            offset,
        }];
        let refused = log.consumer(&wanted).await.err();
        assert!(
            matches!(&refused, Some(Error::OutOfRange { offset: told, .. }) if *told == offset),
            "{refused:?}"
        );
    }
}

pub(crate) async fn trimming_moves_the_start(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 2).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    for n in 0..10 {
        let records = (0..10)
            .map(|i| record("k", &(n * 10 + i).to_string()))
            .collect();
        producer.send("t", records).await.unwrap();
        producer.commit(None).await.unwrap();
    }
    let partition = partition_of(b"k", 2);
    let all = read_all(log.as_ref(), "t", 2).await;
    // Once at the edge of a block, once within one.
    for kept in [all[30].offset, all[55].offset] {
        log.trim("t", partition, kept).await.unwrap();
        let Range { low, high } = log.range("t", partition).await.unwrap();
        assert_eq!(low, kept);
        let early = [Assignment {
            topic: "t".into(),
            partition,
            offset: kept - 1,
        }];
        let refused = log.consumer(&early).await.err();
        assert!(
            matches!(&refused, Some(Error::OutOfRange { offset, low, .. }) if *offset == kept - 1 && *low == kept),
            "{refused:?}"
        );
        let rest = read_all(log.as_ref(), "t", 2).await;
        assert_eq!(rest.first().map(|delivered| delivered.offset), Some(kept));
        assert_eq!(rest.last(), all.last());
        log.trim("t", partition, kept - 5).await.unwrap();
        assert_eq!(
            log.range("t", partition).await.unwrap(),
            Range { low, high }
        );
    }
    let Range { high, .. } = log.range("t", partition).await.unwrap();
    let beyond = log.trim("t", partition, high + 1).await;
    assert!(
        matches!(beyond, Err(Error::OutOfRange { .. })),
        "{beyond:?}"
    );
    log.trim("t", partition, high).await.unwrap();
    assert_eq!(
        log.range("t", partition).await.unwrap(),
        Range { low: high, high }
    );
    assert_eq!(
        log.range("t", 1 - partition).await.unwrap(),
        Range { low: 0, high: 0 }
    );
    drop((producer, log));

    let log = place.open().await;
    assert_eq!(
        log.range("t", partition).await.unwrap(),
        Range { low: high, high }
    );
    write(log.as_ref(), "task", "t", vec![record("k", "after")]).await;
    let read = read_all(log.as_ref(), "t", 2).await;
    assert_eq!(read.len(), 1);
    assert!(read[0].offset >= high);
}

pub(crate) async fn a_waiting_reader_is_woken(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 1).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    let mut consumer = log
        .consumer(&from_start(log.as_ref(), "t", 1).await)
        .await
        .unwrap();
    let started = Instant::now();
    let waiting = tokio::spawn(async move { consumer.poll(10, DEADLINE).await });
    producer.send("t", vec![record("k", "v")]).await.unwrap();
    producer.commit(None).await.unwrap();
    let polled = waiting.await.unwrap().unwrap();
    assert_eq!(polled[0].records.len(), 1);
    assert!(
        started.elapsed() < DEADLINE / 4,
        "woken after {:?}",
        started.elapsed()
    );
}

pub(crate) async fn a_dropped_poll_loses_nothing(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 2).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    let assignments = from_start(log.as_ref(), "t", 2).await;
    let mut consumer = log.consumer(&assignments).await.unwrap();
    let mut read = Vec::new();
    for n in 0..40_u32 {
        producer
            .send("t", vec![record(&n.to_string(), "v")])
            .await
            .unwrap();
        producer.commit(None).await.unwrap();
        let patience = Duration::from_micros(u64::from(n) * 50);
        if let Ok(polled) = tokio::time::timeout(patience, consumer.poll(1, DEADLINE)).await {
            read.extend(
                polled
                    .unwrap()
                    .into_iter()
                    .flat_map(|polled| polled.records),
            );
        }
    }
    let rest = read_to_end(log.as_ref(), consumer.as_mut(), &assignments).await;
    read.extend(rest.into_values().flatten());
    read.sort_by_key(|delivered| (delivered.partition, delivered.offset));
    assert_eq!(read, read_all(log.as_ref(), "t", 2).await);
    assert_eq!(read.len(), 40);
}
