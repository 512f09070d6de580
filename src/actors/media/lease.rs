//! The guard of an SFU room on its media thread.

use std::rc::Rc;
use std::time::Instant;

use media::SfuRoom;

use super::MediaServiceConfig;
use super::dispatcher::{RoomDispatcher, RoomNotice, now};

/// Owns an SFU room on the thread on which it was created; dropping it removes the room.
pub struct HostedRoomGuard {
    dispatcher: Rc<RoomDispatcher>,
    number: u32,
}

impl HostedRoomGuard {
    /// Creates a room on this thread; `on_notice` is called on this thread and must not block.
    pub fn new(config: &MediaServiceConfig, on_notice: impl Fn(RoomNotice) + 'static) -> Self {
        let dispatcher = RoomDispatcher::current_thread();
        let candidates = dispatcher.candidates();
        let build = |number| {
            let identity = config.certificate.clone();
            SfuRoom::new(now(), number, identity, candidates, config.room.clone())
        };
        let number = dispatcher.insert_room(build, on_notice);
        Self { dispatcher, number }
    }

    /// Whether clients can reach the room: its thread has sockets.
    pub fn is_reachable(&self) -> bool {
        !self.dispatcher.candidates().is_empty()
    }

    /// Runs `f` with the room, then sends its packets and reports its events.
    ///
    /// # Panics
    /// If the room has panicked before: its owner is being notified and must not continue.
    pub fn with<T>(&self, f: impl FnOnce(&mut SfuRoom, Instant) -> T) -> T {
        #[expect(clippy::expect_used, reason = "a failed room's owner fails with it")]
        self.dispatcher.with(self.number, f).expect("the room has failed")
    }
}

impl Drop for HostedRoomGuard {
    fn drop(&mut self) {
        self.dispatcher.remove_room(self.number);
    }
}
