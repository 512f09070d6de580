//! All metrics of the server: name, unit and meaning.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Answered HTTP requests, by method, route and status.
pub const HTTP_REQUESTS: &str = "securevox_http_requests_total";
/// Duration of an HTTP request.
pub const HTTP_SECONDS: &str = "securevox_http_request_duration_seconds";
/// Rejected requests, events and sockets, by reason.
pub const REJECTED_REQUESTS: &str = "securevox_rejected_requests_total";
/// Open sockets, by transport.
pub const SOCKETS: &str = "securevox_socket_connections";
/// Closed sockets, by reason.
pub const SOCKETS_CLOSED: &str = "securevox_socket_closes_total";
/// Sessions in memory on this node.
pub const SESSIONS: &str = "securevox_sessions";
/// Events received from devices, by name.
pub const EVENTS_IN: &str = "securevox_events_received_total";
/// Events handed to sockets, by name.
pub const EVENTS_OUT: &str = "securevox_events_sent_total";
/// Events that did not reach a session or socket, by reason. They are recovered by a catch-up, or
/// lost if they are transient.
pub const EVENTS_DROPPED: &str = "securevox_events_dropped_total";
/// Messages stored since the start.
pub const MESSAGES: &str = "securevox_messages_stored_total";
/// Sent messages that were duplicates.
pub const MESSAGES_REPEATED: &str = "securevox_messages_deduplicated_total";
/// Changes of messages, by the name of their event.
pub const CHANGES: &str = "securevox_message_changes_total";
/// Presence updates sent to contacts.
pub const PRESENCE: &str = "securevox_presence_updates_sent_total";
/// Messages stored in one transaction.
pub const CHAT_COMMIT_BATCH_SIZE: &str = "securevox_chat_commit_batch_size";
/// Time from a message's arrival at its chat shard to its commit.
pub const COMMIT_SECONDS: &str = "securevox_chat_commit_duration_seconds";
/// Pages read from the database because a session had a sequence gap.
pub const CATCH_UPS: &str = "securevox_session_catch_up_pages_total";
/// Attempts to sign in, by outcome.
pub const SIGN_INS: &str = "securevox_sign_ins_total";
/// Attempts with second-factor codes, by outcome.
pub const SECOND_FACTOR_ATTEMPTS: &str = "securevox_second_factor_attempts_total";
/// Jobs finished or to be retried, by kind and outcome.
pub const JOBS: &str = "securevox_jobs_total";
/// Duration of jobs, by kind.
pub const JOB_SECONDS: &str = "securevox_job_duration_seconds";
/// Expired rows deleted, by kind.
pub const PURGED_ROWS: &str = "securevox_purged_rows_total";
/// Attachments accepted, by outcome: `kept`, `shared` (the same content was stored before).
pub const FILES: &str = "securevox_attachments_uploaded_total";
/// Bytes of attachments, by direction.
pub const FILE_BYTES: &str = "securevox_attachment_bytes_total";
/// Processed images, by outcome.
pub const IMAGE_PROCESSING: &str = "securevox_image_processing_total";
/// Probes of audio and video files, by outcome.
pub const AV_PROBES: &str = "securevox_av_probes_total";
/// Objects deleted from storage.
pub const BLOBS_REMOVED: &str = "securevox_blobs_deleted_total";
/// Resumable uploads in progress on this node.
pub const UPLOADS: &str = "securevox_resumable_uploads_active";
/// Calls in progress on this node.
pub const CALLS: &str = "securevox_calls_active";
/// Ended calls, by reason.
pub const CALLS_ENDED: &str = "securevox_calls_ended_total";
/// Duration of ended calls.
pub const CALL_SECONDS: &str = "securevox_call_duration_seconds";
/// Connections of devices to the SFU, by outcome.
pub const CALL_CONNECTIONS: &str = "securevox_call_connections_total";
/// Time from a device's first offer to its first packet at another device.
pub const CALL_FIRST_MEDIA_SECONDS: &str = "securevox_call_time_to_first_media_seconds";
/// Round-trip time between devices in calls and the server, sampled every few seconds per device.
pub const CALL_ROUND_TRIP_SECONDS: &str = "securevox_call_rtt_seconds";
/// Ratio of packets lost before repair, sampled every few seconds per device, by direction.
pub const CALL_LOSS: &str = "securevox_call_packet_loss_ratio";
/// Jitter of sent and received media, sampled every few seconds per device, by direction.
pub const CALL_JITTER_SECONDS: &str = "securevox_call_jitter_seconds";
/// Bit rate of each device, sampled every few seconds, by direction.
pub const CALL_BITRATE: &str = "securevox_call_bitrate_bits_per_second";
/// Media datagrams, by direction.
pub const MEDIA_PACKETS: &str = "securevox_media_packets_total";
/// Bytes of media, by direction.
pub const MEDIA_BYTES: &str = "securevox_media_bytes_total";
/// Events of media streams: repairs, key frames, layer switches, handshakes.
pub const MEDIA_EVENTS: &str = "securevox_media_events_total";
/// Dropped media datagrams, by reason.
pub const MEDIA_DROPPED: &str = "securevox_media_dropped_total";
/// TURN allocations that exist now.
pub const TURN_ALLOCATIONS: &str = "securevox_turn_allocations_active";
/// TURN allocations created since the start.
pub const TURN_CREATED: &str = "securevox_turn_allocations_created_total";
/// TURN requests answered with an error, by its code (RFC 8656 §18); first requests, which cannot
/// know the realm yet, do not count.
pub const TURN_ERRORS: &str = "securevox_turn_errors_total";
/// Relayed packets, by direction.
pub const TURN_PACKETS: &str = "securevox_turn_relayed_packets_total";
/// Relayed bytes without TURN overhead, by direction.
pub const TURN_BYTES: &str = "securevox_turn_relayed_bytes_total";
/// Packets, connections and clients dropped by TURN, by reason.
pub const TURN_DROPPED: &str = "securevox_turn_dropped_total";
/// 1 while the bus to other nodes is connected in both directions.
pub const BUS_CONNECTED: &str = "securevox_bus_connected";
/// Events sent to other nodes, by name.
pub const BUS_EVENTS_PUBLISHED: &str = "securevox_bus_events_published_total";
/// Events received from other nodes, by name.
pub const BUS_EVENTS_CONSUMED: &str = "securevox_bus_events_consumed_total";
/// Events to other nodes that were dropped or may be lost, by urgency and reason; unless their
/// urgency is low, their receivers are told to resync.
pub const BUS_EVENTS_DROPPED: &str = "securevox_bus_events_dropped_total";
/// Messages from other nodes that were ignored, by reason.
pub const BUS_EVENTS_IGNORED: &str = "securevox_bus_events_ignored_total";
/// Requests to other nodes, by outcome.
pub const BUS_REQUESTS: &str = "securevox_bus_requests_total";
/// Failed cache operations, by operation.
pub const CACHE_ERRORS: &str = "securevox_cache_errors_total";
/// Uses allowed because the cache could not count them, by limit.
pub const RATE_LIMIT_BYPASSED: &str = "securevox_rate_limit_bypassed_total";
/// Peer nodes with a valid heartbeat.
pub const CLUSTER_NODES: &str = "securevox_cluster_nodes";
/// 1 while this node runs the cluster-wide scheduler.
pub const SCHEDULER_LEADER: &str = "securevox_cluster_scheduler_leader";
/// Rooms that changed their node, by reason: `adopted` from a dead one, `handed-over`, `fenced`.
pub const ROOM_MIGRATIONS: &str = "securevox_cluster_room_migrations_total";
/// Operations waiting for the database.
pub const STORE_QUEUE_DEPTH: &str = "securevox_store_queue_depth";
/// 1 while the database answers.
pub const STORE_UP: &str = "securevox_store_up";

/// Starts collecting, once per process; the handle renders the metrics page.
///
/// # Errors
/// If collecting was started before.
pub fn start() -> Result<PrometheusHandle, String> {
    let latencies = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
    let ratios = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
    let bit_rates = [3e4, 1e5, 3e5, 6e5, 1e6, 2e6, 4e6, 8e6, 1.6e7];
    let call_durations = [1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0];
    let batch_sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &latencies)
        .and_then(|b| {
            b.set_buckets_for_metric(Matcher::Full(CHAT_COMMIT_BATCH_SIZE.to_owned()), &batch_sizes)
        })
        .and_then(|b| {
            b.set_buckets_for_metric(Matcher::Full(CALL_SECONDS.to_owned()), &call_durations)
        })
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(CALL_LOSS.to_owned()), &ratios))
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(CALL_BITRATE.to_owned()), &bit_rates))
        .map_err(|e| e.to_string())?
        .install_recorder()
        .map_err(|e| e.to_string())?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(HTTP_REQUESTS, "answered HTTP requests, by method, route and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "duration of an HTTP request");
    describe_counter!(REJECTED_REQUESTS, "rejected requests, events and sockets, by reason");
    describe_gauge!(SOCKETS, "open sockets, by transport");
    describe_counter!(SOCKETS_CLOSED, "sockets closed by the server, by reason");
    describe_gauge!(SESSIONS, "sessions in memory");
    describe_counter!(EVENTS_IN, "events received from devices, by name");
    describe_counter!(EVENTS_OUT, "events handed to sockets, by name");
    describe_counter!(EVENTS_DROPPED, "events that did not reach a session or socket, by reason");
    describe_counter!(MESSAGES, "stored messages");
    describe_counter!(MESSAGES_REPEATED, "sent messages that were duplicates");
    describe_counter!(CHANGES, "changes of messages, by event");
    describe_counter!(PRESENCE, "presence updates sent to contacts");
    describe_histogram!(CHAT_COMMIT_BATCH_SIZE, "messages stored in one transaction");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "from a message's arrival to its commit");
    describe_counter!(CATCH_UPS, "pages read because a session had a sequence gap");
    describe_counter!(SIGN_INS, "sign-ins, by outcome");
    describe_counter!(SECOND_FACTOR_ATTEMPTS, "attempts with second-factor codes, by outcome");
    describe_counter!(JOBS, "jobs finished or to be retried, by kind and outcome");
    describe_histogram!(JOB_SECONDS, Unit::Seconds, "duration of jobs, by kind");
    describe_counter!(PURGED_ROWS, "expired rows deleted, by kind");
    describe_counter!(FILES, "attachments accepted, by outcome");
    describe_counter!(FILE_BYTES, Unit::Bytes, "bytes of attachments, by direction");
    describe_counter!(IMAGE_PROCESSING, "processed images, by outcome");
    describe_counter!(AV_PROBES, "probes of audio and video files, by outcome");
    describe_counter!(BLOBS_REMOVED, "objects deleted from storage");
    describe_gauge!(UPLOADS, "resumable uploads in progress on this node");
    describe_gauge!(CALLS, "calls in progress on this node");
    describe_counter!(CALLS_ENDED, "ended calls, by reason");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "duration of calls");
    describe_counter!(CALL_CONNECTIONS, "connections of devices to the SFU, by outcome");
    describe_histogram!(
        CALL_FIRST_MEDIA_SECONDS,
        Unit::Seconds,
        "from the first offer to the first packet"
    );
    describe_histogram!(
        CALL_ROUND_TRIP_SECONDS,
        Unit::Seconds,
        "round-trip time of devices in calls"
    );
    describe_histogram!(CALL_LOSS, "ratio of packets lost before repair, by direction");
    describe_histogram!(CALL_JITTER_SECONDS, Unit::Seconds, "jitter of media, by direction");
    describe_histogram!(CALL_BITRATE, "bit rate of each device, by direction");
    describe_counter!(MEDIA_PACKETS, "media datagrams, by direction");
    describe_counter!(MEDIA_BYTES, Unit::Bytes, "bytes of media, by direction");
    describe_counter!(MEDIA_EVENTS, "repairs, key frames, layer switches, handshakes");
    describe_counter!(MEDIA_DROPPED, "dropped media datagrams, by reason");
    describe_gauge!(TURN_ALLOCATIONS, "current TURN allocations");
    describe_counter!(TURN_CREATED, "created TURN allocations");
    describe_counter!(TURN_ERRORS, "TURN requests answered with an error, by code");
    describe_counter!(TURN_PACKETS, "relayed packets, by direction");
    describe_counter!(TURN_BYTES, Unit::Bytes, "relayed bytes, by direction");
    describe_counter!(TURN_DROPPED, "packets, connections and clients dropped by TURN, by reason");
    describe_gauge!(BUS_CONNECTED, "1 while the bus is connected in both directions");
    describe_counter!(BUS_EVENTS_PUBLISHED, "events sent to other nodes, by name");
    describe_counter!(BUS_EVENTS_CONSUMED, "events received from other nodes, by name");
    describe_counter!(
        BUS_EVENTS_DROPPED,
        "events to other nodes that were dropped, by urgency and reason"
    );
    describe_counter!(BUS_EVENTS_IGNORED, "messages from other nodes that were ignored, by reason");
    describe_counter!(BUS_REQUESTS, "requests to other nodes, by outcome");
    describe_counter!(CACHE_ERRORS, "failed cache operations, by operation");
    describe_counter!(
        RATE_LIMIT_BYPASSED,
        "uses allowed because the cache could not count them, by limit"
    );
    describe_gauge!(STORE_QUEUE_DEPTH, "operations waiting for the database");
    describe_gauge!(STORE_UP, "1 while the database answers");
}

/// Counts a rejected request, event or socket.
pub fn count_rejected(reason: &'static str) {
    counter!(REJECTED_REQUESTS, "reason" => reason).increment(1);
}

/// Counts an event that did not reach its receiver.
pub fn count_dropped_event(reason: &'static str) {
    counter!(EVENTS_DROPPED, "reason" => reason).increment(1);
}

/// Counts an HTTP request and records its duration.
pub fn record_request(method: &'static str, route: &str, status: u16, seconds: f64) {
    counter!(HTTP_REQUESTS, "method" => method, "route" => route.to_owned(), "status" => status.to_string())
        .increment(1);
    histogram!(HTTP_SECONDS, "route" => route.to_owned()).record(seconds);
}

/// Increments a gauge now and decrements it when dropped.
#[derive(Debug)]
pub struct GaugeGuard(&'static str, &'static str);

impl GaugeGuard {
    /// Increments `name`, labelled with the transport.
    pub fn new(name: &'static str, transport: &'static str) -> Self {
        gauge!(name, "transport" => transport).increment(1.0);
        Self(name, transport)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        gauge!(self.0, "transport" => self.1).decrement(1.0);
    }
}
