//! CPR numbers: read, turned into pseudonyms, never printed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ContractError;

/// A CPR number. It cannot be printed; all it gives away is its [pseudonym](Cpr::pseudonym).
#[derive(Clone, PartialEq, Eq)]
pub struct Cpr([u8; 10]);

impl fmt::Debug for Cpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cpr(..)")
    }
}

impl Cpr {
    /// Reads ten digits, with or without spaces and one hyphen before the last four.
    ///
    /// Nine digits get back the zero a spreadsheet took. The first four must be a plausible day and
    /// month, or a day plus 60 as in replacement numbers; 0000000000, which stands for unknown, is
    /// therefore none. Modulus 11 is not looked at: numbers that fail it are given out since 2007.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = [0_u8; 10];
        let mut count = 0;
        let mut hyphen = None;
        for character in text.trim().chars() {
            match character {
                '0'..='9' => {
                    // An ASCII digit fits in a byte.
                    *digits.get_mut(count)? = character as u8;
                    count += 1;
                }
                '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' if hyphen.is_none() => {
                    hyphen = Some(count);
                }
                _ if character.is_whitespace() => {}
                _ => return None,
            }
        }
        if hyphen.is_some_and(|at| at + 4 != count) {
            return None;
        }
        if count == 9 {
            digits.rotate_right(1);
            digits[0] = b'0';
            count = 10;
        }
        (count == 10 && is_plausible(&digits)).then_some(Self(digits))
    }

    /// The keyed pseudonym: HMAC-SHA-256 of the ten digits, 64 lowercase hexadecimal characters.
    pub fn pseudonym(&self, key: &PseudonymKey) -> String {
        let mut mac = key.0.clone();
        mac.update(&self.0);
        hex::encode(mac.finalize().into_bytes())
    }
}

/// Whether DDMM at the start of ten digits can be a day and month, or a day plus 60.
pub(crate) fn is_plausible(digits: &[u8; 10]) -> bool {
    let two = |at: usize| 10 * (digits[at] - b'0') + (digits[at + 1] - b'0');
    matches!(two(0), 1..=31 | 61..=91) && matches!(two(2), 1..=12)
}

/// The secret that pseudonyms are made with. It never leaves the worker's configuration.
#[derive(Clone)]
pub struct PseudonymKey(Hmac<Sha256>);

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(..)")
    }
}

impl PseudonymKey {
    /// A key from at least 32 secret bytes.
    pub fn new(secret: &[u8]) -> Result<Self, ContractError> {
        let refused = || ContractError::Secret {
            found: secret.len(),
        };
        if secret.len() < 32 {
            return Err(refused());
        }
        let mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_length| refused())?;
        Ok(Self(mac))
    }

    /// Tells this key from others and gives nothing of it away: eight hexadecimal characters.
    pub fn fingerprint(&self) -> String {
        let mut mac = self.0.clone();
        mac.update(b"pejl pseudonym key");
        let mut print = hex::encode(mac.finalize().into_bytes());
        print.truncate(8);
        print
    }
}
