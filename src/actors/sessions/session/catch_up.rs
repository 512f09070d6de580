//! Catch-up: reading the messages a device has missed, and the changes of messages it has.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use metrics::counter;

use super::super::cursors::{DeliveryCursors, SequenceGap};
use super::super::requests;
use super::super::socket_handle::SocketCommand;
use super::SessionActor;
use crate::actors::delivery::{OutboundEvent, SequenceKind};
use crate::actors::supervision::SupervisedContext;
use crate::domain::chat::ChatError;
use crate::protocol::chat as wire;
use crate::protocol::client::SyncRequest;
use crate::protocol::server::{ServerEvent, SyncReply};
use crate::telemetry::metrics::CATCH_UPS;

/// Messages or changes read at once during catch-up.
const CATCH_UP_PAGE_SIZE: usize = 100;

/// One page of events with their sequence numbers, and whether there may be more.
type EventPage = (Vec<(i64, ServerEvent)>, bool);

impl SessionActor {
    /// Reads the next sequence gap, one at a time, at the pace of the socket: messages before
    /// changes.
    pub(super) fn read_next_gap(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.is_reading || self.socket.is_none() || !self.is_loaded {
            return;
        }
        let message_cursors =
            self.message_cursors.next_gap().map(|gap| (gap, SequenceKind::Messages));
        let next = message_cursors
            .or_else(|| self.change_cursors.next_gap().map(|gap| (gap, SequenceKind::Revisions)));
        let Some((gap, sequence)) = next else { return };
        self.is_reading = true;
        counter!(CATCH_UPS).increment(1);
        let sessions = self.sessions().clone();
        let user = self.init.principal.user;
        let socket_number = self.socket_number;
        let page = async move {
            let (_permit, chat) = (sessions.catch_up_permit().await, &sessions.chat);
            let (id, after) = (gap.conversation, gap.after);
            if sequence == SequenceKind::Revisions {
                return chat.changes(user, id, after, CATCH_UP_PAGE_SIZE).await;
            }
            let page = chat.undelivered(user, id, after, CATCH_UP_PAGE_SIZE).await?;
            let events = page.items.into_iter().map(|m| (m.seq, ServerEvent::Message(m)));
            Ok((events.collect(), page.next.is_some()))
        };
        let done = page.into_actor(self).map(move |page, session, ctx| {
            if socket_number == session.socket_number {
                session.apply_page(gap, sequence, page, ctx);
            }
        });
        ctx.spawn(done);
    }

    fn apply_page(
        &mut self,
        gap: SequenceGap,
        sequence: SequenceKind,
        page: Result<EventPage, ChatError>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        let (events, has_more) = match page {
            Ok(page) => page,
            Err(ChatError::ConversationNotFound) => {
                self.message_cursors.remove(gap.conversation); // the user left it meanwhile
                self.change_cursors.remove(gap.conversation);
                self.is_reading = false;
                return self.read_next_gap(ctx);
            }
            Err(error) => {
                tracing::debug!(%error, "session catch-up deferred");
                let socket_number = self.socket_number;
                ctx.run_later(self.retry_delay(), move |session, ctx| {
                    if socket_number == session.socket_number {
                        session.is_reading = false;
                        session.read_next_gap(ctx);
                    }
                });
                return;
            }
        };
        let last_seq = events.last().map(|(socket_number, _)| *socket_number);
        let wanted = events
            .into_iter()
            .filter(|(socket_number, _)| DeliveryCursors::wants(gap, *socket_number));
        let mut any_sent = false;
        for (_, event) in wanted {
            any_sent = true;
            if !self.send_event(OutboundEvent::new(&event), ctx) {
                return;
            }
        }
        self.cursors(sequence).close_gap(gap, last_seq, has_more);
        if any_sent {
            // reading continues when the socket has sent it
            self.send(SocketCommand::FlushMarker, ctx);
        } else {
            self.is_reading = false;
            self.read_next_gap(ctx);
        }
    }

    pub(super) fn sync(
        &mut self,
        id: Option<u64>,
        sync: SyncRequest,
        ctx: &mut SupervisedContext<Self>,
    ) {
        self.is_syncing = true;
        self.stop_timer(ctx); // the timeout for the first `sync` must not fire before its reply
        let sessions = self.sessions().clone();
        let user = self.init.principal.user;
        let socket_number = self.socket_number;
        let all = async move {
            let _permit = sessions.catch_up_permit().await;
            requests::all_conversations(&sessions.chat, user).await
        };
        let done = all.into_actor(self).map(move |all, session, ctx| {
            session.in_flight -= 1;
            if socket_number != session.socket_number {
                return; // a newer socket sends its own `sync`
            }
            session.is_syncing = false;
            if session.socket.is_none() {
                return;
            }
            match all {
                Ok(conversations) => session.apply_sync(id, &sync, conversations, ctx),
                Err(error) => {
                    session.reply(id, Err(Arc::new(error)), ctx);
                    session.restart_timer(
                        session.sessions().config.initial_sync_wait(),
                        ctx,
                        Self::stop_holding,
                    );
                }
            }
        });
        ctx.spawn(done);
    }

    fn apply_sync(
        &mut self,
        id: Option<u64>,
        request: &SyncRequest,
        conversations: Vec<wire::ConversationSummary>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        for c in &conversations {
            let message_cursors = request.cursors.get(&c.id).copied().unwrap_or(0);
            self.message_cursors.sync(c.id, message_cursors, c.last_seq, c.joined_seq);
            let change_cursors = request.changes.get(&c.id).copied().unwrap_or(c.revision);
            self.change_cursors.sync(c.id, change_cursors, c.revision, 0);
        }
        let reply = requests::json(&SyncReply { conversations });
        self.reply(id, reply, ctx);
        self.stop_holding(ctx);
    }
}
