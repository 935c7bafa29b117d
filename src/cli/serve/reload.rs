//! What is read again at each SIGHUP: the list of blocked words, certificate and key. What can't be read then leaves what was there
//! before in force. A SIGHUP ends no server, whether there is anything to read or not.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::comments::WordList;
use crate::engine::Engine;
use crate::error::Fault;
use crate::http::Tls;

/// Reads the list of words into the engine, and has a task read all of it again whenever it is asked to.
pub(super) fn watch(words: Option<PathBuf>, tls: Option<Tls>, engine: Engine) -> Result<JoinHandle<()>, Fault> {
    if let Some(path) = &words {
        engine.block_words(WordList::read(path)?);
    }
    let mut asked = signal(SignalKind::hangup()).map_err(|why| Fault::io("catching signals", &why))?;
    Ok(tokio::spawn(async move {
        while asked.recv().await.is_some() {
            match words.as_deref().map(WordList::read) {
                Some(Ok(words)) => {
                    tracing::info!(words = words.len(), "the blocked words were read again");
                    engine.block_words(words);
                }
                Some(Err(failure)) => tracing::error!("the blocked words stay as they were: {failure}"),
                None => {}
            }
            match tls.as_ref().map(Tls::reload) {
                Some(Ok(())) => tracing::info!("the certificate was read again"),
                Some(Err(failure)) => tracing::error!("the certificate stays as it was: {failure}"),
                None => {}
            }
        }
    }))
}
