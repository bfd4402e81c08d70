//! Offsets as compressed bitmaps: a hundred million of them that follow each other cost kilobytes, in the worst order 12 MB.

use std::ops::{BitAnd, BitOrAssign, SubAssign};

use roaring::RoaringTreemap;

use crate::Offsets;

/// A bitmap is packed after this many additions, since runs that were filled bit by bit are bits until then.
const PACK_EVERY: u64 = 1 << 20;

/// A set of offsets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OffsetSet(RoaringTreemap);

impl OffsetSet {
    pub(super) fn insert(&mut self, first: i64, last: i64) {
        self.0.insert_range(place(first)..=place(last));
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        self.0.contains(place(offset))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn min(&self) -> Option<i64> {
        self.0.min().map(offset)
    }

    pub(super) fn max(&self) -> Option<i64> {
        self.0.max().map(offset)
    }

    /// Takes out everything from `from` on.
    pub(super) fn split_off(&mut self, from: i64) -> Self {
        let mut tail = self.0.clone();
        tail.remove_range(..place(from));
        self.0.remove_range(place(from)..);
        Self(tail)
    }

    /// First and last of every run of offsets that follow each other.
    pub(super) fn runs(&self) -> Vec<(i64, i64)> {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for offset in self.0.iter().map(offset) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == offset => *last = offset,
                _ => runs.push((offset, offset)),
            }
        }
        runs
    }

    pub(super) fn to_offsets(&self) -> Offsets {
        Offsets::of(self.0.len(), self.0.iter().map(offset))
    }

    /// Adds a run; what was there before goes to `again` as well.
    fn insert_new(&mut self, first: i64, last: i64, again: &mut Self) {
        if first == last {
            if !self.0.insert(place(first)) {
                again.insert(first, last);
            }
            return;
        }
        let run = place(first)..=place(last);
        if self.0.range_cardinality(run.clone()) > 0 {
            let mut present = self.0.iter();
            present.advance_to(*run.start());
            again.0.extend(present.take_while(|it| it <= run.end()));
        }
        self.0.insert_range(run);
    }
}

impl IntoIterator for OffsetSet {
    type Item = i64;
    type IntoIter = std::iter::Map<roaring::treemap::IntoIter, fn(u64) -> i64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(offset)
    }
}

impl BitOrAssign<&Self> for OffsetSet {
    fn bitor_assign(&mut self, other: &Self) {
        self.0 |= &other.0;
    }
}

impl SubAssign<&Self> for OffsetSet {
    fn sub_assign(&mut self, other: &Self) {
        self.0 -= &other.0;
    }
}

impl BitAnd for &OffsetSet {
    type Output = OffsetSet;

    fn bitand(self, other: Self) -> OffsetSet {
        OffsetSet(&self.0 & &other.0)
    }
}

/// What a table has of one partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Offsets that are there.
    pub(super) offsets: OffsetSet,
    /// Those of them that are there more than once, and those that an earlier audit had seen already.
    pub(super) doubled: OffsetSet,
    /// Rows counted.
    pub(super) rows: u64,
    unpacked: u64,
}

impl Seen {
    /// Counts a row at each offset from `first` to `last`.
    pub(super) fn add(&mut self, first: i64, last: i64) {
        self.rows += last.abs_diff(first) + 1;
        self.offsets.insert_new(first, last, &mut self.doubled);
        self.unpacked += last.abs_diff(first) + 1;
        if self.unpacked >= PACK_EVERY {
            self.pack();
        }
    }

    /// Counts rows of offsets that were accounted for before.
    pub(super) fn add_again(&mut self, first: i64, last: i64) {
        self.rows += last.abs_diff(first) + 1;
        self.doubled.insert(first, last);
    }

    pub(super) fn pack(&mut self) {
        self.offsets.0.optimize();
        self.doubled.0.optimize();
        self.unpacked = 0;
    }
}

/// An offset's place in a bitmap, in the same order; also of those below zero, which only forged rows have.
fn place(offset: i64) -> u64 {
    offset.cast_unsigned() ^ (1 << 63)
}

fn offset(place: u64) -> i64 {
    (place ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn offsets_that_follow_each_other_cost_kilobytes_in_whatever_order_they_come() {
        let mut seen = Seen::default();
        let files = (0..100_000_i64).map(|file| (file * 48_271) % 100_000);
        for file in files {
            seen.add(file * 1000, file * 1000 + 999);
        }
        seen.pack();
        assert_eq!(seen.offsets.0.len(), 100_000_000);
        assert!(seen.doubled.is_empty());
        let containers = seen.offsets.0.serialized_size();
        assert!(containers < 64 << 10, "{containers} bytes");
    }

    #[test]
    fn every_second_offset_costs_a_bit_and_not_a_run() {
        let mut seen = Seen::default();
        for offset in 0..4_000_000 {
            seen.add(offset * 2, offset * 2);
        }
        seen.pack();
        let bytes = seen.offsets.0.serialized_size();
        assert!(bytes < (8_000_000 / 8) * 11 / 10, "{bytes} bytes");
    }

    #[test]
    fn offsets_keep_their_order_and_their_ends() {
        let mut seen = Seen::default();
        for offset in [i64::MAX, 0, i64::MIN, -1, 1] {
            seen.add(offset, offset);
        }
        assert_eq!(
            seen.offsets.runs(),
            [(i64::MIN, i64::MIN), (-1, 1), (i64::MAX, i64::MAX)]
        );
        let tail = seen.offsets.split_off(0);
        assert_eq!((seen.offsets.max(), tail.min()), (Some(-1), Some(0)));
    }
}
