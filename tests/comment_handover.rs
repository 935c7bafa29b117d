//! Comments over pages that a test stores step by step: what readers and claims see while something is in memory and in the
//! pages at once, or has just left one for the other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/through.rs"]
mod through;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use plaudit::comments::{Claim, Comments, Cursor, Order, Page, Sight, Wish};
use plaudit::domain::{
    ClipNo, CommentChange, CommentPost, CommentRef, Event, Logged, ModerationQueue, Profile, RequestKey, Seq, Verdict,
    VoterId,
};
use plaudit::fold::{Effect, Mark, Tables, fold};
use plaudit::store::{FaultyDisk, Store};
use through::{Hook, Through};

const NOON: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 24 * 3_600_000;
const CLIP: ClipNo = ClipNo(0);

fn voter(n: u64) -> VoterId {
    let mut id = [0x11; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    VoterId(id)
}

fn comment(author: u64, parent: Seq) -> CommentPost {
    CommentPost {
        clip: CLIP,
        parent,
        depth: u8::from(parent != 0),
        author: voter(author),
        profile: Profile::default(),
        text: "here".into(),
        held: false,
        request: None,
    }
}

/// Comments, the pages beneath them, and the log between.
struct Rig {
    disk: FaultyDisk,
    tables: Tables,
    comments: Arc<Comments>,
    log: Vec<Logged>,
    last: Seq,
}

impl Rig {
    fn new(slow_ms: u64) -> Self {
        let disk = FaultyDisk::new(1);
        let read = disk.open("tables");
        Self::over(disk, read, slow_ms)
    }

    /// With comments that are read through another store.
    fn over(disk: FaultyDisk, read: Arc<dyn Store>, slow_ms: u64) -> Self {
        let tables = Tables::open(disk.open("tables")).unwrap();
        let comments = Arc::new(Comments::open(read, NOON, slow_ms).unwrap());
        Self { disk, tables, comments, log: Vec::new(), last: 0 }
    }

    fn log(&mut self, at: u64, event: &Event) -> Seq {
        self.last += 1;
        self.log.push(Logged { seq: self.last, at, event: event.clone() });
        self.last
    }

    /// Claims, logs and settles a comment.
    fn post(&mut self, at: u64, post: CommentPost) -> Seq {
        let parent = (post.parent != 0).then(|| self.sight(post.parent));
        let claim = self.comments.claim_post(at, (post.author, post.clip), parent.as_ref(), post.request, || true);
        assert_eq!(claim, Claim::Sent);
        let event = Event::CommentPosted(Box::new(post));
        let seq = self.log(at, &event);
        self.comments.settle(seq, at, &event, false).unwrap();
        seq
    }

    fn sight(&self, id: Seq) -> Sight {
        self.comments.sight(id, None).unwrap().unwrap()
    }

    /// Claims, logs and settles a change.
    fn change(&mut self, id: Seq, wish: Wish) {
        let mut sent = None;
        let sight = self.sight(id);
        let claim = self.comments.claim(&sight, wish, |event| sent.replace(event).is_none());
        assert_eq!(claim, Claim::Sent);
        let event = sent.unwrap();
        let seq = self.log(NOON, &event);
        self.comments.settle(seq, NOON, &event, false).unwrap();
    }

    /// Stores all that was logged; memory keeps it until it is told.
    fn apply(&mut self) {
        for logged in self.log.drain(..) {
            fold(&mut self.tables, &logged, &Effect::Plain).unwrap();
        }
        self.tables.commit(Mark { seq: self.last, block: 1, chain: [0; 32] }).unwrap();
    }

    fn forget(&self, now_ms: u64) {
        self.comments.forget(self.last, now_ms);
    }

    fn top(&self, parent: Seq, after: Option<Cursor>, limit: usize) -> Page {
        self.comments.list(CLIP, parent, Order::Top, after, limit, None, NOON).unwrap()
    }

    /// A restart over what is applied.
    fn reopen(&mut self, now_ms: u64, slow_ms: u64) {
        self.comments = Arc::new(Comments::open(self.disk.open("tables"), now_ms, slow_ms).unwrap());
    }
}

fn ids(page: &Page) -> Vec<Seq> {
    page.threads.iter().map(|thread| thread.of.comment.place.id).collect()
}

#[test]
fn the_most_liked_are_all_found_while_pages_and_memory_hold_the_same() {
    let mut rig = Rig::new(0);
    for n in 0..1_500 {
        rig.post(NOON, comment(n, 0));
    }
    rig.apply();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = rig.top(0, after, 100);
        seen.extend(ids(&page));
        let Some(next) = page.next else { break };
        assert!(!page.threads.is_empty(), "a page that leads on, and to where it began: {next:?}");
        after = Some(next);
    }
    assert_eq!(seen, (1..=1_500).rev().collect::<Vec<_>>());
}

#[test]
fn a_list_by_likes_leads_past_pages_that_have_emptied() {
    let mut rig = Rig::new(0);
    // Large ids, as in an old log, and so few ranks a page.
    rig.last = 1 << 60;
    let parent = rig.log(NOON, &Event::CommentPosted(Box::new(comment(0, 0))));
    let replies: Vec<Seq> =
        (0..25_000).map(|n| rig.log(NOON, &Event::CommentPosted(Box::new(comment(n, parent))))).collect();
    rig.apply();
    for id in &replies[1..] {
        let of = CommentRef { clip: CLIP, parent, id: *id };
        rig.log(NOON, &Event::CommentChanged(of, CommentChange::Liked(voter(1))));
    }
    rig.apply();
    let (mut seen, mut after, mut turns) = (Vec::new(), Some(Cursor::Under(1, replies[3])), 0);
    while let Some(cursor) = after {
        let page = rig.top(parent, Some(cursor), 2);
        seen.extend(ids(&page));
        after = page.next;
        turns += 1;
        assert!(turns < 10, "it goes on for ever: {seen:?}, {after:?}");
    }
    assert_eq!(seen, [replies[2], replies[1], replies[0]]);
}

#[test]
fn a_reply_to_what_was_deleted_since_it_was_looked_for_is_refused() {
    let mut rig = Rig::new(0);
    for forgotten in [false, true] {
        let id = rig.post(NOON, comment(1, 0));
        let sight = rig.sight(id);
        rig.change(id, Wish::Change(CommentChange::Deleted { by: None }));
        if forgotten {
            rig.apply();
            rig.forget(NOON);
        }
        let claim = rig.comments.claim_post(NOON, (voter(2), CLIP), Some(&sight), None, || true);
        assert_eq!(claim, if forgotten { Claim::Stale } else { Claim::Gone });
    }
}

#[test]
fn a_clock_that_was_wrong_for_a_while_costs_no_key() {
    let mut rig = Rig::new(0);
    let request = |n: u8| Some(RequestKey { key: [n; 16], body: [n; 16] });
    let first = rig.post(NOON, CommentPost { request: request(1), ..comment(1, 0) });
    // As after a start without the right time.
    rig.post(1_000, comment(2, 0));
    let last = rig.post(NOON, CommentPost { request: request(2), ..comment(3, 0) });
    rig.apply();
    rig.reopen(NOON, 0);
    for (n, id) in [(1, first), (2, last)] {
        assert_eq!(rig.comments.earlier(request(n).unwrap(), NOON), Some(Claim::Again(id)));
    }
}

#[test]
fn a_pause_longer_than_a_day_outlives_a_restart() {
    let pause = 3 * DAY_MS;
    let mut rig = Rig::new(pause);
    rig.post(NOON, comment(1, 0));
    rig.apply();
    rig.reopen(NOON + 2 * DAY_MS, pause);
    let claim = |rig: &Rig, at| rig.comments.claim_post(at, (voter(1), CLIP), None, None, || true);
    assert_eq!(claim(&rig, NOON + 2 * DAY_MS), Claim::TooSoon(DAY_MS));
    assert_eq!(claim(&rig, NOON + pause), Claim::Sent);
}

#[test]
fn many_who_wait_for_their_pause_keep_nobody_else_from_commenting() {
    let mut rig = Rig::new(DAY_MS);
    for n in 0..100_001 {
        rig.post(NOON, comment(n, 0));
        rig.log.clear();
        if n % 1_000 == 0 {
            rig.forget(NOON);
        }
    }
    let again = rig.comments.claim_post(NOON, (voter(100_000), CLIP), None, None, || true);
    assert_eq!(again, Claim::TooSoon(DAY_MS));
}

/// Something else happens before the k-th read, or before each write.
#[derive(Default)]
struct Between {
    due: Mutex<Option<(u64, Act)>>,
    each: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

type Act = Box<dyn FnOnce() + Send>;

impl Between {
    fn arm(&self, k: u64, act: impl FnOnce() + Send + 'static) {
        *self.due.lock().unwrap() = Some((k, Box::new(act)));
    }

    /// Whether it has happened; it won't any more.
    fn disarm(&self) -> bool {
        self.due.lock().unwrap().take().is_none()
    }
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Between")
    }
}

impl Hook for Between {
    fn read(&self) {
        let mut due = self.due.lock().unwrap();
        let Some((left, _)) = due.as_mut() else { return };
        *left -= 1;
        if *left == 0 {
            let (_, act) = due.take().unwrap();
            drop(due);
            act();
        }
    }

    fn insert(&self, _: &[u8], _: &[u8]) {
        if let Some(each) = self.each.lock().unwrap().as_mut() {
            each();
        }
    }
}

/// Twenty comments in pages alone, twenty in pages and memory, twenty in memory alone; a few a page, with some likes and replies.
fn sixty(held: bool) -> (Arc<Mutex<Rig>>, Arc<Through<Between>>, Vec<Seq>) {
    let disk = FaultyDisk::new(1);
    let between = Through::over(disk.open("tables"), Between::default());
    let mut rig = Rig::over(disk, Arc::<Through<Between>>::clone(&between), 0);
    let mut ids = Vec::new();
    for n in 0..60 {
        let long = CommentPost { text: "x".repeat(1_000), held, ..comment(n, 0) };
        ids.push(rig.post(NOON, long));
        let id = ids[ids.len() - 1];
        if !held {
            (0..n * 7 % 4).for_each(|who| rig.change(id, Wish::Like(voter(100 + who), true)));
            if n % 10 == 3 {
                rig.post(NOON, comment(n, id));
            }
        }
        match n {
            19 => {
                rig.apply();
                rig.forget(NOON);
            }
            39 => rig.apply(),
            _ => {}
        }
    }
    (Arc::new(Mutex::new(rig)), between, ids)
}

/// What happens between two reads; gives the comments that it touches.
fn meanwhile(what: usize, rig: &mut Rig, ids: &[Seq]) -> BTreeSet<Seq> {
    let touched = match what {
        0 => vec![],
        1 => {
            for n in 0..20 {
                rig.post(NOON, CommentPost { text: "y".repeat(1_000), ..comment(n, 0) });
            }
            vec![]
        }
        2 => {
            for at in [5, 25, 45] {
                rig.change(ids[at], Wish::Like(voter(1), true));
            }
            vec![ids[5], ids[25], ids[45]]
        }
        _ => {
            let (hide, delete) = (CommentChange::Moderated(Verdict::Hide), CommentChange::Deleted { by: None });
            for at in [6, 26, 46] {
                rig.change(ids[at], Wish::Change(hide));
                rig.change(ids[at + 1], Wish::Change(delete));
            }
            [6, 26, 46, 7, 27, 47].iter().map(|at| ids[*at]).collect()
        }
    };
    rig.apply();
    rig.forget(NOON);
    touched.into_iter().collect()
}

#[test]
fn a_list_misses_nothing_and_meets_nothing_twice_whenever_pages_take_over() {
    let mut happened = 0;
    for (order, what) in
        [Order::Newest, Order::Oldest, Order::Top].into_iter().flat_map(|o| (0..4).map(move |w| (o, w)))
    {
        for k in (1..).step_by(5) {
            let (rig, between, ids) = sixty(false);
            let comments = Arc::clone(&rig.lock().unwrap().comments);
            let touched = Arc::new(Mutex::new(BTreeSet::new()));
            between.hook.arm(k, {
                let (rig, touched, ids) = (Arc::clone(&rig), Arc::clone(&touched), ids.clone());
                move || *touched.lock().unwrap() = meanwhile(what, &mut rig.lock().unwrap(), &ids)
            });
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = comments.list(CLIP, 0, order, after, 9, None, NOON).unwrap();
                let found = page.threads.iter().map(|thread| &thread.of);
                seen.extend(found.map(|found| (found.comment.place.id, found.comment.likes, found.replies)));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if !between.hook.disarm() {
                break;
            }
            happened += 1;
            let touched = touched.lock().unwrap();
            for (n, id) in (0..).zip(&ids).filter(|(_, id)| !touched.contains(*id)) {
                let met: Vec<_> = seen.iter().filter(|(seen, ..)| seen == id).collect();
                let wanted = (*id, n * 7 % 4, u32::from(n % 10 == 3));
                assert_eq!(met, [&wanted], "{order:?}, {what}, before read {k}: comment {id}");
            }
        }
    }
    assert!(happened > 100, "{happened} reads were met");
}

#[test]
fn moderators_find_what_waits_and_nothing_else_whenever_pages_take_over() {
    let mut happened = 0;
    for k in 1.. {
        let (rig, between, ids) = sixty(true);
        let comments = Arc::clone(&rig.lock().unwrap().comments);
        between.hook.arm(k, {
            let (rig, ids) = (Arc::clone(&rig), ids.clone());
            move || {
                let mut rig = rig.lock().unwrap();
                for id in ids.iter().step_by(3) {
                    rig.change(*id, Wish::Change(CommentChange::Moderated(Verdict::Approve)));
                }
                rig.apply();
                rig.forget(NOON);
            }
        });
        let (mut seen, mut past) = (Vec::new(), 0);
        loop {
            let (page, next) = comments.queue(ModerationQueue::Pending, past, 9).unwrap();
            for comment in &page {
                assert_eq!(comment.queue(), Some(ModerationQueue::Pending), "before read {k}: {comment:?}");
            }
            seen.extend(page.iter().map(|comment| comment.place.id));
            let Some(next) = next else { break };
            past = next;
        }
        if !between.hook.disarm() {
            break;
        }
        happened += 1;
        for (n, id) in ids.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
            let times = seen.iter().filter(|seen| *seen == id).count();
            assert_eq!(times, 1, "before read {k}: comment {id}, number {n}");
        }
    }
    assert!(happened > 20, "{happened} reads were met");
}

/// Everything that is in memory goes before the pages, so between any two writes of a step all is as it was.
#[test]
fn lists_are_exact_between_any_two_writes_of_a_step() {
    let (rig, _, ids) = sixty(false);
    let mut rig = Arc::into_inner(rig).unwrap().into_inner().unwrap();
    for n in 0..20 {
        rig.post(NOON, CommentPost { text: "y".repeat(1_000), ..comment(n, 0) });
    }
    ids.iter().step_by(3).for_each(|id| rig.change(*id, Wish::Like(voter(1), true)));
    for id in ids.iter().step_by(7) {
        rig.post(NOON, comment(1, *id));
    }
    ids.iter().step_by(5).for_each(|id| rig.change(*id, Wish::Change(CommentChange::Moderated(Verdict::Hide))));
    let comments = Arc::clone(&rig.comments);
    let lists = move || {
        let list = |order| {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = comments.list(CLIP, 0, order, after, 9, None, NOON).unwrap();
                let found = page.threads.iter().map(|thread| &thread.of);
                seen.extend(found.map(|found| (Arc::clone(&found.comment), found.replies)));
                after = page.next;
                if after.is_none() {
                    return seen;
                }
            }
        };
        [list(Order::Newest), list(Order::Oldest), list(Order::Top)]
    };
    let before = lists();
    assert_eq!(before[0].len(), before[2].len());
    let stepped = Through::over(rig.disk.open("tables"), Between::default());
    let writes = Arc::new(Mutex::new(0));
    *stepped.hook.each.lock().unwrap() = Some(Box::new({
        let (lists, writes, before) = (lists.clone(), Arc::clone(&writes), before.clone());
        move || {
            *writes.lock().unwrap() += 1;
            assert!(lists() == before, "before write {}", writes.lock().unwrap());
        }
    }));
    rig.tables = Tables::open(stepped).unwrap();
    rig.apply();
    assert!(*writes.lock().unwrap() > 20);
    assert!(lists() == before, "stored");
    rig.forget(NOON);
    assert!(lists() == before, "and forgotten");
}
