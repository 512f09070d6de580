//! What the benchmarks share: a server process, a client's end of the wire, and figures.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to the terminal")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(clippy::missing_panics_doc, reason = "all of it stops when something is wrong")]

pub mod figures;
pub mod process;
pub mod server;
pub mod wire;
pub mod xmpp;

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub const fn rational(count: usize) -> f64 {
    count as f64
}
