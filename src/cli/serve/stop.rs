//! The two signals that ask a server to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Fault;

/// SIGINT and SIGTERM, caught from when this is made.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Catches the signals. Their default, to end the process, is gone from here on; that of SIGHUP too, which whoever
    /// supervises a server may send before there is anything to read again.
    pub(super) fn install() -> Result<Self, Fault> {
        let catch = |kind| signal(kind).map_err(|why| Fault::io("catching signals", &why));
        // One that was caught once stays caught.
        drop(catch(SignalKind::hangup())?);
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// Returns at the next of either signal.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
