//! What the store can do, one file per area; each method is one transaction.

mod accounts;
mod audit;
mod calls;
mod chat;
mod cluster;
mod contacts;
mod deletion;
mod files;
mod invites;
mod jobs;
mod keys;
mod messages;
mod passwords;
mod people;
mod presence;
mod second_factor;
mod sign_in;
mod tokens;
mod uploads;
