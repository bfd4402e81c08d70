//! A first pass over a file: which content it is, and how its characters are encoded.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use sha2::{Digest, Sha256};

/// What the first pass found.
pub(super) struct Survey {
    /// SHA-256 of the bytes, 64 hex characters.
    pub(super) sha256: String,
    /// What `auto` takes it for.
    pub(super) encoding: &'static Encoding,
}

/// Reads the file once, in bounded memory.
pub(super) fn survey(path: &Path) -> io::Result<Survey> {
    let mut file = Hashing::new(File::open(path)?);
    let mut guess = Guess::default();
    let mut piece = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let read = file.read(&mut piece[kept..])?;
        let rest = guess.see(&piece[..kept + read], read == 0);
        if read == 0 {
            break;
        }
        let end = kept + read;
        piece.copy_within(end - rest..end, 0);
        kept = rest;
    }
    Ok(Survey {
        sha256: file.sha256(),
        encoding: guess.encoding(),
    })
}

/// Counts what speaks for UTF-8 and what against.
#[derive(Default)]
struct Guess {
    marked: Option<&'static Encoding>,
    has_begun: bool,
    characters: u64,
    invalid: u64,
}

impl Guess {
    /// Takes a piece and returns how many bytes at its end may be half a character; they belong
    /// before the next piece.
    fn see(&mut self, piece: &[u8], at_end: bool) -> usize {
        if !self.has_begun && (piece.len() >= 3 || at_end) {
            self.marked = Encoding::for_bom(piece).map(|(encoding, _)| encoding);
            self.has_begun = true;
        }
        if !self.has_begun {
            return piece.len();
        }
        let mut left = piece.len();
        for chunk in piece.utf8_chunks() {
            self.characters += chunk.valid().bytes().filter(|byte| *byte >= 0xc0).count() as u64;
            left -= chunk.valid().len() + chunk.invalid().len();
            if chunk.invalid().is_empty() {
                continue;
            }
            if left == 0 && !at_end {
                return chunk.invalid().len();
            }
            self.invalid += 1;
        }
        0
    }

    fn encoding(&self) -> &'static Encoding {
        match self.marked {
            Some(encoding) => encoding,
            None if self.invalid > self.characters => WINDOWS_1252,
            None => UTF_8,
        }
    }
}

/// Passes bytes on and remembers what they were.
pub(super) struct Hashing<R> {
    inner: R,
    sha256: Sha256,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
        }
    }

    /// SHA-256 of what was read so far, 64 hex characters.
    pub(super) fn sha256(&self) -> String {
        hex::encode(self.sha256.clone().finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{UTF_16BE, UTF_16LE};

    use super::*;

    fn guessed(bytes: &[u8], size: usize) -> &'static str {
        let mut guess = Guess::default();
        let (mut held, mut rest) = (Vec::new(), bytes);
        loop {
            let (piece, after) = rest.split_at(rest.len().min(size));
            held.extend_from_slice(piece);
            let keep = guess.see(&held, piece.is_empty());
            if piece.is_empty() {
                return guess.encoding().name();
            }
            held.drain(..held.len() - keep);
            rest = after;
        }
    }

    #[test]
    fn the_bytes_say_which_encoding_it_is() {
        let one_bad_row = "blåbærgrød\nrødgrød\n"
            .bytes()
            .chain(*b"r\xf8d\n")
            .collect::<Vec<u8>>();
        for size in 1..6 {
            for (bytes, expected) in [
                (&b""[..], UTF_8),
                (b"plain", UTF_8),
                ("rødgrød 🙂".as_bytes(), UTF_8),
                ("\u{feff}plain".as_bytes(), UTF_8),
                (b"r\xf8dgr\xf8d", WINDOWS_1252),
                (b"slutter p\xe5", WINDOWS_1252),
                (b"\xff\xfea\0", UTF_16LE),
                (b"\xfe\xff\0a", UTF_16BE),
                (&one_bad_row, UTF_8),
            ] {
                assert_eq!(guessed(bytes, size), expected.name(), "{bytes:?} by {size}");
            }
        }
    }
}
