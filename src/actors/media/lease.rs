//! A room's place on its media thread.

use std::rc::Rc;
use std::time::Instant;

use media::SfuRoom;

use super::MediaServiceConfig;
use super::dispatcher::{RoomDispatcher, RoomNotice, now};

/// Holds a room on the thread on which it was made; the room goes when this is dropped.
pub struct HostedRoomGuard {
    hub: Rc<RoomDispatcher>,
    number: u32,
}

impl HostedRoomGuard {
    /// A new room on this thread; `ears` is called there, and must not wait.
    pub fn new(settings: &MediaServiceConfig, ears: impl Fn(RoomNotice) + 'static) -> Self {
        let hub = RoomDispatcher::current_thread();
        let candidates = hub.candidates();
        let build = |number| {
            let identity = settings.identity.clone();
            SfuRoom::new(now(), number, identity, candidates, settings.room.clone())
        };
        let number = hub.insert_room(build, ears);
        Self { hub, number }
    }

    /// Whether clients can reach it: its thread has sockets.
    pub fn is_reachable(&self) -> bool {
        !self.hub.candidates().is_empty()
    }

    /// Does something with the room, then sends and tells what came of it.
    ///
    /// # Panics
    /// If the room has panicked before: its owner is being told and must not go on.
    pub fn with<T>(&self, deed: impl FnOnce(&mut SfuRoom, Instant) -> T) -> T {
        #[expect(clippy::expect_used, reason = "a failed room's owner fails with it")]
        self.hub.with(self.number, deed).expect("the room has failed")
    }
}

impl Drop for HostedRoomGuard {
    fn drop(&mut self) {
        self.hub.remove_room(self.number);
    }
}
