//! What every log must do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bus::{Assignment, Error, MAX_RECORD_BYTES, Range, Record, SharedLog, partition_of};
use bytes::Bytes;

use crate::reading::{
    DEADLINE, Place, from_start, peek, position, read_all, read_to_end, record, value, write,
};

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

pub(crate) async fn a_restart_keeps_everything(place: &dyn Place) {
    let log = place.open().await;
    let topic = log.ensure_topic("t", 3).await.unwrap();
    let mut producer = log.producer("task").await.unwrap();
    for i in 0..10_u64 {
        producer
            .send("t", vec![record(&i.to_string(), &i.to_string())])
            .await
            .unwrap();
        producer
            .commit(Some(("source", &position(i))))
            .await
            .unwrap();
    }
    let before = read_all(log.as_ref(), "t", 3).await;
    drop((producer, log));

    let log = place.open().await;
    assert_eq!(log.topics("").await.unwrap(), [topic]);
    assert_eq!(log.position("source").await.unwrap(), Some(position(9)));
    assert_eq!(
        log.positions().await.unwrap(),
        [("source".to_owned(), position(9))]
    );
    assert_eq!(read_all(log.as_ref(), "t", 3).await, before);
    write(log.as_ref(), "task", "t", vec![record("0", "10")]).await;
    let after = read_all(log.as_ref(), "t", 3).await;
    assert_eq!(after.len(), 11);
}

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

pub(crate) async fn every_part_of_a_record_returns(place: &dyn Place) {
    let log = place.open().await;
    log.ensure_topic("t", 3).await.unwrap();
    let full = Record {
        key: Some(vec![0, 255, 10].into()),
        value: Some("Lærke Ødegård".into()),
        headers: vec![
            ("pejl-source".into(), "ydelse".into()),
            ("twice".into(), "1".into()),
            ("twice".into(), Bytes::new()),
        ],
        timestamp_ms: 1_262_304_000_123,
    };
    let tombstone = Record {
        value: None,
        ..full.clone()
    };
    let empty = Record {
        key: Some(Bytes::new()),
        value: Some(Bytes::new()),
        headers: vec![],
        timestamp_ms: 1,
    };
    let keyless = Record {
        key: None,
        timestamp_ms: 4_102_444_800_000 - (1 << 41),
        ..full.clone()
    };
    let mut producer = log.producer("task").await.unwrap();
    for sent in [&full, &tombstone, &empty, &keyless] {
        producer.send("t", vec![sent.clone()]).await.unwrap();
    }
    let before = now();
    producer
        .send(
            "t",
            vec![Record {
                timestamp_ms: 0,
                ..full.clone()
            }],
        )
        .await
        .unwrap();
    producer.commit(None).await.unwrap();
    let after = now();
    let read: Vec<_> = read_all(log.as_ref(), "t", 3)
        .await
        .into_iter()
        .map(|delivered| delivered.record)
        .collect();
    assert_eq!(read.len(), 5);
    for sent in [full, tombstone, empty, keyless] {
        assert!(read.contains(&sent), "{sent:?} is not among {read:?}");
    }
    assert!(
        read.iter()
            .any(|record| (before..=after).contains(&record.timestamp_ms)),
        "{read:?}"
    );
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

pub(crate) async fn topics_are_listed_and_keep_their_identity(place: &dyn Place) {
    let log = place.open().await;
    let b = log.ensure_topic("pejl.b", 2).await.unwrap();
    let a = log.ensure_topic("pejl.a", 1).await.unwrap();
    let other = log.ensure_topic("other", 1).await.unwrap();
    assert_eq!((b.name.as_str(), b.partitions), ("pejl.b", 2));
    let ids: BTreeSet<_> = [&a, &b, &other]
        .into_iter()
        .map(|topic| topic.id.clone())
        .collect();
    assert_eq!(ids.len(), 3);
    // Asking again changes nothing, whatever the number of partitions asked for.
    assert_eq!(log.ensure_topic("pejl.b", 5).await.unwrap(), b);
    // A position topic may exist by now; it is nobody's business.
    log.producer("task")
        .await
        .unwrap()
        .commit(Some(("source", &position(1))))
        .await
        .unwrap();
    drop(log);

    let log = place.open().await;
    assert_eq!(log.topics("pejl.").await.unwrap(), [a.clone(), b.clone()]);
    assert_eq!(log.topics("").await.unwrap(), [other, a.clone(), b]);
    assert_eq!(log.ensure_topic("pejl.a", 1).await.unwrap(), a);
}

pub(crate) async fn bad_topics_are_refused(place: &dyn Place) {
    let log = place.open().await;
    for (name, partitions) in [("", 1), ("no spaces", 1), ("æ", 1), ("t", 0)] {
        let refused = log.ensure_topic(name, partitions).await;
        assert!(
            matches!(refused, Err(Error::Settings(_))),
            "{name}: {refused:?}"
        );
    }
    log.ensure_topic("t", 1).await.unwrap();
    for (topic, partition) in [("missing", 0), ("t", 1), ("t", -1)] {
        let refused = log.range(topic, partition).await;
        assert!(
            matches!(refused, Err(Error::Settings(_))),
            "{topic}/{partition}: {refused:?}"
        );
        let wanted = [Assignment {
            topic: topic.into(),
            partition,
            offset: 0,
        }];
        let refused = log.consumer(&wanted).await.err();
        assert!(
            matches!(refused, Some(Error::Settings(_))),
            "{topic}/{partition}: {refused:?}"
        );
    }
    let mut producer = log.producer("task").await.unwrap();
    let refused = producer.send("missing", vec![record("k", "v")]).await;
    assert!(matches!(refused, Err(Error::Settings(_))), "{refused:?}");
    let names: Vec<_> = log
        .topics("")
        .await
        .unwrap()
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["t"]);
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

/// Bytes that do not compress, the same for the same seed (xorshift).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}
