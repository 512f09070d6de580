//! Writes the answer to an offer.

use std::fmt::Write;

use super::format::PayloadFormat;
use super::offer::{RemoteOffer, RemoteSection};
use crate::api::LocalCandidate;
use crate::codec::Codec;
use crate::ice::IceCredentials;
use crate::path::TransportProtocol;

/// What the server sends in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendSection {
    /// Of the media.
    pub(crate) ssrc: u32,
    /// Of its retransmissions.
    pub(crate) repair_ssrc: Option<u32>,
    /// Whose it is: the name of the stream.
    pub(crate) owner: u32,
    /// What it is: the name of the track.
    pub(crate) track: u32,
}

/// What is answered to one section.
#[derive(Default)]
pub(crate) struct AnswerSection<'a> {
    /// The formats to use, the preferred one first; none: the section is rejected.
    pub(crate) formats: Vec<&'a PayloadFormat>,
    /// The server sends.
    pub(crate) sending: Option<SendSection>,
    /// The server receives.
    pub(crate) receives: bool,
    /// The layers that it receives.
    pub(crate) layers: &'a [String],
    /// Silence is not to be sent (RFC 7587 §6.1, `usedtx`).
    pub(crate) saves_silence: bool,
}

/// What is the same for all sections.
pub(crate) struct AnswerBuilder<'a> {
    /// Counts answers, so that the client sees which is newer.
    pub(crate) version: u64,
    /// Which session this is.
    pub(crate) id: u64,
    /// Ours.
    pub(crate) credentials: &'a IceCredentials,
    /// Ours.
    pub(crate) fingerprint: &'a str,
    /// Where we are reached.
    pub(crate) candidates: &'a [LocalCandidate],
}

impl AnswerBuilder<'_> {
    /// The answer, section for section.
    pub(crate) fn write(&self, offer: &RemoteOffer, replies: &[AnswerSection<'_>]) -> String {
        let mut text = String::with_capacity(512 + 700 * replies.len());
        let _ = write!(
            text,
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n",
            self.id, self.version
        );
        let both = || offer.sections.iter().zip(replies);
        let accepted = both().filter(|(_, reply)| !reply.formats.is_empty());
        let mids: Vec<&str> = accepted.map(|(section, _)| section.mid.as_str()).collect();
        if !mids.is_empty() {
            let _ = write!(text, "a=group:BUNDLE {}\r\n", mids.join(" "));
        }
        text.push_str("a=msid-semantic: WMS *\r\n");
        for (section, reply) in both() {
            if reply.formats.is_empty() {
                reject(&mut text, section);
            } else {
                self.section(&mut text, section, reply);
            }
        }
        text
    }

    fn section(&self, text: &mut String, section: &RemoteSection, reply: &AnswerSection<'_>) {
        let _ = write!(text, "m={} 9 {}", section.media, section.protocol);
        for format in &reply.formats {
            let _ = write!(text, " {}", format.payload_type);
            if let Some(repair) = format.repair {
                let _ = write!(text, " {repair}");
            }
        }
        let direction = match (reply.sending.is_some(), reply.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        };
        let _ = write!(
            text,
            "\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:passive\r\na=mid:{}\r\na={direction}\r\n\
             a=rtcp-mux\r\n",
            self.credentials.fragment, self.credentials.password, self.fingerprint, section.mid,
        );
        if section.reduced {
            text.push_str("a=rtcp-rsize\r\n");
        }
        for (id, direction, uri) in section.ids.lines() {
            let _ = write!(text, "a=extmap:{id}{direction} {uri}\r\n");
        }
        reply.formats.iter().for_each(|format| describe(text, format, reply.saves_silence));
        if let Some(sending) = reply.sending {
            send(text, sending);
        }
        if reply.receives && !reply.layers.is_empty() {
            for layer in reply.layers {
                let _ = write!(text, "a=rid:{layer} recv\r\n");
            }
            let _ = write!(text, "a=simulcast:recv {}\r\n", reply.layers.join(";"));
        }
        self.candidates(text);
    }

    /// The sections of a bundle share them, and once would do (RFC 9143 §7.3), but aiortc takes those of
    /// the last section that shares a transport.
    fn candidates(&self, text: &mut String) {
        for (number, candidate) in (0u32..).zip(self.candidates) {
            let (transport, preference, kind) = match candidate.transport {
                TransportProtocol::Udp => ("udp", 65_535, ""),
                TransportProtocol::Tcp => ("tcp", (4 << 13) + 8191, " tcptype passive"), // RFC 6544 §4.2
            };
            let priority = 126 << 24 | (preference - number) << 8 | 255;
            let (address, port) = (candidate.address.ip(), candidate.address.port());
            let _ = write!(
                text,
                "a=candidate:{number} 1 {transport} {priority} {address} {port} typ host{kind}\r\n"
            );
        }
        text.push_str("a=end-of-candidates\r\n");
    }
}

fn reject(text: &mut String, section: &RemoteSection) {
    let (media, protocol, format) = (&section.media, &section.protocol, &section.first);
    let _ = write!(
        text,
        "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
        section.mid
    );
}

fn describe(text: &mut String, format: &PayloadFormat, saves_silence: bool) {
    let number = format.payload_type;
    let _ = write!(text, "a=rtpmap:{number} {}\r\n", format.encoding());
    for feedback in &format.feedback {
        let _ = write!(text, "a=rtcp-fb:{number} {feedback}\r\n");
    }
    let mut parameters = format.parameters.clone();
    if saves_silence && format.codec == Codec::Opus && !parameters.contains("usedtx") {
        parameters.push_str(if parameters.is_empty() { "usedtx=1" } else { ";usedtx=1" });
    }
    if !parameters.is_empty() {
        let _ = write!(text, "a=fmtp:{number} {parameters}\r\n");
    }
    if let Some(repair) = format.repair {
        let _ = write!(text, "a=rtpmap:{repair} rtx/90000\r\na=fmtp:{repair} apt={number}\r\n");
    }
}

fn send(text: &mut String, sending: SendSection) {
    let SendSection { ssrc, repair_ssrc, owner, track } = sending;
    let _ = write!(text, "a=msid:{owner} {track}\r\n");
    if let Some(repair) = repair_ssrc {
        let _ = write!(text, "a=ssrc-group:FID {ssrc} {repair}\r\n");
    }
    for ssrc in [Some(ssrc), repair_ssrc].into_iter().flatten() {
        let _ =
            write!(text, "a=ssrc:{ssrc} cname:{owner}\r\na=ssrc:{ssrc} msid:{owner} {track}\r\n");
    }
}
