//! Connections for which something waits, and the few tasks that write it: one a worker of the runtime at most.
//!
//! An event to thousands is thousands of small writes, and what each costs beside the system's own part is memory that is far
//! away. A task woken for each would touch its place in the runtime's queue, its state, its timer, all of its connection; a pump
//! touches the outlet and the queue, and asks for those of a whole turn at once: a tenth less CPU a delivery to 10,000.
//!
//! Never: waits for a socket, or runs while nothing waits.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::outlet::{Outlet, Room};

/// Connections written to in one turn: then it is other tasks' turn.
const TURN: usize = 32;
/// Connections that the list keeps room for while nothing waits.
const PLACES_KEPT: usize = 1024;

/// What the pumps of one runtime share.
#[derive(Debug)]
pub(super) struct Pumps {
    runtime: Handle,
    most: usize,
    ready: Mutex<Ready>,
}

#[derive(Debug, Default)]
struct Ready {
    /// Each at most once, so at most as many as there are connections.
    outlets: VecDeque<Arc<Outlet>>,
    running: usize,
}

impl Pumps {
    /// On this runtime.
    pub(super) fn new(runtime: Handle) -> Self {
        let most = runtime.metrics().num_workers();
        Self { runtime, most, ready: Mutex::default() }
    }

    /// Has what waits for a connection written.
    pub(super) fn add(self: &Arc<Self>, outlet: Arc<Outlet>) {
        let mut ready = self.ready.lock();
        ready.outlets.push_back(outlet);
        // One more for each turn that is full: a few frames are written sooner than another worker is awake.
        if ready.running < self.most && ready.outlets.len() > ready.running * TURN {
            ready.running += 1;
            drop(ready);
            let taken = VecDeque::with_capacity(TURN);
            let pump = Pump { pumps: Arc::clone(self), taken, counted: true };
            self.runtime.spawn(pump.run());
        }
    }
}

/// One that runs. However it ends, it is counted out, and what nobody else will come to is its tasks' own.
struct Pump {
    pumps: Arc<Pumps>,
    taken: VecDeque<Arc<Outlet>>,
    counted: bool,
}

impl Pump {
    async fn run(mut self) {
        let mut room = Room::default();
        while self.take() {
            // All of it is far away. Asked for in one go it comes together, and not each after the last one is written.
            self.taken.iter().for_each(|outlet| outlet.fetch());
            self.taken.iter().for_each(|outlet| outlet.fetch_queue());
            while let Some(outlet) = self.taken.pop_front() {
                outlet.pump(&mut room);
            }
            room.clear();
            others_turn().await;
        }
    }

    /// Takes some; whether there were any. If not it is counted out, before anything can be added that would rely on it.
    fn take(&mut self) -> bool {
        let mut ready = self.pumps.ready.lock();
        let some = ready.outlets.len().min(TURN);
        self.taken.extend(ready.outlets.drain(..some));
        if some == 0 {
            ready.running -= 1;
            self.counted = false;
            ready.outlets.shrink_to(PLACES_KEPT);
        }
        some > 0
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        // By a panic, or with its runtime: then no other will ever come, and the list would keep the connections for good.
        let mut ready = self.pumps.ready.lock();
        ready.running -= 1;
        if ready.running == 0 {
            self.taken.append(&mut ready.outlets);
        }
        drop(ready);
        self.taken.drain(..).for_each(|outlet| outlet.leave_to_task());
    }
}

/// Lets the tasks run that this worker has. Not [`tokio::task::yield_now`], which waits until it has none: requests must not
/// hold up events for as long as they come.
async fn others_turn() {
    let mut had = false;
    poll_fn(|cx| {
        if had {
            return Poll::Ready(());
        }
        had = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn what_a_pump_had_not_come_to_is_left_to_its_tasks() {
        let pumps = Arc::new(Pumps::new(Handle::current()));
        let outlet = Arc::new(Outlet::new(None, Arc::clone(&pumps), None));
        let state = |pumps: &Pumps| {
            let ready = pumps.ready.lock();
            (ready.outlets.len(), ready.running)
        };
        pumps.ready.lock().running = 1;
        let taken = (0..3).map(|_| Arc::clone(&outlet)).collect();
        drop(Pump { pumps: Arc::clone(&pumps), taken, counted: true });
        assert_eq!((state(&pumps), Arc::strong_count(&outlet)), ((0, 0), 1), "it broke off");
        let waker = Waker::from(Arc::clone(&outlet));
        waker.wake_by_ref();
        assert_eq!(state(&pumps), (1, 1), "another begins");
        waker.wake_by_ref();
        assert_eq!(state(&pumps), (1, 1), "it waits for one already");
        while state(&pumps).1 > 0 {
            others_turn().await;
        }
        assert_eq!(state(&pumps), (0, 0));
        waker.wake();
        assert_eq!(state(&pumps), (1, 1), "and may wait again");
        while state(&pumps).1 > 0 {
            others_turn().await;
        }
        assert_eq!(Arc::strong_count(&outlet), 1);
    }
}
