//! Gives waiters their answers: a batch's from a task on the runtime that its requests run on. Never: waits for anyone.
//!
//! A thread that is none of the runtime's and wakes a thousand of its tasks one by one wakes its workers nearly as often: a worker
//! finds one task, goes to sleep again, and where processors are busy it takes the place of the very thread that has the next
//! task to wake. So a batch's answers are handed over as one task, which wakes the others from within: one waking, and all that
//! follow it in the worker's own queue.

use tokio::runtime::{Handle, RuntimeFlavor};

use super::commit::Decided;
use super::queue::{Body, Outcome, Waiter};

/// So many answers at once are worth a task: at 64 requests in flight it costs a vote 1–2 % more, at 128 nothing, at 512 7 % less.
const TOGETHER: usize = 128;

/// How answers are given.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// `None`: by the thread that has them.
    runtime: Option<Handle>,
}

impl Answers {
    /// For requests of the runtime that the caller is in. One without threads of its own gives no answers for others: it rests while
    /// nobody drives it, and whoever waits elsewhere would wait for that.
    pub fn from_here() -> Self {
        let here = Handle::try_current().ok();
        Self { runtime: here.filter(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread) }
    }

    /// Answers those whose body is one of these; that nobody waits any more changes nothing.
    pub fn give(&self, decided: &mut [Decided], these: impl Fn(&Body) -> bool) {
        let waits = |of: &Decided| of.waiter.is_some() && these(&of.body);
        let how_many = decided.iter().filter(|of| waits(of)).count();
        let given = decided.iter_mut().filter(|of| waits(of)).filter_map(|of| {
            let outcome = of.refused.map_or(Outcome::Done(of.seq), Outcome::Refused);
            Some((of.waiter.take()?, outcome))
        });
        match &self.runtime {
            Some(runtime) if how_many >= TOGETHER => {
                let mut all = Given(Vec::with_capacity(how_many));
                all.0.extend(given);
                runtime.spawn(async move { drop(all) });
            }
            _ => given.for_each(tell),
        }
    }
}

/// Answers under way. They are given when this is dropped: by its task, or by whoever ends the runtime before that has run.
#[derive(Debug)]
struct Given(Vec<(Waiter, Outcome)>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.drain(..).for_each(tell);
    }
}

fn tell((waiter, outcome): (Waiter, Outcome)) {
    let _ = waiter.send(outcome);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot::{self, Receiver};

    use super::*;
    use crate::ballots::Place;
    use crate::domain::Event;
    use crate::fold::{Effect, Refusal};

    /// A task's worth, also of events alone.
    const MANY: u64 = 3 * TOGETHER as u64;

    fn threaded() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    fn from(runtime: &Runtime) -> Answers {
        let _inside = runtime.enter();
        Answers::from_here()
    }

    /// The runtime's only thread is kept from running anything else, until it is told.
    fn occupied(runtime: &Runtime) -> Sender<()> {
        let (release, released) = channel();
        let (busy, is_busy) = channel();
        runtime.spawn(async move {
            busy.send(()).unwrap();
            released.recv().unwrap();
        });
        is_busy.recv().unwrap();
        release
    }

    /// So many events with sequences from 1 on, every third one refused, and barriers in between; who waits for them.
    fn batch(events: u64) -> (Vec<Decided>, Vec<Receiver<Outcome>>) {
        let of = |n: u64| {
            let (waiter, answer) = oneshot::channel();
            let body = if n.is_multiple_of(5) { Body::Barrier } else { Body::Event(Event::Started) };
            let refused = n.is_multiple_of(3).then_some(Refusal::Closed);
            let (claimed, effect) = (Place::NONE, Effect::Plain);
            (Decided { seq: n, at: 0, body, claimed, refused, effect, waiter: Some(waiter) }, answer)
        };
        (1..=events).map(of).unzip()
    }

    fn right(n: u64) -> Outcome {
        if n.is_multiple_of(3) { Outcome::Refused(Refusal::Closed) } else { Outcome::Done(n) }
    }

    /// Each gets its own, and those that aren't meant stay.
    fn all_are_answered(answers: &Answers, events: u64) {
        let (mut decided, heard) = batch(events);
        answers.give(&mut decided, |body| matches!(body, Body::Event(_)));
        for ((n, mut answer), decided) in (1_u64..).zip(heard).zip(&decided) {
            if n.is_multiple_of(5) {
                assert!(answer.try_recv().is_err() && decided.waiter.is_some());
            } else {
                assert_eq!(answer.blocking_recv(), Ok(right(n)), "{n} of {events}");
            }
        }
    }

    #[test]
    fn few_and_many_are_answered_with_a_runtime_and_without() {
        let runtime = threaded();
        for events in [1, TOGETHER as u64, MANY] {
            all_are_answered(&from(&runtime), events);
            all_are_answered(&Answers::default(), events);
        }
    }

    #[test]
    fn many_are_answered_on_the_runtime_and_few_at_once() {
        let runtime = threaded();
        let answers = from(&runtime);
        let release = occupied(&runtime);
        let (mut many, mut of_many) = batch(MANY);
        let (mut few, mut of_few) = batch(TOGETHER as u64 - 1);
        answers.give(&mut many, |_| true);
        answers.give(&mut few, |_| true);
        assert!(of_few.iter_mut().all(|answer| answer.try_recv().is_ok()));
        assert!(of_many.iter_mut().all(|answer| answer.try_recv().is_err()));
        release.send(()).unwrap();
        assert!(of_many.into_iter().zip(1..).all(|(answer, n)| answer.blocking_recv() == Ok(right(n))));
    }

    #[test]
    fn a_runtime_that_ends_takes_no_answer_with_it() {
        let runtime = threaded();
        let answers = from(&runtime);
        let release = occupied(&runtime);
        let (mut before, of_before) = batch(MANY);
        answers.give(&mut before, |_| true);
        // Its thread learns of the end before it can take the task.
        runtime.shutdown_background();
        release.send(()).unwrap();
        assert!(of_before.into_iter().zip(1..).all(|(answer, n)| answer.blocking_recv() == Ok(right(n))));
        all_are_answered(&answers, MANY);
    }

    #[test]
    fn a_runtime_that_someone_must_drive_is_left_alone() {
        let driven = Builder::new_current_thread().build().unwrap();
        let answers = from(&driven);
        assert!(answers.runtime.is_none());
        all_are_answered(&answers, MANY);
    }
}
