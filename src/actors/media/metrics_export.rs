//! The export of room counters to the metrics.

use media::RoomCounters;
use metrics::counter;

use crate::telemetry::metrics::{MEDIA_BYTES, MEDIA_DROPPED, MEDIA_EVENTS};

/// Adds what a room has counted since `before`.
pub(super) fn export_counters(before: &RoomCounters, now: &RoomCounters) {
    let increase = |field: fn(&RoomCounters) -> u64| field(now).saturating_sub(field(before));
    for (direction, field) in BYTES {
        counter!(MEDIA_BYTES, "direction" => direction).increment(increase(field));
    }
    for (reason, field) in DROPPED {
        counter!(MEDIA_DROPPED, "reason" => reason).increment(increase(field));
    }
    for (event, field) in EVENTS {
        counter!(MEDIA_EVENTS, "event" => event).increment(increase(field));
    }
}

type CounterField = (&'static str, fn(&RoomCounters) -> u64);

const BYTES: [CounterField; 2] = [("in", |c| c.bytes_in), ("out", |c| c.bytes_out)];

const DROPPED: [CounterField; 6] = [
    ("unknown", |c| c.dropped_unknown),
    ("malformed", |c| c.dropped_malformed),
    ("forged", |c| c.dropped_unauthenticated),
    ("replayed", |c| c.dropped_replayed),
    ("unbound", |c| c.dropped_unbound),
    ("unheard", |c| c.dropped_suppressed),
];

const EVENTS: [CounterField; 12] = [
    ("nack-in", |c| c.nack_in),
    ("nack-out", |c| c.nack_out),
    ("rtx-in", |c| c.rtx_in),
    ("rtx-out", |c| c.rtx_out),
    ("rtx-missed", |c| c.rtx_missed),
    ("pli-in", |c| c.pli_in),
    ("pli-out", |c| c.pli_out),
    ("waited-for-key-frame", |c| c.waited_for_key_frame),
    ("layer-switch", |c| c.layer_switches),
    ("handshake", |c| c.handshakes),
    ("handshake-failed", |c| c.handshakes_failed),
    ("freeze", |c| c.freezes),
];
