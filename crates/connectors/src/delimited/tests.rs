//! Delimited text, broken and whole, in pieces of every size.
#![allow(clippy::unwrap_used, reason = "test code")]

use encoding_rs::UTF_8;
use proptest::prelude::*;

use super::*;

type Outcome = (u64, Result<Vec<String>, (Fault, String)>);

fn all(input: &[u8]) -> Vec<Outcome> {
    let mut rows = Rows::new(input, UTF_8, b';');
    let mut read = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let raw = String::from_utf8_lossy(row.raw).into_owned();
        let fields = row.fields.map(|it| it.iter().map(str::to_owned).collect());
        read.push((row.line, fields.map_err(|fault| (fault, raw))));
    }
    read
}

fn good(line: u64, fields: &[&str]) -> Outcome {
    (line, Ok(fields.iter().map(|it| (*it).to_owned()).collect()))
}

fn bad(line: u64, fault: Fault, raw: &str) -> Outcome {
    (line, Err((fault, raw.to_owned())))
}

#[test]
fn lines_are_counted_through_quotes_blanks_and_all_line_ends() {
    let input = b"a;b\r\n\r\n\"x\r\ny\";2\n3;\"q\"\"q\"\r4;\n\n;5\" r";
    assert_eq!(
        all(input),
        [
            good(1, &["a", "b"]),
            good(3, &["x\r\ny", "2"]),
            good(5, &["3", "q\"q"]),
            good(6, &["4", ""]),
            good(8, &["", "5\" r"]),
        ]
    );
}

#[test]
fn a_broken_quote_costs_its_own_line_only() {
    let input = b"1;\"Hansen\n2;\"Jensen\";x\n3;\"O\"ak;x\n4;ok\n5;\"open\n6;ok";
    assert_eq!(
        all(input),
        [
            bad(1, Fault::AfterQuote, "1;\"Hansen"),
            good(2, &["2", "Jensen", "x"]),
            bad(3, Fault::AfterQuote, "3;\"O\"ak;x"),
            good(4, &["4", "ok"]),
            bad(5, Fault::Unclosed, "5;\"open"),
            good(6, &["6", "ok"]),
        ]
    );
}

#[test]
fn invalid_bytes_cost_their_own_row_only() {
    let read = all(b"1;r\xf8d\n2;r\xc3\xb8d\n");
    assert_eq!(
        read,
        [
            bad(1, Fault::Encoding, "1;r\u{fffd}d"),
            good(2, &["2", "rød"])
        ]
    );
}

#[test]
fn a_row_without_end_is_passed_over_in_bounded_memory() {
    let mut input = b"1;ok\n".to_vec();
    input.extend(std::iter::repeat_n(b'x', 5 * MAX_ROW));
    input.extend_from_slice(b"\r\n3;ok\n4;\"");
    input.extend(std::iter::repeat_n(b'y', 3 * MAX_ROW));
    input.extend_from_slice(b"\n5;ok");
    let read = all(&input);
    let lines: Vec<u64> = read.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5]);
    let bad: Vec<(Fault, usize)> = read
        .into_iter()
        .filter_map(|(_, it)| it.err().map(|(fault, raw)| (fault, raw.len())))
        .collect();
    assert_eq!(bad, [(Fault::TooLong, MAX_ROW), (Fault::TooLong, MAX_ROW)]);
}

#[test]
fn lines_above_the_header_are_passed_over_whatever_they_hold() {
    let mut rows = Rows::new(&b"Report \"Q1\r\n\r\na;b\r\n1;2\r\n"[..], UTF_8, b';');
    rows.skip_line().unwrap();
    rows.skip_line().unwrap();
    let header = rows.next().unwrap().unwrap();
    assert_eq!((header.line, header.raw), (3, &b"a;b"[..]));
}

#[test]
fn the_delimiter_is_the_one_the_rows_agree_on() {
    let sniffed = |text: &str| {
        let mut rows = Rows::new(text.as_bytes(), UTF_8, b'|');
        rows.sniff().unwrap()
    };
    assert_eq!(sniffed("a;b;c\n1,5;2,5;3,5\n"), b';');
    assert_eq!(sniffed("a,b\n\"1;2;3\",4\n"), b',');
    assert_eq!(sniffed("a\tb\n1,2\t3\n"), b'\t');
    assert_eq!(sniffed("name, first;age\nHansen, Bo;30\nJensen;40\n"), b';');
    assert_eq!(sniffed("a;b"), b';');
    assert_eq!(sniffed("a,b"), b',');
    assert_eq!(sniffed("single\n1,5\n"), b';');
    assert_eq!(sniffed(""), b';');
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_with_its_line(
        table in prop::collection::vec(prop::collection::vec("[a-cæø;,\"\r\n ]{0,6}", 2..4), 1..8),
        piece in 1usize..5,
    ) {
        let (mut text, mut expected, mut line) = (String::new(), Vec::new(), 1);
        for row in &table {
            expected.push((line, row.clone()));
            let quoted: Vec<String> = row.iter().map(|it| format!("\"{}\"", it.replace('"', "\"\""))).collect();
            text.push_str(&quoted.join(";"));
            text.push_str("\r\n");
            line = 1 + line_ends(text.as_bytes());
        }
        let mut rows = Rows::new(Pieces(text.as_bytes(), piece), UTF_8, b';');
        let mut read = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let fields = row.fields.unwrap();
            prop_assert_eq!(fields.len(), fields.iter().count());
            read.push((row.line, fields.iter().map(str::to_owned).collect()));
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_input_is_lost_or_read_twice(input in "[ab;\"\r\n]{0,40}", piece in 1usize..4) {
        let mut rows = Rows::new(Pieces(input.as_bytes(), piece), UTF_8, b';');
        let mut kept = String::new();
        while let Some(row) = rows.next().unwrap() {
            kept.push_str(std::str::from_utf8(row.raw).unwrap());
        }
        let without_ends = |text: &str| text.replace(['\r', '\n'], "");
        prop_assert_eq!(without_ends(&kept), without_ends(&input));
    }
}

/// Hands out a few bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.len().min(self.1).min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}
