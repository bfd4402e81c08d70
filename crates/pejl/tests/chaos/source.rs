//! The source that grows: a finished world's files cut in small pieces, dropped one after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

use crate::stage::Stage;

/// The source grows at this pace.
const BETWEEN: Duration = Duration::from_millis(15);

/// A piece of a file: the header and some of its rows.
struct Piece {
    entity: String,
    name: String,
    text: String,
    rows: u64,
}

/// Pieces still to be dropped, and what has been.
pub(crate) struct Growing {
    pieces: Vec<Piece>,
    per_round: usize,
    entities: Vec<String>,
    dropped: u64,
}

impl Growing {
    /// Cuts the files of `world` so that every one of `rounds` has its share. The world holds each
    /// thing once, so the order of the pieces does not matter.
    pub(crate) fn from(world: &Stage, rounds: usize, dice: &mut StdRng) -> Self {
        let mut pieces = Vec::new();
        let mut entities = Vec::new();
        for folder in listed(&world.path("drops")) {
            let entity = name_of(&folder);
            for file in listed(&folder) {
                pieces.extend(cut(&entity, &file, dice));
            }
            entities.push(entity);
        }
        pieces.shuffle(dice);
        let per_round = pieces.len().div_ceil(rounds);
        Self {
            pieces,
            per_round,
            entities,
            dropped: 0,
        }
    }

    /// The entities that files come of.
    pub(crate) fn entities(&self) -> &[String] {
        &self.entities
    }

    /// How many pieces a round has.
    pub(crate) fn per_round(&self) -> usize {
        self.per_round
    }

    /// Drops `count` pieces into `folder`, a little apart.
    pub(crate) fn drop_into(&mut self, folder: &Path, count: usize) {
        for _ in 0..count {
            std::thread::park_timeout(BETWEEN);
            let Some(piece) = self.pieces.pop() else {
                return;
            };
            let place = folder.join(&piece.entity);
            fs::create_dir_all(&place).unwrap();
            // A source must never see half a file.
            let hidden = place.join(format!(".{}.part", piece.name));
            fs::write(&hidden, &piece.text).unwrap();
            fs::rename(hidden, place.join(&piece.name)).unwrap();
            self.dropped += piece.rows;
        }
    }

    /// Rows dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn cut(entity: &str, file: &Path, dice: &mut StdRng) -> Vec<Piece> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let rows: Vec<&str> = lines.collect();
    let mut pieces = Vec::new();
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(dice.random_range(20..200).min(rest.len()));
        pieces.push(Piece {
            entity: entity.to_owned(),
            name: format!(
                "{}-{:04}.csv",
                name_of(&file.with_extension("")),
                pieces.len()
            ),
            text: format!("{header}\n{}\n", now.join("\n")),
            rows: now.len() as u64,
        });
        rest = later;
    }
    pieces
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
