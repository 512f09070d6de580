//! What goes into the store and what comes out: plain data, the same for both databases.

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
mod second_factor;
mod sign_in;
mod text_enum;
mod user_admin;

pub use accounts::{Added, Device, NewDevice, NewUser, Registered, Role, User};
pub use api_tokens::{ApiToken, NewApiToken};
pub use audit::{AuditEntry, AuditFilter, NewAudit, Purged};
pub use calls::{
    Call, CallMedia, CallOutcome, CallPerson, CallReach, CallReason, CallRecord, CallWritten,
    EndedCall, NewCall,
};
pub use changes::{Altered, Deed, Doing, Edit, Limits, Revised};
pub use chat::{
    Audience, Change, Circle, Conversation, ConversationView, Encryption, History, Keeping, Kept,
    Kind, Member, MemberRole, NewConversation, OpenDirect, OpenGroup, Place, Reach, Settings,
    Summary,
};
pub(crate) use cluster::lock_number;
pub use cluster::{Beaten, Claimed, Fence, Lease, Node, NodeBeat, NodeState};
pub use contacts::{Blocked, Contact, ContactRequest, ContactState};
pub use files::{
    AddAttachment, AddUpload, Attachment, Blob, BlobPlace, NewAttachment, NewUpload, Quota, Upload,
};
pub use invites::{Invite, Joining, NewInvite};
pub use jobs::{Claim, Export, Job, JobEnd, JobState, NewJob};
pub use keys::{NewKey, SealedColumn, SealedRow, SigningKey};
pub use messages::{
    Append, Appended, Finds, Happened, Marked, Message, NewMessage, Range, Receipt, Search, Shown,
    System,
};
pub use presence::{Availability, Status};
pub use second_factor::{Factor, Opened, SecondFactor, SignIn};
pub use sign_in::{FirstAdmin, Identity, NewRefresh, Rotation};
pub use text_enum::BadWord;
pub use user_admin::{Parting, PeopleFilter, Person, PersonChange, Touched};
