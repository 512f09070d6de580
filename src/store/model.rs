//! What goes into the store and what comes out: plain data, the same for both databases.

mod accounts;
mod audit;
mod calls;
mod chat;
mod cluster;
mod contacts;
mod files;
mod jobs;
mod keys;
mod messages;
mod people;
mod second_factor;
mod sign_in;
mod tokens;
mod word;

pub use accounts::{Added, Device, NewDevice, NewUser, Registered, Role, User};
pub use audit::{AuditEntry, AuditFilter, NewAudit, Purged};
pub use calls::{
    Call, CallMedia, CallOutcome, CallPerson, CallReach, CallReason, CallRecord, CallWritten,
    EndedCall, NewCall,
};
pub use chat::{
    Audience, Change, Conversation, ConversationView, Encryption, Kind, Member, MemberRole,
    NewConversation, OpenDirect, OpenGroup, Reach, Summary,
};
pub(crate) use cluster::lock_number;
pub use cluster::{Beaten, Claimed, Fence, Lease, Node, NodeBeat, NodeState};
pub use contacts::{Blocked, Contact, ContactRequest, ContactState};
pub use files::{
    AddAttachment, AddUpload, Attachment, Blob, BlobPlace, NewAttachment, NewUpload, Quota, Upload,
};
pub use jobs::{Claim, Export, Job, JobEnd, JobState, NewJob};
pub use keys::{NewKey, SealedColumn, SealedRow, SigningKey};
pub use messages::{Append, Appended, Marked, Message, NewMessage, Range, Receipt};
pub use people::{Parting, PeopleFilter, Person, PersonChange, Touched};
pub use second_factor::{Factor, Opened, SecondFactor, SignIn};
pub use sign_in::{FirstAdmin, Identity, NewRefresh, Rotation};
pub use tokens::{ApiToken, NewApiToken};
pub use word::BadWord;
