//! Everything that is measured. Registration, `docs/metrics.md`, the alerts' test and the test of a real run are made from this list.

use crate::kind::{Counter, Gauge, Histogram, Kind, Metric, Unit};

/// Turns the list below into a constant for each metric, and [`ALL`].
macro_rules! metrics {
    ($($kind:ident $constant:ident = $name:literal, $unit:ident, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: $kind<{ <[&str]>::len(&[$($label),*]) }> = $kind(Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            });
        )*

        /// All of them, in the order of the data.
        pub const ALL: &[Metric] = &[$($constant.0),*];
    };
}

metrics! {
    // Sources. Rows are counted when their transaction is committed.
    Gauge SOURCE_STATE = "pejl_source_state", Truth, ["source", "state"],
        "1 for the state a source is in: running, waiting, degraded, needs_a_human, paused.";
    Counter SOURCE_FAILURES = "pejl_source_failures_total", Count, ["source"],
        "Reads of a source that failed.";
    Counter SOURCE_READ = "pejl_source_read_records_total", Count, ["source"],
        "Rows that a source gave.";
    Counter SOURCE_SENT = "pejl_source_sent_records_total", Count, ["source"],
        "Of those, rows sent to the entity's topic.";
    Counter SOURCE_REJECTED = "pejl_source_rejected_records_total", Count, ["source", "rule"],
        "Of those, rows set aside, by the first rule they broke.";
    Counter SOURCE_FILTERED = "pejl_source_filtered_records_total", Count, ["source"],
        "Of those, rows that the pipeline's `where` passed over.";
    Histogram SOURCE_BATCH = "pejl_source_batch_records", Count, ["source"],
        "Rows in each batch of a source.";
    Histogram SOURCE_TRANSACTION = "pejl_source_transaction_seconds", Seconds, ["source"],
        "From the first batch of a transaction to its commit.";
    Histogram SOURCE_ROUND = "pejl_source_round_seconds", Seconds, ["source"],
        "From opening a source to its end, for rounds that did not fail.";
    Gauge SOURCE_SUCCESS = "pejl_source_last_success_timestamp_seconds", Timestamp, ["source"],
        "When a source was last read to its end.";

    // The embedded log. Kafka tells of itself.
    Gauge LOG_BYTES = "pejl_log_bytes", Bytes, [],
        "Size of the embedded log's file; 0 where there is none.";
    Counter LOG_TRANSACTIONS = "pejl_log_transactions_total", Count, [],
        "Transactions committed to the embedded log.";
    Counter LOG_TRIMMED = "pejl_log_trimmed_offsets_total", Count, ["topic"],
        "Offsets that a log let go of because they were landed and past retention.";

    // Landing.
    Gauge LANDING_LAG = "pejl_landing_lag_records", Count, ["topic", "partition"],
        "Offsets that are in the log and not landed yet, in the partitions of this lander; on Kafka some of them hold no record.";
    Gauge LANDING_AGE = "pejl_landing_data_age_seconds", Seconds, ["table"],
        "Now minus the timestamp of the oldest record that was read from the log and is not landed; 0 when none waits, however long ago the last one came.";
    Gauge LANDING_NEWEST = "pejl_landing_newest_record_timestamp_seconds", Timestamp, ["table"],
        "Timestamp of the newest record landed by this process.";
    Histogram LANDING_COMMIT = "pejl_landing_commit_seconds", Seconds, ["table"],
        "From the decision to land what is held back to its commit, refused records included.";
    Histogram LANDING_ROWS = "pejl_landing_commit_rows", Count, ["table"],
        "Rows in each commit.";
    Counter LANDING_REJECTED = "pejl_landing_rejected_records_total", Count, ["entity", "rule"],
        "Records refused while landing, by the first rule they broke.";
    Counter LANDING_SUPERSEDED = "pejl_landing_superseded_total", Count, ["topic"],
        "Times that another lander had landed a partition further.";
    Counter LANDING_FAILURES = "pejl_landing_failures_total", Count, ["topic"],
        "Times that landing a topic failed and was put off.";

    // Tables, landed and built.
    Counter TABLE_FILES = "pejl_table_written_files_total", Count, ["table"],
        "Files written to a table.";
    Counter TABLE_BYTES = "pejl_table_written_bytes_total", Bytes, ["table"],
        "Their size.";
    Counter TABLE_RETRIES = "pejl_table_commit_retries_total", Count, ["table"],
        "Commits tried again because the version was taken or the store failed.";
    Histogram TABLE_TIDY = "pejl_table_tidy_seconds", Seconds, ["table"],
        "Putting small files together and removing old ones.";

    // Building.
    Counter BUILDS = "pejl_builds_total", Count, ["outcome"],
        "Builds, by what came of them: published, unchanged, failed (checks or models), broken (the build itself).";
    Histogram BUILD_MODEL = "pejl_build_model_seconds", Seconds, ["model"],
        "Computing, writing and checking a model.";
    Gauge BUILD_FAILURES = "pejl_build_failures", Count, ["kind"],
        "What kept the last build from publishing: failed checks, models that could not be computed, and models blocked by those.";
    Gauge PUBLICATION = "pejl_publication_number", Count, [],
        "The publication served.";
    Gauge PUBLICATION_TIME = "pejl_publication_timestamp_seconds", Timestamp, [],
        "When it was published.";

    // Serving SQL.
    Gauge SQL_CONNECTIONS = "pejl_sql_connections", Count, [],
        "Sessions that are open.";
    Counter SQL_REFUSED = "pejl_sql_refused_logins_total", Count, [],
        "Logins with a wrong password or of a user there is not.";
    Histogram SQL_SECONDS = "pejl_sql_statement_seconds", Seconds, [],
        "From the start of a statement to its last row; `_count` is how many there were.";
    Counter SQL_ROWS = "pejl_sql_rows_total", Count, [],
        "Rows sent to clients.";
    Counter SQL_ERRORS = "pejl_sql_errors_total", Count, ["class"],
        "Statements that failed, by class of SQLSTATE: its first two characters.";
    Counter SQL_UNLOGGED = "pejl_sql_unlogged_statements_total", Count, [],
        "Statements that are missing in `ops.query_log`, since it could not be written, or not fast enough.";

    // The process.
    Counter SPANS_LOST = "pejl_trace_lost_spans_total", Count, [],
        "Spans that the collector did not take.";
    Gauge BUILD_INFO = "pejl_build_info", Truth, ["version"],
        "1; the label is the version of Pejl.";
    Counter PROCESS_CPU = "process_cpu_seconds_total", Seconds, [],
        "Time on a processor, user and system.";
    Gauge PROCESS_RESIDENT = "process_resident_memory_bytes", Bytes, [],
        "Memory in use.";
    Gauge PROCESS_VIRTUAL = "process_virtual_memory_bytes", Bytes, [],
        "Address space.";
    Gauge PROCESS_VIRTUAL_MAX = "process_virtual_memory_max_bytes", Bytes, [],
        "Most address space there may be.";
    Gauge PROCESS_FILES = "process_open_fds", Count, [],
        "Open files and sockets.";
    Gauge PROCESS_FILES_MAX = "process_max_fds", Count, [],
        "Most of them there may be.";
    Gauge PROCESS_THREADS = "process_threads", Count, [],
        "Threads.";
    Gauge PROCESS_START = "process_start_time_seconds", Timestamp, [],
        "When the process started; uptime is `time()` minus this.";
}

/// Tells the recorder of every metric, and makes the counters without labels appear at 0.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => ::metrics::describe_histogram!(metric.name, metric.help),
        }
        if metric.kind == Kind::Counter && metric.labels.is_empty() {
            ::metrics::counter!(metric.name).increment(0);
        }
    }
    SQL_CONNECTIONS.set([], 0.0);
    LOG_BYTES.shift([], 0.0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let names: BTreeSet<&str> = ALL.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name twice");
        for metric in ALL {
            let Metric {
                name, kind, unit, ..
            } = metric;
            assert!(name.starts_with("pejl_") || name.starts_with("process_"));
            assert_eq!(
                name.ends_with("_total"),
                *kind == Kind::Counter,
                "{name}: counters, and only they, end in _total"
            );
            let base = name.strip_suffix("_total").unwrap_or(name);
            let suffix = match unit {
                Unit::Seconds => "_seconds",
                Unit::Timestamp => "_seconds",
                Unit::Bytes => "_bytes",
                Unit::Count | Unit::Truth => "",
            };
            assert!(base.ends_with(suffix), "{name} is not in {unit:?}");
            if *kind == Kind::Histogram {
                assert!(matches!(unit, Unit::Count | Unit::Seconds), "{name}");
            }
        }
    }
}
