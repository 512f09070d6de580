//! The operations of the store, one file per area; each method is one transaction.

mod accounts;
mod api_tokens;
mod audit;
mod calls;
mod chat;
mod cluster;
mod contacts;
mod erasure;
mod files;
mod invites;
mod jobs;
mod keys;
mod messages;
mod passwords;
mod presence;
mod second_factor;
mod sign_in;
mod uploads;
mod user_admin;
