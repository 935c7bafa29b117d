//! What the engine's tests share: an engine with an open slot, and voters.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::sync::Arc;

use plaudit::clock::ManualClock;
use plaudit::domain::{ClipDraft, ClipId, SeasonId, VoterId, VoterKey};
use plaudit::engine::{Engine, Settings};

/// 2023-11-14T22:13:20Z.
pub(crate) const NOON: u64 = 1_700_000_000_000;

/// The key that all tests' voters come from.
pub(crate) fn key() -> VoterKey {
    VoterKey::new([7; 32])
}

/// Voter number `n`.
pub(crate) fn voter(n: u64) -> VoterId {
    key().user(&n.to_string())
}

/// The defaults, over a directory.
pub(crate) fn settings(dir: &Path) -> Settings {
    Settings::new(dir, key())
}

/// A stored value with one bit of the byte at `at`, or of its last, turned over. Twice is as before.
pub(crate) fn flipped(value: &[u8], at: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    let at = at.min(value.len() - 1);
    value[at] ^= 0x40;
    value
}

/// An engine over a directory, by a clock that stands still.
pub(crate) fn open(dir: &Path) -> Engine {
    Engine::open(settings(dir), Arc::new(ManualClock::at(NOON))).expect("the store opens")
}

/// Season `s` with slot 1 open and `clips` clips `c0`, `c1`, … in it.
pub(crate) async fn stage(engine: &Engine, clips: usize) {
    engine.create_season(Some(SeasonId::new("s").unwrap()), "Season".into()).await.unwrap();
    engine.create_slot("s", None).await.unwrap();
    for n in 0..clips {
        let draft = ClipDraft { title: format!("Clip {n}"), ..ClipDraft::default() };
        engine.add_clip("s", 1, Some(ClipId::new(&format!("c{n}")).unwrap()), draft).await.unwrap();
    }
    engine.open_slot("s", 1, None, false).await.unwrap();
}
