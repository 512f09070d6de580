//! Requests of a device to its session, and their replies.

use std::future::Future;
use std::sync::Arc;

use base::error::CodedError;
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

/// Why a request was refused before it reached the domain.
#[derive(Clone, Copy, Debug, thiserror::Error, CodedError)]
pub enum RequestError {
    /// The device has too many requests without a reply.
    #[error("too many requests in flight, wait for replies")]
    #[code("event/in-flight-limit-reached", RateLimited, retry_after = 1)]
    InFlightLimitReached,
    /// The socket is authenticated already.
    #[error("the socket is already authenticated")]
    #[code("event/already-authenticated", Conflict)]
    AlreadyAuthenticated,
}

/// Handles every request except `sync`. A message is queued immediately, not when the future is
/// first polled, so that messages of a device keep the order in which it sent them.
pub(super) fn handle_request(
    sessions: &SessionService,
    user: UserId,
    event: ClientEvent,
) -> impl Future<Output = ReplyResult> + use<> {
    let sessions = sessions.clone();
    let queued = if let ClientEvent::SendMessage(send) = &event {
        counter!(EVENTS_IN, "event" => "send_message").increment(1);
        let (conversation, message) = send.clone().split();
        let draft = sessions.chat.draft(user, message);
        Some(draft.map(|draft| sessions.chat_shards.send(conversation, draft)))
    } else {
        None
    };
    async move {
        match (event, queued) {
            (_, Some(queued)) => {
                let outcome = match queued {
                    Ok(queued) => queued.await,
                    Err(error) => Err(error),
                };
                json_result(outcome.map(chat::SendMessageOutcome::into_message))
            }
            (ClientEvent::Ack(position), _) => {
                set_receipt(&sessions, user, position, ReceiptKind::Delivered, "ack").await
            }
            (ClientEvent::Read(position), _) => {
                set_receipt(&sessions, user, position, ReceiptKind::Read, "read").await
            }
            (ClientEvent::Typing(typing), _) => {
                counter!(EVENTS_IN, "event" => "typing").increment(1);
                publish_result(&sessions, sessions.chat.typing(user, typing.conversation_id).await)
            }
            // These are handled elsewhere.
            (
                ClientEvent::Authenticate(_)
                | ClientEvent::Sync(_)
                | ClientEvent::SendMessage(_)
                | ClientEvent::Call(_),
                _,
            ) => Err(Arc::new(RequestError::AlreadyAuthenticated) as _),
        }
    }
}

async fn set_receipt(
    sessions: &SessionService,
    user: UserId,
    position: ReceiptPosition,
    receipt: ReceiptKind,
    name: &'static str,
) -> ReplyResult {
    counter!(EVENTS_IN, "event" => name).increment(1);
    publish_result(
        sessions,
        sessions.chat.set_receipt(user, position.conversation_id, receipt, position.seq).await,
    )
}

fn publish_result<T: Serialize>(
    sessions: &SessionService,
    outcome: Result<WithEvents<T>, chat::ChatError>,
) -> ReplyResult {
    json_result(outcome.map(|outcome| sessions.publish_events(outcome)))
}

fn json_result<T: Serialize>(answer: Result<T, chat::ChatError>) -> ReplyResult {
    match answer {
        Ok(answer) => json(&answer),
        Err(error) => Err(Arc::new(error)),
    }
}

/// The JSON of a reply.
pub(super) fn json<T: Serialize>(answer: &T) -> ReplyResult {
    #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
    Ok(serde_json::to_string(answer).expect("a protocol shape serialises"))
}

/// Every conversation of a user, read page by page.
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
