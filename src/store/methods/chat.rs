//! Conversations and those who are in them.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{
    ConversationChangeOutcome, ConversationPosition, ConversationSummaryRow,
    ConversationWithMembers, GroupSettingsPatch, InvitationRule, MemberRole, MemberSettingsPatch,
    MemberSettingsRow, NewConversationRow, OpenDirect, OpenGroup, RecipientSet,
};
use crate::store::{Store, change, look};

impl Store {
    /// The conversation of two people, opened if there is none; there is never a second one.
    pub async fn open_direct(
        &self,
        new: NewConversationRow,
        other: UserId,
        reach: InvitationRule,
        now: Timestamp,
    ) -> Result<OpenDirect> {
        change!(self, chat::open_direct(new, other, reach, now))
    }

    /// Opens a group of its creator, its owner, and `members`.
    pub async fn open_group(
        &self,
        new: NewConversationRow,
        members: Vec<UserId>,
        reach: InvitationRule,
        now: Timestamp,
    ) -> Result<OpenGroup> {
        change!(self, chat::open_group(new, members, reach, now))
    }

    /// A conversation, if `viewer` is in it.
    pub async fn conversation(
        &self,
        id: ConversationId,
        viewer: UserId,
    ) -> Result<Option<ConversationWithMembers>> {
        look!(self, chat::conversation(id, viewer))
    }

    /// A person's conversations, by id downwards: the one opened last comes first. `after` is the
    /// last one of the piece before.
    pub async fn conversations_of(
        &self,
        me: UserId,
        after: Option<ConversationId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ConversationSummaryRow>> {
        let limit = rows(limit);
        look!(self, chat::conversations_of(me, after, limit, now))
    }

    /// How far each conversation of a person has come.
    pub async fn positions(&self, me: UserId) -> Result<Vec<ConversationPosition>> {
        look!(self, chat::positions(me))
    }

    /// Who is to hear what is said in a conversation, in the order of their ids. The members are
    /// never older than the roster.
    pub async fn members_of(&self, id: ConversationId) -> Result<RecipientSet> {
        look!(self, chat::members_of(id))
    }

    /// Who is to hear that somebody types or reads in a conversation; `None` if they are not in it.
    pub async fn hearers(&self, id: ConversationId, user: UserId) -> Result<Option<Vec<UserId>>> {
        look!(self, chat::recipients(id, user))
    }

    /// Changes the title and other settings of a group; its owner and admins may. In a direct
    /// conversation both may change how long messages last.
    pub async fn set_up_conversation(
        &self,
        id: ConversationId,
        by: UserId,
        new: GroupSettingsPatch,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        change!(self, group_members::set_up_conversation(id, by, new, now))
    }

    /// Changes how one member keeps a conversation; `None` if they are not in it.
    pub async fn keep_conversation(
        &self,
        id: ConversationId,
        me: UserId,
        keeping: MemberSettingsPatch,
        now: Timestamp,
    ) -> Result<Option<MemberSettingsRow>> {
        change!(self, chat::keep(id, me, keeping, now))
    }

    /// Adds somebody within `reach` of `by` to a group; its owner and admins may, or all
    /// members, as it is set up. Who is in it already stays as they are.
    pub async fn add_member(
        &self,
        id: ConversationId,
        by: UserId,
        user: UserId,
        reach: InvitationRule,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        change!(self, group_members::add_member(id, by, user, reach, now))
    }

    /// Removes somebody from a group; oneself is to leave. Its owner may remove anybody, an admin
    /// plain members. When the owner goes, the admin who came first becomes the owner, or else
    /// the member who did.
    pub async fn remove_member(
        &self,
        id: ConversationId,
        by: UserId,
        user: UserId,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        change!(self, group_members::remove_member(id, by, user, now))
    }

    /// Changes what another member may do; its owner may. To make somebody the owner is to become
    /// an admin.
    pub async fn set_member_role(
        &self,
        id: ConversationId,
        by: UserId,
        user: UserId,
        role: MemberRole,
        now: Timestamp,
    ) -> Result<ConversationChangeOutcome> {
        change!(self, group_members::set_member_role(id, by, user, role, now))
    }
}
