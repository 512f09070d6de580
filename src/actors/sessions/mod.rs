//! Sessions: what a device's socket is attached to, and the way to everybody who is here.

mod cursors;
mod event_router;
mod outbound_event;
mod registry;
mod reorder_buffer;
mod requests;
mod session;
mod socket_handle;

pub use event_router::EventRouter;
pub use outbound_event::{OutboundEvent, SequenceKind, SequencePosition};
pub use requests::RequestError;
pub use session::SessionActor;
pub use socket_handle::{CloseReason, ReplyResult, SocketCommand, SocketHandle, SocketSendError};

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::error::{CodedError, ErrorKind};
use base::ids::{SessionId, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::session::{
    AttachSocket, ClientRequest, DetachSocket, EndSession, SessionInit, SocketFlushed, SocketReady,
};
use super::calls::CallService;
use super::chat::ChatShards;
use super::presence::PresenceHandle;
use super::supervision::{ActorRef, DynamicSupervisor};
use crate::config;
use crate::domain::accounts::Principal;
use crate::domain::chat::{self, ChatService};
use crate::domain::{DirectedEvent, WithEvents};
use crate::protocol::client::ClientEvent;

/// The living side of the service: sessions, and the lanes they send through; cheap to clone.
#[derive(Clone)]
pub struct SessionService {
    nursery: DynamicSupervisor<SessionActor>,
    /// Who is here.
    pub switchboard: EventRouter,
    /// The deeds of chat.
    pub chat: ChatService,
    /// Where messages get their order.
    pub lanes: ChatShards,
    /// Who talks to whom.
    pub calls: CallService,
    /// Who is here, as others are told.
    pub presence: PresenceHandle,
    config: Arc<config::SessionsConfig>,
    /// For those who read what their device has missed.
    reading: Arc<Semaphore>,
}

/// What a session reaches beside other sessions.
pub struct SessionDeps {
    /// The deeds of chat.
    pub chat: ChatService,
    /// Where messages get their order.
    pub lanes: ChatShards,
    /// Who talks to whom.
    pub calls: CallService,
    /// Who is here, as others are told.
    pub presence: PresenceHandle,
}

/// Why a session cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The session could not be started, or ended at once.
    #[error("no session can be opened just now: try again")]
    NotStarted,
    /// The database.
    #[error(transparent)]
    Chat(#[from] chat::ChatError),
}

impl CodedError for SessionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotStarted => ErrorKind::Unavailable,
            Self::Chat(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotStarted => "sessions/unavailable",
            Self::Chat(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        Some(1)
    }
}

/// A socket's hold on its session; letting go of it tells the session that the socket is gone.
pub struct SessionHandle {
    actor: ActorRef<SessionActor>,
    number: u64,
    /// Names the session.
    pub id: SessionId,
    /// Whether it was waiting for its device to come back.
    pub resumed: bool,
}

impl SessionService {
    /// Puts the parts together; `queue` is how long that of the database is.
    pub fn new(
        nursery: DynamicSupervisor<SessionActor>,
        switchboard: EventRouter,
        ways: SessionDeps,
        config: config::SessionsConfig,
        queue: usize,
    ) -> Self {
        let SessionDeps { chat, lanes, calls, presence } = ways;
        let config = Arc::new(config);
        let reading = Arc::new(Semaphore::new((queue / 8).max(1)));
        Self { nursery, switchboard, chat, lanes, calls, presence, config, reading }
    }

    /// Waits until it is a session's turn to read what its device has missed, until what is given is
    /// dropped: those who come back all at once would fill the queue of the database.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.reading.clone().acquire_owned().await.ok() // it is never closed
    }

    /// Attaches a socket to the device's waiting session, or to a new one. Events flow once
    /// [`SessionHandle::open`] is called.
    ///
    /// # Errors
    /// [`SessionError`] if no session can be had.
    pub async fn attach(
        &self,
        me: Principal,
        line: SocketHandle,
    ) -> Result<SessionHandle, SessionError> {
        // Other tabs of the device may be faster and take the session that was begun for this one,
        // but each of them takes one only.
        for _ in 0..=self.config.max_per_device {
            for entry in self.switchboard.registry.of_device(me.user, me.device) {
                if !entry.attached.load(Ordering::Acquire)
                    && let Some(handle) = offer(&entry.actor, line.clone()).await?
                {
                    return Ok(handle);
                }
            }
            if let Some(handle) = self.begin(&me, line.clone()).await? {
                return Ok(handle);
            }
        }
        Err(SessionError::NotStarted)
    }

    /// Begins a session for a socket; `None` if another socket took it, or it ended at once.
    async fn begin(
        &self,
        me: &Principal,
        line: SocketHandle,
    ) -> Result<Option<SessionHandle>, SessionError> {
        let (user, device) = (me.user, me.device);
        let id = SessionId::new();
        let seed = Arc::new(SessionInit { me: me.clone(), id, living: self.clone() });
        let factory = move |_: &mut _| SessionActor::new(seed.clone());
        let started = self.nursery.start(&id.to_string(), factory).await;
        let actor = started.map_err(|_| SessionError::NotStarted)?;
        let handle = offer(&actor, line).await?;
        // Looked at when the new one is among them, so that many at once do not all pass.
        let mine = self.switchboard.registry.of_device(user, device);
        for oldest in mine.iter().take(mine.len().saturating_sub(self.config.max_per_device)) {
            let _ = oldest.actor.tell_control(EndSession(CloseReason::TooMany)); // gone already is as good
        }
        Ok(handle)
    }

    /// A person says something else of themselves: all nodes tell those who may know.
    pub fn status_changed(&self, user: UserId) {
        self.presence.changed(user);
        self.switchboard.status_changed(user);
    }

    /// Hands a deed's news to those who are here, and gives its answer.
    pub fn tell<T>(&self, deed: WithEvents<T>) -> T {
        for DirectedEvent { to, event } in &deed.events {
            self.switchboard.publish(to, &OutboundEvent::new(event));
        }
        deed.reply
    }
}

/// Offers a socket; `None` if the session has one by now or is gone.
async fn offer(
    actor: &ActorRef<SessionActor>,
    line: SocketHandle,
) -> Result<Option<SessionHandle>, SessionError> {
    let (ready, answer) = oneshot::channel();
    if actor.ask(AttachSocket { line, ready }).await != Ok(true) {
        return Ok(None);
    }
    match answer.await {
        Ok(handle) => Ok(Some(handle?)),
        Err(_) => Err(SessionError::NotStarted),
    }
}

impl SessionHandle {
    /// The device has been told that it is in: events may flow.
    pub fn open(&self) {
        let _ = self.actor.tell_control(SocketReady(self.number)); // gone: its Drop has closed the socket
    }

    /// Passes a request on; false if the session is gone or does not keep up.
    pub fn request(&self, id: Option<u64>, event: ClientEvent) -> bool {
        self.actor.tell(ClientRequest { id, event }).is_ok()
    }

    /// Everything before the fence is on its way.
    pub fn flushed(&self) {
        let _ = self.actor.tell_control(SocketFlushed(self.number)); // gone: its Drop has closed the socket
    }

    /// Ends the session: its device turned out to be signed out.
    pub fn end(&self) {
        let _ = self.actor.tell_control(EndSession(CloseReason::SignedOut)); // gone already is as good
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        let _ = self.actor.tell_control(DetachSocket(self.number)); // gone already is as good
    }
}
