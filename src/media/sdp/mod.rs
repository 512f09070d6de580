//! SDP offer/answer (RFC 8829, RFC 8866), as answerer only: rtc-sdp parses the syntax, this module interprets it.

mod answer;
mod format;
mod offer;

pub(crate) use answer::{AnswerBuilder, AnswerSection, SendSection};
pub(crate) use format::{ExtensionIds, PayloadFormat};
pub(crate) use offer::{RemoteOffer, RemoteSection};

#[cfg(test)]
mod tests;
