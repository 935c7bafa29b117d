//! One viewer's queue, and several that share a budget, with the test as whoever publishes and as the connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

fn budget(of_one: usize, of_all: usize) -> Arc<Budget> {
    Arc::new(Budget::new(of_one, of_all, Arc::default()))
}

/// A frame that costs exactly so much.
fn frame(cost: usize) -> Arc<Frame> {
    let empty = Frame::event("", "", "").cost();
    Arc::new(Frame::event("", "", "x".repeat(cost - empty)))
}

fn place(key: u64) -> Place {
    Place { channel: 1, kind: Kind::Counts, key }
}

fn push(queue: &Queue, frame: &Arc<Frame>) -> bool {
    queue.push(frame, &mut Wakes::default())
}

fn set(queue: &Queue, key: u64, frame: &Arc<Frame>) -> bool {
    queue.push_latest(place(key), frame, || Arc::clone(frame), &mut Wakes::default())
}

/// Counts how often whoever waits is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn take(queue: &Queue, bytes: usize) -> Poll<Result<Vec<usize>, Close>> {
    let mut taken = Vec::new();
    let polled = queue.poll_take(&mut Context::from_waker(Waker::noop()), &mut taken, bytes);
    polled.map_ok(|()| taken.iter().map(|frame| frame.cost()).collect())
}

#[test]
fn events_leave_in_order_as_many_as_asked_for_and_values_behind_them() {
    let queue = Queue::new(budget(10_000, 100_000));
    assert!(set(&queue, 1, &frame(70)));
    for cost in [100, 200, 300] {
        assert!(push(&queue, &frame(cost)));
    }
    assert_eq!(take(&queue, 101), Poll::Ready(Ok(vec![100, 200])));
    assert_eq!(take(&queue, 1), Poll::Ready(Ok(vec![300])));
    assert_eq!(take(&queue, 1), Poll::Ready(Ok(vec![70])));
    assert_eq!(take(&queue, 1), Poll::Pending);
}

#[test]
fn a_newer_value_takes_the_older_ones_place_and_bytes() {
    let budget = budget(10_000, 100_000);
    let queue = Queue::new(Arc::clone(&budget));
    assert!(set(&queue, 1, &frame(100)) && set(&queue, 2, &frame(70)));
    let whole = frame(300);
    assert!(queue.push_latest(place(1), &frame(90), || Arc::clone(&whole), &mut Wakes::default()));
    assert_eq!((budget.waiting(), budget.metrics.values_replaced.get()), (370, 1));
    let Poll::Ready(Ok(mut taken)) = take(&queue, 10_000) else { panic!("nothing waits") };
    taken.sort_unstable();
    assert_eq!(taken, [70, 300]);
}

#[test]
fn bytes_count_until_what_was_taken_is_written() {
    let budget = budget(1_000, 100_000);
    let queue = Queue::new(Arc::clone(&budget));
    assert!(push(&queue, &frame(600)));
    assert_eq!(take(&queue, 10_000), Poll::Ready(Ok(vec![600])));
    assert_eq!(budget.waiting(), 600);
    assert!(push(&queue, &frame(400)));
    assert_eq!(take(&queue, 10_000), Poll::Ready(Ok(vec![400])));
    assert_eq!(take(&queue, 10_000), Poll::Pending);
    assert_eq!(budget.waiting(), 0);
}

#[test]
fn who_does_not_follow_loses_the_queue_and_is_closed_once() {
    let budget = budget(1_000, 100_000);
    let queue = Queue::new(Arc::clone(&budget));
    assert!(push(&queue, &frame(600)) && set(&queue, 1, &frame(100)));
    assert!(!push(&queue, &frame(301)), "one byte too many");
    assert_eq!((budget.waiting(), budget.metrics.slow_closes.get()), (0, 1));
    assert!(!push(&queue, &frame(100)) && !set(&queue, 1, &frame(100)));
    queue.close(Close::Code(4009, "terminated"));
    assert_eq!(take(&queue, 10_000), Poll::Ready(Err(Close::Slow)));
    assert_eq!((budget.waiting(), budget.metrics.slow_closes.get()), (0, 1));
}

#[test]
fn past_half_of_the_whole_budget_each_has_an_equal_part_of_the_rest() {
    let budget = budget(8_000, 10_000);
    let queues: Vec<_> = (0..5).map(|_| Queue::new(Arc::clone(&budget))).collect();
    assert!(push(&queues[0], &frame(5_000)), "half of it may go to one");
    // The other half is 1,000 each.
    for queue in &queues[1..] {
        assert!(push(queue, &frame(1_000)));
    }
    assert!(!push(&queues[0], &frame(100)), "the greedy one goes");
    assert_eq!(budget.waiting(), 4_000);
    assert!(push(&queues[1], &frame(1_000)), "there is room again");
}

#[test]
fn a_stuck_connection_is_woken_when_it_is_to_end_and_for_nothing_else() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let queue = Queue::new(budget(1_000, 100_000));
    assert!(push(&queue, &frame(600)));
    assert!(take(&queue, 10_000).is_ready());
    assert!(queue.poll_end(&mut Context::from_waker(&waker)).is_pending());
    let mut wakes = Wakes::default();
    assert!(queue.push(&frame(300), &mut wakes));
    wakes.wake();
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    assert!(!queue.push(&frame(300), &mut wakes));
    wakes.wake();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(queue.poll_end(&mut Context::from_waker(&waker)), Poll::Ready(Close::Slow));
    // Or told to close.
    let other = Queue::new(budget(1_000, 100_000));
    assert!(other.poll_end(&mut Context::from_waker(&waker)).is_pending());
    other.close(Close::Code(4009, "terminated"));
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    assert!(other.poll_end(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn all_together_never_hold_more_than_the_whole_budget() {
    let budget = budget(4_000, 20_000);
    let queues: Vec<_> = (0..50).map(|_| Queue::new(Arc::clone(&budget))).collect();
    for round in 0..2_000 {
        push(&queues[round * 7 % 50], &frame(100 + round % 900));
        assert!(budget.waiting() <= 20_000);
    }
    queues.iter().for_each(Queue::abandon);
    assert_eq!((budget.waiting(), budget.viewers()), (0, 0));
}

#[test]
fn a_close_that_was_asked_for_lets_what_waits_go_first() {
    let queue = Queue::new(budget(1_000, 10_000));
    assert!(push(&queue, &frame(100)));
    queue.close(Close::Code(4009, "terminated"));
    assert!(!push(&queue, &frame(100)));
    assert_eq!(take(&queue, 1), Poll::Ready(Ok(vec![100])));
    assert_eq!(take(&queue, 1), Poll::Ready(Err(Close::Code(4009, "terminated"))));
}

#[test]
fn who_waits_is_woken_once() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let queue = Queue::new(budget(1_000, 10_000));
    assert!(queue.poll_take(&mut Context::from_waker(&waker), &mut Vec::new(), 1).is_pending());
    let mut wakes = Wakes::default();
    queue.push(&frame(100), &mut wakes);
    queue.push(&frame(100), &mut wakes);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0, "not before all is queued");
    wakes.wake();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_channel_that_was_left_takes_its_values_with_it() {
    let budget = budget(1_000, 10_000);
    let queue = Queue::new(Arc::clone(&budget));
    assert!(set(&queue, 1, &frame(100)));
    let other = Place { channel: 2, ..place(1) };
    queue.push_latest(other, &frame(80), || frame(80), &mut Wakes::default());
    queue.forget(1);
    assert_eq!(budget.waiting(), 80);
    assert_eq!(take(&queue, 1_000), Poll::Ready(Ok(vec![80])));
}
