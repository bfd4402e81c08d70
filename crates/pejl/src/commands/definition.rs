//! `pejl definition`: what the numbers mean, in Danish and English, with the seed's own words.

use serde_json::json;
use spec::{Definition, DefinitionRef};
use warehouse::models::Catalog;

use crate::{
    args::{self, Format, Language},
    output,
    settings::{Mistake, Settings},
    wiring,
};

/// Columns of running text.
const WIDTH: usize = 100;

pub(crate) fn run(settings: &Settings, command: &args::Definition) -> anyhow::Result<u8> {
    let catalog = wiring::catalog(settings)?;
    match command {
        args::Definition::List { lang, format } => list(&catalog, *lang, *format),
        args::Definition::Show { id, lang, format } => show(&catalog, id, *lang, *format),
    }
}

fn list(catalog: &Catalog, lang: Option<Language>, format: Format) -> anyhow::Result<u8> {
    let titles: &[&str] = match lang {
        Some(Language::Da) => &["title_da"],
        Some(Language::En) => &["title_en"],
        None => &["title_da", "title_en"],
    };
    let mut headers = vec!["definition"];
    headers.extend(titles);
    headers.extend(["valid_from", "seed", "models"]);
    let rows: Vec<Vec<String>> = sorted(catalog)
        .into_iter()
        .map(|it| {
            let mut row = vec![it.reference().to_string()];
            row.extend(titles.iter().map(|title| match *title {
                "title_da" => it.title_da.clone(),
                _ => it.title_en.clone(),
            }));
            row.extend([
                it.valid_from.to_string(),
                it.seed.clone().unwrap_or_default(),
                named_by(catalog, it).join(", "),
            ]);
            row
        })
        .collect();
    output::line(&output::rows(format, &headers, &rows)?)?;
    Ok(0)
}

fn show(catalog: &Catalog, id: &str, lang: Option<Language>, format: Format) -> anyhow::Result<u8> {
    let found = find(catalog, id)?;
    let reference = found.reference().to_string();
    match format {
        Format::Table => output::line(&text(found, &named_by(catalog, found), lang))?,
        Format::Json => {
            let mut shown = json!({
                "definition": reference,
                "valid_from": found.valid_from,
                "seed": found.seed,
                "quote": found.quote,
                "parameters": found.parameters,
                "models": named_by(catalog, found),
            });
            if lang != Some(Language::En) {
                shown["title_da"] = found.title_da.clone().into();
                shown["text_da"] = found.text_da.clone().into();
            }
            if lang != Some(Language::Da) {
                shown["title_en"] = found.title_en.clone().into();
                shown["text_en"] = found.text_en.clone().into();
            }
            output::line(&shown.to_string())?;
        }
        Format::Csv => {
            let mut facts = vec![("definition", reference)];
            if lang != Some(Language::En) {
                facts.push(("title_da", found.title_da.clone()));
                facts.push(("text_da", found.text_da.clone()));
            }
            if lang != Some(Language::Da) {
                facts.push(("title_en", found.title_en.clone()));
                facts.push(("text_en", found.text_en.clone()));
            }
            facts.extend([
                ("seed", found.seed.clone().unwrap_or_default()),
                ("quote", found.quote.clone().unwrap_or_default()),
                ("parameters", found.parameters.to_string()),
                ("valid_from", found.valid_from.to_string()),
                ("models", named_by(catalog, found).join(", ")),
            ]);
            let (headers, row): (Vec<&str>, Vec<String>) = facts.into_iter().unzip();
            output::line(&output::rows(format, &headers, &[row])?)?;
        }
    }
    Ok(0)
}

fn sorted(catalog: &Catalog) -> Vec<&Definition> {
    let mut all: Vec<&Definition> = catalog.definitions().iter().collect();
    all.sort_by(|a, b| (&a.definition_id, a.version).cmp(&(&b.definition_id, b.version)));
    all
}

fn named_by(catalog: &Catalog, definition: &Definition) -> Vec<String> {
    catalog.named_by(definition).cloned().collect()
}

/// The version asked for; without one the last.
fn find<'a>(catalog: &'a Catalog, id: &str) -> Result<&'a Definition, Mistake> {
    let all = sorted(catalog);
    let is_wanted = |it: &&&Definition| match DefinitionRef::parse(id) {
        Some(wanted) => it.reference() == wanted,
        None => it.definition_id == id,
    };
    all.iter().rfind(is_wanted).copied().ok_or_else(|| {
        let known: Vec<String> = all.iter().map(|it| it.reference().to_string()).collect();
        Mistake(format!("no definition `{id}`; one of {}", known.join(", ")))
    })
}

fn text(it: &Definition, models: &[String], lang: Option<Language>) -> String {
    let mut lines = vec![it.reference().to_string()];
    let mut told = |title: &str, text: &str| {
        lines.push(String::new());
        lines.push(title.to_owned());
        lines.extend(output::wrapped(text, WIDTH).map(|line| format!("  {line}")));
    };
    if lang != Some(Language::En) {
        told(&it.title_da, &it.text_da);
    }
    if lang != Some(Language::Da) {
        told(&it.title_en, &it.text_en);
    }
    let mut facts = Vec::new();
    if let Some(seed) = &it.seed {
        facts.push(("seed", seed.clone()));
    }
    if let Some(quote) = &it.quote {
        facts.push(("quote", format!("\u{201d}{quote}\u{201d}")));
    }
    if let Some(parameters) = it.parameters.as_object() {
        let each = parameters.iter().map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name} = {text}"),
            None => format!("{name} = {value}"),
        });
        facts.push(("parameters", each.collect::<Vec<_>>().join(", ")));
    }
    facts.push(("valid from", it.valid_from.to_string()));
    facts.push(("models", models.join(", ")));
    lines.push(String::new());
    for (name, value) in facts {
        let mut wrapped = output::wrapped(&value, WIDTH - 12);
        lines.push(format!("{name:<12}{}", wrapped.next().unwrap_or_default()));
        lines.extend(wrapped.map(|line| format!("{:12}{line}", "")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn definition(version: u32, title: &str) -> Definition {
        Definition {
            definition_id: "finished".to_owned(),
            version,
            title_da: format!("{title} (da)"),
            title_en: title.to_owned(),
            text_da: "Borgere, der sluttede.".to_owned(),
            text_en: "Citizens who ended.".to_owned(),
            seed: Some("S0".to_owned()),
            quote: Some("antal afsluttede".to_owned()),
            parameters: json!({"anchor": "end_date", "months": 3}),
            valid_from: NaiveDate::from_ymd_opt(2007, 1, 1).unwrap(),
        }
    }

    #[test]
    fn without_a_version_the_last_one_is_shown() {
        let all = vec![
            definition(2, "New"),
            definition(10, "Newest"),
            definition(1, "Old"),
        ];
        let catalog = Catalog::new(Vec::new(), Vec::new(), all, Vec::new()).unwrap();
        assert_eq!(find(&catalog, "finished").unwrap().version, 10);
        assert_eq!(find(&catalog, "finished@1").unwrap().version, 1);
        let said = find(&catalog, "finished@3").unwrap_err().to_string();
        assert!(
            said.contains("finished@1, finished@2, finished@10"),
            "{said}"
        );
    }

    #[test]
    fn a_language_leaves_the_other_out() {
        let it = definition(1, "Finished");
        let models = ["mart.offer_overview".to_owned()];
        let both = text(&it, &models, None);
        for wanted in [
            "Finished (da)\n  Borgere, der sluttede.",
            "Finished\n  Citizens who ended.",
            "seed        S0",
            "\u{201d}antal afsluttede\u{201d}",
            "parameters  anchor = end_date, months = 3",
            "models      mart.offer_overview",
        ] {
            assert!(both.contains(wanted), "{wanted} in:\n{both}");
        }
        assert!(!text(&it, &models, Some(Language::Da)).contains("Citizens"));
        assert!(!text(&it, &models, Some(Language::En)).contains("Borgere"));
    }
}
