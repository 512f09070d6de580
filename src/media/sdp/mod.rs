//! Offers in and answers out (RFC 8829 as an answerer only): rtc-sdp for the syntax, the meaning here.

mod answer;
mod format;
mod offer;

pub(crate) use answer::{Answer, Reply, Sending};
pub(crate) use format::{Format, HeaderIds};
pub(crate) use offer::{Section, Session};

#[cfg(test)]
mod tests;
