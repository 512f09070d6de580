//! Every bound of this crate on sizes, counts, rates and times, with its reason.

use std::time::Duration;

// actors/calls/forwarding
/// Attempts to reach a call that moves, and the base delay between them: together a little over the
/// time after which a node is declared dead.
pub(crate) const MAX_FORWARD_ATTEMPTS: u32 = 60;

// actors/calls/migration
/// Maximum of calls that change nodes at the same time.
pub(crate) const MAX_CONCURRENT_HAND_OFFS: usize = 16;

// actors/calls/requests
/// Attempts to find a call when it ends while it is being looked up.
pub(crate) const MAX_LOOKUP_ATTEMPTS: usize = 10;

// actors/chat/shard
/// Maximum of messages stored in one transaction.
pub(crate) const MAX_BATCH_MESSAGES: usize = 256;

// actors/media/batch
/// Maximum datagram size in bytes; longer ones are truncated by the kernel and dropped.
pub(crate) const MAX_MEDIA_DATAGRAM_BYTES: usize = 2048;
/// Kernel limits of one GSO send: 64 segments, and 64 KiB less headers.
pub(crate) const MAX_GSO_SEGMENTS: usize = 64;
/// Bytes of one GSO send at most: an IP packet holds no more.
pub(crate) const MAX_GSO_BYTES: usize = 65_000;

// actors/media/ice_mux
/// Batches that are read before the rooms send.
pub(crate) const MAX_BATCHES_PER_WAKE: usize = 4;
/// How long to wait when no room has a timeout.
pub(crate) const MAX_MEDIA_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// With port 0, a port that is free for UDP may be in use for TCP: attempts to find one free for
/// both.
pub(crate) const MAX_BIND_ATTEMPTS: usize = 20;

// actors/media/tcp
/// Maximum of connections per thread; more are refused.
pub(crate) const MAX_ICE_TCP_CONNECTIONS: usize = 1024;
/// Packets that may wait for a slow connection; more are lost, as on any network.
pub(crate) const MAX_ICE_TCP_QUEUED_FRAMES: usize = 512;
/// Maximum frame size in bytes.
pub(crate) const MAX_ICE_TCP_FRAME_BYTES: usize = 2048;

// actors/peer_nodes/peer_table
/// Maximum of deltas stored while a snapshot is fetched; beyond it the snapshot is fetched again.
pub(crate) const MAX_EARLY_DELTAS: usize = 1000;

// actors/presence
/// Maximum of users per database query.
pub(crate) const MAX_USERS_PER_FLUSH: usize = 500;

// actors/sessions/reorder_buffer
/// Maximum of buffered events per session; beyond it the missing ones are read from the database.
pub(crate) const MAX_REORDERED_EVENTS: usize = 64;

// actors/turn/client
/// Maximum of usernames per client. A client has one; a second one is answered as a wrong
/// credential.
pub(crate) const MAX_TURN_USERNAMES: usize = 4;
/// Maximum of peer addresses a client may have permissions for. ICE has a few candidates per
/// participant.
pub(crate) const MAX_TURN_PERMISSIONS: usize = 1024;

// actors/turn/clients
/// Maximum of clients without an allocation; beyond it the oldest is dropped. Anybody can create
/// one with a single datagram from a spoofed address.
pub(crate) const MAX_UNAUTHENTICATED_TURN_CLIENTS: usize = 4096;

// actors/turn/listeners
/// Datagrams read before other tasks run.
pub(crate) const MAX_READS_PER_WAKE: usize = 64;
/// Frames that may wait for a slow connection.
pub(crate) const MAX_TURN_QUEUED_FRAMES: usize = 256;
/// Maximum of connections without an allocation; more are refused.
pub(crate) const MAX_UNAUTHENTICATED_TURN_CONNECTIONS: usize = 512;

// actors/turn/message
/// Maximum message size in bytes: the largest usual datagram plus the TURN overhead.
pub(crate) const MAX_TURN_MESSAGE_BYTES: usize = 16 * 1024;

// actors/turn/port
/// Ports tried before an allocation is refused.
pub(crate) const MAX_RELAY_PORT_ATTEMPTS: usize = 64;

// cluster/amqp/consumer
/// Maximum number of requests being handled; further ones are answered with "busy".
pub(crate) const MAX_CONCURRENT_BUS_REQUESTS: usize = 1024;
/// Maximum size of this node's queue at the broker, in bytes.
pub(crate) const MAX_QUEUE_BYTES: i64 = 256 << 20;

// cluster/amqp/outbox
/// Older events are dropped; their receivers are told to resync instead.
pub(crate) const MAX_BUS_MESSAGE_AGE: Duration = Duration::from_secs(10);
/// Above this number of receivers, all nodes are told to resync.
pub(crate) const MAX_RESYNC_DEBTS: usize = 256;

// cluster/amqp/pending_requests
/// Maximum number of times a request is sent: once more if the connection broke meanwhile.
pub(crate) const MAX_SEND_ATTEMPTS: u8 = 2;

// cluster/amqp/publisher
/// Maximum number of unconfirmed messages.
pub(crate) const MAX_UNCONFIRMED_MESSAGES: usize = 512;

// cluster/amqp/reply_cache
/// Maximum number of cached replies.
pub(crate) const MAX_CACHED_REPLIES: usize = 4096;
/// Maximum total size of cached replies in bytes.
pub(crate) const MAX_CACHED_REPLY_BYTES: usize = 16 << 20;

// domain/calls/call_token
/// Length of the name of a room (`sessionId`) at most, in characters.
pub(crate) const MAX_SESSION_NAME_CHARS: usize = 128;

// domain/chat/changes
/// Maximum number of different emoji on a message.
pub(crate) const MAX_REACTION_EMOJI_PER_MESSAGE: i64 = 20;
/// Maximum number of different emoji of one user on a message.
pub(crate) const MAX_REACTIONS_PER_USER_AND_MESSAGE: i64 = 5;
/// Maximum number of pinned messages in a conversation.
pub(crate) const MAX_PINS_PER_CONVERSATION: i64 = 50;
/// Maximum number of edits of a message.
pub(crate) const MAX_EDITS_PER_MESSAGE: i64 = 100;
/// Maximum number of expired messages removed in one transaction.
pub(crate) const MAX_EXPIRED_PER_BATCH: usize = 200;

// domain/chat/messages
/// In larger conversations receipts are stored and returned on request, but not sent as events:
/// their number would grow with the square of the number of members.
pub(crate) const MAX_MEMBERS_FOR_RECEIPT_EVENTS: usize = 64;
/// Maximum lifetime of a message: one year, in seconds.
pub(crate) const MAX_MESSAGE_EXPIRY_SECONDS: i64 = 31_536_000;
/// Maximum number of users mentioned in a message.
pub(crate) const MAX_MENTIONS_PER_MESSAGE: usize = 50;

// domain/contacts
/// Maximum number of phone numbers in one address book request.
pub(crate) const MAX_ADDRESS_BOOK_NUMBERS: usize = 500;

// domain/files/content_type
/// Maximum length of a display name, in characters.
pub(crate) const MAX_FILE_NAME_CHARS: usize = 200;

// domain/files
/// How often a blob is claimed again if it was removed while being stored.
pub(crate) const MAX_CLAIM_ATTEMPTS: usize = 5;

// domain/files/probe
/// Maximum number of bytes read: enough for the tables of a film of many hours.
pub(crate) const MAX_PROBE_BYTES: u64 = 16 * 1024 * 1024;
/// Maximum number of reads and seeks: enough for a film in many fragments.
pub(crate) const MAX_PROBE_READS: u32 = 20_000;
/// Longer durations are considered invalid, in milliseconds (1000 hours).
pub(crate) const MAX_MEDIA_DURATION_MS: i64 = 1000 * 60 * 60 * 1000;
/// Maximum number of packets counted if the container has no duration: about an hour of speech.
pub(crate) const MAX_PROBE_PACKETS: u32 = 100_000;
/// Maximum time to count packets: a file may claim any number of empty ones, each found more
/// slowly.
pub(crate) const MAX_PACKET_SCAN: Duration = Duration::from_secs(1);
/// Maximum number of MP4 boxes inspected: enough for a recording of twenty minutes.
pub(crate) const MAX_MP4_BOXES: usize = 10_000;

// http/socket/engine_io
/// Size from which no further packet is added to a poll response, in bytes.
pub(crate) const MAX_POLL_BYTES: usize = 256 * 1024;
/// Number of consecutive unanswered pings after which the transport is closed.
pub(crate) const MAX_MISSED_PINGS: u32 = 2;

// http/socket/gate
/// Maximum number of requests queued while the token is checked.
pub(crate) const MAX_REQUESTS_BEFORE_AUTH: usize = 32;

// http/uploads
/// Maximum length of `Upload-Metadata`.
pub(crate) const MAX_UPLOAD_METADATA_BYTES: usize = 4096;

// integrations/blob_store/s3
/// Maximum number of parts uploaded concurrently.
pub(crate) const MAX_CONCURRENT_PARTS: usize = 2;
