//! The kinds of jobs, as stored in their rows.

/// Job kind of account erasure.
pub(super) const ERASE_JOB_KIND: &str = "account.erase";

/// Job kind of data exports.
pub(super) const EXPORT_JOB_KIND: &str = "account.export";
