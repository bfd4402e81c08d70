//! The promises of the log as one suite, run on the embedded log and on a real Kafka.
//!
//! The Kafka half needs `PEJL_TEST_KAFKA=host:port`; `tests/kafka-broker/broker.sh start` prints one. `secured` needs more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod crash;
mod embedded;
mod foreign;
mod kafka;
mod keeping;
mod place;
mod reading;
mod secured;
mod sharing;
mod transactions;

/// Every promise, once for each log.
macro_rules! both {
    ($($module:ident: $($name:ident),*;)*) => {
        mod on_embedded {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    crate::$module::$name(&crate::embedded::Folder::new()).await;
                }
            )*)*
        }
        mod on_kafka {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    if let Some(cluster) = crate::kafka::cluster() {
                        crate::$module::$name(&cluster).await;
                    }
                }
            )*)*
        }
    };
}

both! {
    transactions:
        a_transaction_over_topics_is_all_or_nothing,
        an_aborted_transaction_is_never_visible,
        a_dropped_transaction_is_never_visible,
        an_open_transaction_is_hidden,
        an_earlier_producer_is_fenced,
        tasks_write_side_by_side,
        records_of_a_key_stay_in_order,
        a_position_is_replaced_with_its_records,
        a_failed_send_spoils_its_transaction,
        large_transactions_arrive_whole;
    reading:
        a_reader_resumes_at_an_offset,
        a_caught_up_reader_stands_at_the_end,
        many_partitions_are_read_together,
        offsets_outside_the_log_are_refused,
        trimming_moves_the_start,
        a_waiting_reader_is_woken,
        a_dropped_poll_loses_nothing;
    keeping:
        a_restart_keeps_everything,
        every_part_of_a_record_returns,
        topics_are_listed_and_keep_their_identity,
        bad_topics_are_refused;
    sharing:
        a_board_keeps_the_last_text_of_each_key,
        a_single_member_has_all_the_work;
}
