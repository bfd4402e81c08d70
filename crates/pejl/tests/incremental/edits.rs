//! The real pipelines in a folder of their own, where they can be edited.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::prop;

/// A change of one file, and what follows from it.
#[derive(Debug)]
pub(crate) struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The table that is computed because of it.
    pub(crate) first: &'static str,
    /// A table further on.
    pub(crate) reaches: &'static str,
    /// Whether that is computed, too: not where the first comes out the same.
    pub(crate) moves: bool,
}

pub(crate) const EDITS: [Edit; 4] = [
    // Another rule: two of seven months are enough.
    Edit {
        file: "models/core/participation_outcome.sql",
        from: "p.start_date, 7, 3)",
        to: "p.start_date, 7, 2)",
        first: "core.participation_outcome",
        reaches: "core.offer_overview",
        moves: true,
    },
    // Other words for the same.
    Edit {
        file: "models/core/participation_outcome.sql",
        from: "where p.end_reason is distinct from 'cancelled'",
        to: "where (p.end_reason is distinct from 'cancelled')",
        first: "core.participation_outcome",
        reaches: "core.offer_in_use",
        moves: false,
    },
    Edit {
        file: "models/core/offer_citizen.sql",
        from: "    c.exit_date  --",
        to: "    cast(c.exit_date as date) as exit_date  --",
        first: "core.offer_citizen",
        reaches: "core.participation_outcome",
        moves: false,
    },
    // A number of a definition that the model has not followed yet.
    Edit {
        file: "definitions/effect_7m.yaml",
        from: "needed: 3",
        to: "needed: 2",
        first: "core.participation_outcome",
        reaches: "core.offer_in_use",
        moves: false,
    },
];

/// Models, definitions, calendar and kinds of release.
pub(crate) struct Pipelines {
    folder: tempfile::TempDir,
}

impl Pipelines {
    pub(crate) fn copied() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
        for part in ["models", "definitions"] {
            copy(&from.join(part), &folder.path().join(part));
        }
        for file in ["calendar.yaml", "releases.yaml"] {
            fs::copy(from.join(file), folder.path().join(file)).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    /// Makes some edit, or takes it back.
    pub(crate) fn edit(&mut self, which: &prop::sample::Index) {
        self.toggle(&EDITS[which.index(EDITS.len())]);
    }

    pub(crate) fn toggle(&mut self, edit: &Edit) {
        let file = self.folder.path().join(edit.file);
        let text = fs::read_to_string(&file).unwrap();
        let changed = if text.contains(edit.to) {
            text.replace(edit.to, edit.from)
        } else {
            text.replacen(edit.from, edit.to, 1)
        };
        assert_ne!(text, changed, "{edit:?} finds nothing to change");
        fs::write(file, changed).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
