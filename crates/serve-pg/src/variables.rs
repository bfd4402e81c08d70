//! The session's variables: what `SET`, `SHOW` and `RESET` see, and which of them clients are told about.

use std::collections::BTreeMap;
use std::time::Duration;

use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;

use crate::sqlstate;

/// The PostgreSQL release whose behaviour is promised. Parsers of version strings want it plain.
pub(crate) const SERVER_VERSION: &str = "16.6";

/// Name as shown, value at first, and whether clients are told of it (ParameterStatus).
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("bytea_output", "hex", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("DateStyle", "ISO, MDY", true),
    ("default_transaction_isolation", "read committed", false),
    ("default_transaction_read_only", "on", true),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("in_hot_standby", "off", true),
    ("integer_datetimes", "on", true),
    ("IntervalStyle", "postgres", true),
    ("is_superuser", "off", true),
    ("lc_collate", "C", false),
    ("lc_ctype", "C.UTF-8", false),
    ("lock_timeout", "0", false),
    ("max_identifier_length", "63", false),
    ("max_index_keys", "32", false),
    ("role", "none", false),
    ("row_security", "on", false),
    ("scram_iterations", "4096", true),
    ("search_path", "", false),
    ("server_encoding", "UTF8", true),
    ("server_version", SERVER_VERSION, true),
    ("server_version_num", "160006", false),
    ("session_authorization", "", true),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", false),
    ("TimeZone", "UTC", true),
    ("transaction_isolation", "read committed", false),
    ("transaction_read_only", "on", false),
];

/// Facts about the server, which no session can change.
const FIXED: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_identifier_length",
    "max_index_keys",
    "scram_iterations",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
];

/// The variables of one session.
#[derive(Debug, Clone)]
pub(crate) struct Variables {
    initial: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
    /// As they were when the transaction began, and which were only set for its length.
    before: Option<BTreeMap<String, String>>,
    local: Vec<String>,
}

impl Variables {
    pub(crate) fn new(
        user: &str,
        search_path: &str,
        statement_timeout: Option<Duration>,
    ) -> Variables {
        let mut initial: BTreeMap<String, String> = KNOWN
            .iter()
            .map(|(name, value, _)| (name.to_lowercase(), (*value).to_owned()))
            .collect();
        initial.insert("session_authorization".into(), user.to_owned());
        initial.insert("search_path".into(), search_path.to_owned());
        if let Some(timeout) = statement_timeout {
            initial.insert(
                "statement_timeout".into(),
                format!("{}ms", timeout.as_millis()),
            );
        }
        Variables {
            now: initial.clone(),
            initial,
            before: None,
            local: Vec::new(),
        }
    }

    /// The value of a variable; one that nobody set is empty rather than an error, since tools ask for what they like.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.now
            .get(&name.to_lowercase())
            .map_or("", String::as_str)
    }

    /// Sets a variable, or puts it back to its first value.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> PgWireResult<()> {
        let name = name.to_lowercase();
        let value = match value {
            Some(value) => accepted(&name, value, self.get("session_authorization"))?,
            None => self.initial.get(&name).cloned().unwrap_or_default(),
        };
        if FIXED.contains(&name.as_str()) && value != self.get(&name) {
            return Err(sqlstate::error(
                "55P02",
                format!("parameter \"{name}\" cannot be changed"),
            ));
        }
        if local && self.before.is_some() {
            self.local.push(name.clone());
        } else if local {
            return Ok(());
        }
        self.now.insert(name, value);
        Ok(())
    }

    /// Makes the present values those that `RESET` goes back to: what came with the start-up message.
    pub(crate) fn start(&mut self) {
        self.initial = self.now.clone();
    }

    pub(crate) fn reset_all(&mut self) {
        self.now = self.initial.clone();
    }

    pub(crate) fn begin(&mut self) {
        self.before.get_or_insert_with(|| self.now.clone());
    }

    pub(crate) fn commit(&mut self) {
        if let Some(before) = self.before.take() {
            for name in self.local.drain(..) {
                match before.get(&name) {
                    Some(value) => self.now.insert(name, value.clone()),
                    None => self.now.remove(&name),
                };
            }
        }
    }

    pub(crate) fn rollback(&mut self) {
        self.local.clear();
        if let Some(before) = self.before.take() {
            self.now = before;
        }
    }

    /// All, as `SHOW ALL` lists them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.now
            .iter()
            .map(|(name, value)| (shown(name), value.clone()))
    }

    /// Those that clients are told about.
    pub(crate) fn announced(&self) -> impl Iterator<Item = (String, String)> + '_ {
        KNOWN
            .iter()
            .filter(|(_, _, told)| *told)
            .map(|(name, _, _)| ((*name).to_owned(), self.get(name).to_owned()))
    }

    /// How long a statement may take.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        duration(self.get("statement_timeout")).filter(|timeout| !timeout.is_zero())
    }

    /// How values are written as text.
    pub(crate) fn format(&self) -> FormatOptions {
        let mut format = FormatOptions::default();
        format.date_style = self.get("datestyle").to_owned();
        format.interval_style = self.get("intervalstyle").to_owned();
        format.bytea_output = self.get("bytea_output").to_owned();
        format.extra_float_digits = self.get("extra_float_digits").parse().unwrap_or(1);
        format
    }
}

/// The name as PostgreSQL spells it.
pub(crate) fn shown(name: &str) -> String {
    KNOWN
        .iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(name))
        .map_or_else(|| name.to_lowercase(), |(known, _, _)| (*known).to_owned())
}

fn accepted(name: &str, value: &str, user: &str) -> PgWireResult<String> {
    let invalid = |hint: &str| {
        sqlstate::with_hint(
            "22023",
            format!("invalid value for parameter \"{name}\": \"{value}\""),
            Some(hint.to_owned()),
        )
    };
    match name {
        "client_encoding" => {
            let plain = value.replace(['-', '_'], "").to_uppercase();
            if ["UTF8", "UNICODE"].contains(&plain.as_str()) {
                Ok("UTF8".into())
            } else {
                Err(invalid("text is sent as UTF8 only"))
            }
        }
        "statement_timeout" => match duration(value) {
            Some(timeout) => Ok(if timeout.is_zero() {
                "0".into()
            } else {
                format!("{}ms", timeout.as_millis())
            }),
            None => Err(invalid(
                "a number of milliseconds, or a number with ms, s, min, h or d",
            )),
        },
        "timezone" => value
            .parse::<arrow::array::timezone::Tz>()
            .or_else(|_| {
                offset(value)
                    .unwrap_or_default()
                    .parse::<arrow::array::timezone::Tz>()
            })
            .map(|_| offset(value).unwrap_or_else(|| value.to_owned()))
            .map_err(|_| {
                invalid("a name such as Europe/Copenhagen, UTC, or an offset such as +02:00")
            }),
        "datestyle" => date_style(value)
            .ok_or_else(|| invalid("ISO, SQL, Postgres or German, with DMY, MDY or YMD")),
        "extra_float_digits" => value
            .parse::<i8>()
            .map(|digits| digits.to_string())
            .map_err(|_| invalid("a number from -15 to 3")),
        "role" if !value.eq_ignore_ascii_case("none") && value != user => Err(sqlstate::error(
            "42501",
            format!("permission denied to set role \"{value}\""),
        )),
        _ => Ok(value.to_owned()),
    }
}

/// `+2`, `-5` and `2` as clients give them; PostgreSQL reads them as hours east of Greenwich.
fn offset(value: &str) -> Option<String> {
    let hours: i8 = value.trim().parse().ok()?;
    (-15..=15)
        .contains(&hours)
        .then(|| format!("{}{:02}:00", if hours < 0 { '-' } else { '+' }, hours.abs()))
}

fn date_style(value: &str) -> Option<String> {
    let (mut display, mut order) = ("ISO", "MDY");
    for part in value.split(',').map(|part| part.trim().to_lowercase()) {
        match part.as_str() {
            "iso" => display = "ISO",
            "sql" => display = "SQL",
            "postgres" => display = "Postgres",
            "german" => display = "German",
            "dmy" | "euro" | "european" => order = "DMY",
            "mdy" | "us" => order = "MDY",
            "ymd" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("{display}, {order}"))
}

fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn variables() -> Variables {
        Variables::new("ann", "mart, core", Some(Duration::from_secs(30)))
    }

    #[test]
    fn a_rollback_takes_settings_back_and_a_commit_only_local_ones() {
        let mut v = variables();
        v.begin();
        v.set("application_name", Some("a"), false).unwrap();
        v.set("statement_timeout", Some("1s"), true).unwrap();
        assert_eq!(
            (v.get("application_name"), v.get("statement_timeout")),
            ("a", "1000ms")
        );
        v.commit();
        assert_eq!(
            (v.get("application_name"), v.get("statement_timeout")),
            ("a", "30000ms")
        );
        v.begin();
        v.set("application_name", Some("b"), false).unwrap();
        v.rollback();
        assert_eq!(v.get("application_name"), "a");
    }

    #[test]
    fn durations_read_as_postgres_reads_them() {
        let mut v = variables();
        for (text, ms) in [
            ("5s", 5_000),
            ("250", 250),
            ("2min", 120_000),
            ("1 h", 3_600_000),
        ] {
            v.set("statement_timeout", Some(text), false).unwrap();
            assert_eq!(
                v.statement_timeout(),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        v.set("statement_timeout", Some("0"), false).unwrap();
        assert_eq!(v.statement_timeout(), None);
        v.set("statement_timeout", Some("soon"), false).unwrap_err();
    }

    #[test]
    fn what_tools_invent_is_kept_and_what_is_fixed_stays() {
        let mut v = variables();
        v.set("dbeaver.something", Some("1"), false).unwrap();
        assert_eq!(v.get("dbeaver.something"), "1");
        assert_eq!(v.get("never_heard_of"), "");
        v.set("server_version", Some("9.6"), false).unwrap_err();
        v.set("client_encoding", Some("latin1"), false).unwrap_err();
        v.set("client_encoding", Some("utf-8"), false).unwrap();
        v.set("timezone", Some("Europe/Copenhagen"), false).unwrap();
        v.set("timezone", Some("-5"), false).unwrap();
        assert_eq!(v.get("TimeZone"), "-05:00");
        v.set("timezone", Some("Mars/Olympus"), false).unwrap_err();
        v.set("role", Some("bob"), false).unwrap_err();
        v.set("role", Some("ann"), false).unwrap();
    }
}
