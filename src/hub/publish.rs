//! Publishing from outside the log: triggers, in order, through the worker; what one viewer tells the others, at once.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::queue::{Kind, Wakes};
use super::{Frame, Hub, Position, ViewerId};
use crate::error::Reject;

/// An event for one or more channels. Names are taken as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Where it goes; each channel gets it at a position of its own.
    pub channels: Vec<String>,
    /// The event's name.
    pub event: String,
    /// Its data, as text.
    pub data: String,
    /// A viewer that does not get it.
    pub except: Option<ViewerId>,
}

/// Publications that wait for the worker, and who waits for them.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) publications: Vec<Publication>,
    pub(super) done: oneshot::Sender<Position>,
}

/// Resolves once the publications are in their channels' histories and their viewers' queues, with the last one's position.
/// Dropping it changes nothing.
pub struct Published(oneshot::Receiver<Position>);

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Published")
    }
}

impl Future for Published {
    type Output = Result<Position, Reject>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The worker ends with the engine.
        Pin::new(&mut self.0).poll(cx).map_err(|_| Reject::Overloaded)
    }
}

impl Hub {
    /// Publishes events in order: each gets a position, enters its channel's history, and is the last event of a cache
    /// channel. `Overloaded` when the worker's inbox is full; nothing is published then.
    pub fn publish(&self, publications: Vec<Publication>) -> Result<Published, Reject> {
        let (done, published) = oneshot::channel();
        let order = Order { publications, done };
        // Under the lock that the worker ends under: what it does not find then was never sent.
        let gate = self.0.gate.lock();
        if gate.closed || self.0.orders.try_send(order).is_err() {
            return Err(Reject::Overloaded);
        }
        Ok(Published(published))
    }

    /// Sends a frame to everyone on a channel but one, at once: it has no position and enters no history. How many get it.
    pub fn relay(&self, channel: &str, frame: &Arc<Frame>, except: Option<ViewerId>) -> usize {
        let mut wakes = Wakes::default();
        let sent = self.0.directory.change(channel, |_, state| state.send(frame, except, &mut wakes)).unwrap_or(0);
        wakes.wake();
        self.0.metrics.deliveries.inc_by(sent as u64);
        sent
    }

    /// The same for a value of which only the newest matters: it takes the place of one of the same key that still waits.
    pub fn relay_latest(&self, channel: &str, key: u64, frame: &Arc<Frame>, except: Option<ViewerId>) -> usize {
        let mut wakes = Wakes::default();
        let sent = self.0.directory.change(channel, |channel, state| {
            let place = channel.place(Kind::Relayed, key);
            state.send_latest(place, frame, || Arc::clone(frame), except, &mut wakes)
        });
        wakes.wake();
        let sent = sent.unwrap_or(0);
        self.0.metrics.deliveries.inc_by(sent as u64);
        sent
    }
}
