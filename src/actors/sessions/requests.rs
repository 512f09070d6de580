//! What a device asks of its session, and what is answered.

use std::future::Future;
use std::sync::Arc;

use base::error::{CodedError, ErrorKind};
use base::ids::UserId;
use metrics::counter;
use serde::Serialize;
use store::ReceiptKind;

use super::SessionService;
use super::socket_handle::ReplyResult;
use crate::domain::WithEvents;
use crate::domain::chat::{self, ChatService};
use crate::protocol::chat::ConversationSummary;
use crate::protocol::client::{ClientEvent, ReceiptPosition};
use crate::telemetry::metrics::EVENTS_IN;

/// Why a request did not reach its deed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum RequestError {
    /// Too many unanswered requests.
    #[error("too many requests are under way: wait for answers")]
    TooManyInFlight,
    /// A socket is opened once.
    #[error("this socket is authenticated already")]
    Again,
}

impl CodedError for RequestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooManyInFlight => ErrorKind::RateLimited,
            Self::Again => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooManyInFlight => "event/in-flight-limit-reached",
            Self::Again => "event/already-authenticated",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::TooManyInFlight).then_some(1)
    }
}

/// Answers everything but `sync`. What is sent takes its place in the queue now, not when the
/// future is first polled, so that a device's messages keep the order in which it sent them.
pub(super) fn handle_request(
    living: &SessionService,
    user: UserId,
    event: ClientEvent,
) -> impl Future<Output = ReplyResult> + use<> {
    let living = living.clone();
    let sending = if let ClientEvent::SendMessage(send) = &event {
        counter!(EVENTS_IN, "event" => "send_message").increment(1);
        let (conversation, message) = send.clone().split();
        let draft = living.chat.draft(user, message);
        Some(draft.map(|draft| living.lanes.send(conversation, draft)))
    } else {
        None
    };
    async move {
        match (event, sending) {
            (_, Some(sending)) => {
                let said = match sending {
                    Ok(sending) => sending.await,
                    Err(error) => Err(error),
                };
                json_or(said.map(chat::SendMessageOutcome::into_message))
            }
            (ClientEvent::Ack(at), _) => {
                mark(&living, user, at, ReceiptKind::Delivered, "ack").await
            }
            (ClientEvent::Read(at), _) => mark(&living, user, at, ReceiptKind::Read, "read").await,
            (ClientEvent::Typing(typing), _) => {
                counter!(EVENTS_IN, "event" => "typing").increment(1);
                tell(&living, living.chat.typing(user, typing.conversation_id).await)
            }
            // What is no deed of chat goes another way.
            (
                ClientEvent::Authenticate(_)
                | ClientEvent::Sync(_)
                | ClientEvent::SendMessage(_)
                | ClientEvent::Call(_),
                _,
            ) => Err(Arc::new(RequestError::Again) as _),
        }
    }
}

async fn mark(
    living: &SessionService,
    user: UserId,
    at: ReceiptPosition,
    receipt: ReceiptKind,
    name: &'static str,
) -> ReplyResult {
    counter!(EVENTS_IN, "event" => name).increment(1);
    tell(living, living.chat.set_receipt(user, at.conversation_id, receipt, at.seq).await)
}

fn tell<T: Serialize>(
    living: &SessionService,
    deed: Result<WithEvents<T>, chat::ChatError>,
) -> ReplyResult {
    json_or(deed.map(|deed| living.tell(deed)))
}

fn json_or<T: Serialize>(answer: Result<T, chat::ChatError>) -> ReplyResult {
    match answer {
        Ok(answer) => json(&answer),
        Err(error) => Err(Arc::new(error)),
    }
}

/// The JSON of an answer.
pub(super) fn json<T: Serialize>(answer: &T) -> ReplyResult {
    #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
    Ok(serde_json::to_string(answer).expect("a protocol shape serialises"))
}

/// Every conversation of a person, page by page.
pub(super) async fn all_conversations(
    chat: &ChatService,
    user: UserId,
) -> Result<Vec<ConversationSummary>, chat::ChatError> {
    counter!(EVENTS_IN, "event" => "sync").increment(1);
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = chat.list(user, after, 200).await?;
        after = page.items.last().map(|summary| summary.id);
        all.extend(page.items);
        if page.next.is_none() {
            return Ok(all);
        }
    }
}
