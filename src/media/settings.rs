//! What an operator can tune in a room.

use std::time::Duration;

/// Limits and tuning of a room; [`Default`] is what small and middle-sized calls need.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    /// The most sections of one offer; a client needs one for each track it sends or receives. 256.
    pub max_sections: usize,
    /// The most tracks that one participant publishes. 6.
    pub max_published_tracks: usize,
    /// Of how many participants, those who spoke last, cameras are forwarded; screens always are. 25.
    pub last_n_video: usize,
    /// How many voices are forwarded at a time, the loudest ones; screens' sound always is. 8.
    pub last_n_audio: usize,
    /// The most that one participant is asked to send, in bits per second. 4,000,000.
    pub max_uplink_bps: u64,
    /// The most that one participant is sent, in bits per second. 8,000,000.
    pub max_downlink_bps: u64,
    /// What a participant's downlink is believed to carry before it was measured, in bits per
    /// second. 1,000,000.
    pub initial_downlink_bps: u64,
    /// What it is believed to carry at the least, in bits per second. 100,000.
    pub min_downlink_bps: u64,
    /// After how long without a check a client is gone (RFC 7675 §5.1). 30 s.
    pub consent_timeout: Duration,
    /// The least time between two requests for a key frame of one layer. 300 ms.
    pub min_key_frame_interval: Duration,
    /// How many packets of a layer of video can be sent again. 1024, which is two seconds of 5 Mbit/s
    /// and at most 1.2 MB.
    pub packet_history: usize,
    /// Whether clients are asked to send no silence (RFC 7587 §6.1, `usedtx`), and what silence they
    /// send nevertheless is forwarded only in samples. True.
    pub use_dtx: bool,
    /// How often [`Event::Quality`](crate::Event::Quality) is told. 5 s.
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
            packet_history: 1024,
            use_dtx: true,
            quality_interval: Duration::from_secs(5),
        }
    }
}
