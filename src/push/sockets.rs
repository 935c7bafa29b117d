//! The open connections: their places, their ids, whose users they are, and their end when the server stops.
//!
//! Never touches a channel, and never waits for a connection but at the server's end.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::apps::AppNo;
use super::close;
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

/// All connections.
#[derive(Debug)]
pub(super) struct Sockets {
    mark: u32,
    max: usize,
    max_of_one: usize,
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
    outboxes: HashMap<ViewerId, Outbox>,
}

impl Sockets {
    /// Nobody yet; at most so many, and so many of one address. `mark` is the process's own.
    pub(super) fn new(max: usize, max_of_one: usize, mark: u32) -> Self {
        Self {
            mark,
            max,
            max_of_one,
            open: Mutex::default(),
            users: Mutex::default(),
            closing: AtomicBool::new(false),
            empty: Notify::new(),
        }
    }

    /// A place for a connection; `None` when there is none left, for all or for its address.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let mut open = self.open.lock();
        let own = open.of_address.get(&from).copied().unwrap_or(0);
        if open.places >= self.max || own >= self.max_of_one {
            return None;
        }
        open.places += 1;
        open.of_address.insert(from, own + 1);
        Some(Place { sockets: Arc::clone(self), from })
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
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock();
        open.places -= 1;
        if let Some(own) = open.of_address.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                open.of_address.remove(&self.from);
            }
        }
        if open.places == 0 {
            self.sockets.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_an_address() {
        let sockets = Arc::new(Sockets::new(3, 2, 7));
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = sockets.enter(one).unwrap();
        let _second = sockets.enter(one).unwrap();
        assert!(sockets.enter(one).is_none(), "an address has two");
        let _third = sockets.enter(other).unwrap();
        assert!(sockets.enter(other).is_none(), "there are three");
        drop(first);
        let _again = sockets.enter(one).unwrap();
    }

    #[test]
    fn an_id_is_of_this_process_or_names_nobody() {
        let sockets = Sockets::new(1, 1, 77);
        let id = sockets.id(ViewerId(5));
        assert_eq!(id.to_string(), "77.5");
        assert_eq!(sockets.named("77.5"), Some(ViewerId(5)));
        for other in ["", "77", "78.5", "77.x", "77.5.1", ".5", "5"] {
            assert_eq!(sockets.named(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn an_empty_server_is_drained_at_once() {
        Sockets::new(1, 1, 1).drain(Duration::from_hours(1)).await;
    }
}
