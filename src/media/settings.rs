//! Configuration of a room.

use std::time::Duration;

/// Limits and tuning of a room; [`Default`] suits small and medium-sized calls.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    /// Maximum number of media sections of an offer; a client needs one per track it sends or receives. 256.
    pub max_sections: usize,
    /// Maximum number of tracks that a participant publishes. 6.
    pub max_published_tracks: usize,
    /// Number of participants, those who spoke last, whose cameras are forwarded; screens always are. 25.
    pub last_n_video: usize,
    /// Number of microphones forwarded at a time, the loudest ones; sound of screens always is. 8.
    pub last_n_audio: usize,
    /// Maximum bitrate that a participant is asked to send, in bits per second. 4,000,000.
    pub max_uplink_bps: u64,
    /// Maximum bitrate sent to a participant, in bits per second. 8,000,000.
    pub max_downlink_bps: u64,
    /// Downlink estimate before the first measurement, in bits per second. 1,000,000.
    pub initial_downlink_bps: u64,
    /// Lower bound of the downlink estimate, in bits per second. 100,000.
    pub min_downlink_bps: u64,
    /// Time without a connectivity check after which a client is disconnected (RFC 7675 §5.1). 30 s.
    pub consent_timeout: Duration,
    /// Minimum time between two key frame requests for one layer. 300 ms.
    pub min_key_frame_interval: Duration,
    /// Number of packets of a video layer that can be retransmitted. 1024, which is two seconds at
    /// 5 Mbit/s and at most 1.2 MB.
    pub packet_cache_packets: usize,
    /// Whether clients are asked to send no silence (RFC 7587 §6.1, `usedtx`), and silence that they send
    /// nevertheless is forwarded only occasionally. True.
    pub use_dtx: bool,
    /// Interval of [`RoomEvent::Quality`](crate::RoomEvent::Quality). 5 s.
    pub quality_interval: Duration,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            max_sections: 256,
            max_published_tracks: 6,
            last_n_video: 25,
            last_n_audio: 8,
            max_uplink_bps: 4_000_000,
            max_downlink_bps: 8_000_000,
            initial_downlink_bps: 1_000_000,
            min_downlink_bps: 100_000,
            consent_timeout: Duration::from_secs(30),
            min_key_frame_interval: Duration::from_millis(300),
            packet_cache_packets: 1024,
            use_dtx: true,
            quality_interval: Duration::from_secs(5),
        }
    }
}
