//! The id of a topic, which a topic of the same name does not have when it is made again.
//!
//! Source: KIP-516, <https://cwiki.apache.org/confluence/x/PIkqCg>. librdkafka asks for it, so that
//! all that it knows of connections (TLS, SASL) holds here too.
#![expect(
    unsafe_code,
    reason = "librdkafka's description of topics has no interface in rdkafka"
)]

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_DescribeTopics,
    rd_kafka_DescribeTopics_result_topics, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_base64str,
    rd_kafka_Uuid_least_significant_bits, rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t,
    rd_kafka_error_code, rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy,
    rd_kafka_event_error, rd_kafka_event_t, rd_kafka_queue_destroy, rd_kafka_queue_new,
    rd_kafka_queue_poll, rd_kafka_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::context::ConsumerCallbacks;

/// Asks for the id of a topic; none if the brokers do not give it any.
///
/// # Errors
/// If no broker answers within `wait`, or it has an error for it.
pub(super) fn request(
    consumer: &BaseConsumer<ConsumerCallbacks>,
    topic: &str,
    wait: Duration,
) -> Result<Option<Arc<str>>, KafkaError> {
    let failed = |code: RDKafkaErrorCode| KafkaError::MetadataFetch(code);
    let topic = CString::new(topic).map_err(|_| failed(RDKafkaErrorCode::InvalidArgument))?;
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives as long as `consumer` does.
    unsafe { describe(consumer.client().native_ptr(), &topic, wait) }.map_err(failed)
}

/// # Safety
/// The client lives.
unsafe fn describe(
    client: *mut rd_kafka_t,
    topic: &CStr,
    wait_ms: i32,
) -> Result<Option<Arc<str>>, RDKafkaErrorCode> {
    // SAFETY: what is made here is destroyed here, each once, after its last use; librdkafka copies
    // the topic's name and the options. The answer belongs to the event. Without an answer in time
    // the queue goes, and librdkafka drops what comes later.
    unsafe {
        let queue = rd_kafka_queue_new(client);
        let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = rd_kafka_AdminOptions_new(client, operation);
        rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, ptr::null_mut(), 0);
        let mut names = [topic.as_ptr()];
        let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        rd_kafka_DescribeTopics(client, topics, options, queue);
        // The request's own time limit is over first.
        let event = rd_kafka_queue_poll(queue, wait_ms.saturating_add(500));
        let found = if event.is_null() {
            Err(RDKafkaErrorCode::OperationTimedOut)
        } else {
            read(event)
        };
        if !event.is_null() {
            rd_kafka_event_destroy(event);
        }
        rd_kafka_TopicCollection_destroy(topics);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_queue_destroy(queue);
        found
    }
}

/// # Safety
/// The event is one of librdkafka's that was not destroyed.
unsafe fn read(event: *mut rd_kafka_event_t) -> Result<Option<Arc<str>>, RDKafkaErrorCode> {
    // SAFETY: all that is read belongs to the event, and is copied before it is destroyed.
    unsafe {
        let error = rd_kafka_event_error(event);
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let result = rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(None);
        }
        let mut count = 0;
        let topics = rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 {
            return Ok(None);
        }
        let topic = *topics;
        let error = rd_kafka_error_code(rd_kafka_TopicDescription_error(topic));
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let id = rd_kafka_TopicDescription_topic_id(topic);
        let is_none = id.is_null()
            || (rd_kafka_Uuid_most_significant_bits(id) == 0
                && rd_kafka_Uuid_least_significant_bits(id) == 0);
        if is_none {
            return Ok(None);
        }
        let text = CStr::from_ptr(rd_kafka_Uuid_base64str(id));
        Ok(Some(text.to_string_lossy().into()))
    }
}
