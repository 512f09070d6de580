//! Common entry point of all sockets, whatever their framing: authentication, rate limits and
//! forwarding to the session.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use actix_web::web::Data;
use base::clock::Timestamp;
use base::error::CodedError;

use crate::actors::delivery::CloseReason;
use crate::actors::sessions::{ReplyResult, RequestError, SessionHandle, SocketHandle};
use crate::cluster::{RateLimit, RateLimitError};
use crate::domain::{accounts, calls};
use crate::http::{AppState, SocketGuard};
use crate::limits::MAX_REQUESTS_BEFORE_AUTH;
use crate::protocol::client::ClientEvent;
use crate::protocol::server::{Authenticated, ServerEvent};
use crate::telemetry::metrics::{GaugeGuard, SOCKETS, count_rejected};

/// State of one socket before and after authentication.
pub(super) struct SocketGate {
    /// Shared by all sockets.
    app: Data<AppState>,
    state: AuthState,
    /// When the rate limit bucket is full again.
    bucket_full_at: Option<Timestamp>,
    violations: u32,
    _present: GaugeGuard,
    _guard: SocketGuard,
}

enum AuthState {
    Unauthenticated,
    Ended,
    Checking(VecDeque<(Option<u64>, ClientEvent)>),
    Open(SessionHandle),
}

/// What the socket must do next.
pub(super) enum FrameAction {
    /// Nothing to do.
    Wait,
    /// Send a reply.
    Reply(Option<u64>, ReplyResult),
    /// Call [`SocketGate::authenticate`] with this token, then [`SocketGate::on_authenticated`]
    /// with the outcome.
    Authenticate(Option<u64>, String),
    /// Close the socket.
    Close(CloseReason),
}

/// Why a frame was rejected.
#[derive(Clone, Copy, Debug, thiserror::Error, CodedError)]
pub(crate) enum FrameError {
    /// The first event must be `authenticate`.
    #[error("authenticate first: send `authenticate`")]
    #[code("event/not-authenticated", Unauthenticated)]
    NotAuthenticated,
    /// The frame is malformed.
    #[error("invalid frame: send {{\"id\", \"event\", \"data\"}}")]
    #[code("event/invalid-frame", Invalid)]
    InvalidFrame,
}

/// Outcome of authentication: the session and the event to send, or the error.
pub(super) type AuthOutcome =
    Result<(SessionHandle, Authenticated), Arc<dyn CodedError + Send + Sync>>;

impl SocketGate {
    pub(super) fn new(app: &Data<AppState>, transport: &'static str) -> Self {
        Self {
            app: app.clone(),
            state: AuthState::Unauthenticated,
            bucket_full_at: None,
            violations: 0,
            _present: GaugeGuard::new(SOCKETS, transport),
            _guard: app.sockets.count(),
        }
    }

    pub(super) fn app(&self) -> &AppState {
        &self.app
    }

    /// Whether the socket is neither authenticated nor waiting for authentication.
    pub(super) const fn is_unauthenticated(&self) -> bool {
        matches!(self.state, AuthState::Unauthenticated)
    }

    /// Handles an event; `data` is its JSON.
    pub(super) fn on_event(&mut self, id: Option<u64>, name: &str, data: &str) -> FrameAction {
        if let Some(action) = self.count_frame(id) {
            return action;
        }
        let event = match ClientEvent::parse(name, data) {
            Ok(event) => event,
            Err(error) => return self.reject(id, Arc::new(error)),
        };
        match &mut self.state {
            AuthState::Unauthenticated => match event {
                ClientEvent::Authenticate(request) => {
                    self.state = AuthState::Checking(VecDeque::new());
                    FrameAction::Authenticate(id, request.token.into_inner())
                }
                _ => self.reject(id, Arc::new(FrameError::NotAuthenticated)),
            },
            AuthState::Ended => FrameAction::Wait,
            AuthState::Checking(queued) if queued.len() < MAX_REQUESTS_BEFORE_AUTH => {
                queued.push_back((id, event));
                FrameAction::Wait
            }
            AuthState::Checking(_) => self.reject(id, Arc::new(RequestError::InFlightLimitReached)),
            AuthState::Open(_) if matches!(event, ClientEvent::Authenticate(_)) => {
                FrameAction::Reply(id, Err(Arc::new(RequestError::AlreadyAuthenticated)))
            }
            AuthState::Open(session) => {
                if session.request(id, event) {
                    FrameAction::Wait
                } else {
                    FrameAction::Close(CloseReason::SessionLost)
                }
            }
        }
    }

    /// Handles a malformed frame.
    pub(super) fn on_invalid_frame(&mut self) -> FrameAction {
        self.count_frame(None)
            .unwrap_or_else(|| self.reject(None, Arc::new(FrameError::InvalidFrame)))
    }

    /// Counts a frame against the rate limit; `Some` if the limit is exceeded.
    fn count_frame(&mut self, id: Option<u64>) -> Option<FrameAction> {
        let limits = &self.app.config.limits;
        let limit = RateLimit::per_second("events", limits.events_per_second, limits.events_burst);
        match limit.take(self.bucket_full_at, self.app.clock.now()) {
            Ok(full_at) => {
                self.bucket_full_at = Some(full_at);
                None
            }
            Err(retry_after) => {
                count_rejected("events");
                Some(self.reject(id, Arc::new(RateLimitError::RateLimited(retry_after))))
            }
        }
    }

    /// Replies with the error. A socket with too many violations is closed.
    fn reject(&mut self, id: Option<u64>, error: Arc<dyn CodedError + Send + Sync>) -> FrameAction {
        self.violations += 1;
        if self.violations > self.app.config.limits.events_max_violations {
            return FrameAction::Close(CloseReason::Abuse);
        }
        FrameAction::Reply(id, Err(error))
    }

    /// Checks a token and attaches the socket to its session.
    pub(super) fn authenticate(
        &self,
        token: String,
        socket: SocketHandle,
    ) -> impl Future<Output = AuthOutcome> + use<> {
        let app = self.app.clone();
        async move {
            let account_error = |e| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) };
            let call_error =
                |e: calls::CallError| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) };
            let call_domain = &app.sessions.calls.domain;
            let permit = app.sockets.admit().await;
            let _permit =
                permit.map_err(|e| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) })?;
            let call_principal = call_domain.identify(&token).await.map_err(call_error)?;
            let principal = match call_principal {
                Some(principal) => principal,
                None => app.accounts.authenticate(&token).await.map_err(account_error)?,
            };
            let (user_id, device_id, guest) =
                (principal.user, principal.device, principal.call_grant.is_some());
            let session = app
                .sessions
                .attach(principal, socket)
                .await
                .map_err(|e| -> Arc<dyn CodedError + Send + Sync> { Arc::new(e) })?;
            // The user may have been signed out concurrently: either the sign-out finds this
            // session, or this check finds the sign-out.
            if guest {
                if let Err(error) = call_domain.identify(&token).await {
                    if matches!(error, calls::CallError::InvalidToken) {
                        session.end();
                    }
                    return Err(call_error(error));
                }
            } else if let Err(error) = app.accounts.confirm(user_id, device_id).await {
                if matches!(error, accounts::AccountError::InvalidToken) {
                    session.end();
                }
                return Err(account_error(error));
            }
            let authenticated = Authenticated {
                user_id,
                device_id,
                session_id: session.id,
                server_time: app.clock.now(),
                resumed: session.resumed,
            };
            Ok((session, authenticated))
        }
    }

    /// Handles the outcome of authentication. On success returns the event to send and forwards the
    /// queued requests.
    pub(super) fn on_authenticated(
        &mut self,
        outcome: AuthOutcome,
    ) -> Result<ServerEvent, Arc<dyn CodedError + Send + Sync>> {
        match outcome {
            Ok((session, authenticated)) => {
                let AuthState::Checking(queued) = &mut self.state else {
                    // The socket ended meanwhile; the session is dropped.
                    return Err(Arc::new(FrameError::NotAuthenticated));
                };
                session.open();
                for (id, event) in queued.drain(..) {
                    session.request(id, event);
                }
                self.state = AuthState::Open(session);
                Ok(ServerEvent::Authenticated(authenticated))
            }
            Err(error) => {
                if matches!(self.state, AuthState::Checking(_)) {
                    self.state = AuthState::Unauthenticated;
                }
                self.violations += 1;
                Err(error)
            }
        }
    }

    /// Ends the socket's use of its session at once, before the socket itself is gone.
    pub(super) fn end(&mut self) {
        self.state = AuthState::Ended;
    }

    /// Counts a frame that is not an event; `Some` if the limit is exceeded.
    pub(super) fn count_non_event(&mut self) -> Option<FrameAction> {
        self.count_frame(None)
    }

    /// Everything before the fence has been written.
    pub(super) fn flushed(&self) {
        if let AuthState::Open(session) = &self.state {
            session.flushed();
        }
    }
}
