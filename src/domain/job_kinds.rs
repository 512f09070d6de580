//! The kinds of jobs, as stored in their rows.

/// Job kind of account erasure.
pub const ERASE_JOB_KIND: &str = "account.erase";

/// Job kind of data exports.
pub const EXPORT_JOB_KIND: &str = "account.export";
