//! What rdkafka's safe interface leaves out: Kafka's own topic ids, and headers whose names are no text.
#![expect(
    unsafe_code,
    reason = "librdkafka is C; `tests/architecture` keeps this the only place"
)]

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    ptr, slice,
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{
    bindings as c,
    client::Client,
    error::{IsError, KafkaError},
    message::BorrowedMessage,
    types::RDKafkaErrorCode as Code,
};

use super::client::Context;

/// A topic as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Kafka's id of this topic and of no other that ever has its name; `None` from brokers before 2.8.
    pub(super) id: Option<String>,
    pub(super) partitions: i32,
}

/// Those of `names` that are there. Makes none of them; blocks.
pub(super) fn describe(
    client: &Client<Context>,
    names: &[String],
    wait: Duration,
) -> Result<HashMap<String, Described>, KafkaError> {
    let names: Vec<CString> = names
        .iter()
        .map(|name| CString::new(name.as_str()))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client, and with it its handle, outlives this call; the request is given up with its queue. librdkafka copies the names.
    // What the event holds is copied before the event is destroyed, and each object is destroyed once.
    unsafe {
        let handle = client.native_ptr();
        let topics = Owned(
            c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            c::rd_kafka_TopicCollection_destroy,
        );
        let options = Owned(
            c::rd_kafka_AdminOptions_new(
                handle,
                c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            c::rd_kafka_AdminOptions_destroy,
        );
        c::rd_kafka_AdminOptions_set_request_timeout(options.0, wait, ptr::null_mut(), 0);
        let queue = Owned(c::rd_kafka_queue_new(handle), c::rd_kafka_queue_destroy);
        c::rd_kafka_DescribeTopics(handle, topics.0, options.0, queue.0);
        let event = Owned(
            c::rd_kafka_queue_poll(queue.0, wait),
            c::rd_kafka_event_destroy,
        );
        if event.0.is_null() {
            return Err(KafkaError::AdminOp(Code::OperationTimedOut));
        }
        let error = c::rd_kafka_event_error(event.0);
        if error.is_error() {
            return Err(KafkaError::AdminOp(error.into()));
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event.0);
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let mut described = HashMap::with_capacity(count);
        for index in 0..count {
            let topic = *topics.add(index);
            if c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(topic)).is_error() {
                continue;
            }
            let name = CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic));
            let id = c::rd_kafka_TopicDescription_topic_id(topic);
            let id = (
                c::rd_kafka_Uuid_most_significant_bits(id),
                c::rd_kafka_Uuid_least_significant_bits(id),
            );
            let mut partitions = 0;
            c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
            described.insert(
                name.to_string_lossy().into_owned(),
                Described {
                    id: (id != (0, 0)).then(|| format!("{:016x}{:016x}", id.0, id.1)),
                    partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                },
            );
        }
        Ok(described)
    }
}

/// The headers of a message, in order. What is no text in a name is replaced; rdkafka's own iterator panics at it.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Bytes)> {
    let mut headers = ptr::null_mut();
    let mut read = Vec::new();
    // SAFETY: the message owns its headers and outlives this call. Names end with a zero, values are as long as is said; both are copied.
    unsafe {
        if c::rd_kafka_message_headers(message.ptr(), &raw mut headers).is_error() {
            return read;
        }
        for index in 0..c::rd_kafka_header_cnt(headers) {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            let got = c::rd_kafka_header_get_all(
                headers,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut length,
            );
            if got.is_error() {
                break;
            }
            let value = if value.is_null() {
                Bytes::new()
            } else {
                Bytes::copy_from_slice(slice::from_raw_parts(value.cast(), length))
            };
            read.push((CStr::from_ptr(name).to_string_lossy().into_owned(), value));
        }
    }
    read
}

/// An object of librdkafka's and what destroys it.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by librdkafka, and destroyed nowhere else.
            unsafe { (self.1)(self.0) }
        }
    }
}
