//! From polling to a WebSocket: a candidate probes, polling pauses, the candidate takes over.

use std::time::Duration;

use actix::AsyncContext;

use super::super::engine_io_socket::{EngineIoSocketCommand, EngineIoSocketHandle};
use super::super::packet::EngineIoPacket;
use super::{EngineIoOutbound, EngineIoSession, EngineIoTransport};
use crate::actors::sessions::CloseReason;
use crate::actors::supervision::SupervisedContext;

/// A candidate that has not taken over by then is closed, and polling goes on.
const DEADLINE: Duration = Duration::from_secs(10);
/// A poll that comes after the probe is held this long: time for the client to learn of the answer
/// and to pause, so that one whose WebSocket is stalled does not poll in a circle.
const PAUSE: Duration = Duration::from_millis(100);

/// A WebSocket that has asked to take over, until it does.
pub(super) struct UpgradeProbe {
    pub(super) number: u64,
    pub(super) pipe: EngineIoSocketHandle,
    probed: bool,
}

impl EngineIoSession {
    /// Lets a WebSocket try to take over.
    pub(super) fn try_out(
        &mut self,
        number: u64,
        pipe: EngineIoSocketHandle,
        ctx: &mut SupervisedContext<Self>,
    ) {
        self.candidate = Some(UpgradeProbe { number, pipe, probed: false });
        ctx.run_later(DEADLINE, move |engine, _| {
            if let Some(late) = engine.candidate.take_if(|candidate| candidate.number == number) {
                late.pipe.close(CloseReason::PingTimeout);
            }
        });
    }

    pub(super) fn candidate_says(
        &mut self,
        number: u64,
        text: &str,
        ctx: &mut SupervisedContext<Self>,
    ) {
        match EngineIoPacket::parse(text) {
            Some(EngineIoPacket::Ping("probe")) => {
                if !self.counts(ctx) {
                    return;
                }
                if let Some(candidate) = &mut self.candidate {
                    candidate.probed = true;
                    let _ = candidate.pipe.send(EngineIoSocketCommand::Text("3probe".into())); // gone: it says so
                }
                self.release(ctx);
            }
            Some(EngineIoPacket::Upgrade) => {
                let Some(candidate) = self.candidate.take() else { return };
                if let EngineIoTransport::Polling(Some(poll)) = std::mem::replace(
                    &mut self.way,
                    EngineIoTransport::Pipe(number, candidate.pipe),
                ) {
                    let _ = poll.send(Ok("6".to_owned())); // gone already is as good
                }
                for out in std::mem::take(&mut self.waiting) {
                    self.out(out, ctx);
                }
            }
            _ => {
                if let Some(candidate) = self.candidate.take() {
                    candidate.pipe.close(CloseReason::InvalidFrame);
                }
            }
        }
    }

    /// A poll has come; if it is one of a client that is about to move, it must not wait for long.
    pub(super) fn release_soon(&self, ctx: &mut SupervisedContext<Self>) {
        if self.is_moving() {
            ctx.run_later(PAUSE, |engine, ctx| {
                if engine.is_moving() {
                    engine.release(ctx);
                }
            });
        }
    }

    fn is_moving(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.probed)
    }

    /// Ends the poll that waits, if one does: the client does not move over before.
    fn release(&mut self, ctx: &mut SupervisedContext<Self>) {
        if matches!(self.way, EngineIoTransport::Polling(Some(_))) {
            if !self.waiting.iter().any(|out| matches!(out, EngineIoOutbound::Text(_))) {
                self.waiting.push_back(EngineIoOutbound::Text("6".into()));
            }
            self.flush(ctx);
        }
    }
}
