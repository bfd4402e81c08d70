//! Reading a topic's records into rows, whichever kind of topic it is.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bus::Delivered;
use contract::{Entity, MARK_TOPIC, QUARANTINE_TOPIC};
use telemetry::metric;

use crate::{
    Result,
    entity::{EntityReader, UNREADABLE},
    mark::{MARK_TABLE, MarkReader},
    quarantine::QuarantineReader,
    refused::QUARANTINE_TABLE,
};

/// What records became.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Rows for the topic's table.
    pub(crate) good: Vec<RecordBatch>,
    /// Rows for the table of refused records.
    pub(crate) refused: Option<RecordBatch>,
    /// Fingerprints of schemas that some records were written with and that are not known.
    pub(crate) unknown: Vec<u64>,
}

/// Reads a topic's records into rows.
#[derive(Debug)]
pub(crate) enum Reader {
    Entity(Box<EntityReader>),
    Quarantine(QuarantineReader),
    Mark(MarkReader),
}

impl Reader {
    /// The reader for a topic; `None` when no entity here has that topic.
    pub(crate) fn of(topic: &str) -> Result<Option<Self>> {
        if topic == QUARANTINE_TOPIC {
            return Ok(Some(Self::Quarantine(QuarantineReader::new())));
        }
        if topic == MARK_TOPIC {
            return Ok(Some(Self::Mark(MarkReader::new())));
        }
        let reader = entity_of(topic).map(EntityReader::new).transpose()?;
        Ok(reader.map(|reader| Self::Entity(Box::new(reader))))
    }

    /// The table the rows go to.
    pub(crate) fn table(&self) -> String {
        match self {
            Self::Entity(reader) => reader.entity().raw_table(),
            Self::Quarantine(_) => QUARANTINE_TABLE.to_owned(),
            Self::Mark(_) => MARK_TABLE.to_owned(),
        }
    }

    /// Makes what is counted of refused records appear.
    pub(crate) fn touch_refused(&self) {
        if let Self::Entity(reader) = self {
            let rules = contract::RULES.iter().chain(UNREADABLE);
            for rule in rules {
                metric::LANDING_REJECTED.add([&reader.entity().name, rule], 0);
            }
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Entity(reader) => reader.schema(),
            Self::Quarantine(reader) => reader.schema(),
            Self::Mark(reader) => reader.schema(),
        }
    }

    pub(crate) fn read(&mut self, topic: &str, records: &[&Delivered]) -> Result<Rows> {
        match self {
            Self::Entity(reader) => reader.read(topic, records),
            Self::Quarantine(reader) => reader.read(topic, records),
            Self::Mark(reader) => reader.read(topic, records),
        }
    }
}

/// The table of a topic; `None` when no entity here has that topic.
pub(crate) fn table_of(topic: &str) -> Option<String> {
    if topic == QUARANTINE_TOPIC {
        return Some(QUARANTINE_TABLE.to_owned());
    }
    if topic == MARK_TOPIC {
        return Some(MARK_TABLE.to_owned());
    }
    entity_of(topic).map(Entity::raw_table)
}

fn entity_of(topic: &str) -> Option<&'static Entity> {
    topic.strip_prefix(PREFIX).and_then(contract::entity)
}

/// What the names of all topics begin with.
pub(crate) const PREFIX: &str = "pejl.";
