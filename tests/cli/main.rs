//! The program as its users start it: the real binary, its output, its exit codes, and the server that it runs.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod benching;
mod carrying;
mod commands;
mod commenting;
mod compacting;
mod observing;
mod offline;
mod rejecting;
mod remaking;
mod resuming;
mod running;
mod serving;
mod settings;
mod stores;
mod upgrading;
mod whole;
