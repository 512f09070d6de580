//! Every metric of the server on one page: its name, its unit and what it means.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests answered, by method, route and status.
pub const HTTP_REQUESTS: &str = "securevox_http_requests_total";
/// Time to answer a request.
pub const HTTP_SECONDS: &str = "securevox_http_request_duration_seconds";
/// Requests, events and sockets refused, by reason.
pub const REFUSED: &str = "securevox_rejected_requests_total";
/// Sockets open now, by transport.
pub const SOCKETS: &str = "securevox_socket_connections";
/// Sockets closed, by reason.
pub const SOCKETS_CLOSED: &str = "securevox_socket_closes_total";
/// Sessions living now.
pub const SESSIONS: &str = "securevox_sessions";
/// Events received from devices, by name.
pub const EVENTS_IN: &str = "securevox_events_received_total";
/// Events handed to sockets, by name.
pub const EVENTS_OUT: &str = "securevox_events_sent_total";
/// Events that did not reach a session or socket and are made good by a catch-up, or not at all
/// where they are fleeting, by reason.
pub const EVENTS_DROPPED: &str = "securevox_events_dropped_total";
/// Messages stored.
pub const MESSAGES: &str = "securevox_messages_stored_total";
/// Sends that turned out to be repeats.
pub const MESSAGES_REPEATED: &str = "securevox_messages_deduplicated_total";
/// Changes of messages, by the event that tells of them.
pub const CHANGES: &str = "securevox_message_changes_total";
/// What contacts were told of people's presence.
pub const PRESENCE: &str = "securevox_presence_updates_sent_total";
/// Messages stored by one transaction.
pub const BATCH: &str = "securevox_chat_commit_batch_size";
/// From a message's arrival at its lane to its commit.
pub const COMMIT_SECONDS: &str = "securevox_chat_commit_duration_seconds";
/// Pages read from the database because a session had a gap.
pub const CATCH_UPS: &str = "securevox_session_catch_up_pages_total";
/// Sign-ins, by outcome.
pub const SIGN_INS: &str = "securevox_sign_ins_total";
/// Codes of second factors that were tried, by outcome.
pub const CODES: &str = "securevox_second_factor_attempts_total";
/// Jobs that ended or are to be tried again, by kind and outcome.
pub const JOBS: &str = "securevox_jobs_total";
/// How long jobs took, by kind.
pub const JOB_SECONDS: &str = "securevox_job_duration_seconds";
/// Rows removed because their time was over, by kind.
pub const PURGED: &str = "securevox_purged_rows_total";
/// Files taken in, by outcome: `kept`, `shared` (the same bytes were here before).
pub const FILES: &str = "securevox_attachments_uploaded_total";
/// Bytes of files, by direction.
pub const FILE_BYTES: &str = "securevox_attachment_bytes_total";
/// Work on pictures, by outcome.
pub const PICTURES: &str = "securevox_image_processing_total";
/// Looks at sound and video, by outcome.
pub const PROBES: &str = "securevox_av_probes_total";
/// Objects removed from storage.
pub const BLOBS_REMOVED: &str = "securevox_blobs_deleted_total";
/// Resumable uploads that go on here.
pub const UPLOADS: &str = "securevox_resumable_uploads_active";
/// Calls that go on here.
pub const CALLS: &str = "securevox_calls_active";
/// Calls that ended, by reason.
pub const CALLS_ENDED: &str = "securevox_calls_ended_total";
/// How long calls lasted.
pub const CALL_SECONDS: &str = "securevox_call_duration_seconds";
/// Connections of devices to the server's own forwarding, by outcome.
pub const CALL_CONNECTIONS: &str = "securevox_call_connections_total";
/// From a device's first offer to its first packet at another one.
pub const CALL_FIRST_MEDIA_SECONDS: &str = "securevox_call_time_to_first_media_seconds";
/// Round trips between devices in calls and the server, every few seconds for each.
pub const CALL_ROUND_TRIP_SECONDS: &str = "securevox_call_rtt_seconds";
/// Share of packets lost before repair, every few seconds for each device, by direction.
pub const CALL_LOSS: &str = "securevox_call_packet_loss_ratio";
/// Jitter of what devices send and receive, every few seconds for each, by direction.
pub const CALL_JITTER_SECONDS: &str = "securevox_call_jitter_seconds";
/// Bits per second of each device, every few seconds, by direction.
pub const CALL_BITRATE: &str = "securevox_call_bitrate_bits_per_second";
/// Datagrams of media, by direction.
pub const MEDIA_PACKETS: &str = "securevox_media_packets_total";
/// Bytes of media, by direction.
pub const MEDIA_BYTES: &str = "securevox_media_bytes_total";
/// What happened to streams of media: repairs, key frames, changes of layers, handshakes.
pub const MEDIA_EVENTS: &str = "securevox_media_events_total";
/// Datagrams of media that went nowhere, by reason.
pub const MEDIA_DROPPED: &str = "securevox_media_dropped_total";
/// Allocations of TURN that there are now.
pub const TURN_ALLOCATIONS: &str = "securevox_turn_allocations_active";
/// Allocations of TURN that were made.
pub const TURN_CREATED: &str = "securevox_turn_allocations_created_total";
/// Requests of TURN answered with an error, by its code (RFC 8656 §18); first requests, which
/// know no realm yet, do not count.
pub const TURN_REFUSED: &str = "securevox_turn_errors_total";
/// Packets relayed, by direction.
pub const TURN_PACKETS: &str = "securevox_turn_relayed_packets_total";
/// Bytes relayed, without what TURN adds, by direction.
pub const TURN_BYTES: &str = "securevox_turn_relayed_bytes_total";
/// Packets, connections and clients of TURN that were dropped, by reason.
pub const TURN_DROPPED: &str = "securevox_turn_dropped_total";
/// 1 while other nodes can be told and asked, both ways.
pub const BUS_UP: &str = "securevox_bus_connected";
/// Events told to other nodes, by name.
pub const BUS_TOLD: &str = "securevox_bus_events_published_total";
/// Events heard from other nodes, by name.
pub const BUS_HEARD: &str = "securevox_bus_events_consumed_total";
/// Events that were not told, or perhaps not, by urgency and reason; unless they are of low urgency
/// their receivers are told to look into the database.
pub const BUS_SHED: &str = "securevox_bus_events_dropped_total";
/// What came from other nodes and was left alone, by reason.
pub const BUS_IGNORED: &str = "securevox_bus_events_ignored_total";
/// Questions to other nodes, by outcome.
pub const BUS_ASKED: &str = "securevox_bus_requests_total";
/// What was asked of the cache and failed, by operation.
pub const CACHE_FAILED: &str = "securevox_cache_errors_total";
/// What was let through because the cache could not count it, by limit.
pub const UNCOUNTED: &str = "securevox_rate_limit_bypassed_total";
/// Other nodes that are known to live.
pub const CLUSTER_NODES: &str = "securevox_cluster_nodes";
/// 1 while this node does the work that one does for all.
pub const SCHEDULER: &str = "securevox_cluster_scheduler_leader";
/// Rooms that changed their node, by reason: `adopted` from a dead one, `handed-over`, `fenced`.
pub const CLUSTER_MOVES: &str = "securevox_cluster_room_migrations_total";
/// Work waiting for the database.
pub const STORE_QUEUED: &str = "securevox_store_queue_depth";
/// 1 while the database answers.
pub const STORE_UP: &str = "securevox_store_up";

/// Starts collecting, once for the process; the handle renders the page.
///
/// # Errors
/// If collecting was started before.
pub fn start() -> Result<PrometheusHandle, String> {
    let seconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
    let shares = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
    let rates = [3e4, 1e5, 3e5, 6e5, 1e6, 2e6, 4e6, 8e6, 1.6e7];
    let long = [1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0];
    let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(BATCH.to_owned()), &sizes))
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(CALL_SECONDS.to_owned()), &long))
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(CALL_LOSS.to_owned()), &shares))
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(CALL_BITRATE.to_owned()), &rates))
        .map_err(|e| e.to_string())?
        .install_recorder()
        .map_err(|e| e.to_string())?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(HTTP_REQUESTS, "requests answered, by method, route and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "time to answer a request");
    describe_counter!(REFUSED, "requests, events and sockets refused, by reason");
    describe_gauge!(SOCKETS, "sockets open now, by transport");
    describe_counter!(SOCKETS_CLOSED, "sockets closed by the server, by reason");
    describe_gauge!(SESSIONS, "sessions living now");
    describe_counter!(EVENTS_IN, "events received from devices, by name");
    describe_counter!(EVENTS_OUT, "events handed to sockets, by name");
    describe_counter!(EVENTS_DROPPED, "events that did not reach a session or socket, by reason");
    describe_counter!(MESSAGES, "messages stored");
    describe_counter!(MESSAGES_REPEATED, "sends that turned out to be repeats");
    describe_counter!(CHANGES, "changes of messages, by the event that tells of them");
    describe_counter!(PRESENCE, "what contacts were told of people's presence");
    describe_histogram!(BATCH, "messages stored by one transaction");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "from a message's arrival to its commit");
    describe_counter!(CATCH_UPS, "pages read because a session had a gap");
    describe_counter!(SIGN_INS, "sign-ins, by outcome");
    describe_counter!(CODES, "codes of second factors that were tried, by outcome");
    describe_counter!(JOBS, "jobs that ended or are to be tried again, by kind and outcome");
    describe_histogram!(JOB_SECONDS, Unit::Seconds, "how long jobs took, by kind");
    describe_counter!(PURGED, "rows removed because their time was over, by kind");
    describe_counter!(FILES, "files taken in, by outcome");
    describe_counter!(FILE_BYTES, Unit::Bytes, "bytes of files, by direction");
    describe_counter!(PICTURES, "work on pictures, by outcome");
    describe_counter!(PROBES, "looks at sound and video, by outcome");
    describe_counter!(BLOBS_REMOVED, "objects removed from storage");
    describe_gauge!(UPLOADS, "resumable uploads that go on here");
    describe_gauge!(CALLS, "calls that go on here");
    describe_counter!(CALLS_ENDED, "calls that ended, by reason");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "how long calls lasted");
    describe_counter!(CALL_CONNECTIONS, "connections of devices to the server, by outcome");
    describe_histogram!(CALL_FIRST_MEDIA_SECONDS, Unit::Seconds, "from the first offer to media");
    describe_histogram!(CALL_ROUND_TRIP_SECONDS, Unit::Seconds, "between devices and the server");
    describe_histogram!(CALL_LOSS, "share of packets lost before repair, by direction");
    describe_histogram!(CALL_JITTER_SECONDS, Unit::Seconds, "jitter of media, by direction");
    describe_histogram!(CALL_BITRATE, "bits per second of each device, by direction");
    describe_counter!(MEDIA_PACKETS, "datagrams of media, by direction");
    describe_counter!(MEDIA_BYTES, Unit::Bytes, "bytes of media, by direction");
    describe_counter!(MEDIA_EVENTS, "repairs, key frames, changes of layers, handshakes");
    describe_counter!(MEDIA_DROPPED, "datagrams of media that went nowhere, by reason");
    describe_gauge!(TURN_ALLOCATIONS, "allocations of TURN now");
    describe_counter!(TURN_CREATED, "allocations of TURN made");
    describe_counter!(TURN_REFUSED, "requests of TURN answered with an error, by code");
    describe_counter!(TURN_PACKETS, "packets relayed, by direction");
    describe_counter!(TURN_BYTES, Unit::Bytes, "bytes relayed, by direction");
    describe_counter!(TURN_DROPPED, "what TURN dropped, by reason");
    describe_gauge!(BUS_UP, "1 while other nodes can be told and asked");
    describe_counter!(BUS_TOLD, "events told to other nodes, by name");
    describe_counter!(BUS_HEARD, "events heard from other nodes, by name");
    describe_counter!(BUS_SHED, "events not told to other nodes, by urgency and reason");
    describe_counter!(BUS_IGNORED, "what came from other nodes and was left alone, by reason");
    describe_counter!(BUS_ASKED, "questions to other nodes, by outcome");
    describe_counter!(CACHE_FAILED, "operations of the cache that failed, by name");
    describe_counter!(UNCOUNTED, "what was let through uncounted, by limit");
    describe_gauge!(STORE_QUEUED, "work waiting for the database");
    describe_gauge!(STORE_UP, "1 while the database answers");
}

/// Counts something refused.
pub fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// Counts an event that did not reach its receiver.
pub fn dropped(reason: &'static str) {
    counter!(EVENTS_DROPPED, "reason" => reason).increment(1);
}

/// Counts a request and its time.
pub fn request(method: &'static str, route: &str, status: u16, seconds: f64) {
    counter!(HTTP_REQUESTS, "method" => method, "route" => route.to_owned(), "status" => status.to_string())
        .increment(1);
    histogram!(HTTP_SECONDS, "route" => route.to_owned()).record(seconds);
}

/// A gauge that goes up now and down when it is dropped.
#[derive(Debug)]
pub struct Present(&'static str, &'static str);

impl Present {
    /// Counts one more of `name`, labelled with its transport.
    pub fn new(name: &'static str, transport: &'static str) -> Self {
        gauge!(name, "transport" => transport).increment(1.0);
        Self(name, transport)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        gauge!(self.0, "transport" => self.1).decrement(1.0);
    }
}
