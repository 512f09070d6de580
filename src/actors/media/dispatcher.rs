//! The rooms of one media thread, and the way between them and its sockets.
//!
//! Everything here lives on that thread and is reached from nowhere else: no lock, no message.

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

use super::ice_mux::MediaSockets;
use super::metrics_export::export_counters;
use crate::telemetry::metrics::{MEDIA_DROPPED, MEDIA_PACKETS};

/// What makes a room panic at a packet, as a fault in its code would: for tests, and not in what is
/// released.
#[cfg(debug_assertions)]
const FAULT: &[u8] = b"panic at this packet";

thread_local! {
    static HUB: Rc<RoomDispatcher> = Rc::new(RoomDispatcher::new());
}

/// What a room's owner hears.
pub enum RoomNotice {
    /// What happened.
    Events(Vec<RoomEvent>),
    /// The room panicked, with this; it is no more.
    Failed(Box<dyn Any + Send>),
}

struct HostedRoom {
    room: RefCell<SfuRoom>,
    ears: Box<dyn Fn(RoomNotice)>,
    /// It may have something to send or to tell.
    touched: Cell<bool>,
    /// What of its counters is in the metrics.
    counted: Cell<RoomCounters>,
}

impl HostedRoom {
    fn count(&self) {
        if let Ok(room) = self.room.try_borrow() {
            let now = *room.counters();
            export_counters(&self.counted.replace(now), &now);
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
    /// A room was changed from outside: what is due next may be due sooner.
    pub(super) wake: Notify,
    received: Counter,
    sent: Counter,
    homeless: Counter,
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
            homeless: counter!(MEDIA_DROPPED, "reason" => "no-room"),
        }
    }

    /// The hub of this thread.
    pub(super) fn current_thread() -> Rc<Self> {
        HUB.with(Rc::clone)
    }

    /// The sockets of this thread, or that there are none.
    pub(super) fn set_sockets(&self, sockets: Option<Rc<MediaSockets>>) {
        *self.sockets.borrow_mut() = sockets;
    }

    /// Where clients reach this thread; empty while it has no sockets.
    pub(super) fn candidates(&self) -> Vec<LocalCandidate> {
        self.sockets.borrow().as_ref().map(|s| s.candidates().to_vec()).unwrap_or_default()
    }

    /// Takes a room in, which is built with the number it gets.
    pub(super) fn insert_room(
        &self,
        build: impl FnOnce(u32) -> SfuRoom,
        ears: impl Fn(RoomNotice) + 'static,
    ) -> u32 {
        let mut rooms = self.rooms.borrow_mut();
        let mut number = self.next.get();
        while rooms.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        self.next.set(number.wrapping_add(1));
        let room = RefCell::new(build(number));
        let tenant = HostedRoom {
            room,
            ears: Box::new(ears),
            touched: Cell::new(false),
            counted: Cell::default(),
        };
        rooms.insert(number, Rc::new(tenant));
        number
    }

    /// Forgets a room and the ways to it.
    pub(super) fn remove_room(&self, number: u32) {
        let room = self.rooms.borrow_mut().remove(&number);
        if let Some(room) = &room {
            room.count();
        }
        self.paths.borrow_mut().retain(|_, room| *room != number);
        drop(room); // after the tables are free again: what it drops may look into them
    }

    /// Does something with a room, then sends and tells what came of it.
    pub(super) fn with<T>(
        &self,
        number: u32,
        deed: impl FnOnce(&mut SfuRoom, Instant) -> T,
    ) -> Option<T> {
        let tenant = self.rooms.borrow().get(&number).cloned()?;
        let now = now();
        let done = deed(&mut tenant.room.borrow_mut(), now);
        self.touch(number, &tenant);
        self.flush(now);
        self.wake.notify_one();
        Some(done)
    }

    fn touch(&self, number: u32, tenant: &HostedRoom) {
        if !tenant.touched.replace(true) {
            self.touched.borrow_mut().push(number);
        }
    }

    /// Takes one datagram, which is decrypted where it lies.
    pub(super) fn receive(&self, now: Instant, path: NetworkPath, datagram: &mut [u8]) {
        self.received.increment(1);
        // A connectivity check names its room: an old address may speak to a new one.
        let named = if matches!(datagram.first(), Some(0..=3)) { room_of(datagram) } else { None };
        let number = named.or_else(|| self.paths.borrow().get(&path).copied());
        let found = number.and_then(|n| Some((n, self.rooms.borrow().get(&n).cloned()?)));
        let Some((number, tenant)) = found else { return self.homeless.increment(1) };
        self.touch(number, &tenant);
        self.guard(number, &tenant, |room| {
            #[cfg(debug_assertions)]
            assert!(!datagram.ends_with(FAULT), "a packet that asks for it");
            room.receive(now, path, datagram);
        });
    }

    /// When a room wants to be called next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let rooms = self.rooms.borrow();
        rooms
            .values()
            .filter_map(|tenant| Some(tenant.room.try_borrow().ok()?.next_timeout()))
            .min()
    }

    /// Calls the rooms whose time has come.
    pub(super) fn timeouts(&self, now: Instant) {
        let due = |tenant: &HostedRoom| tenant.room.borrow().next_timeout() <= now;
        let rooms = self.rooms.borrow();
        let late: Vec<_> =
            rooms.iter().filter(|(_, t)| due(t)).map(|(n, t)| (*n, Rc::clone(t))).collect();
        drop(rooms);
        for (number, tenant) in late {
            self.touch(number, &tenant);
            self.guard(number, &tenant, |room| room.timeout(now));
        }
    }

    /// Sends and tells what the touched rooms have.
    pub(super) fn flush(&self, now: Instant) {
        let mut touched = std::mem::take(&mut *self.touched.borrow_mut());
        for number in touched.drain(..) {
            let Some(tenant) = self.rooms.borrow().get(&number).cloned() else { continue };
            tenant.touched.set(false);
            self.guard(number, &tenant, |room| self.drain(number, room, now, &tenant.ears));
        }
        let mut list = self.touched.borrow_mut();
        if list.is_empty() {
            *list = touched; // its memory
        }
    }

    fn drain(&self, number: u32, room: &mut SfuRoom, now: Instant, ears: &dyn Fn(RoomNotice)) {
        let mut out = self.out.borrow_mut();
        loop {
            out.clear();
            let more = room.transmit(now, &mut out);
            self.send(&out);
            if !more {
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
            ears(RoomNotice::Events(events));
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

    /// A panic inside a room ends that room and no other.
    fn guard(&self, number: u32, tenant: &Rc<HostedRoom>, deed: impl FnOnce(&mut SfuRoom)) {
        let Ok(mut room) = tenant.room.try_borrow_mut() else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| deed(&mut room)));
        drop(room);
        if let Err(panic) = outcome {
            self.remove_room(number);
            (tenant.ears)(RoomNotice::Failed(panic));
        }
    }

    /// Brings what rooms count about themselves to the metrics.
    pub(super) fn count(&self) {
        self.rooms.borrow().values().for_each(|tenant| tenant.count());
    }

    /// Whether a room has let this path in.
    pub(super) fn knows(&self, path: NetworkPath) -> bool {
        self.paths.borrow().contains_key(&path)
    }

    /// A client's TCP connection is gone.
    pub(super) fn lost(&self, remote: SocketAddr) {
        self.paths.borrow_mut().remove(&NetworkPath { transport: TransportProtocol::Tcp, remote });
    }
}

/// The time of media: that of tokio, so that simulations own it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use media::{DtlsCertificate, ParticipantId, RoomConfig};

    use super::*;

    /// Which owner heard of which panic.
    type Panics = Rc<RefCell<Vec<(u32, String)>>>;

    fn two_rooms() -> (RoomDispatcher, [u32; 2], Panics) {
        let (hub, heard) = (RoomDispatcher::new(), Panics::default());
        let identity = Arc::new(DtlsCertificate::generate().unwrap());
        let numbers = [0, 1].map(|owner| {
            let (identity, heard) = (identity.clone(), heard.clone());
            hub.insert_room(
                |number| SfuRoom::new(now(), number, identity, Vec::new(), RoomConfig::default()),
                move |what| {
                    if let RoomNotice::Failed(panic) = what {
                        let text = panic.downcast_ref::<&str>().copied().unwrap_or_default();
                        heard.borrow_mut().push((owner, text.to_owned()));
                    }
                },
            )
        });
        (hub, numbers, heard)
    }

    #[test]
    fn panic_in_packet_handling_closes_only_that_room() {
        let (hub, [first, second], heard) = two_rooms();
        let tenant = hub.rooms.borrow().get(&first).cloned().unwrap();
        let path = NetworkPath {
            transport: TransportProtocol::Udp,
            remote: "192.0.2.1:9".parse().unwrap(),
        };
        hub.paths.borrow_mut().insert(path, first);
        hub.guard(first, &tenant, |_| std::panic::panic_any("a packet"));

        assert_eq!(*heard.borrow(), [(0, "a packet".to_owned())]);
        assert!(!hub.knows(path), "no packet finds the way to it");
        assert!(hub.with(first, |_, _| ()).is_none());
        hub.with(second, |room, now| room.join(now, ParticipantId(1))).unwrap();
        assert_eq!(hub.with(second, |room, _| room.participants()).unwrap(), [ParticipantId(1)]);
    }
}
