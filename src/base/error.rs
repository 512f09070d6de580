//! Errors with a kind and a stable code, independent of HTTP.

use std::error::Error;

pub use base_derive::CodedError;

/// Category of an error, from which its HTTP status follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is invalid; repeating it does not help.
    Invalid,
    /// The caller is not authenticated, or the credentials are wrong.
    Unauthenticated,
    /// Authenticated, but not allowed.
    Forbidden,
    /// It does not exist, or the caller may not know of it.
    NotFound,
    /// It conflicts with the current state.
    Conflict,
    /// Larger than allowed.
    TooLarge,
    /// Rate limit exceeded; may be retried later.
    RateLimited,
    /// Temporarily unavailable; may be retried.
    Unavailable,
    /// A defect of the server.
    Internal,
}

/// A problem code as documentation: what `docs/errors.md` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The code, `area/reason`.
    pub code: &'static str,
    /// The category, which decides the HTTP status.
    pub kind: ErrorKind,
    /// Seconds after which a retry makes sense, if known.
    pub retry_after: Option<u64>,
    /// The text for people, with its placeholders.
    pub text: &'static str,
}

/// Implemented by the error enum of every area, usually derived: `#[derive(CodedError)]` with a
/// `#[code("area/reason", Kind)]` at every variant.
pub trait CodedError: Error {
    /// The category of this error.
    fn kind(&self) -> ErrorKind;

    /// The problem code `area/reason`; never changes, since clients depend on it.
    fn code(&self) -> &'static str;

    /// Seconds after which a retry makes sense, if known.
    fn retry_after(&self) -> Option<u64> {
        None
    }
}
