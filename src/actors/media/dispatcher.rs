//! The SFU rooms of one media thread, and the dispatching between them and its sockets.
//!
//! Everything here stays on that thread and is reached from nowhere else, so it needs no lock and
//! no message.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use media::path::{NetworkPath, TransmitBuffer, TransportProtocol};
use media::{LocalCandidate, RoomCounters, RoomEvent, RouteUpdate, SfuRoom, room_of};
use metrics::{Counter, counter};
use tokio::sync::Notify;

use super::metrics_export::export_counters;
use super::sockets::MediaSockets;
use crate::telemetry::metrics::{MEDIA_DROPPED, MEDIA_PACKETS};

thread_local! {
    static DISPATCHER: Rc<RoomDispatcher> = Rc::new(RoomDispatcher::new());
}

/// A notice to the owner of a room.
pub enum RoomNotice {
    /// Events of the room.
    Events(Vec<RoomEvent>),
    /// The room panicked with this payload and was removed.
    Failed(Box<dyn Any + Send>),
}

struct HostedRoom {
    room: RefCell<SfuRoom>,
    on_notice: Box<dyn Fn(RoomNotice)>,
    /// Whether it may have packets to send or events to report.
    touched: Cell<bool>,
    /// The counters already exported to the metrics.
    exported: Cell<RoomCounters>,
}

impl HostedRoom {
    fn export(&self) {
        if let Ok(room) = self.room.try_borrow() {
            let now = *room.counters();
            export_counters(&self.exported.replace(now), &now);
        }
    }
}

/// The rooms of this thread.
pub(super) struct RoomDispatcher {
    rooms: RefCell<HashMap<u32, Rc<HostedRoom>>>,
    paths: RefCell<HashMap<NetworkPath, u32>>,
    touched: RefCell<Vec<u32>>,
    next: Cell<u32>,
    sockets: RefCell<Option<Rc<MediaSockets>>>,
    out: RefCell<TransmitBuffer>,
    /// Notified when a room was changed from outside, as its next timeout may be sooner.
    pub(super) wake: Notify,
    received: Counter,
    sent: Counter,
    without_room: Counter,
}

impl RoomDispatcher {
    fn new() -> Self {
        Self {
            rooms: RefCell::default(),
            paths: RefCell::default(),
            touched: RefCell::default(),
            next: Cell::new(1),
            sockets: RefCell::default(),
            out: RefCell::default(),
            wake: Notify::new(),
            received: counter!(MEDIA_PACKETS, "direction" => "in"),
            sent: counter!(MEDIA_PACKETS, "direction" => "out"),
            without_room: counter!(MEDIA_DROPPED, "reason" => "no-room"),
        }
    }

    /// The dispatcher of the current thread.
    pub(super) fn current_thread() -> Rc<Self> {
        DISPATCHER.with(Rc::clone)
    }

    /// Sets or clears the sockets of this thread.
    pub(super) fn set_sockets(&self, sockets: Option<Rc<MediaSockets>>) {
        *self.sockets.borrow_mut() = sockets;
    }

    /// The candidates under which clients reach this thread; empty while it has no sockets.
    pub(super) fn candidates(&self) -> Vec<LocalCandidate> {
        self.sockets.borrow().as_ref().map(|s| s.candidates().to_vec()).unwrap_or_default()
    }

    /// Adds a room, which is built with the number it is given.
    pub(super) fn insert_room(
        &self,
        build: impl FnOnce(u32) -> SfuRoom,
        on_notice: impl Fn(RoomNotice) + 'static,
    ) -> u32 {
        let mut rooms = self.rooms.borrow_mut();
        let mut number = self.next.get();
        while rooms.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        self.next.set(number.wrapping_add(1));
        let room = RefCell::new(build(number));
        let hosted_room = HostedRoom {
            room,
            on_notice: Box::new(on_notice),
            touched: Cell::new(false),
            exported: Cell::default(),
        };
        rooms.insert(number, Rc::new(hosted_room));
        number
    }

    /// Removes a room and the paths to it.
    pub(super) fn remove_room(&self, number: u32) {
        let room = self.rooms.borrow_mut().remove(&number);
        if let Some(room) = &room {
            room.export();
        }
        self.paths.borrow_mut().retain(|_, room| *room != number);
        drop(room); // dropped after the tables are no longer borrowed, as its drop may access them
    }

    /// Runs `f` with a room, then sends its packets and reports its events; `None` if there is
    /// no such room.
    pub(super) fn with<T>(
        &self,
        number: u32,
        f: impl FnOnce(&mut SfuRoom, Instant) -> T,
    ) -> Option<T> {
        let hosted_room = self.rooms.borrow().get(&number).cloned()?;
        let now = now();
        let done = f(&mut hosted_room.room.borrow_mut(), now);
        self.touch(number, &hosted_room);
        self.flush(now);
        self.wake.notify_one();
        Some(done)
    }

    fn touch(&self, number: u32, hosted_room: &HostedRoom) {
        if !hosted_room.touched.replace(true) {
            self.touched.borrow_mut().push(number);
        }
    }

    /// Handles one datagram, which is decrypted in place.
    pub(super) fn receive(&self, now: Instant, path: NetworkPath, datagram: &mut [u8]) {
        self.received.increment(1);
        // A connectivity check names its room: a known address may belong to a new room.
        let checked_room =
            if matches!(datagram.first(), Some(0..=3)) { room_of(datagram) } else { None };
        let number = checked_room.or_else(|| self.paths.borrow().get(&path).copied());
        let found = number.and_then(|n| Some((n, self.rooms.borrow().get(&n).cloned()?)));
        let Some((number, hosted_room)) = found else { return self.without_room.increment(1) };
        self.touch(number, &hosted_room);
        self.guard(number, &hosted_room, |room| {
            #[cfg(feature = "fault-injection")]
            panic_at_marked_datagram(datagram);
            room.receive(now, path, datagram);
        });
    }

    /// The earliest timeout of all rooms.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let rooms = self.rooms.borrow();
        rooms
            .values()
            .filter_map(|hosted_room| Some(hosted_room.room.try_borrow().ok()?.next_timeout()))
            .min()
    }

    /// Calls the rooms whose timeout has passed.
    pub(super) fn timeouts(&self, now: Instant) {
        let due = |hosted_room: &HostedRoom| hosted_room.room.borrow().next_timeout() <= now;
        let rooms = self.rooms.borrow();
        let due_rooms: Vec<_> =
            rooms.iter().filter(|(_, t)| due(t)).map(|(n, t)| (*n, Rc::clone(t))).collect();
        drop(rooms);
        for (number, hosted_room) in due_rooms {
            self.touch(number, &hosted_room);
            self.guard(number, &hosted_room, |room| room.timeout(now));
        }
    }

    /// Sends the packets and reports the events of the touched rooms.
    pub(super) fn flush(&self, now: Instant) {
        let mut touched = std::mem::take(&mut *self.touched.borrow_mut());
        for number in touched.drain(..) {
            let Some(hosted_room) = self.rooms.borrow().get(&number).cloned() else { continue };
            hosted_room.touched.set(false);
            self.guard(number, &hosted_room, |room| {
                self.drain(number, room, now, &hosted_room.on_notice)
            });
        }
        let mut touched_again = self.touched.borrow_mut();
        if touched_again.is_empty() {
            *touched_again = touched; // keeps the allocated memory
        }
    }

    fn drain(&self, number: u32, room: &mut SfuRoom, now: Instant, on_notice: &dyn Fn(RoomNotice)) {
        let mut out = self.out.borrow_mut();
        loop {
            out.clear();
            let has_more = room.transmit(now, &mut out);
            self.send(&out);
            if !has_more {
                break;
            }
        }
        while let Some(route) = room.route() {
            match route {
                RouteUpdate::Added(path) => self.paths.borrow_mut().insert(path, number),
                RouteUpdate::Removed(path) => self.paths.borrow_mut().remove(&path),
            };
        }
        let mut events = Vec::new();
        while let Some(event) = room.event() {
            events.push(event);
        }
        if !events.is_empty() {
            on_notice(RoomNotice::Events(events));
        }
    }

    fn send(&self, out: &TransmitBuffer) {
        if out.datagrams().is_empty() {
            return;
        }
        self.sent.increment(out.datagrams().len() as u64);
        if let Some(sockets) = &*self.sockets.borrow() {
            sockets.send(out);
        }
    }

    /// Runs `f` with a room; a panic ends that room and no other.
    fn guard(&self, number: u32, hosted_room: &Rc<HostedRoom>, f: impl FnOnce(&mut SfuRoom)) {
        let Ok(mut room) = hosted_room.room.try_borrow_mut() else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut room)));
        drop(room);
        if let Err(panic) = outcome {
            self.remove_room(number);
            (hosted_room.on_notice)(RoomNotice::Failed(panic));
        }
    }

    /// Exports the counters of all rooms to the metrics.
    pub(super) fn export(&self) {
        self.rooms.borrow().values().for_each(|hosted_room| hosted_room.export());
    }

    /// Whether a room has accepted this path.
    pub(super) fn has_path(&self, path: NetworkPath) -> bool {
        self.paths.borrow().contains_key(&path)
    }

    /// The TCP connection of a client was closed.
    pub(super) fn remove_tcp_path(&self, remote: SocketAddr) {
        self.paths.borrow_mut().remove(&NetworkPath { transport: TransportProtocol::Tcp, remote });
    }
}

/// The time of media, taken from tokio so that simulations control it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Panics at a datagram that ends with the value of `SECUREVOX_PANIC_DATAGRAM_SUFFIX`, as a fault
/// in the code of a room would. Only tests are built with the feature.
#[cfg(feature = "fault-injection")]
#[expect(clippy::disallowed_methods, reason = "a setting of tests")]
fn panic_at_marked_datagram(datagram: &[u8]) {
    static SUFFIX: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("SECUREVOX_PANIC_DATAGRAM_SUFFIX").ok());
    if let Some(suffix) = SUFFIX.as_deref()
        && datagram.ends_with(suffix.as_bytes())
    {
        panic!("injected fault");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use media::{DtlsCertificate, ParticipantId, RoomConfig};

    use super::*;

    /// The panics that were reported, each with its owner.
    type Panics = Rc<RefCell<Vec<(u32, String)>>>;

    fn two_rooms() -> (RoomDispatcher, [u32; 2], Panics) {
        let (dispatcher, panics) = (RoomDispatcher::new(), Panics::default());
        let identity = Arc::new(DtlsCertificate::generate().unwrap());
        let numbers = [0, 1].map(|owner| {
            let (identity, panics) = (identity.clone(), panics.clone());
            dispatcher.insert_room(
                |number| SfuRoom::new(now(), number, identity, Vec::new(), RoomConfig::default()),
                move |notice| {
                    if let RoomNotice::Failed(panic) = notice {
                        let text = panic.downcast_ref::<&str>().copied().unwrap_or_default();
                        panics.borrow_mut().push((owner, text.to_owned()));
                    }
                },
            )
        });
        (dispatcher, numbers, panics)
    }

    #[test]
    fn panic_in_packet_handling_closes_only_that_room() {
        let (dispatcher, [first, second], panics) = two_rooms();
        let hosted_room = dispatcher.rooms.borrow().get(&first).cloned().unwrap();
        let path = NetworkPath {
            transport: TransportProtocol::Udp,
            remote: "192.0.2.1:9".parse().unwrap(),
        };
        dispatcher.paths.borrow_mut().insert(path, first);
        dispatcher.guard(first, &hosted_room, |_| std::panic::panic_any("a packet"));

        assert_eq!(*panics.borrow(), [(0, "a packet".to_owned())]);
        assert!(!dispatcher.has_path(path), "no packet is dispatched to it");
        assert!(dispatcher.with(first, |_, _| ()).is_none());
        dispatcher.with(second, |room, now| room.join(now, ParticipantId(1))).unwrap();
        assert_eq!(
            dispatcher.with(second, |room, _| room.participants()).unwrap(),
            [ParticipantId(1)]
        );
    }
}
