//! How many connections there are, in all and of one address. Never looks at what they say.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{App, testing};
use crate::admission::network;

/// Counts connections.
pub(super) struct Gate {
    max: usize,
    max_of_one: usize,
    app: App,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    of_address: HashMap<IpAddr, usize>,
}

impl Gate {
    /// Lets in `max` at once, of one address `max_of_one`; `None`: as many.
    pub(super) fn new(app: App, max: usize, max_of_one: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max, max_of_one: max_of_one.unwrap_or(usize::MAX), app, open: Mutex::default() })
    }

    /// A place for a connection of this peer, if there is one.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let max_of_one = if self.app.0.options.trusted_proxies.trusts(peer) { usize::MAX } else { self.max_of_one };
        // As for every other limit: an IPv6 host has a whole /64 of addresses.
        let peer = network(peer);
        let mut open = self.open.lock();
        let own = open.of_address.get(&peer).copied().unwrap_or(0);
        if open.all >= self.max || own >= max_of_one {
            return None;
        }
        open.all += 1;
        open.of_address.insert(peer, own + 1);
        testing::metrics(&self.app).connections.inc();
        Some(Place { gate: Arc::clone(self), peer })
    }
}

/// A connection's place; leaving gives it back.
pub(super) struct Place {
    gate: Arc<Gate>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock();
        open.all -= 1;
        if let Some(own) = open.of_address.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                open.of_address.remove(&self.peer);
            }
        }
        testing::metrics(&self.gate.app).connections.dec();
    }
}
