//! Spares a connection a poll that reading a request's body asks for, and that finds nothing to do.
//!
//! hyper hands a body on through a channel of one place, whose end for sending waits for room. Who takes the data out wakes that
//! end, though all of the body was in it and nobody is left to send more: so the connection's task, which takes the data out in the
//! midst of its own poll, wakes itself, and is polled once more for nothing. A vote costs three polls then and not two.
//!
//! So hyper is polled with a waker that can be kept from hearing: [`unheard`] does while it runs, on its thread alone, and says
//! whether there was anything to hear, which its caller answers for. Never: loses a wake of another thread's.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Wake, Waker};

thread_local! {
    /// Whether wakes are heard on this thread.
    static HEARING: Cell<Hearing> = const { Cell::new(Hearing::On) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    On,
    Off,
    /// It is off, and there was something to hear.
    Missed,
}

/// A waker that wakes a connection's task, unless it is kept from it by [`unheard`].
pub(super) fn hearing(task: &Waker) -> Waker {
    Waker::from(Arc::new(Listener(task.clone())))
}

/// Runs something, and says whether it would have woken a waker of [`hearing`] had that heard it. Whoever calls this wakes the task
/// unless it knows that there is nothing to be woken for.
pub(super) fn unheard<T>(run: impl FnOnce() -> T) -> (T, bool) {
    /// Hears again, also after a panic.
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            HEARING.set(Hearing::On);
        }
    }
    HEARING.set(Hearing::Off);
    let _again = Again;
    let done = run();
    (done, HEARING.get() == Hearing::Missed)
}

struct Listener(Waker);

impl Wake for Listener {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match HEARING.get() {
            Hearing::On => self.0.wake_by_ref(),
            Hearing::Off | Hearing::Missed => HEARING.set(Hearing::Missed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Context;
    use std::time::Duration;

    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::body::{Bytes, Incoming};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::http::body;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_is_unheard_wakes_nobody_and_is_told() {
        let counted = Arc::new(Counted::default());
        let wakes = || counted.0.load(Ordering::Relaxed);
        let waker = hearing(&Waker::from(Arc::clone(&counted)));
        waker.wake_by_ref();
        assert_eq!(wakes(), 1);
        assert_eq!(unheard(|| 7), (7, false));
        assert!(unheard(|| waker.wake_by_ref()).1);
        assert_eq!(wakes(), 1);
        // Another thread's are not its own.
        let other = || std::thread::scope(|scope| scope.spawn(|| waker.wake_by_ref()).join().unwrap());
        assert!(!unheard(other).1);
        assert_eq!(wakes(), 2);
        assert!(catch_unwind(AssertUnwindSafe(|| unheard(|| panic!("a body's reading did")))).is_err());
        waker.wake();
        assert_eq!(wakes(), 3, "it hears again");
    }

    /// How often a connection is polled by which a request with a body comes, whose answer is waited for.
    async fn polls(hears_all: bool) -> usize {
        let (mut client, server) = tokio::io::duplex(4096);
        let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        client.write_all(request).await.unwrap();
        let read = Cell::new(false);
        let service = service_fn(async |request: Request<Incoming>| {
            let (parts, body) = request.into_parts();
            body::read(&parts.headers, body, Duration::from_mins(1)).await.unwrap();
            read.set(true);
            pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
        });
        let mut conversation = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let counted = Arc::new(Counted::default());
        let task = Waker::from(Arc::clone(&counted));
        let waker = if hears_all { task } else { hearing(&task) };
        let mut polled = 0;
        // As a runtime does: once, and again for as long as it was woken meanwhile.
        while {
            polled += 1;
            let before = counted.0.load(Ordering::Relaxed);
            assert!(Pin::new(&mut conversation).poll(&mut Context::from_waker(&waker)).is_pending());
            counted.0.load(Ordering::Relaxed) > before
        } {}
        assert!(read.get(), "the body is there");
        polled
    }

    #[tokio::test]
    async fn a_body_that_came_whole_costs_no_poll_of_its_own() {
        assert_eq!(polls(false).await, 1);
        assert_eq!(polls(true).await, 2, "hyper wakes for nothing no more: this file can go");
    }
}
