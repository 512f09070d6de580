//! Why a message could not be sent, or a reply did not come.

/// Why a message was not handled, or why it is unknown whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The mailbox is full; the message was not accepted.
    #[error("the mailbox is full")]
    Full,
    /// The actor was stopped or has ended; the message was certainly not handled.
    #[error("the actor has ended")]
    Gone,
    /// The actor failed while it handled the message, which may have had an effect.
    #[error("the actor failed while it handled the message")]
    Failed,
}
