//! HTML that cannot be written wrong: every text and every attribute is escaped, every element is closed.

/// A page in the making.
#[derive(Debug)]
pub(super) struct Html {
    text: String,
    /// From the page's folder to the site's.
    up: &'static str,
}

/// Names of attributes with their values.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Html {
    /// A page in a folder `depth` deep.
    pub(super) fn new(depth: usize) -> Self {
        Self {
            text: String::new(),
            up: if depth == 0 { "" } else { "../" },
        }
    }

    /// A whole page: head, the way back, and what `body` writes.
    pub(super) fn page(mut self, title: &str, body: impl FnOnce(&mut Self)) -> String {
        self.text.push_str("<!doctype html>\n");
        self.within("html", &[("lang", "en")], |html| {
            html.within("head", &[], |html| {
                html.text.push_str("<meta charset=\"utf-8\">");
                html.text.push_str(
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
                );
                html.element("title", &[], title);
                let style = format!("{}style.css", html.up);
                html.open("link", &[("rel", "stylesheet"), ("href", &style)]);
            });
            html.text.push('\n');
            html.within("body", &[], |html| {
                html.within("nav", &[], |html| html.link("index.html", "Pejl"));
                html.within("main", &[], body);
            });
        });
        self.text.push('\n');
        self.text
    }

    /// An element with what `inner` writes in it.
    pub(super) fn within(
        &mut self,
        tag: &str,
        attributes: Attributes<'_>,
        inner: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        inner(self);
        self.text.push_str(&format!("</{tag}>"));
        if matches!(
            tag,
            "p" | "tr" | "table" | "section" | "ul" | "li" | "h1" | "h2" | "nav"
        ) {
            self.text.push('\n');
        }
    }

    /// An element with a text in it.
    pub(super) fn element(&mut self, tag: &str, attributes: Attributes<'_>, text: &str) {
        self.within(tag, attributes, |html| html.say(text));
    }

    /// Text.
    pub(super) fn say(&mut self, text: &str) {
        escape(text, &mut self.text);
    }

    /// A link to a page of the site, named from its top.
    pub(super) fn link(&mut self, to: &str, text: &str) {
        let to = format!("{}{to}", self.up);
        self.element("a", &[("href", &to)], text);
    }

    /// What leads from this page to one named from the top.
    pub(super) fn way(&self, to: &str) -> String {
        format!("{}{to}", self.up)
    }

    /// Things with commas between them.
    pub(super) fn listed<T>(
        &mut self,
        things: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        for (at, thing) in things.into_iter().enumerate() {
            if at > 0 {
                self.say(", ");
            }
            write(self, thing);
        }
    }

    /// A table: a row of headers, and rows that write themselves.
    pub(super) fn table<T>(
        &mut self,
        headers: &[&str],
        rows: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.within("table", &[], |html| {
            html.within("tr", &[], |html| {
                for header in headers {
                    html.element("th", &[], header);
                }
            });
            for row in rows {
                write(html, row);
            }
        });
    }

    fn open(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            self.text.push_str(&format!(" {name}=\""));
            escape(value, &mut self.text);
            self.text.push('"');
        }
        self.text.push('>');
    }
}

fn escape(text: &str, to: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            letter => to.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_text_or_its_attribute() {
        let mut html = Html::new(1);
        html.element("a", &[("href", "x\" onclick='y'")], "<b>1 & 2</b>");
        assert_eq!(
            html.text,
            "<a href=\"x&quot; onclick=&#39;y&#39;\">&lt;b&gt;1 &amp; 2&lt;/b&gt;</a>"
        );
    }

    #[test]
    fn links_lead_out_of_the_folder_a_page_is_in() {
        let mut top = Html::new(0);
        top.link("a.html", "a");
        let mut below = Html::new(1);
        below.link("a.html", "a");
        assert_eq!(
            (top.text.as_str(), below.text.as_str()),
            ("<a href=\"a.html\">a</a>", "<a href=\"../a.html\">a</a>")
        );
    }
}
