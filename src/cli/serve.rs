//! `securevox serve`: runs until a signal, or a failure that restarting did not fix.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, print_line};
use crate::app::{self, NodeRuntime};
use crate::config::Config;
use crate::telemetry::logging;

/// Runs the server.
pub(super) fn serve(config: Config) -> Result<(), CliError> {
    logging::start(&config.telemetry).map_err(|message| CliError(message, super::EX_CONFIG))?;
    std::panic::set_hook(Box::new(|panic| {
        // The supervisor logs whose panic it was; this logs where.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(panic.location = location, panic.text = panic.payload_as_str(), "panic");
    }));
    actix_web::rt::System::new().block_on(async move {
        let deadline = config.node.shutdown_timeout();
        let public = config.http.public_url.clone();
        let node = app::start(config).await?;
        let _ = print_welcome(&node, &public); // a closed terminal must not stop a server
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = node.wants_to_leave() => {}
            exit = node.failed() => {
                return Err(CliError(format!("the supervision tree ended: {exit}"), 70)); // EX_SOFTWARE
            }
        }
        // A second deadline above the tree's own, so that the process ends in any case.
        let stopped = tokio::time::timeout(deadline + Duration::from_secs(5), node.stop()).await;
        tracing::info!(clean = stopped.is_ok(), "stopped");
        match stopped {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(CliError("the node did not stop in time and was terminated".to_owned(), 1))
            }
        }
    })
}

/// Prints where to open the server and how to log in.
fn print_welcome(node: &NodeRuntime, public: &str) -> Result<(), CliError> {
    let public = public.trim_end_matches('/');
    tracing::info!(http.address = %node.address(), "ready");
    print_line(&format!(
        "SecureVOX {} is ready at {public} (listening on {})",
        env!("CARGO_PKG_VERSION"),
        node.address()
    ))?;
    match &node.setup {
        Some(token) => {
            print_line(
                "There is no administrator yet. Open this link once to create the first one:",
            )?;
            print_line(&format!("  {public}/setup#{}", token.expose()))?;
        }
        None => print_line("Log in with the phone number and password of an account.")?,
    }
    print_line(&format!(
        "Try the chat at {public}/demo/chat, a call at {public}/demo/call; read the API reference at {public}/api/docs."
    ))
}
