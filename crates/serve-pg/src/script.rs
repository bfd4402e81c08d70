//! Cuts what a client sends into statements, and statements into words, the way PostgreSQL's lexer does.
//!
//! Only the outside matters here: strings, quoted names, dollar quotes and comments, so that a semicolon inside them
//! ends nothing. What a query means is left to the SQL parser.

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement<'a> {
    /// From its first word to its last, without the semicolon.
    pub(crate) text: &'a str,
    pub(crate) words: Vec<Word<'a>>,
}

/// A word and where it begins and ends in [`Statement::text`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A keyword or a name without quotes.
    Bare(&'a str),
    /// `"name"`, quotes undone.
    Name(String),
    /// `'text'`, `E'text'` or `$$text$$`, quotes undone.
    Text(String),
    /// A number.
    Number(&'a str),
    /// Anything else, one character at a time.
    Sign(char),
}

impl Word<'_> {
    /// Whether it is this keyword, whatever its case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self.kind, Kind::Bare(word) if word.eq_ignore_ascii_case(keyword))
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    /// The name it gives: lower case unless it was quoted.
    pub(crate) fn name(&self) -> Option<String> {
        match &self.kind {
            Kind::Bare(word) => Some(word.to_lowercase()),
            Kind::Name(name) => Some(name.clone()),
            _ => None,
        }
    }
}

/// A quote, comment or name that is never closed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unterminated(pub(crate) &'static str);

/// Cuts a script at its semicolons; empty statements are left out.
pub(crate) fn split(script: &str) -> Result<Vec<Statement<'_>>, Unterminated> {
    let mut statements = Vec::new();
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut lexer = Lexer {
        text: script,
        at: 0,
    };
    loop {
        let word = lexer.next()?;
        if word.as_ref().is_none_or(|word| word.is_sign(';')) {
            if let (Some(first), Some(last)) = (words.first(), words.last()) {
                let (start, end) = (first.start, last.end);
                let text = &script[start..end];
                let words = words
                    .drain(..)
                    .map(|word| Word {
                        start: word.start - start,
                        end: word.end - start,
                        ..word
                    })
                    .collect();
                statements.push(Statement { text, words });
            }
            if word.is_none() {
                return Ok(statements);
            }
        } else {
            words.extend(word);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Result<Option<Word<'a>>, Unterminated> {
        self.skip_blanks()?;
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let kind = match first {
            '\'' => Kind::Text(self.quoted('\'', false)?),
            '"' => Kind::Name(self.quoted('"', false)?),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                self.at += 1;
                Kind::Text(self.quoted('\'', true)?)
            }
            '$' => match self.dollar_quoted()? {
                Some(text) => Kind::Text(text),
                None => self.sign(first),
            },
            _ if first.is_ascii_digit() => {
                Kind::Number(self.take(|c| c.is_ascii_alphanumeric() || c == '.'))
            }
            _ if is_name_start(first) => Kind::Bare(self.take(is_name_part)),
            _ => self.sign(first),
        };
        Ok(Some(Word {
            kind,
            start,
            end: self.at,
        }))
    }

    fn sign(&mut self, sign: char) -> Kind<'a> {
        self.at += sign.len_utf8();
        Kind::Sign(sign)
    }

    fn take(&mut self, wanted: fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_blanks(&mut self) -> Result<(), Unterminated> {
        loop {
            let rest = self.rest();
            if let Some(comment) = rest.strip_prefix("--") {
                self.at += 2 + comment.find('\n').unwrap_or(comment.len());
            } else if rest.starts_with("/*") {
                self.at += block_comment(rest).ok_or(Unterminated("comment"))?;
            } else {
                let blanks = rest.len() - rest.trim_start().len();
                if blanks == 0 {
                    return Ok(());
                }
                self.at += blanks;
            }
        }
    }

    fn quoted(&mut self, quote: char, backslashes: bool) -> Result<String, Unterminated> {
        let mut value = String::new();
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if chars.peek().is_some_and(|(_, next)| *next == quote) {
                    chars.next();
                } else {
                    self.at += at + 1;
                    return Ok(value);
                }
            } else if c == '\\' && backslashes {
                let Some((_, escaped)) = chars.next() else {
                    break;
                };
                value.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                continue;
            }
            value.push(c);
        }
        Err(Unterminated(if quote == '"' {
            "quoted name"
        } else {
            "quoted string"
        }))
    }

    fn dollar_quoted(&mut self) -> Result<Option<String>, Unterminated> {
        let rest = self.rest();
        let Some(tag_end) = rest[1..].find('$') else {
            return Ok(None);
        };
        let tag = &rest[..tag_end + 2];
        let inner = &tag[1..tag.len() - 1];
        if !inner.chars().all(is_name_part) || inner.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let body = &rest[tag.len()..];
        let end = body.find(tag).ok_or(Unterminated("dollar-quoted string"))?;
        self.at += tag.len() + end + tag.len();
        Ok(Some(body[..end].to_owned()))
    }
}

/// Length of a block comment; PostgreSQL's nest.
fn block_comment(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0_usize);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn texts(script: &str) -> Vec<&str> {
        split(script)
            .unwrap()
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    #[test]
    fn semicolons_end_statements_only_outside_quotes_and_comments() {
        assert_eq!(texts("select 1; select 2;"), ["select 1", "select 2"]);
        assert_eq!(
            texts(" ;; select ';' ; -- a;b\n select \"a;b\" "),
            ["select ';'", "select \"a;b\""]
        );
        assert_eq!(
            texts("select $$a;b$$, $x$;$$;$x$; select $1"),
            ["select $$a;b$$, $x$;$$;$x$", "select $1"]
        );
        assert_eq!(
            texts("select /* ; /* ; */ ; */ 1"),
            ["select /* ; /* ; */ ; */ 1"]
        );
        assert_eq!(
            texts("select 'it''s;', E'\\';'"),
            ["select 'it''s;', E'\\';'"]
        );
        assert_eq!(
            texts("select 'æ;ø' as ål; select 2"),
            ["select 'æ;ø' as ål", "select 2"]
        );
        assert_eq!(texts(""), Vec::<&str>::new());
    }

    #[test]
    fn words_lose_their_quotes() {
        let words = split("SET x = E'a\\'b', \"C\"\"d\", 1.5")
            .unwrap()
            .remove(0)
            .words;
        let kinds: Vec<_> = words.into_iter().map(|word| word.kind).collect();
        assert_eq!(
            kinds,
            [
                Kind::Bare("SET"),
                Kind::Bare("x"),
                Kind::Sign('='),
                Kind::Text("a'b".into()),
                Kind::Sign(','),
                Kind::Name("C\"d".into()),
                Kind::Sign(','),
                Kind::Number("1.5"),
            ]
        );
    }

    #[test]
    fn an_open_quote_is_told() {
        assert_eq!(split("select 'a"), Err(Unterminated("quoted string")));
        assert_eq!(split("select \"a"), Err(Unterminated("quoted name")));
        assert_eq!(split("select /* a"), Err(Unterminated("comment")));
        assert_eq!(
            split("select $a$ b"),
            Err(Unterminated("dollar-quoted string"))
        );
    }
}
