//! What a room counts about itself.

/// Totals since the room began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounters {
    /// Datagrams that came.
    pub packets_in: u64,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Datagrams that went out.
    pub packets_out: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// From an address that no check came from, or a check for nobody here.
    pub dropped_unknown: u64,
    /// Not what its first byte says it is.
    pub dropped_malformed: u64,
    /// Not authentic.
    pub dropped_forged: u64,
    /// Came before, or too late.
    pub dropped_replayed: u64,
    /// Authentic, but of nothing that was agreed on.
    pub dropped_unbound: u64,
    /// Muted, silent, or not among the last N.
    pub dropped_unheard: u64,
    /// Sequence numbers that subscribers asked for.
    pub nack_in: u64,
    /// Sequence numbers that publishers were asked for.
    pub nack_out: u64,
    /// Retransmissions that repaired something.
    pub rtx_in: u64,
    /// Retransmissions to subscribers.
    pub rtx_out: u64,
    /// What subscribers asked for and the history no longer had.
    pub rtx_missed: u64,
    /// Key frames that subscribers asked for.
    pub pli_in: u64,
    /// Key frames that publishers were asked for.
    pub pli_out: u64,
    /// Packets that were not forwarded because a key frame must come first.
    pub waited_for_key_frame: u64,
    /// Subscribers that changed from one layer to another.
    pub layer_switches: u64,
    /// Handshakes that ended well.
    pub handshakes: u64,
    /// Handshakes that did not.
    pub handshakes_failed: u64,
    /// How long the handshakes that ended well took, in microseconds.
    pub handshake_micros: u64,
    /// Times that a picture stood still for want of packets.
    pub freezes: u64,
}
