//! The table of rounds in `docs/delivery.md`.

use std::{fmt::Write, fs};

use crate::fault::Fault;

/// What one round did and found.
pub(crate) struct Round {
    pub(crate) number: usize,
    pub(crate) fault: Fault,
    /// Who was hurt.
    pub(crate) hurt: String,
    /// Records delivered by all rounds so far.
    pub(crate) records: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// From the end of the fault until everything had landed.
    pub(crate) seconds: f64,
}

const BEGIN: &str = "<!-- rounds: written by make chaos -->";
const END: &str = "<!-- end of rounds -->";

/// Puts the rounds between the marks in the file that `PEJL_CHAOS_REPORT` names; nowhere when it names none.
pub(crate) fn write(rounds: &[Round], seed: u64) {
    let Ok(file) = std::env::var("PEJL_CHAOS_REPORT") else {
        return;
    };
    let page = fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let page = format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(rounds, seed));
    fs::write(file, page).unwrap();
}

fn table(rounds: &[Round], seed: u64) -> String {
    let mut text = format!(
        "{}, {} rounds, seed {seed}.\n\n| round | fault | hurt | records so far | lost | doubled | seconds to recover |\n|--:|---|---|--:|--:|--:|--:|\n",
        chrono::Utc::now().format("%Y-%m-%d"),
        rounds.len(),
    );
    for it in rounds {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {:.1} |",
            it.number, it.fault, it.hurt, it.records, it.lost, it.doubled, it.seconds
        )
        .unwrap();
    }
    text
}
