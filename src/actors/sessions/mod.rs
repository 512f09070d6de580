//! Sessions of devices, and the routing of events to the sessions of a user on all nodes.

mod cursors;
mod reorder_buffer;
mod requests;
mod session;
mod socket_handle;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::error::CodedError;
use base::ids::{SessionId, UserId};
pub use requests::RequestError;
pub use session::SessionActor;
pub use socket_handle::{ReplyResult, SocketCommand, SocketHandle, SocketSendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::session::{
    AttachSocket, ClientRequest, DetachSocket, SessionInit, SocketFlushed, SocketReady,
};
use super::calls::CallService;
use super::chat::ChatShards;
use super::delivery::{CloseReason, EndSession, EventRouter, OutboundEvent};
use super::presence::PresenceHandle;
use super::supervision::{ActorRef, DynamicSupervisor};
use crate::config;
use crate::domain::chat::{self, ChatService};
use crate::domain::identity::Principal;
use crate::domain::{DirectedEvent, WithEvents};
use crate::protocol::client::ClientEvent;

/// The realtime side of the server: sessions and the actors they talk to; cheap to clone.
#[derive(Clone)]
pub struct SessionService {
    supervisor: DynamicSupervisor<SessionActor>,
    /// Routes events to sessions.
    pub event_router: EventRouter,
    /// The chat domain.
    pub chat: ChatService,
    /// The actors that order writes to conversations.
    pub chat_shards: ChatShards,
    /// The calls of this node and of its peers.
    pub calls: CallService,
    /// Presence as contacts see it.
    pub presence: PresenceHandle,
    config: Arc<config::SessionsConfig>,
    /// Permits for reading what a device has missed.
    catch_up_permits: Arc<Semaphore>,
}

/// The services that sessions depend on.
pub struct SessionDeps {
    /// The chat domain.
    pub chat: ChatService,
    /// The actors that order writes to conversations.
    pub chat_shards: ChatShards,
    /// The calls of this node and of its peers.
    pub calls: CallService,
    /// Presence as contacts see it.
    pub presence: PresenceHandle,
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error, CodedError)]
pub enum SessionError {
    /// The session could not be started, or ended at once.
    #[error("no session is available at the moment, try again")]
    #[code("sessions/unavailable", Unavailable, retry_after = 1)]
    NotStarted,
    /// Reading the conversations of the user failed.
    #[error(transparent)]
    #[code(transparent)]
    Chat(#[from] chat::ChatError),
}

/// The attachment of a socket to its session; dropping it tells the session that the socket is
/// gone.
pub struct SessionHandle {
    actor: ActorRef<SessionActor>,
    socket_number: u64,
    /// Identifies the session.
    pub id: SessionId,
    /// Whether the session existed before, waiting for its device to reconnect.
    pub resumed: bool,
}

impl SessionService {
    /// Creates the service; `queue` is the capacity of the database queue.
    pub fn new(
        supervisor: DynamicSupervisor<SessionActor>,
        event_router: EventRouter,
        deps: SessionDeps,
        config: config::SessionsConfig,
        queue: usize,
    ) -> Self {
        let SessionDeps { chat, chat_shards, calls, presence } = deps;
        let config = Arc::new(config);
        let catch_up_permits = Arc::new(Semaphore::new((queue / 8).max(1)));
        Self {
            supervisor,
            event_router,
            chat,
            chat_shards,
            calls,
            presence,
            config,
            catch_up_permits,
        }
    }

    /// Waits for a permit to read what a device has missed, to be held while reading: without it,
    /// devices that reconnect all at once would fill the database queue.
    async fn catch_up_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.catch_up_permits.clone().acquire_owned().await.ok() // the semaphore is never closed
    }

    /// Attaches a socket to a waiting session of the device, or to a new one. Events are sent once
    /// [`SessionHandle::open`] is called.
    ///
    /// # Errors
    /// [`SessionError`] if no session is available.
    pub async fn attach(
        &self,
        principal: Principal,
        socket: SocketHandle,
    ) -> Result<SessionHandle, SessionError> {
        // Another socket of the device may be faster and take the session that was started for this
        // one, but each of them takes only one.
        for _ in 0..=self.config.max_per_device {
            for entry in self.event_router.registry.of_device(principal.user, principal.device) {
                if !entry.attached.load(Ordering::Acquire)
                    && let Some(session) = self.supervisor.get(&entry.session.to_string())
                    && let Some(handle) = offer_socket(&session, socket.clone()).await?
                {
                    return Ok(handle);
                }
            }
            if let Some(handle) = self.start_session(&principal, socket.clone()).await? {
                return Ok(handle);
            }
        }
        Err(SessionError::NotStarted)
    }

    /// Starts a session for a socket; `None` if another socket took it, or it ended at once.
    async fn start_session(
        &self,
        principal: &Principal,
        socket: SocketHandle,
    ) -> Result<Option<SessionHandle>, SessionError> {
        let (user, device) = (principal.user, principal.device);
        let id = SessionId::new();
        let init =
            Arc::new(SessionInit { principal: principal.clone(), id, sessions: self.clone() });
        let factory = move |_: &mut _| SessionActor::new(init.clone());
        let started = self.supervisor.start(&id.to_string(), factory).await;
        let actor = started.map_err(|_| SessionError::NotStarted)?;
        let handle = offer_socket(&actor, socket).await?;
        // Checked after the new session is registered, so that concurrent sockets cannot all pass.
        let device_sessions = self.event_router.registry.of_device(user, device);
        for oldest in device_sessions
            .iter()
            .take(device_sessions.len().saturating_sub(self.config.max_per_device))
        {
            oldest.end(CloseReason::TooManySessions);
        }
        Ok(handle)
    }

    /// The user changed their status: every node publishes it to the contacts.
    pub fn status_changed(&self, user: UserId) {
        self.presence.changed(user);
        self.event_router.status_changed(user);
    }

    /// Publishes the events of a domain operation and returns its result.
    pub fn publish_events<T>(&self, outcome: WithEvents<T>) -> T {
        for DirectedEvent { to, event } in &outcome.events {
            self.event_router.publish(to, &OutboundEvent::new(event));
        }
        outcome.reply
    }
}

/// Offers a socket to a session; `None` if it has one by now or has ended.
async fn offer_socket(
    actor: &ActorRef<SessionActor>,
    socket: SocketHandle,
) -> Result<Option<SessionHandle>, SessionError> {
    let (reply_to, reply) = oneshot::channel();
    if actor.ask(AttachSocket { socket, reply_to }).await != Ok(true) {
        return Ok(None);
    }
    match reply.await {
        Ok(handle) => Ok(Some(handle?)),
        Err(_) => Err(SessionError::NotStarted),
    }
}

impl SessionHandle {
    /// Starts the flow of events, once the device was told that it is authenticated.
    pub fn open(&self) {
        // fails only if the session has ended, and then it has closed the socket
        let _ = self.actor.tell_control(SocketReady(self.socket_number));
    }

    /// Passes a request to the session; false if it has ended or its mailbox is full.
    pub fn request(&self, id: Option<u64>, event: ClientEvent) -> bool {
        self.actor.tell(ClientRequest { id, event }).is_ok()
    }

    /// Reports that everything before the flush marker was sent.
    pub fn flushed(&self) {
        // fails only if the session has ended, and then it has closed the socket
        let _ = self.actor.tell_control(SocketFlushed(self.socket_number));
    }

    /// Ends the session because its device was signed out.
    pub fn end(&self) {
        // fails only if it has ended already
        let _ = self.actor.tell_control(EndSession(CloseReason::SignedOut));
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        // fails only if it has ended already
        let _ = self.actor.tell_control(DetachSocket(self.socket_number));
    }
}
