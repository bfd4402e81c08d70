//! A small country in landed tables: most of it there at first, the rest to come, and anything of it corrected, repeated or deleted.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
    },
    compute::{concat_batches, interleave, take},
};
use contract::{Entity, PseudonymKey};
use datafusion::prelude::{CsvReadOptions, SessionContext};
use lake::{FILE_BYTES, Lake};
use proptest::prelude::*;
use simulator::{Municipalities, Settings, World, write_canonical};

/// Of the records of the world this share is held back at first.
const HELD_BACK: usize = 5;

/// The entities that most models come from.
const CENTRAL: [&str; 7] = [
    "agreement",
    "benefit_spell",
    "citizen",
    "offer",
    "participation",
    "provider",
    "survey_response",
];

/// One thing that happens to the records of an entity.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Which entity: one of those most models come from, or any.
    entity: (bool, prop::sample::Index),
    what: What,
    /// Which records.
    chosen: Vec<prop::sample::Index>,
}

#[derive(Debug, Clone)]
enum What {
    /// Records that were held back come.
    Come,
    /// Records are corrected: one column takes the value it has in another record.
    Correct {
        column: prop::sample::Index,
        like: prop::sample::Index,
    },
    /// Records come again as they were.
    Repeat,
    /// Records are deleted.
    Delete,
    /// A source says that it has read so many days more, or fewer.
    Watermark { days: i32 },
    /// Small files of the landed table are put together.
    Merge,
}

/// Any step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let what = prop_oneof![
        3 => Just(What::Come),
        5 => (index(), index()).prop_map(|(column, like)| What::Correct { column, like }),
        1 => Just(What::Repeat),
        2 => Just(What::Delete),
        2 => (-40..120_i32).prop_map(|days| What::Watermark { days }),
        1 => Just(What::Merge),
    ];
    let entity = (prop::bool::weighted(0.6), index());
    (entity, what, proptest::collection::vec(index(), 1..3)).prop_map(|(entity, what, chosen)| {
        Step {
            entity,
            what,
            chosen,
        }
    })
}

/// The landed tables, and what may still happen to them.
pub(crate) struct Deliveries {
    pub(crate) lake: Lake,
    /// The entities that records come of.
    entities: Vec<&'static Entity>,
    /// Every record an entity ever had, and how many of them have come.
    records: BTreeMap<String, (RecordBatch, usize)>,
    /// Everything that was landed, in order.
    landed: Vec<(&'static Entity, RecordBatch)>,
    offset: i64,
}

impl Deliveries {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            municipalities: Municipalities::First(7),
            citizens_per_municipality: 12,
            years: 2,
            as_of: "2011-11-30".parse().unwrap(),
            ..Settings::default()
        };
        let world = World::generate(&settings).unwrap();
        let key = PseudonymKey::new(&[7; 32]).unwrap();
        write_canonical(&world, folder.path(), &key).unwrap();
        let mut deliveries = Self {
            lake: Lake::open("memory:///", HashMap::new()).unwrap(),
            entities: Vec::new(),
            records: BTreeMap::new(),
            landed: Vec::new(),
            offset: 0,
        };
        for entity in contract::entities() {
            let files = folder.path().join(&entity.name);
            if !files.exists() {
                continue;
            }
            let all = read(entity, files.to_str().unwrap()).await;
            let now = all.num_rows() - all.num_rows() / HELD_BACK;
            deliveries.land(entity, all.slice(0, now), false).await;
            deliveries.records.insert(entity.name.clone(), (all, now));
            deliveries.entities.push(entity);
        }
        deliveries
    }

    pub(crate) async fn deliver(&mut self, step: &Step) {
        let entity = match step.what {
            What::Watermark { .. } => contract::entity("watermark").unwrap(),
            _ => {
                let (is_central, index) = &step.entity;
                if *is_central {
                    contract::entity(CENTRAL[index.index(CENTRAL.len())]).unwrap()
                } else {
                    self.entities[index.index(self.entities.len())]
                }
            }
        };
        let (all, come) = self.records[&entity.name].clone();
        let chosen: UInt32Array = step
            .chosen
            .iter()
            .map(|it| Some(it.index(come) as u32))
            .collect();
        let chosen_rows = pick(&all, &chosen);
        match &step.what {
            What::Come => {
                let count = step.chosen.len().min(all.num_rows() - come);
                self.land(entity, all.slice(come, count), false).await;
                self.records.get_mut(&entity.name).unwrap().1 += count;
            }
            What::Correct { column, like } => {
                let free: Vec<usize> = (0..entity.fields.len())
                    .filter(|at| !entity.key.contains(&entity.fields[*at].name))
                    .collect();
                let column = free[column.index(free.len())];
                let like = UInt32Array::from(vec![like.index(come) as u32; chosen.len()]);
                let mut columns = chosen_rows.columns().to_vec();
                columns[column] = take(all.column(column), &like, None).unwrap();
                let corrected = RecordBatch::try_new(all.schema(), columns).unwrap();
                self.correct(entity, &chosen, &corrected);
                self.land(entity, corrected, false).await;
            }
            What::Repeat => self.land(entity, chosen_rows, false).await,
            What::Delete => self.land(entity, chosen_rows, true).await,
            What::Watermark { days } => {
                let at = all.schema().index_of("complete_through").unwrap();
                let mut columns = chosen_rows.columns().to_vec();
                let dates = columns[at].as_any().downcast_ref::<Date32Array>().unwrap();
                columns[at] =
                    Arc::new(dates.unary::<_, arrow::datatypes::Date32Type>(|it| it + days));
                let moved = RecordBatch::try_new(all.schema(), columns).unwrap();
                self.correct(entity, &chosen, &moved);
                self.land(entity, moved, false).await;
            }
            What::Merge => {
                self.lake
                    .merge(&entity.raw_table(), FILE_BYTES)
                    .await
                    .unwrap();
            }
        }
    }

    /// Another lake with the same records landed in the same order.
    pub(crate) async fn landed_anew(&self) -> Lake {
        let lake = Lake::open("memory:///", HashMap::new()).unwrap();
        for (entity, rows) in &self.landed {
            append(&lake, entity, rows).await;
        }
        lake
    }

    /// Later corrections go on from these.
    fn correct(&mut self, entity: &Entity, at: &UInt32Array, corrected: &RecordBatch) {
        let (all, _) = self.records.get_mut(&entity.name).unwrap();
        let mut place: Vec<(usize, usize)> = (0..all.num_rows()).map(|row| (0, row)).collect();
        for (row, at) in at.values().iter().enumerate() {
            place[*at as usize] = (1, row);
        }
        let columns = (0..all.num_columns())
            .map(|column| {
                let both = [
                    all.column(column).as_ref(),
                    corrected.column(column).as_ref(),
                ];
                interleave(&both, &place).unwrap()
            })
            .collect();
        *all = RecordBatch::try_new(all.schema(), columns).unwrap();
    }

    /// Lands records, or their deletions, each key in a partition of its own choosing.
    async fn land(&mut self, entity: &'static Entity, records: RecordBatch, deleted: bool) {
        let count = records.num_rows();
        if count == 0 {
            return;
        }
        let partitions: Int32Array = (0..count)
            .map(|row| {
                let mut hasher = DefaultHasher::new();
                entity.key_of(&records, row).hash(&mut hasher);
                Some((hasher.finish() % 3) as i32)
            })
            .collect();
        let offsets = Int64Array::from_iter_values(self.offset..self.offset + count as i64);
        let moments = vec![1_300_000_000_000_000 + self.offset; count];
        self.offset += count as i64;
        let topic = entity.topic();
        let given: HashMap<&str, ArrayRef> = HashMap::from([
            (
                contract::TOPIC,
                Arc::new(StringArray::from(vec![topic.as_str(); count])) as ArrayRef,
            ),
            (contract::PARTITION, Arc::new(partitions)),
            (contract::OFFSET, Arc::new(offsets)),
            (
                contract::TIMESTAMP,
                Arc::new(TimestampMicrosecondArray::from(moments).with_timezone("UTC")),
            ),
            (
                contract::DELETED,
                Arc::new(BooleanArray::from(vec![deleted; count])),
            ),
        ]);
        let schema = contract::raw_schema(entity);
        let columns = schema.fields().iter().map(|field| {
            let name = field.name();
            let own = records.column_by_name(name);
            let is_there = !deleted || entity.key.contains(name);
            match (given.get(name.as_str()), own.filter(|_| is_there)) {
                (Some(column), _) | (None, Some(column)) => Arc::clone(column),
                (None, None) => new_null_array(field.data_type(), count),
            }
        });
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        append(&self.lake, entity, &rows).await;
        self.landed.push((entity, rows));
    }
}

async fn append(lake: &Lake, entity: &Entity, rows: &RecordBatch) {
    let table = entity.raw_table();
    lake.append(&table, &rows.schema(), vec![rows.clone()], &[])
        .await
        .unwrap();
}

fn pick(all: &RecordBatch, rows: &UInt32Array) -> RecordBatch {
    let columns = all.columns().iter();
    let columns = columns.map(|it| take(it, rows, None).unwrap()).collect();
    RecordBatch::try_new(all.schema(), columns).unwrap()
}

/// The records of an entity, shuffled, so that what is held back is of every kind.
async fn read(entity: &Entity, folder: &str) -> RecordBatch {
    let schema = entity.arrow_schema();
    let options = CsvReadOptions::new().schema(&schema);
    let rows = SessionContext::new().read_csv(folder, options).await;
    let batches = rows.unwrap().collect().await.unwrap();
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
    order.sort_by_key(|row| {
        let mut hasher = DefaultHasher::new();
        row.hash(&mut hasher);
        hasher.finish()
    });
    pick(&all, &UInt32Array::from(order))
}
