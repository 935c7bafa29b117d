//! The open connections: their places, their ids, whose users they are, and their end when the server stops.
//!
//! Never touches a channel, and never waits for a connection but at the server's end.

use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::apps::AppNo;
use super::close;
use crate::admission::network;
use crate::hub::{Outbox, ViewerId};

/// The least time between two rounds of closes.
const SLICE: Duration = Duration::from_millis(20);

/// What the protocol calls a connection: `mark.number`. The mark is the process's, so that an id of an earlier process
/// names nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SocketId {
    mark: u32,
    number: u64,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.mark, self.number)
    }
}

/// Connections at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// Of one address (IPv6: one /64).
    pub(super) of_address: usize,
    /// Of one app.
    pub(super) of_app: usize,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Sockets {
    mark: u32,
    bounds: Bounds,
    open: Mutex<Open>,
    users: Mutex<Users>,
    closing: AtomicBool,
    /// Told when the last place was given back.
    empty: Notify,
}

/// The connections of those who signed in.
type Users = HashMap<(AppNo, Box<str>), Vec<Outbox>>;

#[derive(Debug, Default)]
struct Open {
    places: usize,
    of_address: HashMap<IpAddr, usize>,
    of_app: HashMap<AppNo, usize>,
    outboxes: HashMap<ViewerId, Outbox>,
}

impl Sockets {
    /// Nobody yet. `mark` is the process's own.
    pub(super) fn new(bounds: Bounds, mark: u32) -> Self {
        Self {
            mark,
            bounds,
            open: Mutex::default(),
            users: Mutex::default(),
            closing: AtomicBool::new(false),
            empty: Notify::new(),
        }
    }

    /// A place for a connection, or the code and reason that say why there is none. `app`: none for one that is told only
    /// why it can't stay.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr, app: Option<AppNo>) -> Result<Place, (u16, &'static str)> {
        // As for every other limit: an IPv6 host has a whole /64 of addresses.
        let from = network(from);
        let mut open = self.open.lock();
        let of_address = open.of_address.get(&from).copied().unwrap_or(0);
        let of_app = app.map_or(0, |app| open.of_app.get(&app).copied().unwrap_or(0));
        // What passes goes first: the other makes a client give up.
        if open.places >= self.bounds.all || of_address >= self.bounds.of_address {
            return Err((close::OVER_CAPACITY, "there is no room for more connections"));
        }
        if app.is_some() && of_app >= self.bounds.of_app {
            return Err((close::OVER_QUOTA, "the app has as many connections as it may"));
        }
        open.places += 1;
        open.of_address.insert(from, of_address + 1);
        if let Some(app) = app {
            open.of_app.insert(app, of_app + 1);
        }
        Ok(Place { sockets: Arc::clone(self), from, app })
    }

    /// The id of a viewer's connection.
    pub(super) fn id(&self, viewer: ViewerId) -> SocketId {
        SocketId { mark: self.mark, number: viewer.0 }
    }

    /// The viewer that a text names, if it was given by this process.
    pub(super) fn named(&self, text: &str) -> Option<ViewerId> {
        let (mark, number) = text.split_once('.')?;
        let viewer = ViewerId(number.parse().ok()?);
        (mark.parse() == Ok(self.mark)).then_some(viewer)
    }

    /// Whether the server stops.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Notes a connection that speaks.
    pub(super) fn add(&self, outbox: &Outbox) {
        self.open.lock().outboxes.insert(outbox.id(), outbox.clone());
        // Looked at after it is in: either the drain sees it, or it sees the drain.
        if self.is_closing() {
            outbox.close(close::STOPPING, close::STOPPING_WHY);
        }
    }

    /// Forgets it.
    pub(super) fn remove(&self, viewer: ViewerId) {
        self.open.lock().outboxes.remove(&viewer);
    }

    /// Notes that a connection is a user's.
    pub(super) fn sign_in(&self, app: AppNo, user: &str, outbox: &Outbox) {
        self.users.lock().entry((app, user.into())).or_default().push(outbox.clone());
    }

    /// Forgets that it was.
    pub(super) fn sign_out(&self, app: AppNo, user: &str, viewer: ViewerId) {
        let mut users = self.users.lock();
        let key = (app, user.into());
        if let Some(outboxes) = users.get_mut(&key) {
            outboxes.retain(|outbox| outbox.id() != viewer);
            if outboxes.is_empty() {
                users.remove(&key);
            }
        }
    }

    /// Closes a user's connections; how many there were.
    pub(super) fn terminate(&self, app: AppNo, user: &str) -> usize {
        let users = self.users.lock();
        let outboxes = users.get(&(app, user.into())).map_or(&[][..], Vec::as_slice);
        for outbox in outboxes {
            outbox.close(close::UNAUTHORISED, "the server has ended this user's connections");
        }
        outboxes.len()
    }

    /// Closes everyone, spread evenly over a time: clients come back at once, and another server must bear that. Returns
    /// when the last is gone.
    pub(super) async fn drain(&self, over: Duration) {
        self.closing.store(true, Ordering::Release);
        let outboxes: Vec<Outbox> = self.open.lock().outboxes.values().cloned().collect();
        let began = tokio::time::Instant::now();
        let mut closed = 0;
        while closed < outboxes.len() {
            let part = (began.elapsed() + SLICE).as_secs_f64() / over.as_secs_f64().max(f64::MIN_POSITIVE);
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 connections")]
            let due = (outboxes.len() as f64 * part.min(1.0)).ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most their number")]
            let due = due as usize;
            for outbox in &outboxes[closed..due] {
                outbox.close(close::STOPPING, close::STOPPING_WHY);
            }
            closed = due;
            tokio::time::sleep(SLICE).await;
        }
        loop {
            let emptied = self.empty.notified();
            if self.open.lock().places == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    sockets: Arc<Sockets>,
    from: IpAddr,
    app: Option<AppNo>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock();
        open.places -= 1;
        leave(&mut open.of_address, &self.from);
        if let Some(app) = &self.app {
            leave(&mut open.of_app, app);
        }
        if open.places == 0 {
            self.sockets.empty.notify_waiters();
        }
    }
}

/// One less; what has none is forgotten.
fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(own) = counts.get_mut(key) {
        *own -= 1;
        if *own == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(all: usize, of_address: usize, of_app: usize) -> Arc<Sockets> {
        Arc::new(Sockets::new(Bounds { all, of_address, of_app }, 77))
    }

    fn refused(entered: Result<Place, (u16, &str)>) -> u16 {
        entered.unwrap_err().0
    }

    #[test]
    fn places_are_bounded_in_all_and_for_an_address() {
        let sockets = sockets(3, 2, 3);
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = sockets.enter(one, Some(0)).unwrap();
        let _second = sockets.enter(one, Some(0)).unwrap();
        assert_eq!(refused(sockets.enter(one, Some(0))), close::OVER_CAPACITY, "an address has two");
        let _third = sockets.enter(other, None).unwrap();
        assert_eq!(refused(sockets.enter(other, Some(1))), close::OVER_CAPACITY, "there are three");
        drop(first);
        let _again = sockets.enter(one, Some(0)).unwrap();
    }

    #[test]
    fn an_ipv6_host_is_one_whichever_of_its_addresses_it_takes() {
        let sockets = sockets(100, 1, 100);
        let enter = |from: &str| sockets.enter(from.parse().unwrap(), Some(0));
        let first = enter("2001:db8::1").unwrap();
        assert_eq!(refused(enter("2001:db8::ffff:2")), close::OVER_CAPACITY);
        let _neighbour = enter("2001:db8:0:1::1").unwrap();
        let _old = enter("192.0.2.1").unwrap();
        assert_eq!(refused(enter("::ffff:192.0.2.1")), close::OVER_CAPACITY, "the same, written as IPv6");
        drop(first);
        let _again = enter("2001:db8::3").unwrap();
    }

    #[test]
    fn an_app_has_a_quota_and_takes_no_other_apps() {
        let sockets = sockets(100, 100, 2);
        let from: IpAddr = [10, 0, 0, 1].into();
        let first = sockets.enter(from, Some(0)).unwrap();
        let _second = sockets.enter(from, Some(0)).unwrap();
        assert_eq!(refused(sockets.enter(from, Some(0))), close::OVER_QUOTA);
        let _others = [sockets.enter(from, Some(1)).unwrap(), sockets.enter(from, Some(1)).unwrap()];
        let _strays: Vec<Place> = (0..3).map(|_| sockets.enter(from, None).unwrap()).collect();
        drop(first);
        let _again = sockets.enter(from, Some(0)).unwrap();
        assert_eq!(refused(sockets.enter(from, Some(0))), close::OVER_QUOTA, "one came back for one that left");
    }

    #[test]
    fn a_full_server_says_so_before_a_full_app_does() {
        let sockets = sockets(1, 100, 1);
        let from: IpAddr = [10, 0, 0, 1].into();
        let _first = sockets.enter(from, Some(0)).unwrap();
        assert_eq!(refused(sockets.enter(from, Some(0))), close::OVER_CAPACITY);
    }

    #[test]
    fn an_id_is_of_this_process_or_names_nobody() {
        let sockets = sockets(1, 1, 1);
        let id = sockets.id(ViewerId(5));
        assert_eq!(id.to_string(), "77.5");
        assert_eq!(sockets.named("77.5"), Some(ViewerId(5)));
        for other in ["", "77", "78.5", "77.x", "77.5.1", ".5", "5"] {
            assert_eq!(sockets.named(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn an_empty_server_is_drained_at_once() {
        sockets(1, 1, 1).drain(Duration::from_hours(1)).await;
    }
}
