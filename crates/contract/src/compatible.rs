//! Whether a schema may take the place of another.

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};

use crate::{
    Field,
    avsc::{self, Record},
};

/// Whether `new_avsc` may replace `old_avsc`, both texts of `.avsc` files; else a sentence for each reason.
///
/// Old data must be readable with the new schema and new data with the old one, and what was a valid
/// record must stay one. A new nullable field and a new value in `values` are fine.
pub fn compatible(old_avsc: &str, new_avsc: &str) -> Result<(), Vec<String>> {
    let read = |which: &str, text: &str| {
        avsc::parse(text)
            .and_then(|record| record.check().map(|()| record))
            .map_err(|reason| vec![format!("the {which} schema cannot be read: {reason}")])
    };
    let old = read("old", old_avsc)?;
    let new = read("new", new_avsc)?;

    let mut reasons = ours(&old, &new);
    if reasons.is_empty() {
        reasons = by_avro(old_avsc, new_avsc);
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(reasons)
    }
}

fn ours(old: &Record, new: &Record) -> Vec<String> {
    let mut reasons = Vec::new();
    if old.name != new.name {
        reasons.push(format!(
            "the name changed from {} to {}; a new name is a new entity",
            old.name, new.name
        ));
    }
    if old.key != new.key {
        reasons.push(format!(
            "the key changed from [{}] to [{}]; versions of one thing would part",
            old.key.join(", "),
            new.key.join(", ")
        ));
    }
    for pair in new
        .ordered
        .iter()
        .filter(|pair| !old.ordered.contains(pair))
    {
        reasons.push(format!(
            "{} must now not exceed {}; records that were valid may break that",
            pair.0, pair.1
        ));
    }
    for before in &old.fields {
        match new.fields.iter().find(|after| after.name == before.name) {
            Some(after) => narrowed(before, after, &mut reasons),
            None => reasons.push(format!(
                "{} was removed; keep it, nullable if it is no longer sent",
                before.name
            )),
        }
    }
    for after in &new.fields {
        let is_new = old.fields.iter().all(|before| before.name != after.name);
        if is_new && !after.nullable {
            reasons.push(format!(
                "{} is new and required; old records lack it, so make it nullable",
                after.name
            ));
        }
    }
    reasons
}

/// What a field no longer allows.
fn narrowed(before: &Field, after: &Field, reasons: &mut Vec<String>) {
    let name = &before.name;
    if before.kind != after.kind {
        reasons.push(format!(
            "the type of {name} changed from {:?} to {:?}",
            before.kind, after.kind
        ));
    }
    match (before.nullable, after.nullable) {
        (true, false) => reasons.push(format!("{name} became required; old records may lack it")),
        (false, true) => reasons.push(format!(
            "{name} became nullable; readers with the old schema cannot read a null"
        )),
        _ => {}
    }
    if before.values.is_empty() && !after.values.is_empty() {
        reasons.push(format!(
            "{name} now takes only some values; it took any before"
        ));
    }
    if !after.values.is_empty() {
        for value in &before.values {
            if !after.values.contains(value) {
                reasons.push(format!("{name} no longer takes the value {value}"));
            }
        }
    }
    if after.code_list.is_some() && after.code_list != before.code_list {
        reasons.push(format!(
            "the code list of {name} changed; codes that were valid may not be in it"
        ));
    }
    if let Some(least) = after.minimum
        && before.minimum.is_none_or(|before| before < least)
    {
        reasons.push(format!("the minimum of {name} rose to {least}"));
    }
    if let Some(most) = after.maximum
        && before.maximum.is_none_or(|before| before > most)
    {
        reasons.push(format!("the maximum of {name} fell to {most}"));
    }
}

/// Avro's own rules, in both directions.
fn by_avro(old: &str, new: &str) -> Vec<String> {
    let (old, new) = match (Schema::parse_str(old), Schema::parse_str(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(err), _) => return vec![format!("the old schema is not valid Avro: {err}")],
        (_, Err(err)) => return vec![format!("the new schema is not valid Avro: {err}")],
    };
    let mut reasons = Vec::new();
    if let Err(err) = SchemaCompatibility::can_read(&old, &new) {
        reasons.push(format!("the new schema cannot read old data: {err}"));
    }
    if let Err(err) = SchemaCompatibility::can_read(&new, &old) {
        reasons.push(format!("the old schema cannot read new data: {err}"));
    }
    reasons
}
