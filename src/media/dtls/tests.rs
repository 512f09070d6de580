//! Handshakes with loss, forgery and clients that know only the old cipher.
