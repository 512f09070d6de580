//! One stream for a subscriber out of many sources: sequence numbers without gaps of our making,
//! timestamps that only go forward, and the way back from a number to the packet it stands for.

use std::collections::VecDeque;
use std::time::Instant;

/// How many spans are remembered. A span ends where packets are left out or the source changes, so
/// this is two seconds even if every other picture is left out at 30 per second.
const MAX_SPANS: usize = 64;

/// How far a timestamp by sender reports may be from one by elapsed time, in seconds, before it is
/// not believed: a picture waits that long at most before it is sent on.
const MAX_CLOCK_DISAGREEMENT_SECONDS: f64 = 2.0;

/// Where a packet goes in the subscriber's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RewrittenHeader {
    /// Counts packets without wrapping: the low 16 bits are the sequence number, the others the
    /// rollover counter of SRTP (RFC 3711 §3.3.1).
    pub(crate) index: u64,
    /// The RTP timestamp.
    pub(crate) timestamp: u32,
}

/// What a publisher's sender report says (RFC 3550 §6.4.1): one moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReportTiming {
    /// The publisher's clock, in seconds with 32 bits behind the point.
    pub(crate) ntp: u64,
    /// The same moment in the stream's timestamps.
    pub(crate) timestamp: u32,
}

/// Packets of one source that are all moved by the same amount.
#[derive(Clone, Copy, Debug)]
struct SequenceSpan {
    source: u32,
    /// The first packet that belongs to it, in the source's count.
    first: u64,
    /// The first one behind it that does not, in the source's count.
    until: u64,
    /// Where that packet goes.
    begins: u64,
    timestamp_shift: u32,
}

/// The newest packet that went out.
#[derive(Clone, Copy, Debug)]
struct LastForwarded {
    at: Instant,
    place: RewrittenHeader,
}

/// Maps the packets of changing sources to one stream. A source is any number that the caller gives
/// to a stream of packets; a packet's index is its extended sequence number.
#[derive(Debug)]
pub(crate) struct RtpMunger {
    clock_rate: u32,
    /// Oldest first.
    spans: VecDeque<SequenceSpan>,
    newest: Option<LastForwarded>,
    /// The place of the first packet.
    start: u16,
    /// The latest report of the source that is current.
    report: Option<SenderReportTiming>,
}

impl RtpMunger {
    /// A stream that begins with the sequence number `start` and counts `clock_rate` ticks in a
    /// second.
    pub(crate) fn new(clock_rate: u32, start: u16) -> Self {
        Self { clock_rate, spans: VecDeque::new(), newest: None, start, report: None }
    }

    /// The source that is current.
    pub(crate) fn source(&self) -> Option<u32> {
        self.spans.back().map(|span| span.source)
    }

    /// From the packet `index` of `source` on, which has this timestamp, the stream continues with
    /// that source; also with the same one, after a pause. The last report of the source, if any,
    /// makes the timestamps fit exactly; without, the time that has passed since the last packet
    /// does. Earlier packets of it are never forwarded.
    pub(crate) fn switch(
        &mut self,
        now: Instant,
        source: u32,
        index: u64,
        timestamp: u32,
        report: Option<SenderReportTiming>,
    ) {
        let begins = self.newest.map_or(u64::from(self.start), |newest| newest.place.index + 1);
        let timestamp_shift = self.newest.map_or(0, |newest| {
            self.next_timestamp(now, newest, source, timestamp, report).wrapping_sub(timestamp)
        });
        if let Some(span) = self.spans.back_mut() {
            span.until = span.first + (begins - span.begins);
        }
        self.remember(SequenceSpan {
            source,
            first: index,
            until: u64::MAX,
            begins,
            timestamp_shift,
        });
        self.report = report;
    }

    /// A new report of the current source; those of others are of no use.
    pub(crate) fn reported(&mut self, source: u32, report: SenderReportTiming) {
        if self.source() == Some(source) {
            self.report = Some(report);
        }
    }

    /// Where a packet goes, also one that comes late or is sent again. `None` if it is not part of
    /// the stream: from before a switch, or left out, or too old.
    pub(crate) fn place(
        &mut self,
        now: Instant,
        source: u32,
        index: u64,
        timestamp: u32,
    ) -> Option<RewrittenHeader> {
        let span = self.span_of(source, index)?;
        let place = RewrittenHeader {
            index: span.begins + (index - span.first),
            timestamp: timestamp.wrapping_add(span.timestamp_shift),
        };
        if self.newest.is_none_or(|newest| newest.place.index < place.index) {
            self.newest = Some(LastForwarded { at: now, place });
        }
        Some(place)
    }

    /// A packet is not sent to this subscriber: the one behind it takes its number. To be told when
    /// the packet comes; if a newer one was sent already, its number stays unused.
    pub(crate) fn leave_out(&mut self, source: u32, index: u64) {
        let Some(span) = self.spans.back_mut() else { return };
        if span.source != source || index < span.first {
            return;
        }
        let begins = span.begins + (index - span.first);
        if self.newest.is_some_and(|newest| newest.place.index >= begins) {
            return;
        }
        if index == span.first {
            span.first += 1;
            return;
        }
        span.until = index;
        let next = SequenceSpan { first: index + 1, until: u64::MAX, begins, ..*span };
        self.remember(next);
    }

    /// Which packet was sent under a sequence number: its source and its index there.
    pub(crate) fn origin(&self, sequence: u16) -> Option<(u32, u64)> {
        let newest = self.newest?.place.index;
        let behind = (newest as u16).wrapping_sub(sequence);
        let index = newest.checked_sub(u64::from(behind))?;
        let span = self.spans.iter().rev().find(|span| span.begins <= index)?;
        let origin = span.first + (index - span.begins);
        // What was left out lies between spans.
        (origin < span.until).then_some((span.source, origin))
    }

    /// A timestamp of the current source as the subscriber sees it: for sender reports.
    pub(crate) fn timestamp(&self, timestamp: u32) -> Option<u32> {
        self.spans.back().map(|span| timestamp.wrapping_add(span.timestamp_shift))
    }

    /// The newest place that was given away.
    pub(crate) fn newest(&self) -> Option<RewrittenHeader> {
        self.newest.map(|newest| newest.place)
    }

    fn remember(&mut self, span: SequenceSpan) {
        if self.spans.len() == MAX_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    fn span_of(&self, source: u32, index: u64) -> Option<SequenceSpan> {
        let of_source = |span: &&SequenceSpan| span.source == source && span.first <= index;
        self.spans.iter().rev().find(of_source).filter(|span| index < span.until).copied()
    }

    /// The timestamp with which a new span begins: always ahead of the newest one.
    fn next_timestamp(
        &self,
        now: Instant,
        newest: LastForwarded,
        source: u32,
        timestamp: u32,
        report: Option<SenderReportTiming>,
    ) -> u32 {
        let rate = f64::from(self.clock_rate);
        let elapsed = now.saturating_duration_since(newest.at).as_secs_f64() * rate;
        let by_elapsed = newest.place.timestamp.wrapping_add((elapsed as u64).max(1) as u32);
        let exact = match self.spans.back() {
            Some(span) if span.source == source => {
                Some(timestamp.wrapping_add(span.timestamp_shift))
            }
            Some(span) => {
                self.by_reports(timestamp, report).map(|t| t.wrapping_add(span.timestamp_shift))
            }
            None => None,
        };
        let believed = exact.filter(|&exact| {
            let forward = exact.wrapping_sub(newest.place.timestamp) as i32 > 0;
            let apart = f64::from(exact.wrapping_sub(by_elapsed) as i32).abs();
            forward && apart < MAX_CLOCK_DISAGREEMENT_SECONDS * rate
        });
        believed.unwrap_or(by_elapsed)
    }

    /// A timestamp of a new source in the timestamps of the current one, by the publisher's clock
    /// that both report.
    fn by_reports(&self, timestamp: u32, new: Option<SenderReportTiming>) -> Option<u32> {
        let (old, new) = (self.report?, new?);
        let between = (new.ntp.wrapping_sub(old.ntp) as i64) as f64 / 4_294_967_296.0;
        let ticks = (between * f64::from(self.clock_rate)).round();
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
