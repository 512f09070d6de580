//! Offers as clients write them, from a few words.

use std::fmt::Write;

use crate::{Kind, TrackId};

/// One section of a client's offer.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) mid: String,
    pub(crate) kind: Kind,
    pub(crate) sends: bool,
    pub(crate) receives: Option<TrackId>,
    pub(crate) layers: Vec<&'static str>,
    pub(crate) stopped: bool,
    /// The formats, most liked first; the well-known payload types below.
    pub(crate) formats: Vec<u8>,
}

impl Line {
    pub(crate) fn new(mid: &str, kind: Kind) -> Self {
        let formats = match kind {
            Kind::Audio => vec![111, 63],
            Kind::Video => vec![96, 97, 102, 103, 98, 99],
        };
        let mid = mid.to_owned();
        Self { mid, kind, sends: false, receives: None, layers: vec![], stopped: false, formats }
    }

    pub(crate) fn sending(mut self) -> Self {
        self.sends = true;
        self
    }

    pub(crate) fn receiving(mut self, track: TrackId) -> Self {
        self.receives = Some(track);
        self
    }

    pub(crate) fn simulcast(mut self) -> Self {
        self.layers = vec!["l", "m", "h"];
        self
    }

    pub(crate) fn stopped(mut self) -> Self {
        self.stopped = true;
        self
    }

    pub(crate) fn with_formats(mut self, formats: &[u8]) -> Self {
        self.formats = formats.to_vec();
        self
    }

    fn write(&self, text: &mut String, transport: &str) {
        let media = if self.kind == Kind::Audio { "audio" } else { "video" };
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
    lines: &[Line],
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
