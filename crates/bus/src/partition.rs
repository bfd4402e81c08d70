//! Which partition a key goes to: the rule of Kafka's own Java clients, so that both logs and foreign producers agree.

/// The partition of `key` in a topic of `partitions` (at least 1): murmur2 of the key, sign bit cleared, modulo.
///
/// Source: `BuiltInPartitioner.partitionForKey` and `Utils.murmur2` of Apache Kafka.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff)
        .checked_rem(partitions)
        .unwrap_or(0)
}

/// MurmurHash2, 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka takes lengths as Java ints; keys are far below the 2 GiB where that would differ.
    let mut h = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^= h >> 15;
    h.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values computed with `org.apache.kafka.common.utils.Utils.murmur2` of kafka-clients 4.1.2.
    #[test]
    fn hashes_as_java_clients_do() {
        for (key, hash) in [
            ("", 275646681),
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
            ("abc", 479470107),
            (r#"["101","2010-01-01","all"]"#, -288857465),
            ("Ærøskøbing", 210417311),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_within_the_topic() {
        assert_eq!(
            partition_of(b"21", 12),
            ((-973932308_i32) & 0x7fff_ffff) % 12
        );
        assert!((0..1000).all(|i: i32| (0..7).contains(&partition_of(&i.to_be_bytes(), 7))));
        assert_eq!(partition_of(b"anything", 1), 0);
    }
}
