//! Plain data that goes into the store and comes out of it, the same for both databases.

mod accounts;
mod api_tokens;
mod audit;
mod calls;
mod changes;
mod chat;
mod cluster;
mod contacts;
mod files;
mod invites;
mod jobs;
mod keys;
mod messages;
mod presence;
mod roles;
mod second_factor;
mod sign_in;
mod text_enum;
mod user_admin;

pub use accounts::{
    AddUserOutcome, DeviceRow, NewDeviceRow, NewUserRow, RegisterOutcome, Role, UserRow,
};
pub use api_tokens::{ApiToken, NewApiToken};
pub use audit::{AuditEntry, AuditFilter, NewAudit, PurgeCounts};
pub use calls::{
    CallMedia, CallOutcome, CallParticipantRow, CallPermission, CallReason, CallRecord, CallRow,
    CallWriteOutcome, EndedCall, NewCall,
};
pub use changes::{
    MessageAction, MessageActionLimits, MessageActionOutcome, MessageActionRequest, MessageEditRow,
    RevisedMessage,
};
pub use chat::{
    ConversationChangeOutcome, ConversationPosition, ConversationRow, ConversationSummaryRow,
    ConversationWithMembers, Encryption, GroupSettingsPatch, History, InvitationRule, Kind,
    MemberRow, MemberSettingsPatch, MemberSettingsRow, NewConversationRow, OpenDirect, OpenGroup,
    RecipientSet,
};
pub(crate) use cluster::lock_number;
pub use cluster::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow,
    NodeState,
};
pub use contacts::{BlockedUserRow, ContactRequestOutcome, ContactRow, ContactState};
pub use files::{
    AddAttachmentOutcome, AddUploadOutcome, AttachmentRow, BlobClaimOutcome, BlobRow,
    NewAttachmentRow, NewUploadRow, Quota, UploadRow,
};
pub use invites::{InviteRow, JoinOutcome, NewInviteRow};
pub use jobs::{Export, JobClaimOutcome, JobResolution, JobRow, JobState, NewJob};
pub use keys::{NewKey, SealedColumn, SealedRow, SigningKey};
pub use messages::{
    AppendBatchOutcome, AppendOutcome, MessageRange, MessageRow, MessageWithDetails, NewMessageRow,
    ReceiptKind, ReceiptOutcome, SearchPage, SearchParams, SystemEventKind, SystemEventRow,
};
pub use presence::{Availability, StatusRow};
pub use roles::{Circle, MemberRole};
pub use second_factor::{SecondFactorProof, SecondFactorRow, SignIn, SignInOutcome};
pub use sign_in::{DeviceIdentity, FirstAdminOutcome, NewRefresh, RefreshOutcome};
pub use text_enum::ParseEnumError;
pub use user_admin::{
    AffectedConversation, DepartureBatch, UserAdminRow, UserChangeOutcome, UserFilter,
};
