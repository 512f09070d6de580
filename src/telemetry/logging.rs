//! Logging: text on a terminal, JSON otherwise. Messages are lowercase, fields dotted, with units
//! in their names; never log a token, a message text or a user's phone number.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, TelemetryConfig};

/// lapin logs the content of messages that it complains about: always disabled, whatever the level.
const FORCED_DIRECTIVE: &str = "lapin::returned_messages=off";

/// Starts logging to standard error, once per process.
///
/// # Errors
/// If the filter cannot be parsed, or logging was started before.
pub fn start(config: &TelemetryConfig) -> Result<(), String> {
    let directives = format!("{},{FORCED_DIRECTIVE}", config.log_filter);
    let filter = EnvFilter::try_new(directives).map_err(|e| {
        format!("telemetry.log_filter `{}` is not a valid filter: {e}", config.log_filter)
    })?;
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        log.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        log.with_target(false).try_init()
    };
    started.map_err(|e| e.to_string())
}
