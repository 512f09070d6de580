//! What an operator can tune in a room.

use std::time::Duration;

/// Limits and tuning of a room; [`Default`] is what small and middle-sized calls need.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    /// The most sections of one offer; a client needs one for each track it sends or receives. 256.
    pub most_sections: usize,
    /// The most tracks that one participant publishes. 6.
    pub most_published: usize,
    /// Of how many participants, those who spoke last, cameras are forwarded; screens always are. 25.
    pub last_n_video: usize,
    /// How many voices are forwarded at a time, the loudest ones; screens' sound always is. 8.
    pub last_n_audio: usize,
    /// The most that one participant is asked to send, in bits per second. 4,000,000.
    pub most_up: u64,
    /// The most that one participant is sent, in bits per second. 8,000,000.
    pub most_down: u64,
    /// What a participant's downlink is believed to carry before it was measured, in bits per
    /// second. 1,000,000.
    pub first_down: u64,
    /// What it is believed to carry at the least, in bits per second. 100,000.
    pub least_down: u64,
    /// After how long without a check a client is gone (RFC 7675 §5.1). 30 s.
    pub consent: Duration,
    /// The least time between two requests for a key frame of one layer. 300 ms.
    pub key_frame_pause: Duration,
    /// How many packets of a layer of video can be sent again. 1024, which is two seconds of 5 Mbit/s
    /// and at most 1.2 MB.
    pub history: usize,
    /// Whether clients are asked to send no silence (RFC 7587 §6.1, `usedtx`), and what silence they
    /// send nevertheless is forwarded only in samples. True.
    pub saves_silence: bool,
    /// How often [`Event::Quality`](crate::Event::Quality) is told. 5 s.
    pub quality: Duration,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            most_sections: 256,
            most_published: 6,
            last_n_video: 25,
            last_n_audio: 8,
            most_up: 4_000_000,
            most_down: 8_000_000,
            first_down: 1_000_000,
            least_down: 100_000,
            consent: Duration::from_secs(30),
            key_frame_pause: Duration::from_millis(300),
            history: 1024,
            saves_silence: true,
            quality: Duration::from_secs(5),
        }
    }
}
