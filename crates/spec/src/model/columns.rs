//! The output columns of a query and the comment beside each, read from its text.

/// An output column with what its comment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDoc {
    /// The name.
    pub name: String,
    /// The comment, its lines joined by spaces.
    pub doc: String,
    /// The line it stands on, from 1.
    pub line: u64,
}

/// A mistake: line, message.
type Wrong = (Option<u64>, String);

/// The columns of the outermost `select`; of the first one where several are united.
pub(super) fn output_columns(sql: &str) -> Result<Vec<ColumnDoc>, Wrong> {
    let tokens = tokens(sql);
    let mut depth = 0_usize;
    let select = tokens.iter().position(|token| {
        depth = token.depth(depth);
        depth == 0 && token.is_word("select")
    });
    let Some(select) = select else {
        return Err((None, "there is no `select`".to_owned()));
    };
    let mut items = vec![Item::default()];
    for token in &tokens[select + 1..] {
        depth = token.depth(depth);
        let last = items.len() - 1;
        match &token.kind {
            Kind::Comment(text) => Item::comment(&mut items, token, text),
            Kind::Symbol(',') if depth == 0 => {
                items[last].line = token.line;
                items.push(Item::default());
            }
            Kind::Word(_) if depth == 0 && ENDS.iter().any(|end| token.is_word(end)) => break,
            Kind::Word(_) if items[last].tokens == 0 && token.is_word("distinct") => {}
            kind => {
                let item = &mut items[last];
                item.begins_case |= item.tokens == 0 && token.is_word("case");
                item.tokens += 1;
                item.line = token.line;
                item.name = match kind {
                    Kind::Word(name) => Some(name.to_lowercase()),
                    Kind::Quoted(name) => Some(name.clone()),
                    _ => None,
                };
            }
        }
    }
    items.into_iter().map(Item::finish).collect()
}

/// The first line where `word` stands outside comments and strings, with no part of a name around it.
pub(super) fn line_of(sql: &str, word: &str) -> Option<u64> {
    let mut text = String::new();
    let mut lines = Vec::new();
    for token in tokens(sql) {
        let piece = match token.kind {
            Kind::Word(name) => name.to_lowercase(),
            Kind::Quoted(name) => name,
            Kind::Symbol('.') => ".".to_owned(),
            Kind::Symbol(_) | Kind::Text | Kind::Comment(_) => " ".to_owned(),
        };
        // Two words in a row are two names; a dot joins them.
        if !piece.starts_with('.') && !text.ends_with('.') {
            text.push(' ');
            lines.push(token.line);
        }
        lines.extend(std::iter::repeat_n(token.line, piece.len()));
        text.push_str(&piece);
    }
    text.push(' ');
    let at = text.find(&format!(" {word} "))?;
    lines.get(at + 1).copied()
}

/// Words that end the list of output columns.
const ENDS: [&str; 10] = [
    "from",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "union",
    "except",
    "intersect",
    "window",
];

#[derive(Default)]
struct Item {
    tokens: usize,
    line: u64,
    name: Option<String>,
    begins_case: bool,
    doc: Vec<String>,
    doc_at: (u64, usize),
}

impl Item {
    /// Gives a comment to the item it stands beside, or below the comment of.
    fn comment(items: &mut [Item], token: &Token, text: &str) {
        for item in items.iter_mut().rev().take(2) {
            let beside = item.tokens > 0 && item.line == token.line;
            let below = !item.doc.is_empty()
                && item.doc_at.0 + 1 == token.line
                && token.column >= item.doc_at.1;
            if beside || below {
                if item.doc.is_empty() {
                    item.doc_at.1 = token.column;
                }
                item.doc_at.0 = token.line;
                item.doc.push(text.to_owned());
                return;
            }
        }
    }

    fn finish(self) -> Result<ColumnDoc, Wrong> {
        let line = (self.line > 0).then_some(self.line);
        let unnamed_case = self.begins_case && self.name.as_deref() == Some("end");
        let Some(name) = self.name.filter(|_| !unnamed_case) else {
            let message = "an output column has no name; list columns instead of `*`, and name an \
                           expression with `as name`";
            return Err((line, message.to_owned()));
        };
        let doc = self.doc.join(" ");
        if doc.is_empty() {
            let message =
                format!("column `{name}` has no comment; end its line with `-- what it holds`");
            return Err((line, message));
        }
        Ok(ColumnDoc {
            name,
            doc,
            line: self.line,
        })
    }
}

/// A piece of SQL, with where it begins.
struct Token {
    kind: Kind,
    line: u64,
    column: usize,
}

enum Kind {
    Word(String),
    Quoted(String),
    Text,
    Comment(String),
    Symbol(char),
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(it) if it.eq_ignore_ascii_case(word))
    }

    /// How deep in brackets what follows stands.
    fn depth(&self, depth: usize) -> usize {
        match self.kind {
            Kind::Symbol('(' | '[') => depth + 1,
            Kind::Symbol(')' | ']') => depth.saturating_sub(1),
            _ => depth,
        }
    }
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut line, mut line_start) = (1, 0);
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let at = sql.len() - rest.len();
        let (kind, length) = next(rest, first);
        if let Some(kind) = kind {
            let column = at - line_start;
            tokens.push(Token { kind, line, column });
        }
        let (taken, after) = rest.split_at(length);
        for (offset, _) in taken.match_indices('\n') {
            line += 1;
            line_start = at + offset + 1;
        }
        rest = after;
    }
    tokens
}

/// The token at the beginning of `rest`, and its length in bytes.
fn next(rest: &str, first: char) -> (Option<Kind>, usize) {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    if let Some(comment) = rest.strip_prefix("--") {
        let text = comment.split('\n').next().unwrap_or_default();
        (Some(Kind::Comment(text.trim().to_owned())), 2 + text.len())
    } else if rest.starts_with("/*") {
        let length = rest.find("*/").map_or(rest.len(), |end| end + 2);
        (None, length)
    } else if first == '\'' || first == '"' {
        let length = quoted(rest, first);
        let inner = rest.get(1..length.saturating_sub(1)).unwrap_or_default();
        let kind = if first == '"' {
            Kind::Quoted(inner.to_owned())
        } else {
            Kind::Text
        };
        (Some(kind), length)
    } else if first.is_alphabetic() || first == '_' {
        let length = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
        (Some(Kind::Word(rest[..length].to_owned())), length)
    } else if first.is_whitespace() {
        (None, first.len_utf8())
    } else {
        (Some(Kind::Symbol(first)), first.len_utf8())
    }
}

/// The length of a quoted text, both quotes included; a doubled quote is one inside.
fn quoted(rest: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = rest[at..].find(quote) {
        at += end + 1;
        if rest[at..].starts_with(quote) {
            at += 1;
        } else {
            return at;
        }
    }
    rest.len()
}
