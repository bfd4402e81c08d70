//! Files in the entities' own columns and formats, which need no mapping: for tests and the bench.

use std::{io, path::Path};

use chrono::NaiveDate;
use contract::{Cpr, PseudonymKey};
use csv::{Writer, WriterBuilder};

use crate::{
    Cell, Error, Moment, Municipalities, Municipality, Result, Settings, World, output::NewFile,
    record::Table,
};

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub files: u64,
    /// Rows in them, headers apart.
    pub rows: u64,
}

/// Writes all that the sources show, each thing once, as `dir/<entity>/<entity>-<code>.csv`:
/// comma, UTF-8, ISO dates, decimal point, empty for null, `citizen_id` a pseudonym under `key`.
/// The `watermark` files say that every entity is complete through the world's date.
pub fn write_canonical(world: &World, dir: &Path, key: &PseudonymKey) -> Result<Written> {
    let mut written = Written::default();
    for area in world.areas() {
        write_area(area, world, dir, key, &mut written)?;
    }
    Ok(written)
}

/// Makes the world of `settings` and writes it as [`write_canonical`] does, one municipality at a
/// time, so that the whole country fits in the memory of one municipality.
pub fn generate_canonical(settings: &Settings, dir: &Path, key: &PseudonymKey) -> Result<Written> {
    let mut written = Written::default();
    for (rank, place) in settings.places()?.into_iter().enumerate() {
        let one = Settings {
            municipalities: Municipalities::Codes(vec![place.code]),
            ..settings.clone()
        };
        let world = World::generate(&one)?;
        // The whole country comes with every world and is written once.
        let skip = usize::from(rank > 0);
        for area in world.areas().skip(skip) {
            write_area(area, &world, dir, key, &mut written)?;
        }
    }
    Ok(written)
}

fn write_area(
    area: &Municipality,
    world: &World,
    dir: &Path,
    key: &PseudonymKey,
    written: &mut Written,
) -> Result<()> {
    let pseudonyms = pseudonyms(area, key)?;
    let now = world.now();
    let mut text = String::new();
    for table in area.tables().into_iter().filter(|it| it.len() > 0) {
        let mut file = CsvFile::begin(dir, table.entity(), area.code, table.columns())?;
        for row in 0..table.len() {
            let mut result = Ok(());
            table.read(row, now, &mut |cells| {
                result = file.row(cells, &pseudonyms, &mut text);
            });
            result?;
        }
        file.publish(written)?;
    }
    write_watermarks(area, world, dir, written)
}

fn pseudonyms(area: &Municipality, key: &PseudonymKey) -> Result<Vec<String>> {
    area.people
        .iter()
        .map(|number| {
            Cpr::parse(&number.digits())
                .map(|cpr| cpr.pseudonym(key))
                .ok_or_else(|| Error::Bug("a made-up CPR number cannot be parsed".to_owned()))
        })
        .collect()
}

/// The last day that an area's entity is complete through. Statistics are complete to the last date
/// they speak of, which is long before they are published; the whole country has nothing else.
pub(crate) fn complete_through(
    area: &Municipality,
    table: &dyn Table,
    now: Moment,
) -> Option<NaiveDate> {
    match table.entity() {
        "labour_force" | "benchmark" => (0..table.len())
            .filter_map(|row| speaks_of(table, row, now))
            .max(),
        _ => (area.code != 0).then(|| now.date_naive()),
    }
}

/// The date of a row of statistics, or the last day of its year; none before it is published.
fn speaks_of(table: &dyn Table, row: usize, now: Moment) -> Option<NaiveDate> {
    let mut date = None;
    table.read(row, now, &mut |cells| {
        date = table
            .columns()
            .iter()
            .zip(cells)
            .find_map(|(column, cell)| match (*column, cell) {
                ("reference_date", Cell::Date(date)) => Some(*date),
                ("period", Cell::Text(year)) => NaiveDate::from_ymd_opt(year.parse().ok()?, 12, 31),
                _ => None,
            });
    });
    date
}

fn write_watermarks(
    area: &Municipality,
    world: &World,
    dir: &Path,
    written: &mut Written,
) -> Result<()> {
    let columns = [
        "municipality_code",
        "entity",
        "complete_through",
        "updated_at",
    ];
    let now = world.now();
    let mut file = CsvFile::begin(dir, "watermark", area.code, &columns)?;
    let mut text = String::new();
    for table in area.tables() {
        if let Some(date) = complete_through(area, table, now) {
            let cells = [
                Cell::Whole(i64::from(area.code)),
                Cell::Text(table.entity()),
                Cell::Date(date),
                Cell::Moment(now),
            ];
            file.row(&cells, &[], &mut text)?;
        }
    }
    file.publish(written)
}

struct CsvFile {
    path: std::path::PathBuf,
    out: Writer<NewFile>,
    rows: u64,
}

impl CsvFile {
    fn begin(dir: &Path, entity: &str, code: i32, columns: &[&str]) -> Result<Self> {
        let path = dir.join(entity).join(format!("{entity}-{code}.csv"));
        let mut out = WriterBuilder::new().from_writer(NewFile::begin(path.clone())?);
        out.write_record(columns)
            .map_err(|err| failed(&path, err))?;
        Ok(Self { path, out, rows: 0 })
    }

    fn row(&mut self, cells: &[Cell<'_>], pseudonyms: &[String], text: &mut String) -> Result<()> {
        for cell in cells {
            let field = match cell {
                Cell::Person(person) => {
                    pseudonyms.get(person.0 as usize).map_or("", String::as_str)
                }
                cell => {
                    text.clear();
                    cell.write(text);
                    text.as_str()
                }
            };
            self.out
                .write_field(field)
                .map_err(|err| failed(&self.path, err))?;
        }
        self.rows += 1;
        self.out
            .write_record(None::<&[u8]>)
            .map_err(|err| failed(&self.path, err))
    }

    fn publish(self, written: &mut Written) -> Result<()> {
        let file = self.out.into_inner().map_err(|err| Error::Write {
            path: self.path.clone(),
            source: io::Error::other(err.to_string()),
        })?;
        file.publish()?;
        written.files += 1;
        written.rows += self.rows;
        Ok(())
    }
}

fn failed(path: &Path, err: csv::Error) -> Error {
    Error::Write {
        path: path.to_path_buf(),
        source: io::Error::other(err),
    }
}
