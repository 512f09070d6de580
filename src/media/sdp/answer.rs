//! Writes the answer to an offer.

use std::fmt::Write;

use super::format::PayloadFormat;
use super::offer::{RemoteOffer, RemoteSection};
use crate::api::LocalCandidate;
use crate::codec::Codec;
use crate::ice::IceCredentials;
use crate::path::TransportProtocol;

/// The stream that the server sends in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendSection {
    /// SSRC of the media.
    pub(crate) ssrc: u32,
    /// SSRC of its retransmissions.
    pub(crate) rtx_ssrc: Option<u32>,
    /// The publishing participant: stream id in `a=msid`, and CNAME.
    pub(crate) owner: u32,
    /// The published track: track id in `a=msid`.
    pub(crate) track: u32,
}

/// The answer to one section.
#[derive(Default)]
pub(crate) struct AnswerSection<'a> {
    /// The formats to use, the preferred one first; if empty, the section is rejected.
    pub(crate) formats: Vec<&'a PayloadFormat>,
    /// What the server sends, if anything.
    pub(crate) send: Option<SendSection>,
    /// The server receives.
    pub(crate) receives_media: bool,
    /// Rids of the simulcast layers that the server receives.
    pub(crate) rids: &'a [String],
    /// Asks the client to send no silence (RFC 7587 §6.1, `usedtx`).
    pub(crate) use_dtx: bool,
}

/// The session-level part of an answer.
pub(crate) struct AnswerBuilder<'a> {
    /// Session version of the `o=` line; increases with every answer.
    pub(crate) version: u64,
    /// Session id of the `o=` line.
    pub(crate) session_id: u64,
    /// The server's ICE credentials.
    pub(crate) credentials: &'a IceCredentials,
    /// Fingerprint of the server's certificate.
    pub(crate) fingerprint: &'a str,
    /// The server's host candidates.
    pub(crate) candidates: &'a [LocalCandidate],
}

impl AnswerBuilder<'_> {
    /// Writes the answer; `sections` correspond to the sections of the offer.
    pub(crate) fn write(&self, offer: &RemoteOffer, sections: &[AnswerSection<'_>]) -> String {
        let mut text = String::with_capacity(512 + 700 * sections.len());
        let _ = write!(
            text,
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n",
            self.session_id, self.version
        );
        let pairs = || offer.sections.iter().zip(sections);
        let accepted = pairs().filter(|(_, answer)| !answer.formats.is_empty());
        let mids: Vec<&str> = accepted.map(|(section, _)| section.mid.as_str()).collect();
        if !mids.is_empty() {
            let _ = write!(text, "a=group:BUNDLE {}\r\n", mids.join(" "));
        }
        text.push_str("a=msid-semantic: WMS *\r\n");
        for (section, answer) in pairs() {
            if answer.formats.is_empty() {
                write_rejected_section(&mut text, section);
            } else {
                self.write_section(&mut text, section, answer);
            }
        }
        text
    }

    fn write_section(
        &self,
        text: &mut String,
        section: &RemoteSection,
        answer: &AnswerSection<'_>,
    ) {
        let _ = write!(text, "m={} 9 {}", section.media, section.protocol);
        for format in &answer.formats {
            let _ = write!(text, " {}", format.payload_type);
            if let Some(rtx) = format.rtx_payload_type {
                let _ = write!(text, " {rtx}");
            }
        }
        let direction = match (answer.send.is_some(), answer.receives_media) {
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
            self.credentials.ufrag, self.credentials.password, self.fingerprint, section.mid,
        );
        if section.has_reduced_size_rtcp {
            text.push_str("a=rtcp-rsize\r\n");
        }
        for (id, direction, uri) in section.extension_ids.answer_extmaps() {
            let _ = write!(text, "a=extmap:{id}{direction} {uri}\r\n");
        }
        answer.formats.iter().for_each(|format| write_format(text, format, answer.use_dtx));
        if let Some(stream) = answer.send {
            write_sent_stream(text, stream);
        }
        if answer.receives_media && !answer.rids.is_empty() {
            for layer in answer.rids {
                let _ = write!(text, "a=rid:{layer} recv\r\n");
            }
            let _ = write!(text, "a=simulcast:recv {}\r\n", answer.rids.join(";"));
        }
        self.write_candidates(text);
    }

    /// Candidates are repeated in every section: bundled sections share them (RFC 9143 §7.3), but aiortc takes
    /// those of the last section that shares a transport.
    fn write_candidates(&self, text: &mut String) {
        for (number, candidate) in (0u32..).zip(self.candidates) {
            let (transport, preference, tcp_type) = match candidate.transport {
                TransportProtocol::Udp => ("udp", 65_535, ""),
                TransportProtocol::Tcp => ("tcp", (4 << 13) + 8191, " tcptype passive"), // RFC 6544 §4.2
            };
            let priority = 126 << 24 | (preference - number) << 8 | 255;
            let (address, port) = (candidate.address.ip(), candidate.address.port());
            let _ = write!(
                text,
                "a=candidate:{number} 1 {transport} {priority} {address} {port} typ host{tcp_type}\r\n"
            );
        }
        text.push_str("a=end-of-candidates\r\n");
    }
}

fn write_rejected_section(text: &mut String, section: &RemoteSection) {
    let (media, protocol, format) = (&section.media, &section.protocol, &section.first_format);
    let _ = write!(
        text,
        "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
        section.mid
    );
}

fn write_format(text: &mut String, format: &PayloadFormat, saves_silence: bool) {
    let payload_type = format.payload_type;
    let _ = write!(text, "a=rtpmap:{payload_type} {}\r\n", format.rtpmap());
    for feedback in &format.feedback {
        let _ = write!(text, "a=rtcp-fb:{payload_type} {feedback}\r\n");
    }
    let mut parameters = format.fmtp.clone();
    if saves_silence && format.codec == Codec::Opus && !parameters.contains("usedtx") {
        parameters.push_str(if parameters.is_empty() { "usedtx=1" } else { ";usedtx=1" });
    }
    if !parameters.is_empty() {
        let _ = write!(text, "a=fmtp:{payload_type} {parameters}\r\n");
    }
    if let Some(rtx) = format.rtx_payload_type {
        let _ = write!(text, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={payload_type}\r\n");
    }
}

fn write_sent_stream(text: &mut String, stream: SendSection) {
    let SendSection { ssrc, rtx_ssrc, owner, track } = stream;
    let _ = write!(text, "a=msid:{owner} {track}\r\n");
    if let Some(rtx) = rtx_ssrc {
        let _ = write!(text, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
    }
    for ssrc in [Some(ssrc), rtx_ssrc].into_iter().flatten() {
        let _ =
            write!(text, "a=ssrc:{ssrc} cname:{owner}\r\na=ssrc:{ssrc} msid:{owner} {track}\r\n");
    }
}
