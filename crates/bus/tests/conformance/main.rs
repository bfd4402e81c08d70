//! The promises of the log as one suite, run on the embedded log and on a real Kafka.
//!
//! The Kafka half needs `PEJL_TEST_KAFKA=host:port`; `tests/kafka-broker/broker.sh start` prints one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod crash;
mod embedded;
mod kafka;
mod reading;
mod suite;

/// Every function of `suite`, once for each log.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        mod on_embedded {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    crate::suite::$name(&crate::embedded::Folder::new()).await;
                }
            )*
        }
        mod on_kafka {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    if let Some(cluster) = crate::kafka::cluster() {
                        crate::suite::$name(&cluster).await;
                    }
                }
            )*
        }
    };
}

both![
    a_caught_up_reader_stands_at_the_end,
    a_dropped_poll_loses_nothing,
    a_dropped_transaction_is_never_visible,
    a_failed_send_spoils_its_transaction,
    a_position_is_replaced_with_its_records,
    a_reader_resumes_at_an_offset,
    a_restart_keeps_everything,
    a_transaction_over_topics_is_all_or_nothing,
    a_waiting_reader_is_woken,
    an_aborted_transaction_is_never_visible,
    an_earlier_producer_is_fenced,
    an_open_transaction_is_hidden,
    bad_topics_are_refused,
    every_part_of_a_record_returns,
    large_transactions_arrive_whole,
    many_partitions_are_read_together,
    offsets_outside_the_log_are_refused,
    records_of_a_key_stay_in_order,
    tasks_write_side_by_side,
    topics_are_listed_and_keep_their_identity,
    trimming_moves_the_start,
];
