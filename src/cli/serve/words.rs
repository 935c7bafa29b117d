//! The list of blocked words: read at the start, and again at each SIGHUP.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::comments::WordList;
use crate::engine::Engine;
use crate::error::Fault;

/// Reads the list into the engine, and has a task read it again whenever a SIGHUP asks for it. A list that can't be read
/// then leaves the one before in force.
pub(super) fn watch(path: PathBuf, engine: Engine) -> Result<tokio::task::JoinHandle<()>, Fault> {
    engine.block_words(WordList::read(&path)?);
    let mut asked = signal(SignalKind::hangup()).map_err(|why| Fault::io("catching signals", &why))?;
    Ok(tokio::spawn(async move {
        while asked.recv().await.is_some() {
            match WordList::read(&path) {
                Ok(words) => {
                    tracing::info!(words = words.len(), "the blocked words were read again");
                    engine.block_words(words);
                }
                Err(failure) => tracing::error!("the blocked words stay as they were: {failure}"),
            }
        }
    }))
}
