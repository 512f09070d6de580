//! Every bound of this crate on sizes, counts, rates and times, with its reason.

use std::time::Duration;

// queries/chat
/// Unread messages are counted only up to this number.
pub(crate) const MAX_UNREAD_COUNT: i64 = 1000;

// queries/cluster
/// A dead node's last heartbeat must be younger than this for its free lock to prove anything: a
/// network partition frees the lock only later, when the heartbeat is older.
pub(crate) const MAX_HEARTBEAT_AGE_FOR_DEATH: Duration = Duration::from_millis(3500);
/// Maximum number of values bound in one query.
pub(crate) const MAX_QUERY_VALUES: usize = 1000;

// queries/invites
/// Maximum number of valid invites of a group.
pub(crate) const MAX_INVITES_PER_CONVERSATION: i64 = 100;

// queries/messages
/// Maximum time by which a message is dated later than the clock says, so that it is not dated
/// before the one before it.
pub(crate) const MAX_SENT_AT_CORRECTION: Duration = Duration::from_secs(5);

// queries/search
/// Maximum number of windows per page: whoever may see little of the hits gets shorter pages, and
/// no search keeps the database busy for long.
pub(crate) const MAX_SEARCH_WINDOWS: usize = 20;
/// Above this number of conversations the index query does not name them.
pub(crate) const MAX_CONVERSATIONS_IN_QUERY: usize = 300;

// tokenizer
/// Longer words are truncated: nobody searches for more.
pub(crate) const MAX_WORD_CHARS: usize = 64;
