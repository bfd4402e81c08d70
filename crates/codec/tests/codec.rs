//! Encoding and decoding: inverse, readable by another implementation, and precise about what is broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::sync::Arc;

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::DataType,
};
use bytes::Bytes;
use codec::{Decoder, encode};
use contract::Entity;
use proptest::prelude::{any, prop, proptest};
use serde_json::{Value, json};

/// A batch of the entity made of `seeds`, one a row; nulls where the schema allows and the seed says so.
fn batch(entity: &Entity, seeds: &[u64]) -> RecordBatch {
    let schema = entity.arrow_schema();
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let values = seeds.iter().map(|seed| {
            let mixed = seed
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(at as u32 * 7);
            (!(field.is_nullable() && mixed % 3 == 0)).then_some(mixed)
        });
        column(field.data_type(), &values.collect::<Vec<_>>())
    });
    let columns: Vec<ArrayRef> = columns.collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
}

fn column(data_type: &DataType, values: &[Option<u64>]) -> ArrayRef {
    let values = values.iter().copied();
    match data_type {
        DataType::Int32 => Arc::new(values.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(values.map(|v| v.map(|v| v as i64)).collect::<Int64Array>()),
        DataType::Float64 => {
            let floats = values.map(|v| v.map(|v| v as f64 / 7.0));
            Arc::new(floats.collect::<Float64Array>())
        }
        DataType::Boolean => Arc::new(
            values
                .map(|v| v.map(|v| v % 2 == 0))
                .collect::<BooleanArray>(),
        ),
        DataType::Utf8 => {
            let texts = values.map(|v| v.map(|v| "æ½\u{1F600}\"\n".repeat((v % 5) as usize)));
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Date32 => {
            let days = values.map(|v| v.map(|v| (v % 40_000) as i32 - 10_000));
            Arc::new(days.collect::<Date32Array>())
        }
        DataType::Timestamp(..) => {
            let moments = values.map(|v| v.map(|v| (v >> 14) as i64));
            Arc::new(
                moments
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            )
        }
        DataType::Decimal128(precision, scale) => {
            let amounts = values.map(|v| v.map(|v| i128::from(v % 1_000_000_000_000) - 5_000));
            let amounts = amounts.collect::<Decimal128Array>();
            Arc::new(
                amounts
                    .with_precision_and_scale(*precision, *scale)
                    .unwrap(),
            )
        }
        other => panic!("no entity has a column of {other}"),
    }
}

fn refs(values: &[Bytes]) -> Vec<Option<&[u8]>> {
    values.iter().map(|value| Some(value.as_ref())).collect()
}

fn offer() -> &'static Entity {
    contract::entity("offer").expect("the entity `offer`")
}

#[test]
fn every_entity_comes_back_as_it_went_in() {
    for entity in contract::entities() {
        let sent = batch(entity, &[0, 1, 2, 3, u64::MAX, 77]);
        let values = encode(entity, &sent).unwrap();
        assert_eq!(values.len(), 6);
        let read = Decoder::new(entity)
            .unwrap()
            .decode(&refs(&values))
            .unwrap();
        assert_eq!(read.batch, sent, "{}", entity.name);
        assert_eq!(read.rows, [0, 1, 2, 3, 4, 5]);
        assert!(read.failures.is_empty());
    }
}

#[test]
fn another_implementation_reads_the_same() {
    for entity in contract::entities() {
        let schema = Schema::parse_str(entity.avro()).unwrap();
        let plain = bare(&serde_json::from_str(entity.avro()).unwrap());
        let print = Schema::parse(&plain).unwrap();
        let print = print.fingerprint::<apache_avro::rabin::Rabin>();
        let sent = batch(entity, &[5, 6]);
        for value in encode(entity, &sent).unwrap() {
            assert_eq!(value[..2], [0xC3, 0x01]);
            assert_eq!(value[2..10], print.bytes[..], "{}", entity.name);
            let mut body = &value[10..];
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            reader.read_value(&mut body).unwrap();
            assert!(body.is_empty());
        }
    }
}

/// The schema without what its canonical form leaves out; apache-avro 0.22 keeps some of that
/// (the object around a logical type, attributes called `values`).
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Array(branches) => branches.iter().map(bare).collect(),
        Value::Object(it) if it.contains_key("logicalType") => bare(&it["type"]),
        Value::Object(it) if it.contains_key("fields") => {
            let fields = it["fields"].as_array().unwrap().iter();
            let fields = fields.map(|it| json!({"name": it["name"], "type": bare(&it["type"])}));
            let (name, namespace) = (&it["name"], &it["namespace"]);
            let fields: Vec<Value> = fields.collect();
            json!({"type": "record", "name": name, "namespace": namespace, "fields": fields})
        }
        other => other.clone(),
    }
}

#[test]
fn broken_values_are_named_and_the_others_read() {
    let entity = offer();
    let sent = batch(entity, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let values = encode(entity, &sent).unwrap();
    let mut broken: Vec<Option<Vec<u8>>> = values.iter().map(|it| Some(it.to_vec())).collect();
    broken[1] = None;
    broken[2].as_mut().unwrap().pop();
    broken[3].as_mut().unwrap().push(0);
    broken[4] = Some(b"{\"offer_id\": 1}".to_vec());
    broken[5].as_mut().unwrap()[2] ^= 1;
    broken[6].as_mut().unwrap().truncate(10);
    let twice = [values[7].as_ref(), values[7].as_ref()].concat();
    broken[7] = Some(twice);
    broken[8] = Some(vec![]);

    let broken: Vec<Option<&[u8]>> = broken.iter().map(Option::as_deref).collect();
    let mut decoder = Decoder::new(entity).unwrap();
    for _ in 0..2 {
        let read = decoder.decode(&broken).unwrap();
        assert_eq!(read.rows, [0, 9]);
        let kept =
            arrow::compute::concat_batches(&sent.schema(), [&sent.slice(0, 1), &sent.slice(9, 1)]);
        assert_eq!(read.batch, kept.unwrap());
        let failed: Vec<usize> = read.failures.iter().map(|failure| failure.row).collect();
        assert_eq!(failed, [2, 3, 4, 5, 6, 7, 8]);
        let unknown = codec::fingerprint(entity.avro()).unwrap() ^ 1;
        assert_eq!(read.failures[3].unknown_schema, Some(unknown));
        assert!(read.failures[3].reason.contains(&format!("{unknown:016x}")));
        assert!(read.failures[2].reason.contains("not Avro single-object"));
        assert!(
            read.failures[0]
                .reason
                .contains("the body is not what its schema")
        );
        assert!(read.failures[1].reason.contains("not one whole record"));
    }
}

#[test]
fn values_of_an_earlier_schema_are_read_with_the_present_one() {
    let entity = offer();
    let earlier = entity.avro().replacen(
        r#""fields": ["#,
        r#""fields": [{"name": "gone", "type": ["null", "string"], "default": null},"#,
        1,
    );
    assert_ne!(earlier, entity.avro());
    let print = codec::fingerprint(&earlier).unwrap();
    let sent = batch(entity, &[1, 2]);
    // The same rows as the earlier schema wrote them: a null `gone` (branch 0) before all else.
    let old = encode(entity, &sent)
        .unwrap()
        .into_iter()
        .map(|value| [&value[..2], &print.to_le_bytes(), &[0], &value[10..]].concat());
    let old: Vec<Bytes> = old.map(Bytes::from).collect();
    let new = encode(entity, &sent).unwrap();
    let mixed = vec![
        old[0].clone(),
        new[0].clone(),
        old[1].clone(),
        new[1].clone(),
    ];

    let mut decoder = Decoder::new(entity).unwrap();
    let unread = decoder.decode(&refs(&mixed)).unwrap();
    assert_eq!(unread.rows, [1, 3]);
    assert_eq!(unread.failures[0].unknown_schema, Some(print));

    assert_eq!(decoder.learn(&earlier).unwrap(), print);
    assert!(decoder.knows(print));
    let read = decoder.decode(&refs(&mixed)).unwrap();
    assert!(read.failures.is_empty(), "{:?}", read.failures);
    assert_eq!(read.batch.slice(0, 1), sent.slice(0, 1));
    assert_eq!(read.batch.slice(1, 1), sent.slice(0, 1));
    assert_eq!(read.batch.slice(2, 1), sent.slice(1, 1));
}

#[test]
fn docs_and_our_own_attributes_do_not_change_the_fingerprint() {
    let plain =
        r#"{"type":"record","name":"a","namespace":"pejl","fields":[{"name":"x","type":"long"}]}"#;
    let rich = r#"{"type":"record","name":"a","namespace":"pejl","doc":"A \"thing\".","key":["x"],
        "fields":[{"name":"x","type":"long","doc":"An æ.","pii":"none","minimum":0}]}"#;
    let print = codec::fingerprint(plain).unwrap();
    assert_eq!(print, codec::fingerprint(rich).unwrap());
    assert!(codec::fingerprint("{").is_err());
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let sent = batch(offer(), &[1]);
    let fewer = sent.project(&[0, 1]).unwrap();
    let refused = encode(offer(), &fewer).unwrap_err().to_string();
    assert!(refused.starts_with("encoding offer: columns"), "{refused}");
}

proptest! {
    #[test]
    fn decoding_inverts_encoding(
        which in any::<prop::sample::Index>(),
        seeds in prop::collection::vec(any::<u64>(), 0..40),
        holes in prop::collection::vec(any::<bool>(), 40),
    ) {
        let entity = which.get(contract::entities());
        let sent = batch(entity, &seeds);
        let values = encode(entity, &sent).unwrap();
        // Tombstones anywhere in between are passed over.
        let with_holes: Vec<Option<&[u8]>> = values
            .iter()
            .zip(&holes)
            .flat_map(|(value, hole)| hole.then_some(None).into_iter().chain([Some(value.as_ref())]))
            .collect();
        let read = Decoder::new(entity).unwrap().decode(&with_holes).unwrap();
        assert_eq!(read.batch, sent);
        assert_eq!(read.rows.len(), seeds.len());
        assert!(read.rows.iter().all(|row| with_holes[*row].is_some()));
    }

    #[test]
    fn no_bytes_can_break_the_decoder_or_its_neighbours(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        header in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let entity = offer();
        let sent = batch(entity, &[seed, seed ^ 1]);
        let good = encode(entity, &sent).unwrap();
        let mut bad = good[0].to_vec();
        if header {
            bad.truncate(10);
            bad.extend(&garbage);
        } else {
            for (at, bits) in &flips {
                let at = at.index(bad.len());
                bad[at] ^= bits;
            }
        }
        let values = [Some(good[0].as_ref()), Some(bad.as_ref()), Some(good[1].as_ref())];
        let read = Decoder::new(entity).unwrap().decode(&values).unwrap();
        // The bad one may by chance be a record; its neighbours are there in any case.
        assert_eq!(read.rows.len() + read.failures.len(), 3);
        assert_eq!(read.batch.slice(0, 1), sent.slice(0, 1));
        assert_eq!(read.batch.slice(read.batch.num_rows() - 1, 1), sent.slice(1, 1));
    }
}
