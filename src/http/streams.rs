//! The requests of HTTP/2 connections, a task each, which ends once its client has taken nothing of its answer for too long: the
//! others on its connection may go on for hours. Over HTTP/1 that is the kernel's to see, which knows of connections alone.
//!
//! A task is dropped where it stands, and hyper resets its stream. Never looks at a request or an answer: the answer's body
//! says here whose turn it is.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task_local;
use tokio::time::{Instant, Sleep, sleep_until};

task_local! {
    static TURN: Turn;
}

/// Whose turn it is on a stream.
#[derive(Debug, Default)]
struct Turn {
    /// Parts of its answer that were given.
    given: Cell<u64>,
    /// The last of them is the client's to take; else the client waits for this server.
    is_clients: Cell<bool>,
}

/// A part of the answer of this task's stream is given: hyper asks for the next once the client has room for this one.
pub(super) fn is_clients() {
    let _ = TURN.try_with(|turn| {
        turn.given.set(turn.given.get() + 1);
        turn.is_clients.set(true);
    });
}

/// There is no next part yet.
pub(super) fn is_ours() {
    let _ = TURN.try_with(|turn| turn.is_clients.set(false));
}

/// Runs the requests.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    stall: Duration,
}

impl Streams {
    /// Each until its client has taken nothing for so long.
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(TURN.scope(Turn::default(), bounded(stream, self.stall)));
    }
}

async fn bounded(stream: impl Future<Output = ()>, stall: Duration) {
    let mut stream = pin!(stream);
    // Most are answered without ever waiting for their clients.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let mut seen = 0;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let (given, is_clients) = TURN.with(|turn| (turn.given.get(), turn.is_clients.get()));
        if !is_clients {
            return Poll::Pending;
        }
        let until = Instant::now() + stall;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if given != seen {
            seen = given;
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("a stream was cut: its client takes nothing of the answer");
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{self, Receiver};
    use tokio::time::sleep;

    use super::*;

    /// Runs a stream that does this; ready once it has ended.
    fn runs(stream: impl Future<Output = ()> + Send + 'static) -> Receiver<()> {
        let (runs, ended) = oneshot::channel();
        Streams::new(Duration::from_millis(50)).execute(async move {
            let _runs = runs;
            stream.await;
        });
        ended
    }

    #[tokio::test]
    async fn whose_client_takes_nothing_ends_and_others_go_on() {
        let mut ours = runs(async {
            is_clients();
            is_ours();
            std::future::pending::<()>().await;
        });
        // Held up for however long, it has moved whenever it is looked at.
        let mut moves = runs(async {
            loop {
                is_clients();
                sleep(Duration::from_millis(1)).await;
            }
        });
        for given in 1..4 {
            let stalls = runs(async move {
                for _ in 0..given {
                    is_clients();
                    tokio::task::yield_now().await;
                }
                std::future::pending::<()>().await;
            });
            stalls.await.unwrap_err();
        }
        for runs in [&mut ours, &mut moves] {
            assert_eq!(runs.try_recv(), Err(oneshot::error::TryRecvError::Empty), "it was cut");
        }
        runs(async {}).await.unwrap_err();
    }
}
