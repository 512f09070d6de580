//! Logs: readable in a terminal, JSON elsewhere. Messages are lowercase, fields dotted, units named;
//! never a token, a text or a number of a person.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, TelemetryConfig};

/// Tells the messages that it complains of, texts included: never to be heard, whatever the level.
const FORCED_DIRECTIVE: &str = "lapin::returned_messages=off";

/// Starts logging to the standard error stream, once for the process.
///
/// # Errors
/// If the level cannot be read, or logging was started before.
pub fn start(config: &TelemetryConfig) -> Result<(), String> {
    let level = format!("{},{FORCED_DIRECTIVE}", config.log_filter);
    let filter = EnvFilter::try_new(level)
        .map_err(|e| format!("telemetry.log_filter `{}` cannot be read: {e}", config.log_filter))?;
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
