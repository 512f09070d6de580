//! What the store can do, one file per area; each method is one transaction.

mod accounts;
mod audit;
mod calls;
mod chat;
mod cluster;
mod contacts;
mod keys;
mod messages;
mod sign_in;
mod tokens;
