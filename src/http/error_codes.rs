//! The problem codes of all error enums, for their documentation.

use base::error::{ErrorCode, ErrorKind};

use super::access::AccessError;
use super::problem::status;
use super::socket::FrameError;
use crate::actors::admin::AdminError;
use crate::actors::sessions::{RequestError, SessionError};
use crate::actors::supervision::CommandError;
use crate::cluster::{BusError, CacheError, DirectoryError, RateLimitError};
use crate::domain::accounts::AccountError;
use crate::domain::api_tokens::ApiTokenError;
use crate::domain::calls::CallError;
use crate::domain::chat::ChatError;
use crate::domain::contacts::ContactError;
use crate::domain::exports::ExportError;
use crate::domain::files::FileError;
use crate::domain::vault::VaultError;
use crate::protocol::client::ParseEventError;

/// The codes of all error enums, by enum.
pub fn declared_codes() -> Vec<(&'static str, &'static [ErrorCode])> {
    vec![
        ("AccessError", AccessError::CODES),
        ("AccountError", AccountError::CODES),
        ("AdminError", AdminError::CODES),
        ("ApiTokenError", ApiTokenError::CODES),
        ("BusError", BusError::CODES),
        ("CacheError", &[CacheError::CODE]),
        ("CallError", CallError::CODES),
        ("ChatError", ChatError::CODES),
        ("CommandError", CommandError::CODES),
        ("ContactError", ContactError::CODES),
        ("DirectoryError", DirectoryError::CODES),
        ("ExportError", ExportError::CODES),
        ("FileError", FileError::CODES),
        ("FrameError", FrameError::CODES),
        ("ParseEventError", ParseEventError::CODES),
        ("RateLimitError", &[RateLimitError::CODE]),
        ("RequestError", RequestError::CODES),
        ("SessionError", SessionError::CODES),
        ("StoreError", store::StoreError::CODES),
        ("VaultError", VaultError::CODES),
    ]
}

/// The HTTP status of a category of errors.
pub fn status_of(kind: ErrorKind) -> u16 {
    status(kind).as_u16()
}
