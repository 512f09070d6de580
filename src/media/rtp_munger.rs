//! RTP munger: merges the packets of several streams (simulcast layers) into one stream for a subscriber.
//! Sequence numbers have no gaps of the server's making, timestamps only grow, and a sequence number can be
//! mapped back to the packet it stands for. Like `RTPMunger` of `LiveKit`.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::{MAX_CLOCK_DISAGREEMENT_SECONDS, MAX_SEQUENCE_SPANS};

/// The rewritten header fields of a packet in the subscriber's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RewrittenHeader {
    /// Extended sequence number: the low 16 bits are the sequence number, the others the rollover counter of
    /// SRTP (RFC 3711 §3.3.1).
    pub(crate) index: u64,
    /// RTP timestamp in the subscriber's stream.
    pub(crate) timestamp: u32,
}

/// Timing of a publisher's sender report (RFC 3550 §6.4.1): one moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReportTiming {
    /// NTP time of the publisher: seconds in the high 32 bits, fraction in the low 32 bits.
    pub(crate) ntp: u64,
    /// RTP timestamp of the same moment.
    pub(crate) timestamp: u32,
}

/// Packets of one stream that are shifted by the same amount.
#[derive(Clone, Copy, Debug)]
struct SequenceSpan {
    stream_id: u32,
    /// Extended sequence number of the first packet, in the publisher's stream.
    first_index: u64,
    /// Extended sequence number behind the last packet, in the publisher's stream.
    end_index: u64,
    /// Extended sequence number of the first packet, in the subscriber's stream.
    first_out: u64,
    timestamp_shift: u32,
}

/// The forwarded packet with the highest sequence number.
#[derive(Clone, Copy, Debug)]
struct LastForwarded {
    at: Instant,
    header: RewrittenHeader,
}

/// Maps the packets of changing streams to one stream. A stream id is any number that the caller gives to a
/// stream of packets; the index of a packet is its extended sequence number.
#[derive(Debug)]
pub(crate) struct RtpMunger {
    clock_rate: u32,
    /// Oldest first, at most [`MAX_SEQUENCE_SPANS`].
    spans: VecDeque<SequenceSpan>,
    newest: Option<LastForwarded>,
    /// Sequence number of the first packet.
    start_sequence: u16,
    /// The latest sender report of the current stream.
    report: Option<SenderReportTiming>,
}

impl RtpMunger {
    /// A stream that starts with the sequence number `start_sequence` and has `clock_rate` timestamp ticks per
    /// second.
    pub(crate) fn new(clock_rate: u32, start_sequence: u16) -> Self {
        Self { clock_rate, spans: VecDeque::new(), newest: None, start_sequence, report: None }
    }

    /// The stream that is being forwarded.
    pub(crate) fn stream_id(&self) -> Option<u32> {
        self.spans.back().map(|span| span.stream_id)
    }

    /// Continues with another stream, or with the same one after a pause, from the packet `index` with this
    /// timestamp on. With sender reports of both streams the timestamps are aligned exactly; otherwise they
    /// advance by the time since the last packet. Earlier packets of the new stream are never forwarded.
    pub(crate) fn switch(
        &mut self,
        now: Instant,
        stream_id: u32,
        index: u64,
        timestamp: u32,
        report: Option<SenderReportTiming>,
    ) {
        let first_out =
            self.newest.map_or(u64::from(self.start_sequence), |newest| newest.header.index + 1);
        let timestamp_shift = self.newest.map_or(0, |newest| {
            self.next_timestamp(now, newest, stream_id, timestamp, report).wrapping_sub(timestamp)
        });
        if let Some(span) = self.spans.back_mut() {
            span.end_index = span.first_index + (first_out - span.first_out);
        }
        self.push_span(SequenceSpan {
            stream_id,
            first_index: index,
            end_index: u64::MAX,
            first_out,
            timestamp_shift,
        });
        self.report = report;
    }

    /// Stores a sender report of the current stream; those of other streams are ignored.
    pub(crate) fn on_sender_report(&mut self, stream_id: u32, report: SenderReportTiming) {
        if self.stream_id() == Some(stream_id) {
            self.report = Some(report);
        }
    }

    /// The header of a packet, also of one that is late or retransmitted. `None` if it is not part of the
    /// subscriber's stream: from before a switch, skipped, or too old.
    pub(crate) fn rewrite(
        &mut self,
        now: Instant,
        stream_id: u32,
        index: u64,
        timestamp: u32,
    ) -> Option<RewrittenHeader> {
        let span = self.span_of(stream_id, index)?;
        let header = RewrittenHeader {
            index: span.first_out + (index - span.first_index),
            timestamp: timestamp.wrapping_add(span.timestamp_shift),
        };
        if self.newest.is_none_or(|newest| newest.header.index < header.index) {
            self.newest = Some(LastForwarded { at: now, header });
        }
        Some(header)
    }

    /// Skips a packet: the next one takes its sequence number. Must be called when the packet arrives; if a
    /// later one was sent already, the sequence number stays unused.
    pub(crate) fn skip(&mut self, stream_id: u32, index: u64) {
        let Some(span) = self.spans.back_mut() else { return };
        if span.stream_id != stream_id || index < span.first_index {
            return;
        }
        let first_out = span.first_out + (index - span.first_index);
        if self.newest.is_some_and(|newest| newest.header.index >= first_out) {
            return;
        }
        if index == span.first_index {
            span.first_index += 1;
            return;
        }
        span.end_index = index;
        let next = SequenceSpan { first_index: index + 1, end_index: u64::MAX, first_out, ..*span };
        self.push_span(next);
    }

    /// The packet that was sent under a sequence number: its stream and its index there.
    pub(crate) fn origin(&self, sequence: u16) -> Option<(u32, u64)> {
        let newest = self.newest?.header.index;
        let behind = (newest as u16).wrapping_sub(sequence);
        let index = newest.checked_sub(u64::from(behind))?;
        let span = self.spans.iter().rev().find(|span| span.first_out <= index)?;
        let origin = span.first_index + (index - span.first_out);
        // Skipped packets lie between spans.
        (origin < span.end_index).then_some((span.stream_id, origin))
    }

    /// A timestamp of the current stream as the subscriber sees it, for sender reports.
    pub(crate) fn timestamp(&self, timestamp: u32) -> Option<u32> {
        self.spans.back().map(|span| timestamp.wrapping_add(span.timestamp_shift))
    }

    /// The header with the highest sequence number so far.
    pub(crate) fn newest(&self) -> Option<RewrittenHeader> {
        self.newest.map(|newest| newest.header)
    }

    fn push_span(&mut self, span: SequenceSpan) {
        if self.spans.len() == MAX_SEQUENCE_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    fn span_of(&self, stream_id: u32, index: u64) -> Option<SequenceSpan> {
        let contains =
            |span: &&SequenceSpan| span.stream_id == stream_id && span.first_index <= index;
        self.spans.iter().rev().find(contains).filter(|span| index < span.end_index).copied()
    }

    /// The timestamp with which a new span starts: always ahead of the newest one.
    fn next_timestamp(
        &self,
        now: Instant,
        newest: LastForwarded,
        stream_id: u32,
        timestamp: u32,
        report: Option<SenderReportTiming>,
    ) -> u32 {
        let rate = f64::from(self.clock_rate);
        let elapsed = now.saturating_duration_since(newest.at).as_secs_f64() * rate;
        let by_elapsed = newest.header.timestamp.wrapping_add((elapsed as u64).max(1) as u32);
        let exact = match self.spans.back() {
            Some(span) if span.stream_id == stream_id => {
                Some(timestamp.wrapping_add(span.timestamp_shift))
            }
            Some(span) => {
                self.by_reports(timestamp, report).map(|t| t.wrapping_add(span.timestamp_shift))
            }
            None => None,
        };
        let plausible = exact.filter(|&exact| {
            let is_ahead = exact.wrapping_sub(newest.header.timestamp) as i32 > 0;
            let difference = f64::from(exact.wrapping_sub(by_elapsed) as i32).abs();
            is_ahead && difference < MAX_CLOCK_DISAGREEMENT_SECONDS * rate
        });
        plausible.unwrap_or(by_elapsed)
    }

    /// A timestamp of the new stream in the timestamps of the current one, by the publisher's clock to which
    /// both sender reports refer.
    fn by_reports(&self, timestamp: u32, new: Option<SenderReportTiming>) -> Option<u32> {
        let (old, new) = (self.report?, new?);
        let seconds = (new.ntp.wrapping_sub(old.ntp) as i64) as f64 / 4_294_967_296.0;
        let ticks = (seconds * f64::from(self.clock_rate)).round();
        if ticks.abs() > f64::from(i32::MAX) {
            return None;
        }
        let at_new_report = old.timestamp.wrapping_add(ticks as i64 as u32);
        Some(at_new_report.wrapping_add(timestamp.wrapping_sub(new.timestamp)))
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
