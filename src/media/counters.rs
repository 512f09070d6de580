//! Counters of a room.

/// Totals since the room was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounters {
    /// Datagrams received.
    pub packets_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Dropped: from an address without a validated path, or a check for an unknown participant.
    pub dropped_unknown: u64,
    /// Dropped: not a valid packet of the protocol that its first byte indicates.
    pub dropped_malformed: u64,
    /// Dropped: authentication failed.
    pub dropped_unauthenticated: u64,
    /// Dropped: received before, or older than the replay window.
    pub dropped_replayed: u64,
    /// Dropped: authentic, but its SSRC or payload type was not negotiated.
    pub dropped_unbound: u64,
    /// Not forwarded: muted, silent, or the owner is not among the last N.
    pub dropped_suppressed: u64,
    /// Sequence numbers that subscribers requested.
    pub nack_in: u64,
    /// Sequence numbers requested from publishers.
    pub nack_out: u64,
    /// Retransmissions received that replaced a missing packet.
    pub rtx_in: u64,
    /// Retransmissions sent to subscribers.
    pub rtx_out: u64,
    /// Sequence numbers that subscribers requested and that the packet cache no longer had.
    pub rtx_missed: u64,
    /// Key frames that subscribers requested.
    pub pli_in: u64,
    /// Key frames requested from publishers.
    pub pli_out: u64,
    /// Packets not forwarded because a key frame must come first.
    pub waited_for_key_frame: u64,
    /// Layer switches of subscribers.
    pub layer_switches: u64,
    /// DTLS handshakes completed.
    pub handshakes: u64,
    /// DTLS handshakes failed.
    pub handshakes_failed: u64,
    /// Total duration of completed handshakes, in microseconds.
    pub handshake_micros: u64,
    /// Video freezes of subscribers caused by missing packets.
    pub freezes: u64,
}
