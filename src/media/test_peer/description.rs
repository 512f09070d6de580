//! Session descriptions as clients write them, from a few words.

use std::fmt::Write;
use std::net::SocketAddr;

use super::TestPeerError;
use crate::ice::IceCredentials;
use crate::{MediaKind, TrackId};

/// One section of a client's offer.
#[derive(Clone, Debug)]
pub struct OfferSection {
    pub(crate) mid: String,
    pub(crate) kind: MediaKind,
    pub(crate) sends: bool,
    pub(crate) receives: Option<TrackId>,
    pub(crate) layers: Vec<&'static str>,
    pub(crate) stopped: bool,
    /// The formats, most liked first; the well-known payload types below.
    pub(crate) formats: Vec<u8>,
}

impl OfferSection {
    /// A section that neither sends nor receives yet.
    pub fn new(mid: &str, kind: MediaKind) -> Self {
        let formats = match kind {
            MediaKind::Audio => vec![111, 63],
            MediaKind::Video => vec![96, 97, 102, 103, 98, 99],
        };
        let mid = mid.to_owned();
        Self { mid, kind, sends: false, receives: None, layers: vec![], stopped: false, formats }
    }

    /// It publishes something.
    #[must_use]
    pub fn sending(mut self) -> Self {
        self.sends = true;
        self
    }

    /// It receives this track.
    #[must_use]
    pub fn receiving(mut self, track: TrackId) -> Self {
        self.receives = Some(track);
        self
    }

    #[cfg(test)]
    pub(crate) fn simulcast(mut self) -> Self {
        self.layers = vec!["l", "m", "h"];
        self
    }

    #[cfg(test)]
    pub(crate) fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    /// Its formats, by payload type, the most liked first: 96, 98 and 102 are VP8, VP9 and H.264, the
    /// number behind each its retransmission; 111 is Opus, 63 its redundancy.
    #[must_use]
    pub fn with_formats(mut self, formats: &[u8]) -> Self {
        self.formats = formats.to_vec();
        self
    }

    fn write(&self, text: &mut String, transport: &str) {
        let media = if self.kind == MediaKind::Audio { "audio" } else { "video" };
        let port = if self.stopped { 0 } else { 9 };
        let formats: Vec<String> = self.formats.iter().map(u8::to_string).collect();
        let direction = match (self.sends, self.receives) {
            (true, Some(_)) => "sendrecv",
            (true, None) => "sendonly",
            (false, Some(_)) => "recvonly",
            (false, None) => "inactive",
        };
        let _ = write!(
            text,
            "m={media} {port} UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\n{transport}a=mid:{}\r\n\
             a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
             a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
             a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
             a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
             a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n",
            formats.join(" "),
            self.mid,
        );
        for format in &self.formats {
            let lines = match format {
                111 => "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n",
                63 => "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n",
                96 => "a=rtpmap:96 VP8/90000\r\n",
                97 => "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
                98 => "a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\n",
                99 => "a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n",
                102 => {
                    "a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;\
                     packetization-mode=1;profile-level-id=42e01f\r\n"
                }
                103 => "a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n",
                _ => "",
            };
            text.push_str(lines);
            if matches!(format, 96 | 98 | 102) {
                for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
                    let _ = write!(text, "a=rtcp-fb:{format} {feedback}\r\n");
                }
            }
        }
        for layer in &self.layers {
            let _ = write!(text, "a=rid:{layer} send\r\n");
        }
        if !self.layers.is_empty() {
            let _ = write!(text, "a=simulcast:send {}\r\n", self.layers.join(";"));
        }
    }
}

/// A whole offer. `session` names the peer connection.
pub(crate) fn text(
    session: u64,
    ice: &(String, String),
    fingerprint: &str,
    lines: &[OfferSection],
) -> String {
    let transport = format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n",
        ice.0, ice.1
    );
    let live = lines.iter().filter(|line| !line.stopped);
    let mids: Vec<&str> = live.map(|line| line.mid.as_str()).collect();
    let mut text = format!(
        "v=0\r\no=- {session} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=msid-semantic: WMS *\r\n",
        mids.join(" ")
    );
    lines.iter().for_each(|line| line.write(&mut text, &transport));
    text
}

/// What a client must know of the server's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteDescription {
    /// Where to send.
    pub(crate) address: SocketAddr,
    /// The credentials of its ICE.
    pub(crate) fragment: String,
    pub(crate) password: String,
    /// The identifier of the transport-wide sequence number.
    pub(crate) transport: Option<u8>,
    /// Pairs of a stream of retransmissions and what it repairs.
    pub(crate) repairs: Vec<(u32, u32)>,
}

impl RemoteDescription {
    /// Reads it; the first candidate over UDP is taken.
    pub(crate) fn read(text: &str) -> Result<Self, TestPeerError> {
        let all = |key: &'static str| text.lines().filter_map(move |it| it.strip_prefix(key));
        let first =
            |key, what| all(key).next().map(str::to_owned).ok_or(TestPeerError::Description(what));
        let candidate = all("a=candidate:").find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[_, "1", transport, _, address, port, ..] = &words[..] else { return None };
            let address = SocketAddr::new(address.parse().ok()?, port.parse().ok()?);
            transport.eq_ignore_ascii_case("udp").then_some(address)
        });
        let transport = all("a=extmap:").find(|it| it.contains("transport-wide-cc-extensions-01"));
        let number = |line: &str| line.split(['/', ' ']).next()?.parse().ok();
        let pair = |line: &str| {
            let (media, repair) = line.trim().split_once(' ')?;
            Some((repair.parse().ok()?, media.parse().ok()?))
        };
        Ok(Self {
            address: candidate.ok_or(TestPeerError::Description("candidate over UDP"))?,
            fragment: first("a=ice-ufrag:", "ICE credentials")?,
            password: first("a=ice-pwd:", "ICE credentials")?,
            transport: transport.and_then(number),
            repairs: all("a=ssrc-group:FID ").filter_map(pair).collect(),
        })
    }
}

/// The answer that accepts all of a server's offer and sends nothing.
pub(crate) fn accepting(offer: &str, ice: &IceCredentials, fingerprint: &str) -> String {
    let mut text = String::new();
    let theirs = ["a=candidate:", "a=end-of", "a=ssrc", "a=msid", "a=fingerprint", "a=ice-"];
    for line in offer.lines() {
        match line {
            "a=sendonly" | "a=sendrecv" => text.push_str("a=recvonly"),
            _ if theirs.iter().any(|key| line.starts_with(key)) => continue,
            _ if line.starts_with("a=setup:") => {
                let IceCredentials { ufrag: fragment, password } = ice;
                let _ = write!(
                    text,
                    "a=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\n\
                     a=fingerprint:sha-256 {fingerprint}\r\na=setup:active"
                );
            }
            _ => text.push_str(line),
        }
        text.push_str("\r\n");
    }
    text
}
