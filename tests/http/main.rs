//! The HTTP contract as clients meet it: what is answered, who votes, and how connections are held.

#![allow(clippy::unwrap_used, reason = "what a test can't go on without")]

mod certificate;
mod challenge;
mod comments;
mod compression;
mod connections;
mod contract;
mod document;
mod export;
mod fraud;
mod leaderboard;
mod me;
mod origins;
mod rounds;
mod server;
mod storage;
mod stream;
mod streams;
#[path = "../support/through.rs"]
mod through;
mod tls;
mod voids;
mod voters;
