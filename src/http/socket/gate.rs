//! What every socket goes through, whatever its framing: who it is, how often it speaks, and where
//! its requests go.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use actix_web::web::Data;
use base::clock::Timestamp;
use base::error::{CodedError, ErrorKind};

use crate::actors::sessions::{
    CloseReason, ReplyResult, RequestError, SessionHandle, SocketHandle,
};
use crate::cluster::{RateLimit, RateLimitError};
use crate::domain::{accounts, calls};
use crate::http::{AppState, SocketGuard};
use crate::protocol::client::ClientEvent;
use crate::protocol::server::{Authenticated, ServerEvent};
use crate::telemetry::metrics::{Present, SOCKETS, refused};

/// Requests that may wait while the token is checked.
const MAX_REQUESTS_BEFORE_AUTH: usize = 32;

/// One socket's gate.
pub(super) struct SocketGate {
    /// Shared: there is a gate for every socket.
    services: Data<AppState>,
    stage: AuthState,
    /// When the counter of frames is empty again.
    due: Option<Timestamp>,
    breaches: u32,
    _present: Present,
    _counted: SocketGuard,
}

enum AuthState {
    Nameless,
    Gone,
    Checking(VecDeque<(Option<u64>, ClientEvent)>),
    Open(SessionHandle),
}

/// What the socket is to do next.
pub(super) enum FrameAction {
    /// Nothing.
    Wait,
    /// Answer.
    Reply(Option<u64>, ReplyResult),
    /// Call [`SocketGate::check`] with this token, and [`SocketGate::checked`] with its outcome.
    Check(Option<u64>, String),
    /// End.
    Shut(CloseReason),
}

/// Why a frame was refused at the gate.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The first event must be `authenticate`.
    #[error("say who you are first: `authenticate`")]
    Nameless,
    /// Not a frame at all.
    #[error("this is not a frame: send {{\"id\", \"event\", \"data\"}}")]
    Garbled,
}

impl CodedError for FrameError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Nameless => ErrorKind::Unauthenticated,
            Self::Garbled => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Nameless => "event/not-authenticated",
            Self::Garbled => "event/invalid-frame",
        }
    }
}

/// The outcome of a check: the session and the event that says so, or why not.
pub(super) type AuthOutcome =
    Result<(SessionHandle, Authenticated), Arc<dyn CodedError + Send + Sync>>;

impl SocketGate {
    pub(super) fn new(services: &Data<AppState>, transport: &'static str) -> Self {
        Self {
            services: services.clone(),
            stage: AuthState::Nameless,
            due: None,
            breaches: 0,
            _present: Present::new(SOCKETS, transport),
            _counted: services.sockets.count(),
        }
    }

    pub(super) fn services(&self) -> &AppState {
        &self.services
    }

    /// Whether the socket has not said who it is, or not truly. One that waits for its turn has.
    pub(super) const fn is_nameless(&self) -> bool {
        matches!(self.stage, AuthState::Nameless)
    }

    /// Takes an event; `data` is its JSON.
    pub(super) fn take(&mut self, id: Option<u64>, name: &str, data: &str) -> FrameAction {
        if let Some(step) = self.count(id) {
            return step;
        }
        let event = match ClientEvent::parse(name, data) {
            Ok(event) => event,
            Err(error) => return self.blame(id, Arc::new(error)),
        };
        match &mut self.stage {
            AuthState::Nameless => match event {
                ClientEvent::Authenticate(who) => {
                    self.stage = AuthState::Checking(VecDeque::new());
                    FrameAction::Check(id, who.token.into_inner())
                }
                _ => self.blame(id, Arc::new(FrameError::Nameless)),
            },
            AuthState::Gone => FrameAction::Wait,
            AuthState::Checking(early) if early.len() < MAX_REQUESTS_BEFORE_AUTH => {
                early.push_back((id, event));
                FrameAction::Wait
            }
            AuthState::Checking(_) => self.blame(id, Arc::new(RequestError::InFlightLimitReached)),
            AuthState::Open(_) if matches!(event, ClientEvent::Authenticate(_)) => {
                FrameAction::Reply(id, Err(Arc::new(RequestError::AlreadyAuthenticated)))
            }
            AuthState::Open(session) => {
                if session.request(id, event) {
                    FrameAction::Wait
                } else {
                    FrameAction::Shut(CloseReason::SessionLost)
                }
            }
        }
    }

    /// A frame that was not even an event.
    pub(super) fn on_invalid_frame(&mut self) -> FrameAction {
        self.count(None).unwrap_or_else(|| self.blame(None, Arc::new(FrameError::Garbled)))
    }

    /// Counts a frame; `Some` if there were too many.
    fn count(&mut self, id: Option<u64>) -> Option<FrameAction> {
        let limits = &self.services.config.limits;
        let limit = RateLimit::per_second("events", limits.events_per_second, limits.events_burst);
        match limit.take(self.due, self.services.clock.now()) {
            Ok(due) => {
                self.due = Some(due);
                None
            }
            Err(wait) => {
                refused("events");
                Some(self.blame(id, Arc::new(RateLimitError::TooMany(wait))))
            }
        }
    }

    /// Answers with the error; a socket that errs again and again is ended.
    fn blame(&mut self, id: Option<u64>, error: Arc<dyn CodedError + Send + Sync>) -> FrameAction {
        self.breaches += 1;
        if self.breaches > self.services.config.limits.events_max_violations {
            return FrameAction::Shut(CloseReason::Abuse);
        }
        FrameAction::Reply(id, Err(error))
    }

    /// Proves a token and attaches the socket to its session.
    pub(super) fn check(
        &self,
        token: String,
        line: SocketHandle,
    ) -> impl Future<Output = AuthOutcome> + use<> {
        let services = self.services.clone();
        async move {
            let shared = |e| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) };
            let of_call =
                |e: calls::CallError| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) };
            let deeds = &services.living.calls.domain;
            let turn = services.sockets.turn().await;
            let _turn = turn.map_err(|e| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) })?;
            let called = deeds.identify(&token).await.map_err(of_call)?;
            let me = match called {
                Some(me) => me,
                None => services.accounts.authenticate(&token).await.map_err(shared)?,
            };
            let (user_id, device_id, guest) = (me.user, me.device, me.pass.is_some());
            let session = services
                .living
                .attach(me, line)
                .await
                .map_err(|e| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) })?;
            // Whoever was put out a moment ago either finds this session or is found here.
            if guest {
                if let Err(error) = deeds.identify(&token).await {
                    if matches!(error, calls::CallError::InvalidToken) {
                        session.end();
                    }
                    return Err(of_call(error));
                }
            } else if let Err(error) = services.accounts.confirm(user_id, device_id).await {
                if matches!(error, accounts::AccountError::InvalidToken) {
                    session.end();
                }
                return Err(shared(error));
            }
            let authenticated = Authenticated {
                user_id,
                device_id,
                session_id: session.id,
                server_time: services.clock.now(),
                resumed: session.resumed,
            };
            Ok((session, authenticated))
        }
    }

    /// Takes the outcome of a check. On success gives the event to be sent; what came meanwhile
    /// is handed over.
    pub(super) fn checked(
        &mut self,
        outcome: AuthOutcome,
    ) -> Result<ServerEvent, Arc<dyn CodedError + Send + Sync>> {
        match outcome {
            Ok((session, authenticated)) => {
                let AuthState::Checking(early) = &mut self.stage else {
                    return Err(Arc::new(FrameError::Nameless)); // it ended meanwhile, and lets go
                };
                session.open();
                for (id, event) in early.drain(..) {
                    session.request(id, event);
                }
                self.stage = AuthState::Open(session);
                Ok(ServerEvent::Authenticated(authenticated))
            }
            Err(error) => {
                if matches!(self.stage, AuthState::Checking(_)) {
                    self.stage = AuthState::Nameless;
                }
                self.breaches += 1;
                Err(error)
            }
        }
    }

    /// The socket is at its end: its session need not wait until all of it is gone.
    pub(super) fn leave(&mut self) {
        self.stage = AuthState::Gone;
    }

    /// Counts a frame that is no event; `Some` if there were too many.
    pub(super) fn noise(&mut self) -> Option<FrameAction> {
        self.count(None)
    }

    /// Everything before the fence is on its way.
    pub(super) fn flushed(&self) {
        if let AuthState::Open(session) = &self.stage {
            session.flushed();
        }
    }
}
