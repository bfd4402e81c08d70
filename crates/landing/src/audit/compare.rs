//! One partition: the records the log delivers, in order, against the offsets the tables have.

use std::iter::Peekable;

use super::{
    PartitionAudit,
    moment::Partition,
    seen::{OffsetSet, Seen},
};
use crate::Offsets;

/// A comparison under way. Told of every record from `from` up to the end of the range, in order, it knows the rest.
pub(super) struct Comparison {
    audit: PartitionAudit,
    /// Offsets the tables have and no record was told of yet.
    rows: Peekable<<OffsetSet as IntoIterator>::IntoIter>,
    /// Those of them that are among the refused only.
    refused: OffsetSet,
}

impl Comparison {
    /// Of the rows and refused records of `partition`, those from `from` on.
    pub(super) fn new(partition: &Partition, from: i64, rows: Seen, refused: Seen) -> Self {
        let Partition {
            range, position, ..
        } = partition;
        let (mut rows, mut doubled) = (rows.offsets, rows.doubled);
        doubled |= &refused.doubled;
        let mut refused = refused.offsets;
        doubled |= &(&rows & &refused);
        // Rows and position are of one version, and the range was asked for later: whatever landed is before both.
        let mut out_of_range = rows.split_off(range.high.min(position.unwrap_or(0)));
        out_of_range |= &refused.split_off(range.high.min(partition.refused.unwrap_or(0)));
        for set in [&mut rows, &mut refused] {
            let possible = set.split_off(0);
            out_of_range |= &std::mem::replace(set, possible);
        }
        refused -= &rows;
        rows |= &refused;
        let lost = position.map_or(0, |next| (range.low - next).max(next - range.high).max(0));
        let mut comparison = Self {
            audit: PartitionAudit {
                topic: partition.topic.name.clone(),
                partition: partition.number,
                table: partition.table.clone(),
                low: range.low,
                high: range.high,
                from,
                next: position.unwrap_or(range.low).max(range.low),
                delivered: 0,
                landed: 0,
                quarantined: 0,
                waiting: 0,
                missing: Offsets::default(),
                doubled: doubled.to_offsets(),
                foreign: Offsets::default(),
                out_of_range: out_of_range.to_offsets(),
                lost: lost.unsigned_abs(),
            },
            rows: rows.into_iter().peekable(),
            refused,
        };
        comparison.skip_to(from);
        comparison
    }

    pub(super) fn place(&self) -> (&str, i32) {
        (&self.audit.topic, self.audit.partition)
    }

    /// Where telling starts, and ends.
    pub(super) fn bounds(&self) -> (i64, i64) {
        (self.audit.from, self.audit.high)
    }

    /// There is a record at `offset`, and none since the one before.
    pub(super) fn record(&mut self, offset: i64) {
        self.audit.delivered += 1;
        self.no_record_before(offset);
        if self.rows.next_if_eq(&offset).is_some() {
            if self.refused.contains(offset) {
                self.audit.quarantined += 1;
            } else {
                self.audit.landed += 1;
            }
        } else if offset < self.audit.next {
            self.audit.missing.add(offset);
        } else {
            self.audit.waiting += 1;
        }
    }

    /// What records there were before `offset` is not known any more.
    pub(super) fn skip_to(&mut self, offset: i64) {
        while self.rows.next_if(|row| *row < offset).is_some() {}
    }

    /// There are no more records up to the end of the range.
    pub(super) fn finish(mut self) -> PartitionAudit {
        self.no_record_before(self.audit.high);
        self.audit
    }

    fn no_record_before(&mut self, offset: i64) {
        while let Some(row) = self.rows.next_if(|row| *row < offset) {
            self.audit.foreign.add(row);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::collections::{BTreeSet, HashMap};

    use bus::{Range, Topic};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Offsets a test looks at; the log's are below the last few.
    const ALL: i64 = 60;

    proptest! {
        /// Every record landed or refused but for what went wrong, in files of any order and length.
        #[test]
        fn it_finds_what_counting_each_offset_finds(
            holes in vec(0..ALL, 0..20),
            refused in vec(0..ALL, 0..20),
            missing in vec(0..ALL, 0..4),
            doubled in vec((0..ALL, any::<bool>()), 0..4),
            forged in vec((-2..ALL + 9, any::<bool>()), 0..4),
            low in 0..20_i64,
            high in 20..=ALL,
            landed in 0..=ALL,
            order in Just((0..4 * usize::try_from(ALL).unwrap()).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let landed = landed.clamp(low, high);
            let holes = BTreeSet::from_iter(holes);
            let mut rows = Vec::new();
            for offset in (0..landed).filter(|it| !holes.contains(it) && !missing.contains(it)) {
                rows.push((offset, refused.contains(&offset)));
            }
            rows.extend(doubled.iter().filter(|(it, _)| rows.contains(&(*it, false))).copied().collect::<Vec<_>>());
            rows.extend(forged);
            let mut shuffled = Vec::new();
            for at in order {
                shuffled.extend(rows.get(at));
            }
            let records: Vec<i64> = (low..high).filter(|it| !holes.contains(it)).collect();

            let partition = partition(Range { low, high }, landed);
            let mut seen = [Seen::default(), Seen::default()];
            for (first, last, refused) in runs(&shuffled) {
                seen[usize::from(refused)].add(first, last);
            }
            let [rows, refused] = seen;
            let mut comparison = Comparison::new(&partition, low, rows, refused);
            for record in &records {
                comparison.record(*record);
            }
            let found = comparison.finish();
            prop_assert_eq!(found, counted(&partition, &shuffled, &records));
        }
    }

    /// The same audit by counting each offset.
    fn counted(partition: &Partition, rows: &[(i64, bool)], records: &[i64]) -> PartitionAudit {
        let (low, high) = (partition.range.low, partition.range.high);
        let next = partition.position.unwrap();
        let mut counts: HashMap<i64, (u32, u32)> = HashMap::new();
        for (offset, refused) in rows {
            let count = counts.entry(*offset).or_default();
            *(if *refused { &mut count.1 } else { &mut count.0 }) += 1;
        }
        let mut audit = Comparison::new(partition, low, Seen::default(), Seen::default()).finish();
        for offset in -2..ALL + 9 {
            let (rows, refused) = counts.get(&offset).copied().unwrap_or_default();
            let is_record = records.contains(&offset);
            let possible = (0..next).contains(&offset);
            if rows + refused > 1 {
                audit.doubled.add(offset);
            }
            if rows + refused > 0 && !possible {
                audit.out_of_range.add(offset);
            } else if rows + refused > 0 && offset >= low && !is_record {
                audit.foreign.add(offset);
            }
            if !is_record {
                continue;
            }
            audit.delivered += 1;
            match (offset < next, rows, refused) {
                (false, ..) => audit.waiting += 1,
                (true, 0, 0) => audit.missing.add(offset),
                (true, 0, _) => audit.quarantined += 1,
                (true, ..) => audit.landed += 1,
            }
        }
        assert!(high >= next);
        audit
    }

    /// Rows as the runs a file has them in.
    fn runs(rows: &[(i64, bool)]) -> Vec<(i64, i64, bool)> {
        let mut runs: Vec<(i64, i64, bool)> = Vec::new();
        for (offset, refused) in rows {
            match runs.last_mut() {
                Some((_, last, of)) if *last + 1 == *offset && of == refused => *last = *offset,
                _ => runs.push((*offset, *offset, *refused)),
            }
        }
        runs
    }

    fn partition(range: Range, landed: i64) -> Partition {
        Partition {
            topic: Topic {
                name: "pejl.unit".to_owned(),
                id: "a".to_owned(),
                partitions: 1,
            },
            number: 0,
            label: "pejl.unit".to_owned(),
            table: Some("raw.unit".to_owned()),
            range,
            position: Some(landed),
            refused: Some(landed),
        }
    }

    #[test]
    fn a_position_outside_the_log_is_a_loss() {
        let lost = |landed, low, high| {
            let partition = partition(Range { low, high }, landed);
            let audit = Comparison::new(&partition, low, Seen::default(), Seen::default()).finish();
            (audit.lost, audit.is_clean())
        };
        assert_eq!(lost(5, 5, 9), (0, true));
        assert_eq!(lost(5, 7, 9), (2, false));
        assert_eq!(lost(12, 5, 9), (3, false));
    }
}
