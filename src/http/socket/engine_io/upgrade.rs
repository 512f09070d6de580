//! Upgrade from long polling to a WebSocket: the socket probes, polling pauses, the socket takes
//! over.

use std::time::Duration;

use actix::AsyncContext;

use super::super::packet::EngineIoPacket;
use super::{
    EngineIoOutbound, EngineIoSession, EngineIoSocketCommand, EngineIoSocketHandle,
    EngineIoTransport,
};
use crate::actors::delivery::CloseReason;
use crate::actors::supervision::SupervisedContext;

/// An upgrade that is not completed in this time is abandoned, and polling continues.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// A poll after the probe is answered after this delay. The client gets time to receive the probe
/// response and to pause, so that one whose WebSocket is stalled does not poll in a loop.
const PROBE_POLL_DELAY: Duration = Duration::from_millis(100);

/// A WebSocket that is probing for an upgrade.
pub(super) struct UpgradeProbe {
    pub(super) number: u64,
    pub(super) socket: EngineIoSocketHandle,
    probed: bool,
}

impl EngineIoSession {
    /// Starts an upgrade with a new WebSocket.
    pub(super) fn start_upgrade(
        &mut self,
        number: u64,
        socket: EngineIoSocketHandle,
        ctx: &mut SupervisedContext<Self>,
    ) {
        self.upgrade_probe = Some(UpgradeProbe { number, socket, probed: false });
        ctx.run_later(UPGRADE_TIMEOUT, move |session, _| {
            if let Some(expired) = session.upgrade_probe.take_if(|probe| probe.number == number) {
                expired.socket.close(CloseReason::PingTimeout);
            }
        });
    }

    pub(super) fn on_probe_packet(
        &mut self,
        number: u64,
        text: &str,
        ctx: &mut SupervisedContext<Self>,
    ) {
        match EngineIoPacket::parse(text) {
            Some(EngineIoPacket::Ping("probe")) => {
                if !self.admit_packet(ctx) {
                    return;
                }
                if let Some(probe) = &mut self.upgrade_probe {
                    probe.probed = true;
                    // A closed socket reports itself.
                    let _ = probe.socket.send(EngineIoSocketCommand::Text("3probe".into()));
                }
                self.release_poll(ctx);
            }
            Some(EngineIoPacket::Upgrade) => {
                let Some(probe) = self.upgrade_probe.take() else { return };
                if let EngineIoTransport::Polling(Some(poll)) = std::mem::replace(
                    &mut self.transport,
                    EngineIoTransport::WebSocket(number, probe.socket),
                ) {
                    let _ = poll.send(Ok("6".to_owned())); // the client may be gone
                }
                for packet in std::mem::take(&mut self.queue) {
                    self.enqueue(packet, ctx);
                }
            }
            _ => {
                if let Some(probe) = self.upgrade_probe.take() {
                    probe.socket.close(CloseReason::InvalidFrame);
                }
            }
        }
    }

    /// Answers a new poll soon if the client is upgrading.
    pub(super) fn release_poll_soon(&self, ctx: &mut SupervisedContext<Self>) {
        if self.is_upgrading() {
            ctx.run_later(PROBE_POLL_DELAY, |session, ctx| {
                if session.is_upgrading() {
                    session.release_poll(ctx);
                }
            });
        }
    }

    fn is_upgrading(&self) -> bool {
        self.upgrade_probe.as_ref().is_some_and(|probe| probe.probed)
    }

    /// Answers the waiting poll, since the client completes the upgrade only then.
    fn release_poll(&mut self, ctx: &mut SupervisedContext<Self>) {
        if matches!(self.transport, EngineIoTransport::Polling(Some(_))) {
            if !self.queue.iter().any(|packet| matches!(packet, EngineIoOutbound::Text(_))) {
                self.queue.push_back(EngineIoOutbound::Text("6".into()));
            }
            self.flush(ctx);
        }
    }
}
