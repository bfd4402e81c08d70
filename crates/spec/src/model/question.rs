//! A check that is a query of its own, in a folder called like the model beside it: it asks for rows that must not be there.
//!
//! ```sql
//! -- doc: What is expected of all municipalities adds up to what was observed.
//! -- severity: error
//! select ...
//! ```

use super::{Severity, header, is_name, mistake};
use crate::Mistake;

/// A query whose every row is a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The model's table, `core.municipal_comparison`.
    pub table: String,
    /// The file name without `.sql`.
    pub name: String,
    /// The file as the caller named it.
    pub file: String,
    /// What holds where it gives no rows.
    pub doc: String,
    /// What happens where it gives some.
    pub severity: Severity,
    /// The whole file.
    pub sql: String,
}

impl Question {
    /// `core.municipal_comparison.expected_adds_up`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.table, self.name)
    }
}

const KEYS: &str = "doc, severity";

/// Reads the file of a check of `table`. `file` is how mistakes name it.
pub fn parse_question(
    table: &str,
    name: &str,
    file: &str,
    text: &str,
) -> Result<Question, Mistake> {
    if !is_name(name) {
        let message = format!("a check cannot be called `{name}`; use lower case, digits and `_`");
        return Err(mistake(file, None, message));
    }
    let mut question = Question {
        table: table.to_owned(),
        name: name.to_owned(),
        file: file.to_owned(),
        doc: String::new(),
        severity: Severity::Error,
        sql: text.to_owned(),
    };
    for entry in header(file, text, KEYS)? {
        let value = entry.value.trim();
        match (entry.key.as_str(), value) {
            ("doc", _) => question.doc = value.to_owned(),
            (_, "error") => question.severity = Severity::Error,
            (_, "warning") => question.severity = Severity::Warning,
            _ => {
                let message = format!("severity is `{value}`; write error or warning");
                return Err(mistake(file, Some(entry.line), message));
            }
        }
    }
    if question.doc.is_empty() {
        let message =
            "the header says no `doc`; begin with `-- doc: what holds where no row is found`";
        return Err(mistake(file, Some(1), message));
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn parse(text: &str) -> Result<Question, String> {
        parse_question("core.a", "adds_up", "a/adds_up.sql", text).map_err(|it| it.to_string())
    }

    #[test]
    fn a_check_says_what_holds_and_how_bad_it_is() {
        let question =
            parse("-- doc: It adds\n--     up.\n-- severity: warning\nselect 1\n").unwrap();
        assert_eq!(question.doc, "It adds up.");
        assert_eq!(question.severity, Severity::Warning);
        assert_eq!(
            parse("-- doc: It adds up.\nselect 1\n").unwrap().severity,
            Severity::Error
        );
    }

    #[test]
    fn mistakes_say_where_and_what_would_be_right() {
        let told = parse("-- doc: x\n-- severity: fatal\nselect 1\n").unwrap_err();
        assert_eq!(
            told,
            "a/adds_up.sql:2: severity is `fatal`; write error or warning"
        );
        assert!(parse("select 1\n").unwrap_err().contains("no `doc`"));
        assert!(
            parse("-- doc: x\n-- grain: a\nselect 1\n")
                .unwrap_err()
                .contains("no header key")
        );
    }
}
