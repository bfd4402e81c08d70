//! The page of all metrics, made from the list.

use std::fmt::Write;

use crate::metric::ALL;

const HEAD: &str = "\
# Metrics

What every long-running role serves at `/metrics`, as far as it does that work. This page is made from the code:
`UPDATE_EXPECT=1 cargo test --workspace --lib -- reference` writes it anew. [operating.md](operating.md#observing) says what to look at first,
`deploy/alerts.yaml` has rules for Prometheus.

Times are when, not how long ago: `time() - pejl_publication_timestamp_seconds` is the age of the publication. A counter with labels may appear with
its first event only. Histograms have `_bucket`, `_sum` and `_count`.

| metric | kind | unit | labels | meaning |
|---|---|---|---|---|
";

/// All metrics, as Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit.name(),
            labels.join(", "),
            metric.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_page_is_up_to_date() {
        expect_test::expect_file!["../../../docs/metrics.md"].assert_eq(&super::reference());
    }
}
