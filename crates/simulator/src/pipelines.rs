//! The pipeline files that read a simulated world: what a data engineer would write for these sources.

use std::{fmt::Write as _, path::Path};

use crate::{Municipality, World, danish, drops};

/// Entities that the case system is asked for. The others come from drops and surveys.
const FROM_CASE_SYSTEM: [&str; 18] = [
    "unit",
    "provider",
    "agreement",
    "offer",
    "requirement",
    "goal",
    "citizen",
    "benefit_spell",
    "participation",
    "single_order",
    "interview",
    "sanction",
    "dialogue_meeting",
    "improvement_action",
    "case_review",
    "audit_remark",
    "benchmark",
    // A long table of Statistics Denmark has one status a row, and takes the `pivot` of `statbank`; here
    // the case system passes the figures on with both in a row.
    "labour_force",
];

/// File names and texts of pipelines that read all of `world`: its case systems at `base_url` (such
/// as `http://127.0.0.1:8700`) with the token `${SIM_TOKEN}`, its provider drops and survey exports
/// under `drops`.
pub fn pipelines(world: &World, base_url: &str, drops: &Path) -> Vec<(String, String)> {
    let base_url = base_url.trim_end_matches('/');
    let mut files = Vec::new();
    for area in world.municipalities() {
        for entity in FROM_CASE_SYSTEM {
            files.extend(from_case_system(area, entity, base_url));
        }
        let folder = drops.join(area.code.to_string());
        for kind in &drops::KINDS {
            files.push(from_drops(area, kind, &folder));
        }
        files.push(from_survey(area, &folder));
    }
    if let Some(country) = world.municipality(0) {
        files.extend(from_case_system(country, "labour_force", base_url));
    }
    files
}

/// The keys of a pipeline file, in the order of the reader.
struct Draft<'a> {
    doc: String,
    connector: &'a str,
    entity: &'a str,
    municipality_code: Option<i32>,
    schedule: &'a str,
    settings: String,
    select: Vec<(&'a str, String)>,
}

impl Draft<'_> {
    fn text(&self) -> String {
        let mut text = format!(
            "doc: {}\nconnector: {}\nentity: {}\n",
            quoted(&self.doc),
            self.connector,
            self.entity
        );
        // Writing to a string cannot fail.
        if let Some(code) = self.municipality_code {
            let _ = writeln!(text, "municipality_code: {code}");
        }
        let _ = writeln!(text, "schedule: {}", quoted(self.schedule));
        let _ = write!(text, "settings:\n{}", self.settings);
        if !self.select.is_empty() {
            text.push_str("select:\n");
        }
        for (column, sql) in &self.select {
            let _ = writeln!(text, "  {column}: {}", quoted(sql));
        }
        text
    }
}

/// A YAML text in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn from_case_system(
    area: &Municipality,
    entity: &'static str,
    base_url: &str,
) -> Option<(String, String)> {
    let table = area.table(entity)?;
    let url = quoted(&format!("{base_url}/api/{}/{entity}", area.code));
    let settings = format!(
        "  url: {url}
  auth: {{ kind: bearer, token: '${{SIM_TOKEN}}' }}
  records: /data
  paging: {{ kind: page, param: page, start: 1, size_param: page_size, size: 500 }}
  incremental: {{ param: changed_since, field: opdateret }}
  complete_through: /complete_through
"
    );
    let select = table
        .columns()
        .iter()
        .filter(|column| **column != "municipality_code")
        .filter_map(|column| Some((*column, case_expression(column)?)))
        .collect();
    let draft = Draft {
        doc: format!("{entity} from the simulated case system of {}.", area.name),
        connector: "http",
        entity,
        municipality_code: Some(area.code),
        schedule: "every 15s",
        settings,
        select,
    };
    Some((format!("case-{}-{entity}.yaml", area.code), draft.text()))
}

/// From the case system's field to our column; none where it is the same.
fn case_expression(column: &'static str) -> Option<String> {
    let field = danish::field(column);
    if column == "citizen_id" {
        return Some(format!("pseudonym(\"{field}\")"));
    }
    if let Some(words) = danish::words(column) {
        let mut sql = format!("case \"{field}\"");
        for (theirs, ours) in words {
            let _ = write!(sql, " when '{theirs}' then '{ours}'");
        }
        let _ = write!(sql, " else \"{field}\" end");
        return Some(sql);
    }
    (field != column).then(|| format!("\"{field}\""))
}

fn from_drops(area: &Municipality, kind: &drops::Kind, folder: &Path) -> (String, String) {
    let settings = format!(
        "  path: {}
  pattern: '{}-*.csv'
  delimiter: ';'
  encoding: windows-1252
",
        quoted(&folder.display().to_string()),
        kind.prefix
    );
    let select = kind
        .columns
        .iter()
        .map(|(header, column)| (*column, drop_expression(header, column)))
        .collect();
    let draft = Draft {
        doc: format!(
            "{} as delivered month by month in {}.",
            kind.entity, area.name
        ),
        connector: "files",
        entity: kind.entity,
        municipality_code: Some(area.code),
        schedule: "every 30s",
        settings,
        select,
    };
    (
        format!("drops-{}-{}.yaml", area.code, kind.entity),
        draft.text(),
    )
}

fn drop_expression(header: &str, column: &str) -> String {
    match column {
        "citizen_id" => format!("pseudonym(\"{header}\")"),
        // Delivered as a date; the day's start stands for it.
        "updated_at" => format!("danish_date(\"{header}\") || 'T00:00:00Z'"),
        "planned_hours" | "attended_hours" | "score" => format!("danish_decimal(\"{header}\")"),
        "date" | "measured_date" | "visit_date" | "follow_up_due" | "received_date"
        | "closed_date" => format!("danish_date(\"{header}\")"),
        _ => format!("\"{header}\""),
    }
}

fn from_survey(area: &Municipality, folder: &Path) -> (String, String) {
    let settings = format!(
        "  path: {}
  pattern: 'survey-*.csv'
  delimiter: ';'
  encoding: utf-8
",
        quoted(&folder.display().to_string()),
    );
    let plain = |field: &str| format!("\"{field}\"");
    let select = vec![
        ("response_id", plain("token")),
        ("survey_id", plain("attribute_4")),
        ("instrument_version", plain("attribute_6")),
        ("participation_id", plain("attribute_1")),
        ("offer_id", plain("attribute_2")),
        ("unit_id", plain("attribute_3")),
        ("invited_date", plain("attribute_5")),
        ("answered_date", "substr(\"submitdate\", 1, 10)".to_owned()),
        ("satisfaction", plain("TILFREDS")),
        ("closer_to_job", plain("JOBTAET")),
        ("informed", plain("INFORM")),
        ("respected", plain("RESPEKT")),
        ("moved", plain("FLYTTET")),
        ("listened", plain("LYTTET")),
        ("influence", plain("INDFLYD")),
        ("job_focus", plain("JOBFOKUS")),
        ("prepared", plain("FORBEREDT")),
        ("clear_next_step", plain("NAESTETRIN")),
        (
            "updated_at",
            "replace(\"datestamp\", ' ', 'T') || 'Z'".to_owned(),
        ),
    ];
    let draft = Draft {
        doc: format!(
            "Invitations and answers from the survey tool of {}.",
            area.name
        ),
        connector: "files",
        entity: "survey_response",
        municipality_code: Some(area.code),
        schedule: "every 30s",
        settings,
        select,
    };
    (format!("survey-{}.yaml", area.code), draft.text())
}
