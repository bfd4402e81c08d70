//! Text of any encoding as UTF-8 bytes, piece by piece.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// Stands in the output for what is not valid in the encoding. UTF-8 never holds this byte, so it marks
/// the spot and makes exactly the row around it invalid.
const BROKEN: u8 = 0xff;

/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// Decodes `input` into UTF-8, without a byte order mark at its start.
pub(crate) struct Transcode<R> {
    input: R,
    decoder: Decoder,
    piece: Vec<u8>,
    at_end: bool,
}

impl<R: Read> Transcode<R> {
    pub(crate) fn new(input: R, encoding: &'static Encoding) -> Self {
        Self {
            input,
            decoder: encoding.new_decoder_with_bom_removal(),
            piece: vec![0; PIECE],
            at_end: false,
        }
    }

    /// Appends the next piece to `output`; `false` at the end of the input.
    pub(crate) fn fill(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        let read = self.input.read(&mut self.piece)?;
        self.at_end = read == 0;
        let mut rest = &self.piece[..read];
        loop {
            let room = self
                .decoder
                .max_utf8_buffer_length_without_replacement(rest.len())
                .unwrap_or(4 * PIECE);
            let start = output.len();
            output.resize(start + room, 0);
            let (result, consumed, written) = self.decoder.decode_to_utf8_without_replacement(
                rest,
                &mut output[start..],
                self.at_end,
            );
            output.truncate(start + written);
            rest = &rest[consumed..];
            match result {
                DecoderResult::InputEmpty => return Ok(true),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => output.push(BROKEN),
            }
        }
    }

    /// What is read from.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use encoding_rs::{UTF_8, UTF_16LE, WINDOWS_1252};

    use super::*;

    /// Hands out one byte at a time, so that every character is cut in two.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn decoded(input: &[u8], encoding: &'static Encoding) -> Vec<u8> {
        let mut output = Vec::new();
        let mut transcode = Transcode::new(Drip(input), encoding);
        while transcode.fill(&mut output).unwrap() {}
        output
    }

    #[test]
    fn encodings_become_utf_8_and_byte_order_marks_go() {
        assert_eq!(
            decoded("\u{feff}rødgrød".as_bytes(), UTF_8),
            "rødgrød".as_bytes()
        );
        assert_eq!(
            decoded(b"r\xf8dgr\xf8d \x80", WINDOWS_1252),
            "rødgrød €".as_bytes()
        );
        let utf_16: Vec<u8> = "\u{feff}rød 🙂"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(decoded(&utf_16, UTF_16LE), "rød 🙂".as_bytes());
    }

    #[test]
    fn what_is_invalid_is_marked_where_it_stands() {
        assert_eq!(decoded(b"a\xf8b", UTF_8), b"a\xffb");
        assert_eq!(decoded(b"ab\xc3", UTF_8), b"ab\xff");
        assert_eq!(decoded(b"a\0\x00\xd8b\0", UTF_16LE), b"a\xffb");
    }
}
