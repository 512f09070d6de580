//! Calls: the way to every room, and rooms themselves.

mod board;
mod requests;
mod room;
#[cfg(test)]
mod tests;

pub use room::Room;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::ids::{CallId, ConversationId, SessionId, UserId};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use self::board::{Board, Found, Key, Most, Reserved};
use self::requests::TRIES;
use self::room::{Ask, Finish, Lost, Seed, What};
use super::media::MEDIA;
use super::sessions::Switchboard;
use super::supervision::{Nursery, Place, Ref};
use crate::domain::accounts::Me;
use crate::domain::calls::{Among, Begin, Callee, Calls as Deeds, Error, Seat, Shape, person};
use crate::protocol::calls::{self as wire, CallStarted, IncomingCall, Mode};

/// Finds, begins and asks calls; cheap to clone.
#[derive(Clone)]
pub struct Calls {
    nursery: Nursery<Room>,
    board: Board,
    /// Places for devices in all calls.
    places: Arc<Semaphore>,
    switchboard: Switchboard,
    /// The deeds of calls.
    pub deeds: Deeds,
    media: super::media::Settings,
    next_thread: Arc<AtomicUsize>,
}

impl Calls {
    /// Puts the parts together.
    pub fn new(
        nursery: Nursery<Room>,
        switchboard: Switchboard,
        deeds: Deeds,
        media: super::media::Settings,
    ) -> Self {
        let places = Arc::new(Semaphore::new(deeds.config().max_in_calls));
        Self {
            nursery,
            board: Board::default(),
            places,
            switchboard,
            deeds,
            media,
            next_thread: Arc::default(),
        }
    }

    /// Begins a call, or finds the one that goes on between the same people: whoever is called
    /// there says yes by calling.
    async fn start(&self, me: &Me, start: &wire::StartCall) -> Result<CallStarted, Error> {
        let Among { shape, conversation, others } = self.deeds.among(me, start).await?;
        let (key, whom) = match (shape, conversation, &others[..]) {
            (Shape::Direct, _, [other]) => {
                (Key::Pair(me.user.min(*other), me.user.max(*other)), other.to_string())
            }
            (_, Some(id), _) => (Key::Conversation(id), id.to_string()),
            _ => return Err(Error::OneOf),
        };
        let ring_timeout = self.deeds.config().ring_seconds;
        for _ in 0..TRIES {
            let callee = |user: &UserId| Callee { user: *user, busy: self.is_busy(*user, None) };
            let begin = Begin {
                id: CallId::new(),
                shape,
                conversation,
                name: None,
                by: person(me),
                media: start.media,
                callees: others.iter().map(callee).collect(),
            };
            let found = match self.reserve(me, begin.id, key.clone(), conversation) {
                Ok(place) => {
                    self.deeds.ring(me.user, &whom).await?;
                    let call_id = begin.id;
                    let mode = if shape == Shape::Direct { Mode::P2p } else { Mode::Sfu };
                    self.begin(place, begin).await?;
                    return Ok(CallStarted { call_id, mode, ring_timeout });
                }
                Err(found) => found?,
            };
            let call_id = found.id;
            let room = found.room().await?;
            match ask(&room, seat(me, SessionId::new()), me, What::Accept).await {
                // It has just ended: another begins.
                Err(Error::NoSuchCall) if self.board.by_id(call_id).is_none() => {}
                // It rings for them, or they may join: a member who came later was not called.
                Ok(_) | Err(Error::NotRinging | Error::NoSuchCall) => {
                    let mode = room.ask(room::Mode).await.map_err(|_| Error::Unavailable)?;
                    return Ok(CallStarted { call_id, mode, ring_timeout });
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unavailable)
    }

    /// Brings the room of a reserved call to life, after it is written down.
    async fn begin(&self, reserved: Reserved, begin: Begin) -> Result<Ref<Room>, Error> {
        let id = begin.id;
        self.deeds.write_begin(&begin).await?;
        let thread = self.next_thread.fetch_add(1, Ordering::Relaxed);
        let seed = Arc::new(Seed::new(
            begin,
            self.deeds.clone(),
            self.switchboard.clone(),
            self.board.clone(),
            self.media.clone(),
        ));
        let place = Place::Thread(MEDIA, thread);
        let factory = move |ctx: &mut _| Room::new(seed.clone(), ctx);
        match self.nursery.start_on(place, &id.to_string(), factory).await {
            Ok(room) => {
                reserved.begun(room.clone());
                Ok(room)
            }
            Err(error) => {
                tracing::warn!(%error, "a room did not start");
                self.deeds.write_failed(id).await?;
                Err(Error::Unavailable)
            }
        }
    }

    /// The room of the session of this name; a new one if there is none.
    async fn session_room(&self, me: &Me, name: &str) -> Result<Ref<Room>, Error> {
        let begin = Begin {
            id: CallId::new(),
            shape: Shape::Session,
            conversation: None,
            name: Some(name.to_owned()),
            by: person(me),
            media: wire::Media::Video,
            callees: Vec::new(),
        };
        let key = Key::Name(name.to_owned());
        match self.reserve(me, begin.id, key, None) {
            Ok(place) => self.begin(place, begin).await,
            Err(found) => found?.room().await,
        }
    }

    /// The place of a new call on the board.
    fn reserve(
        &self,
        me: &Me,
        id: CallId,
        key: Key,
        conversation: Option<ConversationId>,
    ) -> Result<Reserved, Result<Found, Error>> {
        let config = self.deeds.config();
        let most = Most { all: config.max_calls, per_person: config.max_per_person };
        self.board.reserve(id, key, me.user, conversation, most)
    }

    /// Whether this person is in another call, with a device that is there.
    fn is_busy(&self, user: UserId, but: Option<CallId>) -> bool {
        let mut seats = self.board.seats_of(user, but).into_iter();
        seats.any(|seat| self.switchboard.is_attached(seat.user, seat.session))
    }

    /// What a device is told that comes while it rings.
    pub fn ringing(&self, user: UserId) -> Vec<IncomingCall> {
        self.board.ringing(user)
    }

    /// A session is no more: it leaves its calls.
    pub fn lost(&self, session: SessionId) {
        for (_, room) in self.rooms_of(session) {
            let _ = room.insist(Lost(session)); // a room that is gone has nobody in it
        }
    }

    /// Ends all calls, and lets none begin: whoever is in them hears it, and it is in history when
    /// this returns, unless that takes longer than `deadline`. Gives how many are not over then.
    pub async fn finish(&self, deadline: Duration) -> usize {
        self.board.close();
        let finish = |call: Found| async move {
            if let Ok(room) = call.room().await {
                let _ = room.insist(Finish); // gone: it is over
            }
        };
        let over = async {
            join_all(self.board.all().into_iter().map(finish)).await;
            while !self.nursery.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(deadline, over).await; // what is left is counted
        self.nursery.len()
    }

    fn rooms_of(&self, session: SessionId) -> Vec<(CallId, Ref<Room>)> {
        let ids: Vec<_> =
            self.board.of_session(session).into_iter().map(|found| found.id).collect();
        self.board.rooms().into_iter().filter(|(id, _)| ids.contains(id)).collect()
    }

    /// What goes on: all of it, or what one person is in.
    pub fn stats(&self, of: Option<UserId>) -> wire::CallStats {
        let (active_calls, total_active_calls) = self.board.active(of);
        let connected_users = self.switchboard.connected();
        wire::CallStats { active_calls, total_active_calls, connected_users }
    }

    /// All calls, as operators see them.
    pub async fn views(&self) -> Vec<wire::CallView> {
        let mut views = Vec::new();
        for (_, room) in self.board.rooms() {
            if let Ok(view) = room.ask(room::View).await {
                views.push(view);
            }
        }
        views.sort_by_key(|view| view.call_id);
        views
    }

    /// The ids of all calls that go on here.
    pub fn ids(&self) -> Vec<CallId> {
        self.board.ids()
    }

    fn found(&self, id: CallId) -> Result<Found, Error> {
        self.board.by_id(id).ok_or(Error::NoSuchCall)
    }
}

fn seat(me: &Me, session: SessionId) -> Seat {
    Seat { user: me.user, device: me.device, session, guest: me.pass.is_some() }
}

async fn ask(room: &Ref<Room>, seat: Seat, me: &Me, what: What) -> Result<String, Error> {
    let name = me.name.clone();
    room.ask(Ask { seat, name, what }).await.unwrap_or(Err(Error::Unavailable))
}
