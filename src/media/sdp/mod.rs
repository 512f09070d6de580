//! Offers in and answers out (RFC 8829 as an answerer only): rtc-sdp for the syntax, the meaning here.

mod answer;
mod format;
mod offer;

pub(crate) use answer::{AnswerBuilder, AnswerSection, SendSection};
pub(crate) use format::{ExtensionIds, PayloadFormat};
pub(crate) use offer::{RemoteOffer, RemoteSection};

#[cfg(test)]
mod tests;
