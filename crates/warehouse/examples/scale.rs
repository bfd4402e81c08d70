//! ad hoc
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use arrow::array::*;
use arrow::datatypes::*;
use std::{collections::HashMap, path::Path, sync::Arc, time::Instant};
use warehouse::*;
fn batch(
    entity: &str,
    n: usize,
    base: i64,
    f: &dyn Fn(&str, usize) -> Option<String>,
) -> (SchemaRef, RecordBatch) {
    let e = contract::entity(entity).unwrap();
    let schema = contract::raw_schema(e);
    let cols = schema
        .fields()
        .iter()
        .map(|fld| -> ArrayRef {
            match fld.name().as_str() {
                "_topic" => Arc::new(StringArray::from(vec!["t"; n])),
                "_partition" => Arc::new(Int32Array::from(vec![0; n])),
                "_offset" => Arc::new(Int64Array::from_iter_values(base..base + n as i64)),
                "_timestamp" => {
                    Arc::new(TimestampMicrosecondArray::from(vec![0; n]).with_timezone("UTC"))
                }
                "_deleted" => Arc::new(BooleanArray::from(vec![false; n])),
                name => {
                    let t: StringArray = (0..n).map(|i| f(name, base as usize + i)).collect();
                    arrow::compute::cast(&t, fld.data_type()).unwrap()
                }
            }
        })
        .collect();
    (schema.clone(), RecordBatch::try_new(schema, cols).unwrap())
}
fn day(d: i64) -> String {
    (chrono::NaiveDate::from_ymd_opt(2008, 1, 1).unwrap() + chrono::Days::new(d as u64)).to_string()
}
fn h(i: usize, s: u64) -> u64 {
    let mut x =
        (i as u64 + 1).wrapping_mul(0x9E3779B97F4A7C15) ^ s.wrapping_mul(0xBF58476D1CE4E5B9);
    x ^= x >> 31;
    x = x.wrapping_mul(0x94D049BB133111EB);
    x ^ (x >> 29)
}
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lake = lake::Lake::open(dir.path().to_str().unwrap(), HashMap::new()).unwrap();
    let citizens = n / 2;
    let cid = |i: usize| format!("{:064x}", i as u128 * 0x9E3779B97F4A7C15u128);
    for (entity, rows) in [
        ("citizen", citizens),
        ("benefit_spell", n),
        ("participation", n / 2),
        ("offer", 2000),
        ("watermark", 98),
    ] {
        let t = Instant::now();
        let mut at = 0;
        while at < rows {
            let k = (rows - at).min(250_000);
            let f = |name: &str, i: usize| -> Option<String> {
                let muni = if entity == "participation" {
                    101 + (h(i, 6) % 2000 % 50) as i64
                } else if entity == "offer" {
                    101 + (i % 50) as i64
                } else {
                    101 + (h(i, 9) % 50) as i64
                };
                Some(match (entity, name) {
                    (_, "municipality_code") => {
                        if entity == "watermark" {
                            (101 + i).to_string()
                        } else {
                            muni.to_string()
                        }
                    }
                    (_, "updated_at") => "2011-01-01T00:00:00Z".into(),
                    ("watermark", "entity") => "benefit_spell".into(),
                    ("watermark", "complete_through") => "2011-06-30".into(),
                    ("citizen", "citizen_id") => cid(i),
                    ("citizen", "birth_year") => (1950 + h(i, 1) % 45).to_string(),
                    ("citizen", "origin") => "danish".into(),
                    ("benefit_spell", "spell_id") => format!("s{i}"),
                    ("benefit_spell", "citizen_id") => cid((h(i, 2) % citizens as u64) as usize),
                    ("benefit_spell", "benefit") => "unemployment_benefit".into(),
                    ("benefit_spell", "from_date") => day((h(i, 3) % 1200) as i64),
                    ("benefit_spell", "to_date") => {
                        day((h(i, 3) % 1200) as i64 + (h(i, 4) % 200) as i64)
                    }
                    ("benefit_spell", "partial") => "false".into(),
                    ("participation", "participation_id") => format!("p{i}"),
                    ("participation", "citizen_id") => cid((h(i, 5) % citizens as u64) as usize),
                    ("participation", "offer_id") => format!("o{}", h(i, 6) % 2000),
                    ("participation", "unit_id") => "u".into(),
                    ("participation", "target_group") => {
                        ["unemployment_benefit", "cash_benefit_1", "sickness_benefit"]
                            [(h(i, 7) % 3) as usize]
                            .into()
                    }
                    ("participation", "start_date") => day((h(i, 8) % 1200) as i64),
                    ("participation", "end_date") => {
                        day((h(i, 8) % 1200) as i64 + (h(i, 4) % 91) as i64)
                    }
                    ("participation", "workplace") => "none".into(),
                    ("offer", "offer_id") => format!("o{i}"),
                    ("offer", "provider_id") => format!("v{}", i % 30),
                    ("offer", "name") => format!("Offer {i}"),
                    _ => return None,
                })
            };
            let (schema, b) = batch(entity, k, at as i64, &f);
            lake.append(&format!("raw.{entity}"), &schema, vec![b], &[])
                .await
                .unwrap();
            at += k;
        }
        println!("landed {entity} {rows} in {:?}", t.elapsed());
    }
    let settings = WarehouseSettings {
        threads: 2,
        memory_limit: Some(2 << 30),
        models_at_once: 1,
        ..Default::default()
    };
    let w = Warehouse::open(lake.clone(), Path::new("pipelines/models"), settings)
        .await
        .unwrap();
    let t = Instant::now();
    let report = w
        .build(&|e| {
            let s = e.to_string();
            if !s.contains(", 0 rows") && !s.ends_with("building") {
                println!("{:8.1?} {s}", t.elapsed())
            }
        })
        .await
        .unwrap();
    println!("{report}\n{:?}", report.failures());
    let t = Instant::now();
    println!("{} in {:?}", w.build(&|_| {}).await.unwrap(), t.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!(
        "{}",
        status.lines().find(|l| l.starts_with("VmHWM")).unwrap()
    );
}
