//! abuse.
