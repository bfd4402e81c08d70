//! Records framed into compressed blocks: what one row of the file holds.
//!
//! A record is `flags, timestamp step, [key], [value], header count, (name, value)*`; lengths are LEB128 varints. Offsets are not stored: a block
//! holds consecutive ones. zstd keeps what does not compress as it is, and its checksum tells a damaged block from a good one.

use bytes::Bytes;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use crate::{Error, Record, Result};

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;

/// A sealed block, ready to be stored.
#[derive(Debug)]
pub(super) struct Block {
    /// Number of records, at least one.
    pub(super) count: u32,
    /// Earliest and latest record time, milliseconds since 1970.
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    /// Bytes before compression.
    pub(super) raw_len: usize,
    /// The compressed frame.
    pub(super) payload: Vec<u8>,
}

/// Collects the records of one block.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u32,
    first_ms: i64,
    last_ms: i64,
    previous_ms: i64,
}

impl Builder {
    /// Bytes collected so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record, with `timestamp_ms` in place of its own.
    pub(super) fn push(&mut self, record: &Record, timestamp_ms: i64) {
        let out = &mut self.bytes;
        let flags = if record.key.is_some() { HAS_KEY } else { 0 }
            | if record.value.is_some() { HAS_VALUE } else { 0 };
        out.push(flags);
        put_varint(out, zigzag(timestamp_ms.wrapping_sub(self.previous_ms)));
        for bytes in [&record.key, &record.value].into_iter().flatten() {
            put_bytes(out, bytes);
        }
        put_varint(out, record.headers.len() as u64);
        for (name, value) in &record.headers {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value);
        }
        if self.count == 0 {
            (self.first_ms, self.last_ms) = (timestamp_ms, timestamp_ms);
        }
        self.first_ms = self.first_ms.min(timestamp_ms);
        self.last_ms = self.last_ms.max(timestamp_ms);
        self.previous_ms = timestamp_ms;
        self.count += 1;
    }

    /// Closes the block and starts the next; `None` when there is nothing in it.
    pub(super) fn seal(&mut self, compressor: &mut Compressor<'static>) -> Result<Option<Block>> {
        if self.count == 0 {
            return Ok(None);
        }
        let payload = compressor
            .compress(&self.bytes)
            .map_err(|err| Error::Unavailable(format!("a block cannot be compressed: {err}")))?;
        let block = Block {
            count: self.count,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            raw_len: self.bytes.len(),
            payload,
        };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Self {
            bytes,
            ..Self::default()
        };
        Ok(Some(block))
    }
}

/// A compressor for [`Builder::seal`]; costly to make, so kept.
pub(super) fn compressor() -> Result<Compressor<'static>> {
    let made = Compressor::new(1).and_then(|mut compressor| {
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(compressor)
    });
    made.map_err(|err| Error::Unavailable(format!("zstd cannot be started: {err}")))
}

/// The records of a block.
pub(super) fn open(payload: &[u8], raw_len: usize, count: u32) -> Result<Vec<Record>> {
    let bytes = zstd::bulk::decompress(payload, raw_len)
        .map_err(|err| Error::Damaged(format!("a block cannot be decompressed: {err}")))?;
    if bytes.len() != raw_len {
        return Err(Error::Damaged(format!(
            "a block has {} bytes in place of {raw_len}",
            bytes.len()
        )));
    }
    parse(bytes.into(), count).ok_or_else(|| Error::Damaged("a block ends within a record".into()))
}

fn parse(bytes: Bytes, count: u32) -> Option<Vec<Record>> {
    let mut reader = Reader { bytes, at: 0 };
    // A record takes at least three bytes: a forged count cannot make this allocate much.
    let mut records = Vec::with_capacity((count as usize).min(reader.bytes.len() / 3));
    let mut previous_ms = 0_i64;
    for _ in 0..count {
        let flags = reader.byte()?;
        previous_ms = previous_ms.wrapping_add(unzigzag(reader.varint()?));
        let key = if flags & HAS_KEY != 0 {
            Some(reader.bytes()?)
        } else {
            None
        };
        let value = if flags & HAS_VALUE != 0 {
            Some(reader.bytes()?)
        } else {
            None
        };
        let mut headers = Vec::new();
        for _ in 0..reader.varint()? {
            let name = String::from_utf8(reader.bytes()?.into()).ok()?;
            headers.push((name, reader.bytes()?));
        }
        records.push(Record {
            key,
            value,
            headers,
            timestamp_ms: previous_ms,
        });
    }
    (reader.at == reader.bytes.len()).then_some(records)
}

/// Reads framed values; `None` past the end.
struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.varint()?).ok()?;
        let end = self
            .at
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len())?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Some(slice)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..300).prop_map(Bytes::from)
    }

    fn record() -> impl Strategy<Value = Record> {
        let headers = vec((".{0,12}", bytes()), 0..4);
        (
            option::of(bytes()),
            option::of(bytes()),
            headers,
            any::<i64>(),
        )
            .prop_map(|(key, value, headers, timestamp_ms)| Record {
                key,
                value,
                headers,
                timestamp_ms,
            })
    }

    fn seal(records: &[Record]) -> Block {
        let mut builder = Builder::default();
        for record in records {
            builder.push(record, record.timestamp_ms);
        }
        builder.seal(&mut compressor().unwrap()).unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn opening_gives_back_what_was_sealed(records in vec(record(), 1..40)) {
            let block = seal(&records);
            prop_assert_eq!(block.count as usize, records.len());
            prop_assert_eq!(block.first_ms, records.iter().map(|r| r.timestamp_ms).min().unwrap());
            prop_assert_eq!(block.last_ms, records.iter().map(|r| r.timestamp_ms).max().unwrap());
            prop_assert_eq!(open(&block.payload, block.raw_len, block.count).unwrap(), records);
        }

        #[test]
        fn a_flipped_bit_is_told(records in vec(record(), 1..10), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut block = seal(&records);
            let at = at.index(block.payload.len());
            block.payload[at] ^= 1_u8 << bit;
            // Some bits of the frame header mean nothing; what opens must still be the truth.
            if let Ok(opened) = open(&block.payload, block.raw_len, block.count) {
                prop_assert_eq!(opened, records);
            }
        }

        #[test]
        fn foreign_bytes_are_refused_calmly(bytes in vec(any::<u8>(), 0..200), count in any::<u32>()) {
            let len = bytes.len();
            if let Some(records) = parse(bytes.into(), count) {
                prop_assert!(records.len() * 3 <= len);
            }
        }
    }

    #[test]
    fn a_sealed_builder_starts_afresh() {
        let mut builder = Builder::default();
        let mut compressor = compressor().unwrap();
        assert!(builder.seal(&mut compressor).unwrap().is_none());
        for ms in [5, 4] {
            let record = Record {
                timestamp_ms: ms,
                ..Record::default()
            };
            builder.push(&record, ms);
            let block = builder.seal(&mut compressor).unwrap().unwrap();
            assert_eq!(open(&block.payload, block.raw_len, 1).unwrap(), [record]);
            assert_eq!((block.first_ms, block.last_ms), (ms, ms));
        }
    }
}
