//! hyper's timer for the headers of a connection's requests, set for each of them and taken down when they are there.
//!
//! A connection has one alarm in the runtime's clockwork, and leaves it there: a new deadline is later than the last one, so an
//! alarm that goes off is early, and is set anew for what is left. So a request costs two looks at a lock that is free and a look at
//! the time, in place of an entry into the clockwork and its removal, which all connections share. Never: decides how long
//! anything may take.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{self, Timer};
use parking_lot::Mutex;
use tokio::time::Sleep;

/// The timer of one connection. It is told of one deadline at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarm(Arc<Mutex<Option<Set>>>);

/// What the clockwork has.
#[derive(Debug)]
struct Set {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes; `None`: it isn't there yet.
    whom: Option<Waker>,
}

impl Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Until { alarm: self.clone(), deadline })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

/// Waits for a deadline.
#[derive(Debug)]
struct Until {
    alarm: Alarm,
    deadline: Instant,
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut set = self.alarm.0.lock();
        let Set { sleep, whom } =
            set.get_or_insert_with(|| Set { sleep: Box::pin(tokio::time::sleep_until(deadline)), whom: None });
        let wakes = whom.as_ref().is_some_and(|whom| whom.will_wake(cx.waker()));
        if wakes && sleep.deadline() <= deadline && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        if !wakes {
            *whom = Some(cx.waker().clone());
        }
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl rt::Sleep for Until {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SHORT: Duration = Duration::from_millis(20);

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn set_to(alarm: &Alarm) -> Instant {
        alarm.0.lock().as_ref().unwrap().sleep.deadline().into()
    }

    #[tokio::test]
    async fn a_deadline_is_met_and_no_earlier_than_it_is_due() {
        let alarm = Alarm::default();
        for times in [3, 1, 2] {
            let deadline = alarm.now() + times * SHORT;
            alarm.sleep_until(deadline).await;
            assert!(alarm.now() >= deadline);
        }
    }

    #[tokio::test]
    async fn later_deadlines_leave_the_alarm_as_it_is_and_earlier_ones_move_it() {
        let alarm = Alarm::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let sooner = alarm.now() + HOUR / 2;
        let first = sooner + HOUR / 2;
        for later in 0..10 {
            let mut waits = alarm.sleep_until(first + later * HOUR);
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert_eq!(set_to(&alarm), first);
        }
        let mut waits = alarm.sleep_until(sooner);
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        assert_eq!(set_to(&alarm), sooner);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn one_that_goes_off_early_is_set_to_what_is_waited_for_then() {
        let alarm = Alarm::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let soon = alarm.now() + SHORT;
        let mut headers = alarm.sleep_until(soon);
        assert!(headers.as_mut().poll(&mut cx).is_pending());
        // They are there; those of the next request have more time.
        drop(headers);
        let mut headers = alarm.sleep_until(soon + HOUR);
        assert!(headers.as_mut().poll(&mut cx).is_pending());
        while woken.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(alarm.now() >= soon);
        assert!(headers.as_mut().poll(&mut cx).is_pending());
        assert_eq!((set_to(&alarm), woken.0.load(Ordering::SeqCst)), (soon + HOUR, 1));
    }

    #[tokio::test]
    async fn whoever_asked_last_is_woken() {
        let alarm = Alarm::default();
        let (first, last) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut waits = alarm.sleep(SHORT);
        for woken in [&first, &last] {
            let waker = Waker::from(Arc::clone(woken));
            assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        while last.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
    }
}
