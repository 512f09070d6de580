//! Reading what a device has missed: messages, and what became of messages it has.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use metrics::counter;

use super::super::cursors::{DeliveryCursors, SequenceGap};
use super::super::outbound_event::{OutboundEvent, SequenceKind};
use super::super::requests;
use super::super::socket_handle::SocketCommand;
use super::SessionActor;
use crate::actors::supervision::SupervisedContext;
use crate::domain::chat::ChatError;
use crate::protocol::chat as wire;
use crate::protocol::client::SyncRequest;
use crate::protocol::server::{ServerEvent, SyncReply};
use crate::telemetry::metrics::CATCH_UPS;

/// Messages or changes read at once when a device is behind.
const CATCH_UP_PAGE_SIZE: usize = 100;

/// What was read: each with its number, and whether there may be more.
type EventPage = (Vec<(i64, ServerEvent)>, bool);

impl SessionActor {
    /// Reads the next missing piece, one at a time, at the pace of the socket: what was said comes
    /// before what became of it.
    pub(super) fn pump(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.reading || self.line.is_none() || !self.loaded {
            return;
        }
        let said = self.said.next_gap().map(|gap| (gap, SequenceKind::Messages));
        let next =
            said.or_else(|| self.changed.next_gap().map(|gap| (gap, SequenceKind::Revisions)));
        let Some((gap, order)) = next else { return };
        self.reading = true;
        counter!(CATCH_UPS).increment(1);
        let living = self.living().clone();
        let user = self.seed.me.user;
        let number = self.line_number;
        let page = async move {
            let (_turn, chat) = (living.turn().await, &living.chat);
            let (id, after) = (gap.conversation, gap.after);
            if order == SequenceKind::Revisions {
                return chat.changes(user, id, after, CATCH_UP_PAGE_SIZE).await;
            }
            let page = chat.undelivered(user, id, after, CATCH_UP_PAGE_SIZE).await?;
            let events = page.items.into_iter().map(|m| (m.seq, ServerEvent::Message(m)));
            Ok((events.collect(), page.next.is_some()))
        };
        let done = page.into_actor(self).map(move |page, session, ctx| {
            if number == session.line_number {
                session.take_page(gap, order, page, ctx);
            }
        });
        ctx.spawn(done);
    }

    fn take_page(
        &mut self,
        gap: SequenceGap,
        order: SequenceKind,
        page: Result<EventPage, ChatError>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        let (events, more) = match page {
            Ok(page) => page,
            Err(ChatError::ConversationNotFound) => {
                self.said.forget(gap.conversation); // left meanwhile
                self.changed.forget(gap.conversation);
                self.reading = false;
                return self.pump(ctx);
            }
            Err(error) => {
                tracing::debug!(%error, "session catch-up deferred");
                let number = self.line_number;
                ctx.run_later(self.pause(), move |session, ctx| {
                    if number == session.line_number {
                        session.reading = false;
                        session.pump(ctx);
                    }
                });
                return;
            }
        };
        let last = events.last().map(|(number, _)| *number);
        let wanted = events.into_iter().filter(|(number, _)| DeliveryCursors::wants(gap, *number));
        let mut sent = false;
        for (_, event) in wanted {
            sent = true;
            if !self.send_event(OutboundEvent::new(&event), ctx) {
                return;
            }
        }
        self.cursors(order).close_gap(gap, last, more);
        if sent {
            self.send(SocketCommand::Fence, ctx); // reading goes on when the socket has passed it on
        } else {
            self.reading = false;
            self.pump(ctx);
        }
    }

    pub(super) fn sync(
        &mut self,
        id: Option<u64>,
        sync: SyncRequest,
        ctx: &mut SupervisedContext<Self>,
    ) {
        self.syncing = true;
        self.stop_timer(ctx); // what waits for the first `sync` waits for its answer
        let living = self.living().clone();
        let user = self.seed.me.user;
        let number = self.line_number;
        let all = async move {
            let _turn = living.turn().await;
            requests::all_conversations(&living.chat, user).await
        };
        let done = all.into_actor(self).map(move |all, session, ctx| {
            session.in_flight -= 1;
            if number != session.line_number {
                return; // another socket asks for itself
            }
            session.syncing = false;
            if session.line.is_none() {
                return;
            }
            match all {
                Ok(conversations) => session.synced(id, &sync, conversations, ctx),
                Err(error) => {
                    session.reply(id, Err(Arc::new(error)), ctx);
                    session.restart_timer(
                        session.living().config.initial_sync_wait(),
                        ctx,
                        Self::release,
                    );
                }
            }
        });
        ctx.spawn(done);
    }

    fn synced(
        &mut self,
        id: Option<u64>,
        has: &SyncRequest,
        conversations: Vec<wire::ConversationSummary>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        for c in &conversations {
            let said = has.cursors.get(&c.id).copied().unwrap_or(0);
            self.said.sync(c.id, said, c.last_seq, c.joined_seq);
            let changed = has.changes.get(&c.id).copied().unwrap_or(c.revision);
            self.changed.sync(c.id, changed, c.revision, 0);
        }
        let answer = requests::json(&SyncReply { conversations });
        self.reply(id, answer, ctx);
        self.release(ctx);
    }
}
