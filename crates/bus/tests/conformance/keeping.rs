//! Keeping: topics, records and positions return as they were, also after a restart.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use bus::{Assignment, Error, Record};
use bytes::Bytes;

use crate::place::{Place, position, read_all, record, write};

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

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}
