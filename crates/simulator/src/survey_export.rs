//! What a survey tool exports: one file per survey in the manner of LimeSurvey, rewritten as answers come in.

use std::{collections::BTreeMap, path::Path};

use chrono::{Datelike, Timelike};

use crate::{Id, Moment, Record, Result, SurveyResponse, World, canonical::Written, output};

/// What the tool calls a column; the first ones are its own.
pub(crate) const COLUMNS: [&str; 24] = [
    "id",
    "submitdate",
    "lastpage",
    "startlanguage",
    "seed",
    "token",
    "startdate",
    "datestamp",
    "attribute_1",
    "attribute_2",
    "attribute_3",
    "attribute_4",
    "attribute_5",
    "attribute_6",
    "TILFREDS",
    "JOBTAET",
    "INFORM",
    "RESPEKT",
    "FLYTTET",
    "LYTTET",
    "INDFLYD",
    "JOBFOKUS",
    "FORBEREDT",
    "NAESTETRIN",
];

/// Writes every survey as `dir/<code>/survey-<survey>.csv`: UTF-8 with BOM, `;`, all fields quoted,
/// CRLF and one more at the end. One row per invitation; `submitdate` is empty until it is
/// answered, and the file then changes under its name.
pub fn write_survey_export(world: &World, dir: &Path) -> Result<Written> {
    let now = world.now();
    let mut written = Written::default();
    for area in world.municipalities() {
        output::folder(&dir.join(area.code.to_string()))?;
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for response in &area.survey_responses {
            let Some(image) = response.image(now) else {
                continue;
            };
            let text = files.entry(image.survey_id.clone()).or_insert_with(header);
            push_line(text, &fields(&image));
            written.rows += 1;
        }
        for (survey, mut text) in files {
            text.push_str("\r\n");
            let path = dir.join(format!("{}/survey-{survey}.csv", area.code));
            output::replace(&path, text.as_bytes())?;
            written.files += 1;
        }
    }
    Ok(written)
}

fn header() -> String {
    let mut text = "\u{feff}".to_owned();
    push_line(&mut text, &COLUMNS.map(str::to_owned));
    text
}

fn push_line(text: &mut String, fields: &[String]) {
    for (rank, field) in fields.iter().enumerate() {
        if rank > 0 {
            text.push(';');
        }
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    }
    text.push_str("\r\n");
}

fn fields(response: &SurveyResponse) -> [String; 24] {
    let id = |it: Option<Id>| it.map_or_else(String::new, |it| it.to_string());
    let answer = |it: Option<i32>| it.map_or_else(String::new, |it| it.to_string());
    let answered = response.answered_date.is_some();
    let stamp = stamp(response.updated_at);
    [
        (response.response_id.number + 1).to_string(),
        if answered {
            stamp.clone()
        } else {
            String::new()
        },
        if answered {
            "2".to_owned()
        } else {
            String::new()
        },
        "da".to_owned(),
        (u64::from(response.response_id.number) * 7919 % 1_000_003).to_string(),
        response.response_id.to_string(),
        if answered {
            stamp.clone()
        } else {
            String::new()
        },
        stamp,
        id(response.participation_id),
        id(response.offer_id),
        id(response.unit_id),
        response.survey_id.clone(),
        response.invited_date.to_string(),
        response.instrument_version.to_owned(),
        answer(response.satisfaction),
        answer(response.closer_to_job),
        answer(response.informed),
        answer(response.respected),
        answer(response.moved),
        answer(response.listened),
        answer(response.influence),
        answer(response.job_focus),
        answer(response.prepared),
        answer(response.clear_next_step),
    ]
}

/// `2010-07-03 10:11:12`.
fn stamp(at: Moment) -> String {
    format!(
        "{}-{:02}-{:02} {:02}:{:02}:{:02}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}
