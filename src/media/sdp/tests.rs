//! The meaning of real offers, and answers that browsers take.
