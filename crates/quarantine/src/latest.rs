//! The latest version there is of the things that rows are about, so that an old row undoes no newer one.

use std::collections::{HashMap, HashSet};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use bus::{Delivered, Log};
use codec::Decoder;
use contract::{DELETED, Entity, TIMESTAMP};
use datafusion::{
    logical_expr::Expr,
    prelude::{SessionContext, ident, lit},
    scalar::ScalarValue,
};
use lake::Lake;

use crate::{Error, Result};

/// What is known of one thing. Moments are microseconds since 1970; `i64::MIN` is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Latest {
    /// The newest `updated_at`.
    updated_at: i64,
    /// When a version with it came last.
    came_at: i64,
    /// When it was last deleted.
    deleted_at: i64,
}

/// The latest version of each of some things, by record key.
#[derive(Debug, Default)]
pub(crate) struct LatestVersions(HashMap<Vec<u8>, Latest>);

impl LatestVersions {
    /// Looks `keys` up in the entity's table and in what is on its way there.
    pub(crate) async fn of(
        log: &dyn Log,
        lake: &Lake,
        entity: &'static Entity,
        keys: &HashSet<Vec<u8>>,
    ) -> Result<Self> {
        let mut found = Self::default();
        if keys.is_empty() {
            return Ok(found);
        }
        // The log first: what lands in between is then seen twice rather than not at all.
        let mut decoder = Decoder::new(entity).map_err(|err| Error::Record(err.to_string()))?;
        landing::unlanded(log, lake, &entity.topic(), |records| {
            let ours = |it: &&Delivered| {
                let key = it.record.key.as_deref();
                key.is_some_and(|key| keys.contains(key))
            };
            let ours: Vec<&Delivered> = records.iter().filter(ours).collect();
            found.on_its_way(&mut decoder, &ours)?;
            Ok(())
        })
        .await?;
        found.landed(lake, entity, keys).await?;
        Ok(found)
    }

    /// Whether a row set aside at `set_aside_at` would undo a later version of `key`.
    ///
    /// It would where a version says so itself by its `updated_at`; of two with the same one, the one that came last is the later.
    pub(crate) fn supersede(&self, key: &[u8], updated_at: Option<i64>, set_aside_at: i64) -> bool {
        let Some(latest) = self.0.get(key) else {
            return false;
        };
        let updated_at = updated_at.unwrap_or(i64::MIN);
        latest.deleted_at > set_aside_at
            || latest.updated_at > updated_at
            || (latest.updated_at == updated_at && latest.came_at > set_aside_at)
    }

    /// A version of `key` has come.
    pub(crate) fn came(&mut self, key: &[u8], updated_at: Option<i64>, came_at: i64) {
        let latest = self.entry(key);
        let updated_at = updated_at.unwrap_or(i64::MIN);
        if updated_at > latest.updated_at {
            latest.updated_at = updated_at;
            latest.came_at = came_at;
        } else if updated_at == latest.updated_at {
            latest.came_at = latest.came_at.max(came_at);
        }
    }

    fn deleted(&mut self, key: &[u8], deleted_at: i64) {
        let latest = self.entry(key);
        latest.deleted_at = latest.deleted_at.max(deleted_at);
    }

    fn entry(&mut self, key: &[u8]) -> &mut Latest {
        self.0.entry(key.to_vec()).or_insert(Latest {
            updated_at: i64::MIN,
            came_at: i64::MIN,
            deleted_at: i64::MIN,
        })
    }

    fn on_its_way(&mut self, decoder: &mut Decoder, records: &[&Delivered]) -> landing::Result<()> {
        let values: Vec<Option<&[u8]>> = records
            .iter()
            .map(|it| it.record.value.as_deref())
            .collect();
        let decoded = decoder.decode(&values)?;
        let updated = moments(&decoded.batch, "updated_at");
        for (row, at) in decoded.rows.iter().enumerate() {
            let record = &records[*at].record;
            let key = record.key.as_deref().unwrap_or_default();
            let updated_at = updated.and_then(|it| it.is_valid(row).then(|| it.value(row)));
            self.came(key, updated_at, record.timestamp_ms.saturating_mul(1000));
        }
        for record in records.iter().filter(|it| it.record.value.is_none()) {
            let key = record.record.key.as_deref().unwrap_or_default();
            self.deleted(key, record.record.timestamp_ms.saturating_mul(1000));
        }
        Ok(())
    }

    async fn landed(
        &mut self,
        lake: &Lake,
        entity: &Entity,
        keys: &HashSet<Vec<u8>>,
    ) -> Result<()> {
        let Some(table) = lake.provider(&entity.raw_table(), None).await? else {
            return Ok(());
        };
        // Each key column among the wanted values, which lets files be passed over; the pairs of them are told apart below.
        let mut condition = lit(true);
        for (at, column) in entity.key.iter().enumerate() {
            let mut values: Vec<Expr> = Vec::new();
            let mut seen = HashSet::new();
            for key in keys {
                let mut parts = entity.key_values(key)?;
                if seen.insert(parts[at].clone()) {
                    values.push(typed(entity, column, parts.swap_remove(at))?);
                }
            }
            condition = condition.and(ident(column).in_list(values, false));
        }
        let mut columns: Vec<&str> = entity.key.iter().map(String::as_str).collect();
        for column in ["updated_at", TIMESTAMP, DELETED] {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let rows = SessionContext::new()
            .read_table(table)?
            .filter(condition)?
            .select(columns.iter().map(|it| ident(*it)).collect::<Vec<_>>())?;
        for batch in rows.collect().await? {
            let updated = moments(&batch, "updated_at");
            let came = moments(&batch, TIMESTAMP);
            let deleted = batch
                .column_by_name(DELETED)
                .and_then(|it| it.as_boolean_opt());
            for row in 0..batch.num_rows() {
                let key = entity.key_of(&batch, row);
                if !keys.contains(&key) {
                    continue;
                }
                let came_at = came.map_or(i64::MIN, |it| it.value(row));
                if deleted.is_some_and(|it| it.is_valid(row) && it.value(row)) {
                    self.deleted(&key, came_at);
                } else {
                    let updated_at = updated.and_then(|it| it.is_valid(row).then(|| it.value(row)));
                    self.came(&key, updated_at, came_at);
                }
            }
        }
        Ok(())
    }
}

fn typed(entity: &Entity, column: &str, text: String) -> Result<Expr> {
    let field = entity.field(column);
    let wrong = || Error::Record(format!("{}: no key column {column}", entity.name));
    let data_type = field.ok_or_else(wrong)?.kind.arrow_type();
    Ok(lit(ScalarValue::try_from_string(text, &data_type)?))
}

fn moments<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Option<&'a arrow::array::PrimitiveArray<TimestampMicrosecondType>> {
    batch.column_by_name(name)?.as_primitive_opt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_supersedes_and_an_earlier_one_does_not() {
        let mut versions = LatestVersions::default();
        assert!(!versions.supersede(b"k", Some(5), 100), "nothing is there");
        versions.came(b"k", Some(5), 50);
        assert!(!versions.supersede(b"k", Some(5), 100), "it came before");
        assert!(versions.supersede(b"k", Some(5), 40), "it came after");
        assert!(
            versions.supersede(b"k", Some(4), 100),
            "it says it is newer"
        );
        assert!(
            !versions.supersede(b"k", Some(6), 40),
            "it says it is older"
        );
        versions.came(b"k", Some(3), 999);
        assert!(
            !versions.supersede(b"k", Some(5), 100),
            "an old version came again"
        );
        versions.deleted(b"k", 200);
        assert!(versions.supersede(b"k", Some(9), 100), "deleted since");
        assert!(!versions.supersede(b"k", Some(9), 300), "deleted before");
    }
}
