//! What providers deliver: monthly CSV as Danish spreadsheets write it, with a few rows that are wrong on purpose.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use chrono::{Datelike, NaiveDate};
use csv::{Terminator, WriterBuilder};
use encoding_rs::WINDOWS_1252;

use crate::{Cell, Error, Id, Moment, Municipality, Result, World, dice::plus, output};

/// What [`write_provider_drops`] wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops {
    /// Files.
    pub files: u64,
    /// Rows in them, headers apart, wrong ones included.
    pub rows: u64,
    /// The rows that break the contract.
    pub bad: Vec<BadRow>,
}

/// A row that has to end in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The file, from the folder written to.
    pub file: String,
    /// The line in it, from 1, the header included.
    pub line: u64,
    /// The entity it would be.
    pub entity: &'static str,
    /// The column that is wrong.
    pub column: &'static str,
    /// `wrong_type`, `unknown_value` or `end_before_start`.
    pub fault: &'static str,
}

/// One kind of file.
pub(crate) struct Kind {
    pub(crate) prefix: &'static str,
    pub(crate) entity: &'static str,
    /// What the provider calls a column, and the column.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// Column, what is written there, and the fault that makes.
    bad: &'static [(&'static str, Bad, &'static str)],
}

enum Bad {
    Text(&'static str),
    /// A date well before every other date of the row.
    LongAgo,
}

pub(crate) const KINDS: [Kind; 4] = [
    Kind {
        prefix: "fremmoede",
        entity: "attendance",
        columns: &[
            ("Forløb", "participation_id"),
            ("Dato", "date"),
            ("Kilde", "source"),
            ("Planlagte timer", "planned_hours"),
            ("Fremmødte timer", "attended_hours"),
            ("Indberettet", "updated_at"),
        ],
        bad: &[
            ("attended_hours", Bad::Text("syv"), "wrong_type"),
            ("source", Bad::Text("gætværk"), "unknown_value"),
        ],
    },
    Kind {
        prefix: "progression",
        entity: "progress_measurement",
        columns: &[
            ("Måling", "measurement_id"),
            ("CPR", "citizen_id"),
            ("Forløb", "participation_id"),
            ("Dato", "measured_date"),
            ("Skema", "instrument_version"),
            ("Dimension", "dimension"),
            ("Score", "score"),
            ("Indberettet", "updated_at"),
        ],
        bad: &[("score", Bad::Text("høj"), "wrong_type")],
    },
    Kind {
        prefix: "tilsyn",
        entity: "supervision_visit",
        columns: &[
            ("Besøg", "visit_id"),
            ("Leverandør", "provider_id"),
            ("Tilbud", "offer_id"),
            ("Dato", "visit_date"),
            ("Art", "kind"),
            ("Rammeaftale", "agreement"),
            ("Arbejdsmiljø", "working_environment"),
            ("Værdigrundlag", "values"),
            ("Ligestilling", "ethnic_equality"),
            ("Fremmødeprotokol", "attendance_record"),
            ("Fysisk kontrol", "physical_presence"),
            ("Planlagt indhold", "planned_content"),
            ("Faciliteter", "facilities"),
            ("Indskrevne", "persons_enrolled"),
            ("På protokol", "persons_on_protocol"),
            ("Til stede", "persons_present"),
            ("Opfølgning", "follow_up_due"),
            ("Bemærkning", "note"),
            ("Indberettet", "updated_at"),
        ],
        bad: &[
            ("facilities", Bad::Text("måske"), "unknown_value"),
            ("follow_up_due", Bad::LongAgo, "end_before_start"),
        ],
    },
    Kind {
        prefix: "klager",
        entity: "complaint",
        columns: &[
            ("Klage", "complaint_id"),
            ("Tilbud", "offer_id"),
            ("Enhed", "unit_id"),
            ("CPR", "citizen_id"),
            ("Modtaget", "received_date"),
            ("Kanal", "channel"),
            ("Art", "kind"),
            ("Myndighed", "authority"),
            ("Udfald", "outcome"),
            ("Afsluttet", "closed_date"),
            ("Indberettet", "updated_at"),
        ],
        bad: &[
            ("closed_date", Bad::LongAgo, "end_before_start"),
            ("kind", Bad::Text("brok"), "unknown_value"),
        ],
    },
];

/// Writes the files of every finished month as
/// `dir/<code>/<kind>[-<provider>]-<year>-<month>.csv`: semicolon, Windows-1252, CRLF,
/// `31-12-2010`, decimal comma, CPR numbers without hyphen.
///
/// A record that changes later is in the later month's file again. A list that the municipality keeps
/// itself comes without rows where a month had none; a provider then sends nothing. The first file
/// with rows of each kind and municipality ends with rows that are wrong.
pub fn write_provider_drops(world: &World, dir: &Path) -> Result<Drops> {
    let mut drops = Drops::default();
    for area in world.municipalities() {
        output::folder(&dir.join(area.code.to_string()))?;
        for kind in &KINDS {
            write_kind(area, kind, world, dir, &mut drops)?;
        }
    }
    Ok(drops)
}

/// Year and month, then the provider where each delivers for itself.
type FileKey = ((i32, u32), Option<Id>);

fn write_kind(
    area: &Municipality,
    kind: &Kind,
    world: &World,
    dir: &Path,
    drops: &mut Drops,
) -> Result<()> {
    let Some(table) = area.table(kind.entity) else {
        return Err(Error::Bug(format!("there is no table {}", kind.entity)));
    };
    let today = world.date();
    let mut files: BTreeMap<FileKey, Vec<Vec<String>>> = BTreeMap::new();
    if !is_delivered_by_providers(kind) {
        let years = world.settings().first_year..=today.year();
        let months = years.flat_map(|year| (1..=12).map(move |month| (year, month)));
        let is_finished = |month: &(i32, u32)| month_end(*month).is_some_and(|it| it.0 <= today);
        files.extend(
            months
                .take_while(is_finished)
                .map(|it| ((it, None), Vec::new())),
        );
    }
    for row in 0..table.len() {
        // Each month shows the image that its last moment shows.
        let mut months = BTreeSet::new();
        let mut at = end_of_world();
        while let Some(changed) = table.changed(row, at) {
            months.insert((changed.year(), changed.month()));
            at = changed - chrono::TimeDelta::microseconds(1);
        }
        for month in months {
            let Some((last, moment)) = month_end(month) else {
                continue;
            };
            if last > today {
                continue;
            }
            table.read(row, moment, &mut |cells| {
                let provider = provider(area, kind, table.columns(), cells);
                let fields = fields(area, kind, table.columns(), cells, row);
                files.entry((month, provider)).or_default().push(fields);
            });
        }
    }
    let mut is_spoilt = false;
    for (key, mut rows) in files {
        let ((year, month), provider) = key;
        let from = provider.map_or_else(String::new, |it| format!("-{it}"));
        let file = format!("{}/{}{from}-{year}-{month:02}.csv", area.code, kind.prefix);
        if !is_spoilt && !rows.is_empty() {
            is_spoilt = true;
            spoil(kind, &file, &mut rows, drops);
        }
        drops.files += 1;
        drops.rows += rows.len() as u64;
        let path = dir.join(&file);
        output::replace(&path, &encoded(kind, &rows, &path)?)?;
    }
    Ok(())
}

fn end_of_world() -> Moment {
    Moment::MAX_UTC
}

/// The last day of a month and its last moment.
fn month_end((year, month): (i32, u32)) -> Option<(NaiveDate, Moment)> {
    let next = if month == 12 {
        NaiveDate::from_ymd_opt(year + 1, 1, 1)
    } else {
        NaiveDate::from_ymd_opt(year, month + 1, 1)
    }?;
    let moment = next.and_hms_opt(0, 0, 0)?.and_utc() - chrono::TimeDelta::microseconds(1);
    Some((plus(next, -1), moment))
}

fn is_delivered_by_providers(kind: &Kind) -> bool {
    matches!(kind.entity, "attendance" | "progress_measurement")
}

/// Who delivers the row; none where the municipality keeps one list.
fn provider(
    area: &Municipality,
    kind: &Kind,
    columns: &[&'static str],
    cells: &[Cell<'_>],
) -> Option<Id> {
    if !is_delivered_by_providers(kind) {
        return None;
    }
    let Cell::Id(course) = cell(columns, cells, "participation_id") else {
        return None;
    };
    let course = area.participations.get(course.number as usize)?;
    let offer = area.offers.get(course.offer_id.number as usize)?;
    Some(offer.provider_id)
}

fn cell<'a>(columns: &[&'static str], cells: &[Cell<'a>], wanted: &str) -> Cell<'a> {
    columns
        .iter()
        .zip(cells)
        .find(|(column, _)| **column == wanted)
        .map_or(Cell::Empty, |(_, cell)| *cell)
}

fn fields(
    area: &Municipality,
    kind: &Kind,
    columns: &[&'static str],
    cells: &[Cell<'_>],
    row: usize,
) -> Vec<String> {
    kind.columns
        .iter()
        .map(|(_, column)| match cell(columns, cells, column) {
            Cell::Person(person) => area.cpr(person).map_or_else(String::new, |it| it.digits()),
            Cell::Date(date) => danish_date(date),
            Cell::Moment(at) => danish_date(at.date_naive()),
            Cell::Number(number) => number.to_string().replace('.', ","),
            // People write CPR numbers where they should not.
            Cell::Text(note) if *column == "note" && row.is_multiple_of(3) => {
                let cpr = area
                    .people
                    .first()
                    .map_or_else(String::new, |it| it.hyphenated());
                format!("{note}; talte med {cpr}")
            }
            cell => cell.text(),
        })
        .collect()
}

fn danish_date(date: NaiveDate) -> String {
    format!("{:02}-{:02}-{}", date.day(), date.month(), date.year())
}

/// Adds the wrong rows: the first row again, with one field wrong each.
fn spoil(kind: &Kind, file: &str, rows: &mut Vec<Vec<String>>, drops: &mut Drops) {
    let Some(model) = rows.first().cloned() else {
        return;
    };
    for (column, bad, fault) in kind.bad {
        let Some(index) = kind.columns.iter().position(|it| it.1 == *column) else {
            continue;
        };
        let mut row = model.clone();
        row[index] = match bad {
            Bad::Text(text) => (*text).to_owned(),
            Bad::LongAgo => "01-01-1999".to_owned(),
        };
        rows.push(row);
        drops.bad.push(BadRow {
            file: file.to_owned(),
            line: rows.len() as u64 + 1,
            entity: kind.entity,
            column,
            fault,
        });
    }
}

fn encoded(kind: &Kind, rows: &[Vec<String>], path: &Path) -> Result<Vec<u8>> {
    let failed = |message: String| Error::Bug(format!("{}: {message}", path.display()));
    let mut out = WriterBuilder::new()
        .delimiter(b';')
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    let headers: Vec<&str> = kind.columns.iter().map(|it| it.0).collect();
    out.write_record(&headers)
        .map_err(|err| failed(err.to_string()))?;
    for row in rows {
        out.write_record(row)
            .map_err(|err| failed(err.to_string()))?;
    }
    let bytes = out.into_inner().map_err(|err| failed(err.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|err| failed(err.to_string()))?;
    let (encoded, _, lossy) = WINDOWS_1252.encode(&text);
    if lossy {
        return Err(failed("a character is not in Windows-1252".to_owned()));
    }
    Ok(encoded.into_owned())
}
