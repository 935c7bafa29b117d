//! The broadcaster over real sockets in one process: what the suite of the libraries can't see from outside, such as who
//! was given up and what waits. Everything that a library sees is checked in `tests/pusher`.

#![allow(clippy::unwrap_used, reason = "what a test can't go on without")]

mod hostile;
mod server;
mod slow;
mod stories;
mod tls;
mod viewer;
