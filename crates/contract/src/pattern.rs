//! Patterns of `*` and `?`, as in file names and in codes of statistics.

/// Whether `name` fits a pattern of `*`, `?` and plain characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when a `*` has to take one character more.
    let mut back = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                back = Some((p, n));
            }
            Some(it) if *it == '?' || *it == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((after, taken)) => {
                    (p, n) = (after, taken + 1);
                    back = Some((after, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|it| *it == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            (
                "yr-*beregning*.csv",
                "yr-ydelsesrefusion-beregning20250101.csv",
                true,
            ),
            ("a?.csv", "a1.csv", true),
            ("a?.csv", "a.csv", false),
            ("?", "ø", true),
            ("*a*b", "aab", true),
            ("*a*b", "aba", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
