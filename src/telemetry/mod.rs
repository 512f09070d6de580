//! What the server says about itself: logs, and metrics on one page.

pub mod logging;
pub mod metrics;
