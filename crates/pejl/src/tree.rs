//! Trees for people: a line, and below it, indented, what hangs on it.

/// A line with what hangs below it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) text: String,
    pub(crate) below: Vec<Tree>,
}

impl Tree {
    /// A line with nothing below it yet.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            below: Vec::new(),
        }
    }

    /// Hangs a line below, and gives it.
    pub(crate) fn add(&mut self, text: impl Into<String>) -> &mut Self {
        let at = self.below.len();
        self.below.push(Self::new(text));
        &mut self.below[at]
    }

    /// The whole tree, a line each; a text of several lines keeps them together.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        for (at, branch) in self.below.iter().enumerate() {
            let is_last = at + 1 == self.below.len();
            let (first, next) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let inner = branch.lines().into_iter().enumerate();
            lines.extend(inner.map(|(at, line)| {
                let lead = if at == 0 { first } else { next };
                format!("{lead}{line}").trim_end().to_owned()
            }));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_below_is_indented_and_held_together() {
        let mut tree = Tree::new("a");
        tree.add("b\nstill b").add("c");
        tree.add("d");
        assert_eq!(
            tree.lines().join("\n"),
            "a\n├─ b\n│  still b\n│  └─ c\n└─ d"
        );
    }
}
