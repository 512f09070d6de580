//! A failure states its kind and a stable code; it does not know HTTP.

use std::error::Error;

/// How a failure presents itself to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is wrong and stays wrong.
    Invalid,
    /// Nobody is signed in, or the credentials are wrong.
    Unauthenticated,
    /// Signed in, but not allowed.
    Forbidden,
    /// There is no such thing, or the asker may not know of it.
    NotFound,
    /// It contradicts what is already there.
    Conflict,
    /// Larger than allowed.
    TooLarge,
    /// Too often; it may be tried again later.
    TooMany,
    /// We cannot answer just now; it may be tried again.
    Unavailable,
    /// Our own mistake.
    Internal,
}

/// What every error enum of an area implements.
pub trait CodedError: Error {
    /// How it presents itself.
    fn kind(&self) -> ErrorKind;

    /// `area/reason`; never changes, since clients switch on it.
    fn code(&self) -> &'static str;

    /// Seconds after which a retry makes sense, where that is known.
    fn retry_after(&self) -> Option<u64> {
        None
    }
}
