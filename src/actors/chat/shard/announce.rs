//! Publishing what was committed, to those members who may see it.

use base::ids::UserId;

use super::{ChatShard, RecipientCache};
use crate::actors::delivery::OutboundEvent;
use crate::domain::chat::MessageChange;
use crate::protocol::messages::MessageView;
use crate::protocol::server::ServerEvent;

impl ChatShard {
    pub(super) fn announce_message(
        &self,
        recipients: &RecipientCache,
        message: &MessageView,
        withheld: Option<UserId>,
    ) {
        let event = OutboundEvent::new(&ServerEvent::Message(message.clone()));
        self.publish_filtered(recipients, &event, None, withheld.as_slice());
    }

    pub(super) fn announce_change(&self, recipients: &RecipientCache, change: &MessageChange) {
        self.publish_filtered(
            recipients,
            &OutboundEvent::new(&change.event),
            change.only,
            &change.except,
        );
    }

    /// Publishes an event to one member only, or to all except some; the others are told to skip
    /// it.
    fn publish_filtered(
        &self,
        recipients: &RecipientCache,
        event: &OutboundEvent,
        only: Option<UserId>,
        except: &[UserId],
    ) {
        if only.is_none() && except.is_empty() {
            return self.event_router.publish(&recipients.users, event);
        }
        let is_recipient = |user: &&UserId| match only {
            Some(one) => one == **user,
            None => !except.contains(*user),
        };
        let (to, skipping): (Vec<&UserId>, Vec<&UserId>) =
            recipients.users.iter().partition(is_recipient);
        let owned = |users: Vec<&UserId>| users.into_iter().copied().collect::<Vec<_>>();
        self.event_router.publish(&owned(to), event);
        if let Some(position) = event.position() {
            self.event_router.publish_skipped(&owned(skipping), position);
        }
    }
}
