//! Long work shown while a person watches; silent (logs speak instead) when nobody does.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Whether a person is looking at stderr.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A live line per piece of work.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    lines: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Progress {
    /// Shows lines only when somebody is watching.
    pub(crate) fn new() -> Self {
        Self {
            bars: is_watched().then(MultiProgress::new),
            lines: Mutex::new(BTreeMap::new()),
        }
    }

    /// Says how `work` stands.
    pub(crate) fn say(&self, work: &str, state: &str) {
        let Some(bars) = &self.bars else {
            return;
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(work.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<34} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(work.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        line.set_message(state.to_owned());
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.values() {
            line.finish_and_clear();
        }
        lines.clear();
    }
}
