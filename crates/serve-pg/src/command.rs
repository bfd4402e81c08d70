//! What a statement asks for: a query, something about the session, or something this server refuses.

use pgwire::api::Type;
use pgwire::error::{PgWireError, PgWireResult};

use crate::copy::CopyFormat;
use crate::script::{Kind, Statement, Word};
use crate::sqlstate;

/// A statement, understood as far as the server itself has to.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Anything that is planned: `SELECT`, `WITH`, `VALUES`, `TABLE`, `EXPLAIN`.
    Query(String),
    /// `COPY (query) TO STDOUT`.
    CopyOut { query: String, format: CopyFormat },
    /// `DECLARE name CURSOR FOR query`.
    Declare {
        name: String,
        query: String,
        hold: bool,
    },
    /// `FETCH` or, without rows, `MOVE`; `None` is all.
    Fetch {
        name: String,
        count: Option<usize>,
        moves: bool,
    },
    /// `CLOSE name` or `CLOSE ALL`.
    Close(Option<String>),
    /// `PREPARE name (types) AS statement`.
    Prepare {
        name: String,
        types: Vec<Option<Type>>,
        text: String,
    },
    /// `EXECUTE name (arguments)`, the arguments as SQL.
    Execute { name: String, arguments: String },
    /// `DEALLOCATE name` or `ALL`.
    Deallocate(Option<String>),
    /// `SET name = value`; `None` is `DEFAULT`.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    /// `RESET name` or `RESET ALL`.
    Reset(Option<String>),
    /// `SHOW name`.
    Show(String),
    /// `SHOW ALL`.
    ShowAll,
    /// `BEGIN` or `START TRANSACTION`; the tag tells which.
    Begin(&'static str),
    /// `COMMIT` or `END`.
    Commit,
    /// `ROLLBACK` or `ABORT`.
    Rollback,
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `RELEASE name`.
    Release(String),
    /// `ROLLBACK TO name`.
    RollbackTo(String),
    /// `DISCARD ALL` (true) or a part of it, of which the server keeps nothing.
    Discard(bool),
    /// Accepted and without effect, with its tag.
    Nothing(&'static str),
    /// A write, with its tag.
    Write(&'static str),
}

/// First words of statements that write or manage, with the tag PostgreSQL gives them.
const WRITES: &[(&str, &str)] = &[
    ("INSERT", "INSERT"),
    ("UPDATE", "UPDATE"),
    ("DELETE", "DELETE"),
    ("MERGE", "MERGE"),
    ("TRUNCATE", "TRUNCATE TABLE"),
    ("CREATE", "CREATE"),
    ("ALTER", "ALTER"),
    ("DROP", "DROP"),
    ("GRANT", "GRANT"),
    ("REVOKE", "REVOKE"),
    ("COMMENT", "COMMENT"),
    ("REFRESH", "REFRESH MATERIALIZED VIEW"),
    ("CALL", "CALL"),
    ("DO", "DO"),
    ("IMPORT", "IMPORT FOREIGN SCHEMA"),
    ("SECURITY", "SECURITY LABEL"),
    ("REASSIGN", "REASSIGN OWNED"),
    ("VACUUM", "VACUUM"),
    ("ANALYZE", "ANALYZE"),
    ("CLUSTER", "CLUSTER"),
    ("REINDEX", "REINDEX"),
    ("CHECKPOINT", "CHECKPOINT"),
    ("LOCK", "LOCK TABLE"),
    ("NOTIFY", "NOTIFY"),
    ("LOAD", "LOAD"),
];

impl Command {
    /// Understands one statement.
    pub(crate) fn read(statement: &Statement<'_>) -> PgWireResult<Command> {
        let mut words = Words { statement, at: 0 };
        let Some(Kind::Bare(first)) = words.statement.words.first().map(|word| &word.kind) else {
            return Ok(Command::Query(statement.text.to_owned()));
        };
        let first = first.to_uppercase();
        if let Some((_, tag)) = WRITES.iter().find(|(word, _)| *word == first) {
            return Ok(Command::Write(tag));
        }
        words.at = 1;
        match first.as_str() {
            "BEGIN" => Ok(Command::Begin("BEGIN")),
            "START" => {
                words.expect("TRANSACTION")?;
                Ok(Command::Begin("START TRANSACTION"))
            }
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" => words.end_of_transaction(&first),
            "SAVEPOINT" => Ok(Command::Savepoint(words.name()?)),
            "RELEASE" => {
                words.skip("SAVEPOINT");
                Ok(Command::Release(words.name()?))
            }
            "SET" => words.set(),
            "RESET" => words.reset(),
            "SHOW" => words.show(),
            "DISCARD" => Ok(Command::Discard(words.skip("ALL"))),
            "DEALLOCATE" => {
                words.skip("PREPARE");
                Ok(Command::Deallocate(words.name_or_all()?))
            }
            "PREPARE" => words.prepare(),
            "EXECUTE" => {
                let name = words.name()?;
                Ok(Command::Execute {
                    name,
                    arguments: words.inside_parentheses()?.unwrap_or_default().to_owned(),
                })
            }
            "DECLARE" => words.declare(),
            "FETCH" => words.fetch(false),
            "MOVE" => words.fetch(true),
            "CLOSE" => Ok(Command::Close(words.name_or_all()?)),
            "LISTEN" => Ok(Command::Nothing("LISTEN")),
            "UNLISTEN" => Ok(Command::Nothing("UNLISTEN")),
            "COPY" => words.copy(),
            "TABLE" => Ok(Command::Query(format!("SELECT * FROM {}", words.rest()))),
            _ => Ok(Command::Query(statement.text.to_owned())),
        }
    }

    /// Whether a failed transaction lets it through.
    pub(crate) fn ends_a_failed_transaction(&self) -> bool {
        matches!(
            self,
            Command::Commit | Command::Rollback | Command::RollbackTo(_)
        )
    }
}

struct Words<'a> {
    statement: &'a Statement<'a>,
    at: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a Word<'a>> {
        self.statement.words.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Word<'a>> {
        let word = self.peek();
        self.at += 1;
        word
    }

    fn skip(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.is(keyword));
        self.at += usize::from(found);
        found
    }

    fn skip_sign(&mut self, sign: char) -> bool {
        let found = self.peek().is_some_and(|word| word.is_sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, keyword: &str) -> PgWireResult<()> {
        if self.skip(keyword) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> PgWireError {
        let near = self.peek().map_or("end of input", |word| {
            &self.statement.text[word.start..word.end]
        });
        sqlstate::error("42601", format!("syntax error at or near \"{near}\""))
    }

    fn name(&mut self) -> PgWireResult<String> {
        let name = self
            .peek()
            .and_then(Word::name)
            .ok_or_else(|| self.unexpected())?;
        self.at += 1;
        Ok(name)
    }

    fn name_or_all(&mut self) -> PgWireResult<Option<String>> {
        if self.skip("ALL") {
            Ok(None)
        } else {
            self.name().map(Some)
        }
    }

    /// The text from the current word to the end.
    fn rest(&self) -> &'a str {
        self.peek()
            .map_or("", |word| &self.statement.text[word.start..])
    }

    /// The text between the parenthesis here and the one that closes it, if there is one here.
    fn inside_parentheses(&mut self) -> PgWireResult<Option<&'a str>> {
        if !self.skip_sign('(') {
            return Ok(None);
        }
        let start = self.statement.words[self.at - 1].end;
        let mut depth = 1;
        while let Some(word) = self.next() {
            depth += i32::from(word.is_sign('(')) - i32::from(word.is_sign(')'));
            if depth == 0 {
                return Ok(Some(&self.statement.text[start..word.start]));
            }
        }
        Err(self.unexpected())
    }

    fn end_of_transaction(&mut self, first: &str) -> PgWireResult<Command> {
        if !self.skip("WORK") {
            self.skip("TRANSACTION");
        }
        let back = matches!(first, "ROLLBACK" | "ABORT");
        if self.skip("PREPARED") {
            return Err(sqlstate::error(
                "0A000",
                "two-phase transactions are not supported",
            ));
        }
        if back && self.skip("TO") {
            self.skip("SAVEPOINT");
            return Ok(Command::RollbackTo(self.name()?));
        }
        Ok(if back {
            Command::Rollback
        } else {
            Command::Commit
        })
    }

    fn set(&mut self) -> PgWireResult<Command> {
        let local = self.skip("LOCAL");
        let session = !local && self.skip("SESSION");
        if session && self.skip("CHARACTERISTICS") || !session && self.skip("TRANSACTION") {
            return Ok(Command::Nothing("SET"));
        }
        if self.skip("ROLE") || session && self.skip("AUTHORIZATION") {
            let _equals = self.skip_sign('=') || self.skip("TO");
            let role = self
                .values()?
                .filter(|role| !role.eq_ignore_ascii_case("none"));
            return Ok(Command::Set {
                name: "role".into(),
                value: role,
                local,
            });
        }
        let name = if self.skip("TIME") {
            self.expect("ZONE")?;
            "timezone".to_owned()
        } else if self.skip("NAMES") {
            "client_encoding".to_owned()
        } else if self.skip("XML") {
            return Ok(Command::Nothing("SET"));
        } else {
            let name = self.dotted_name()?;
            if !self.skip_sign('=') {
                self.expect("TO")?;
            }
            name
        };
        let value = self
            .values()?
            .filter(|zone| name != "timezone" || !zone.eq_ignore_ascii_case("local"));
        Ok(Command::Set { name, value, local })
    }

    fn dotted_name(&mut self) -> PgWireResult<String> {
        let mut name = self.name()?.to_lowercase();
        while self.skip_sign('.') {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name)
    }

    /// The rest of a `SET`, joined as PostgreSQL shows lists; `None` is `DEFAULT`.
    fn values(&mut self) -> PgWireResult<Option<String>> {
        if self.skip("DEFAULT") {
            return Ok(None);
        }
        let mut value = String::new();
        if self.peek().is_none() {
            return Err(self.unexpected());
        }
        while let Some(word) = self.next() {
            match &word.kind {
                Kind::Bare(text) | Kind::Number(text) => value.push_str(text),
                Kind::Name(text) | Kind::Text(text) => value.push_str(text),
                Kind::Sign(',') => value.push_str(", "),
                Kind::Sign(sign) => value.push(*sign),
            }
        }
        Ok(Some(value))
    }

    fn reset(&mut self) -> PgWireResult<Command> {
        if self.skip("ALL") {
            return Ok(Command::Reset(None));
        }
        if self.skip("TIME") {
            return Ok(Command::Reset(Some("timezone".into())));
        }
        if self.skip("SESSION") {
            return Ok(Command::Reset(Some("role".into())));
        }
        Ok(Command::Reset(Some(self.dotted_name()?)))
    }

    fn show(&mut self) -> PgWireResult<Command> {
        if self.skip("ALL") {
            return Ok(Command::ShowAll);
        }
        if self.peek().is_some_and(|word| word.is("TABLES")) {
            return Ok(Command::Query(
                "SELECT table_schema, table_name, table_type FROM information_schema.tables \
                 WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
                    .into(),
            ));
        }
        let name = if self.skip("TIME") {
            "timezone".into()
        } else if self.skip("TRANSACTION") {
            "transaction_isolation".into()
        } else if self.skip("SESSION") {
            "session_authorization".into()
        } else {
            self.dotted_name()?
        };
        Ok(Command::Show(name))
    }

    fn prepare(&mut self) -> PgWireResult<Command> {
        if self.skip("TRANSACTION") {
            return Err(sqlstate::error(
                "0A000",
                "two-phase transactions are not supported",
            ));
        }
        let name = self.name()?;
        let types = match self.inside_parentheses()? {
            Some(list) => list
                .split(',')
                .map(|name| crate::parameters::type_named(name.trim()))
                .collect(),
            None => Vec::new(),
        };
        self.expect("AS")?;
        Ok(Command::Prepare {
            name,
            types,
            text: self.rest().to_owned(),
        })
    }

    fn declare(&mut self) -> PgWireResult<Command> {
        let name = self.name()?;
        let mut scroll = false;
        loop {
            if self.skip("CURSOR") {
                break;
            }
            let no = self.skip("NO");
            if self.skip("SCROLL") {
                scroll |= !no;
            } else if !(self.skip("BINARY") || self.skip("INSENSITIVE") || self.skip("ASENSITIVE"))
            {
                return Err(self.unexpected());
            }
        }
        let hold = self.skip("WITH");
        if hold || self.skip("WITHOUT") {
            self.expect("HOLD")?;
        }
        self.expect("FOR")?;
        // A SCROLL cursor is declared as any other: moving back is what fails, and most drivers never do.
        tracing::trace!(scroll, "cursor declared");
        Ok(Command::Declare {
            name,
            query: self.rest().to_owned(),
            hold,
        })
    }

    fn fetch(&mut self, moves: bool) -> PgWireResult<Command> {
        let count = if self.skip("NEXT") {
            Some(1)
        } else if self.skip("ALL") {
            None
        } else if self.skip("FORWARD") {
            if self.skip("ALL") {
                None
            } else {
                self.count()?.or(Some(1))
            }
        } else if ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"]
            .iter()
            .any(|word| self.skip(word))
        {
            return Err(sqlstate::with_hint(
                "55000",
                "cursor can only scan forward",
                Some("declare it again to start over".into()),
            ));
        } else {
            self.count()?.or(Some(1))
        };
        if !self.skip("FROM") {
            self.skip("IN");
        }
        Ok(Command::Fetch {
            name: self.name()?,
            count,
            moves,
        })
    }

    fn count(&mut self) -> PgWireResult<Option<usize>> {
        let Some(Kind::Number(number)) = self.peek().map(|word| &word.kind) else {
            return Ok(None);
        };
        let count = number.parse().map_err(|_| self.unexpected())?;
        self.at += 1;
        Ok(Some(count))
    }

    fn copy(&mut self) -> PgWireResult<Command> {
        let query = if let Some(query) = self.inside_parentheses()? {
            query.to_owned()
        } else {
            let start = self.peek().ok_or_else(|| self.unexpected())?.start;
            let mut end = start;
            while let Some(word) = self.peek() {
                if word.is("TO") || word.is("FROM") || word.is_sign('(') {
                    break;
                }
                end = word.end;
                self.at += 1;
            }
            let table = &self.statement.text[start..end];
            let columns = self.inside_parentheses()?.unwrap_or("*");
            format!("SELECT {columns} FROM {table}")
        };
        if self.skip("FROM") {
            return Ok(Command::Write("COPY FROM"));
        }
        self.expect("TO")?;
        if !self.skip("STDOUT") {
            return Err(sqlstate::error(
                "42501",
                "COPY can only write TO STDOUT here; in psql use \\copy for a file",
            ));
        }
        Ok(Command::CopyOut {
            query,
            format: CopyFormat::read(
                &self.statement.words[self.at.min(self.statement.words.len())..],
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]
    use super::*;
    use crate::script;

    fn read(text: &str) -> Command {
        Command::read(&script::split(text).unwrap()[0])
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn session_commands_are_understood() {
        let shown = [
            "BEGIN READ ONLY",
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "ABORT",
            "ROLLBACK WORK TO SAVEPOINT a",
            "RELEASE a",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET TIME ZONE 'Europe/Copenhagen'",
            "SET LOCAL statement_timeout = '5s'",
            "SET search_path TO \"$user\", mart",
            "SET extra_float_digits TO DEFAULT",
            "SHOW TRANSACTION ISOLATION LEVEL",
            "DISCARD ALL",
            "DEALLOCATE PREPARE \"S_1\"",
            "CLOSE ALL",
            "UNLISTEN *",
            "DECLARE \"SQL_CUR01\" CURSOR WITH HOLD FOR select 1",
            "FETCH FORWARD 100 FROM c",
            "MOVE ALL IN c",
            "PREPARE p (int, text) AS select $1, $2",
            "EXECUTE p (1, 'a)')",
        ]
        .map(|text| format!("{:?}", read(text)));
        assert_eq!(
            shown,
            [
                r#"Begin("BEGIN")"#,
                r#"Begin("START TRANSACTION")"#,
                "Rollback",
                r#"RollbackTo("a")"#,
                r#"Release("a")"#,
                r#"Nothing("SET")"#,
                r#"Set { name: "timezone", value: Some("Europe/Copenhagen"), local: false }"#,
                r#"Set { name: "statement_timeout", value: Some("5s"), local: true }"#,
                r#"Set { name: "search_path", value: Some("$user, mart"), local: false }"#,
                r#"Set { name: "extra_float_digits", value: None, local: false }"#,
                r#"Show("transaction_isolation")"#,
                "Discard(true)",
                r#"Deallocate(Some("S_1"))"#,
                "Close(None)",
                r#"Nothing("UNLISTEN")"#,
                r#"Declare { name: "SQL_CUR01", query: "select 1", hold: true }"#,
                r#"Fetch { name: "c", count: Some(100), moves: false }"#,
                r#"Fetch { name: "c", count: None, moves: true }"#,
                r#"Prepare { name: "p", types: [Some(Int4), Some(Text)], text: "select $1, $2" }"#,
                r#"Execute { name: "p", arguments: "1, 'a)'" }"#,
            ]
        );
    }

    #[test]
    fn writes_are_seen_by_their_first_word() {
        for (word, _) in WRITES {
            assert!(
                matches!(read(&format!("{word} x")), Command::Write(_)),
                "{word}"
            );
        }
        assert!(matches!(
            read("copy mart.x from stdin"),
            Command::Write("COPY FROM")
        ));
        assert!(matches!(read("select 'insert'"), Command::Query(_)));
    }

    #[test]
    fn copy_takes_a_query_or_a_table() {
        assert!(
            matches!(read("copy (select ')' from t) to stdout"), Command::CopyOut { query, .. } if query == "select ')' from t")
        );
        assert!(
            matches!(read("COPY mart.x (a, b) TO STDOUT WITH CSV HEADER"), Command::CopyOut { query, .. } if query == "SELECT a, b FROM mart.x")
        );
    }
}
