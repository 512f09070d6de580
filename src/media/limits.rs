//! Every bound of this crate on sizes, counts, rates and times, with its reason.

use std::time::Duration;

// allocation
/// An upgrade requires that the budget has sufficed for this time. The time doubles, up to
/// [`MAX_LAYER_DWELL`], when an upgrade is soon followed by a downgrade.
pub(crate) const MIN_LAYER_DWELL: Duration = Duration::from_millis(1_000);
/// Upper bound of the doubled dwell time.
pub(crate) const MAX_LAYER_DWELL: Duration = Duration::from_secs(16);
/// By how many bits per second the lowest layer of the most important video may exceed the budget: a congested
/// picture is better than none.
pub(crate) const MAX_OVERSHOOT_BPS: u64 = 50_000;

// bandwidth/aimd
/// The rate may exceed the acknowledged bitrate by this factor, and the excess below.
pub(crate) const MAX_ACKED_RATIO: f64 = 1.5;
/// Additional excess of the rate over the acknowledged bitrate, in bits per second.
pub(crate) const MAX_ACKED_EXCESS_BPS: f64 = 10_000.0;
/// A rate that was not used is not known to be too high: it decreases to this share at most.
pub(crate) const MIN_APPLICATION_LIMITED_RATIO: f64 = 0.5;
/// Minimum additive increase, in bits per second per second.
pub(crate) const MIN_ADDITIVE_INCREASE_BPS_PER_SECOND: f64 = 4_000.0;

// bandwidth/inter_arrival
/// Maximum duration of a burst.
pub(crate) const MAX_BURST_DURATION: Duration = Duration::from_millis(100);

// bandwidth/loss
/// Minimum number of packets in a window.
pub(crate) const MIN_WINDOW_PACKETS: u32 = 40;
/// A window ends after this time even with fewer packets.
pub(crate) const MAX_LOSS_WINDOW: Duration = Duration::from_millis(1_500);
/// Maximum loss that is attributed to the link itself.
pub(crate) const MAX_INHERENT_LOSS: f64 = 0.25;
/// The smallest factor by which severe loss lowers the rate.
pub(crate) const MIN_SEVERE_DECREASE_RATIO: f64 = 0.4;

// bandwidth
/// The rate stays at least at this share of the acknowledged bitrate, whatever the loss.
pub(crate) const MIN_ACKED_RATIO: f64 = 0.85;

// bandwidth/probe
/// Minimum size of a probe: five packets.
pub(crate) const MIN_PROBE_BYTES: usize = 5 * 1_000;
/// Maximum ratio of the probe rate to the current estimate.
pub(crate) const MAX_PROBE_RATIO: f64 = 3.0;
/// Time until the next probe after one without success; grows up to the maximum.
pub(crate) const MIN_PROBE_INTERVAL: Duration = Duration::from_millis(1_500);
/// Maximum time until the next probe.
pub(crate) const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(4);
/// Maximum credit for probes, in bytes.
pub(crate) const MAX_PROBE_CREDIT_BYTES: f64 = 10_000.0;
/// Minimum share of the packets of a probe that must arrive.
pub(crate) const MIN_RECEIVED_RATIO: f64 = 0.6;
/// If the received rate is below this share of the sent rate, the link is saturated.
pub(crate) const MIN_RECEIVED_SENT_RATIO: f64 = 0.9;

// bandwidth/trendline
/// The slope is multiplied by the number of deltas seen, at most this many, and by the gain.
pub(crate) const MAX_DELTAS: u32 = 60;
/// Bounds of the adaptive threshold.
pub(crate) const MIN_THRESHOLD_MS: f64 = 6.0;
/// Highest adaptive threshold of the trendline, in milliseconds.
pub(crate) const MAX_THRESHOLD_MS: f64 = 600.0;
/// A trend further above the threshold than this is an outlier and does not move it.
pub(crate) const MAX_THRESHOLD_EXCESS_MS: f64 = 15.0;

// codec/vp8
/// Number of spans remembered for retransmissions, one per switch of the stream.
pub(crate) const MAX_PICTURE_ID_SPANS: usize = 32;

// congestion
/// Minimum size of the retransmission budget in bytes: one or two packets.
pub(crate) const MIN_RTX_BURST_BYTES: f64 = 2_500.0;

// connection
/// Maximum number of validated paths of one client; the least recently checked one is evicted.
pub(crate) const MAX_PATHS_PER_PEER: usize = 16;
/// Maximum number of RTCP senders of one association whose replay windows are stored.
pub(crate) const MAX_RTCP_SENDERS: usize = 64;
/// Maximum size of an RTP packet that is sent, before SRTP protection.
pub(crate) const MAX_RTP_BYTES: usize = 1500;

// dtls/association
/// Maximum size of a `ClientHello`; one with a post-quantum key share has about 1,500 bytes.
pub(crate) const MAX_CLIENT_HELLO_BYTES: usize = 8192;
/// Maximum number of records that a client may send for its handshake, including retransmissions; a normal one
/// takes about ten. rtc-dtls joins fragments in cubic time, stores empty ones and records of the next epoch
/// without limit, and continues to do so after the handshake, so its input must be limited.
pub(crate) const MAX_HANDSHAKE_RECORDS: usize = 96;

// nack
/// Minimum time between two requests for the same packet.
pub(crate) const MIN_NACK_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum time between two requests for the same packet.
pub(crate) const MAX_NACK_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of requests for one packet.
pub(crate) const MAX_NACK_ATTEMPTS: u8 = 10;
/// Age after which a missing packet is abandoned: its frame would be displayed too late.
pub(crate) const MAX_NACK_AGE: Duration = Duration::from_millis(1_500);
/// Maximum number of missing packets; a larger gap is skipped and not repaired.
pub(crate) const MAX_OUTSTANDING_NACKS: usize = 256;

// room/adapt
/// How long an unavailable layer is not expected: a browser that was briefly short of CPU or network has
/// recovered by then. Doubles with each failed attempt up to the maximum.
pub(crate) const MIN_LAYER_RETRY_BACKOFF: Duration = Duration::from_secs(5);
/// Upper bound of the doubled backoff.
pub(crate) const MAX_LAYER_RETRY_BACKOFF: Duration = Duration::from_secs(40);

// room/deliver
/// Size at which a batch is sent, in bytes.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 20;

// room/probe
/// Minimum payload of a packet used for a probe, in bytes: few large packets probe as well as many small ones.
pub(crate) const MIN_PROBE_PAYLOAD_BYTES: usize = 600;

// room/publish
/// Maximum header of a forwarded RTX packet in bytes: fixed header, extensions, original sequence number.
pub(crate) const MAX_RTP_HEADER_BYTES: usize = 12 + 48 + 2;

// room/repair
/// Lower bound of the time between two retransmissions of a packet, which otherwise is the round trip time.
pub(crate) const MIN_RTX_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum number of packets retransmitted for one NACK; retransmission does not help against more loss.
pub(crate) const MAX_RTX_PER_NACK: usize = 128;

// room/timers
/// Minimum time until the next timer.
pub(crate) const MIN_TIMER_INTERVAL: Duration = Duration::from_millis(1);

// rtcp/write
/// Maximum size of one datagram in bytes, before SRTCP protection.
pub(crate) const MAX_COMPOUND_BYTES: usize = 1150;
/// Maximum number of report blocks of one report.
pub(crate) const MAX_REPORT_BLOCKS: usize = 31;

// rtp_munger
/// Number of spans remembered. A span ends where packets are skipped or the stream changes, so this is two
/// seconds even if every other frame is skipped at 30 per second.
pub(crate) const MAX_SEQUENCE_SPANS: usize = 64;
/// Maximum difference in seconds between a timestamp derived from sender reports and one derived from elapsed
/// time; beyond it the sender reports are ignored. A frame is displayed at most this much too late.
pub(crate) const MAX_CLOCK_DISAGREEMENT_SECONDS: f64 = 2.0;

// sdp/offer
/// Maximum size of an offer; one with a hundred sections of Chromium has about 400 KiB.
pub(crate) const MAX_SDP_BYTES: usize = 1 << 20;

// speaker
/// Minimum level of speech, in -dBov: a level of at most this value is speech; 0 is the loudest.
pub(crate) const MIN_SPEECH_LEVEL_DBOV: u8 = 45;
/// Maximum duration that one packet stands for; a longer gap was silence (DTX).
pub(crate) const MAX_AUDIO_PACKET_DURATION: Duration = Duration::from_millis(60);

// srtp
/// Maximum number of bytes that `SrtpContext::encrypt_rtp` or `SrtpContext::encrypt_rtcp` append.
pub(crate) const MAX_OVERHEAD_BYTES: usize = 20;

// ssrc_table
/// Maximum number of SSRCs stored for one client: three layers with retransmissions for each of eight video
/// tracks, and some that are no longer used.
pub(crate) const MAX_SSRCS_PER_ASSOCIATION: usize = 64;

// stream
/// Minimum time between two key frame requests for an inactive stream.
pub(crate) const MIN_INACTIVE_KEY_FRAME_INTERVAL: Duration = Duration::from_secs(2);

// subscription
/// A gap between two packets longer than this counts as a freeze.
pub(crate) const MIN_FREEZE_DURATION: Duration = Duration::from_millis(500);

// track
/// Maximum number of simulcast layers of a track.
pub(crate) const MAX_SIMULCAST_LAYERS: usize = 3;

// twcc
/// Maximum number of packets of one run-length chunk.
pub(crate) const MAX_RUN_LENGTH: usize = 0x1fff;

// twcc/receiver
/// Maximum number of packets in one feedback packet, so that it stays below 1,000 bytes.
pub(crate) const MAX_PACKET_STATUSES: usize = 400;
/// A larger jump of the sequence numbers restarts the stream.
pub(crate) const MAX_PENDING_PACKETS: u64 = 4096;

// twcc/sender
/// Maximum number of sent packets stored.
pub(crate) const MAX_SENT_PACKETS: usize = 8192;
