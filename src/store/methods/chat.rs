//! Conversations and their members.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{
    ConversationChangeOutcome, ConversationPosition, ConversationSummaryRow,
    ConversationWithMembers, GroupSettingsPatch, InvitationRule, MemberRole, MemberSettingsPatch,
    MemberSettingsRow, NewConversationRow, OpenDirect, OpenGroup, RecipientSet,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// The conversation of two users, created if there is none; there is never a second one.
    pub async fn open_direct(
        &self,
        new: NewConversationRow,
        other: UserId,
        rule: InvitationRule,
        now: Timestamp,
    ) -> Result<OpenDirect> {
        write_tx!(self, chat::open_direct(new, other, rule, now))
    }

    /// Creates a group of its creator, who becomes its owner, and `members`.
    pub async fn open_group(
        &self,
        new: NewConversationRow,
        members: Vec<UserId>,
        rule: InvitationRule,
        now: Timestamp,
    ) -> Result<OpenGroup> {
        write_tx!(self, chat::open_group(new, members, rule, now))
    }

    /// A conversation with its members, if `viewer` is one of them.
    pub async fn conversation(
        &self,
        id: ConversationId,
        viewer: UserId,
    ) -> Result<Option<ConversationWithMembers>> {
        read_tx!(self, chat::conversation(id, viewer))
    }

    /// A user's conversations by descending id: the most recently created comes first. `after` is
    /// the last one of the previous page.
    pub async fn user_conversations(
        &self,
        me: UserId,
        after: Option<ConversationId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ConversationSummaryRow>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, chat::user_conversations(me, after, limit, now))
    }

    /// The newest sequence and revision of each of a user's conversations.
    pub async fn conversation_positions(&self, me: UserId) -> Result<Vec<ConversationPosition>> {
        read_tx!(self, chat::positions(me))
    }

    /// The recipients of a conversation's messages, in the order of their ids. The members are
    /// never older than the membership version (`roster`).
    pub async fn recipient_set(&self, id: ConversationId) -> Result<RecipientSet> {
        read_tx!(self, chat::recipient_set(id))
    }

    /// The recipients of a user's typing and read events in a conversation; `None` if the user is
    /// not a member.
    pub async fn recipients(
        &self,
        id: ConversationId,
        user: UserId,
    ) -> Result<Option<Vec<UserId>>> {
        read_tx!(self, chat::recipients(id, user))
    }

    /// Changes the title and other settings of a group; its owner and admins may. In a direct
    /// conversation both may change how long messages last.
    pub async fn update_conversation(
        &self,
        id: ConversationId,
        by: UserId,
        new: GroupSettingsPatch,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        write_tx!(self, group_members::update_conversation(id, by, new, now))
    }

    /// Changes one member's settings of a conversation; `None` if they are not a member.
    pub async fn update_member_settings(
        &self,
        id: ConversationId,
        me: UserId,
        patch: MemberSettingsPatch,
        now: Timestamp,
    ) -> Result<Option<MemberSettingsRow>> {
        write_tx!(self, chat::update_member_settings(id, me, patch, now))
    }

    /// Adds a user whom `by` may reach to a group; its owner and admins may, or all members,
    /// depending on the group's settings. An existing member stays unchanged.
    pub async fn add_member(
        &self,
        id: ConversationId,
        by: UserId,
        user: UserId,
        rule: InvitationRule,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        write_tx!(self, group_members::add_member(id, by, user, rule, now))
    }

    /// Removes a user from a group; removing oneself means leaving. The owner may remove anyone, an
    /// admin plain members. When the owner leaves, the earliest admin becomes the owner, or else
    /// the earliest member.
    pub async fn remove_member(
        &self,
        id: ConversationId,
        by: UserId,
        user: UserId,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        write_tx!(self, group_members::remove_member(id, by, user, now))
    }

    /// Changes another member's role; only the owner may. Making somebody the owner turns the old
    /// owner into an admin.
    pub async fn set_member_role(
        &self,
        id: ConversationId,
        by: UserId,
        user: UserId,
        role: MemberRole,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        write_tx!(self, group_members::set_member_role(id, by, user, role, now))
    }
}
