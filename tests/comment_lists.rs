//! Lists against a naive model, while comments are posted, liked, hidden, deleted and applied between their pages: nothing
//! that rests is skipped, nothing that rests is seen twice, and a list read in one go is the model's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plaudit::clock::ManualClock;
use plaudit::comments::{Cursor, Order};
use plaudit::domain::{CommentStatus, CommentText, Profile, Verdict};
use plaudit::engine::{CommentDraft, CommentQuery, Engine, Settings};
use plaudit::error::Reject;
use plaudit::store::FaultyDisk;
use proptest::prelude::*;
use support::{NOON, key, stage, voter};

const ORDERS: [Order; 3] = [Order::Newest, Order::Oldest, Order::Top];

#[derive(Clone, Copy, Debug)]
enum Act {
    Post {
        count: u8,
    },
    Reply {
        nth: usize,
    },
    Delete {
        nth: usize,
    },
    Like {
        nth: usize,
        who: u64,
    },
    Unlike {
        nth: usize,
    },
    Judge {
        nth: usize,
        approve: bool,
    },
    /// All that is settled moves to the pages.
    Drain,
    /// The next page of the walk in one of the orders.
    Look {
        order: usize,
        limit: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let some = any::<usize>;
    prop_oneof![
        4 => (1_u8..30).prop_map(|count| Act::Post { count }),
        3 => some().prop_map(|nth| Act::Reply { nth }),
        2 => some().prop_map(|nth| Act::Delete { nth }),
        6 => (some(), 0_u64..4).prop_map(|(nth, who)| Act::Like { nth, who }),
        2 => some().prop_map(|nth| Act::Unlike { nth }),
        2 => (some(), any::<bool>()).prop_map(|(nth, approve)| Act::Judge { nth, approve }),
        2 => Just(Act::Drain),
        8 => (0_usize..3, 1_usize..9).prop_map(|(order, limit)| Act::Look { order, limit }),
    ]
}

#[derive(Clone, Debug)]
struct Plain {
    parent: Option<u64>,
    status: CommentStatus,
    likes: BTreeSet<u64>,
    /// A reply to it was visible once.
    ever: bool,
}

/// A list that is read page by page.
#[derive(Clone, Debug, Default)]
struct Walk {
    after: Option<Cursor>,
    begun: bool,
    seen: Vec<u64>,
    /// Listed when it began, and left alone since.
    resting: BTreeSet<u64>,
}

struct World {
    engine: Engine,
    model: BTreeMap<u64, Plain>,
    walks: [Walk; 3],
}

impl World {
    async fn new() -> Self {
        let disk = FaultyDisk::new(1);
        let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
        let clock = Arc::new(ManualClock::at(NOON));
        let engine = Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap();
        stage(&engine, 1).await;
        Self { engine, model: BTreeMap::new(), walks: Default::default() }
    }

    fn nth(&self, nth: usize) -> Option<u64> {
        self.model.keys().nth(nth % self.model.len().max(1)).copied()
    }

    fn listed(&self, parent: Option<u64>) -> BTreeSet<u64> {
        let shown = |plain: &Plain| match plain.status {
            CommentStatus::Visible => true,
            CommentStatus::Pending => false,
            _ => plain.ever,
        };
        let of = self.model.iter().filter(|(_, plain)| plain.parent == parent && shown(plain));
        of.map(|(id, _)| *id).collect()
    }

    fn touch(&mut self, id: u64) {
        for walk in &mut self.walks {
            walk.resting.remove(&id);
        }
    }

    async fn post(&mut self, parent: Option<u64>) -> Result<u64, Reject> {
        let text = CommentText::new("listed").unwrap();
        let draft =
            CommentDraft { clip: "c0", parent, author: voter(1), profile: Profile::default(), text, request: None };
        let id = self.engine.post_comment(draft).await?.comment.place.id;
        let plain = Plain { parent, status: CommentStatus::Visible, likes: BTreeSet::new(), ever: false };
        self.model.insert(id, plain);
        if let Some(parent) = parent {
            self.model.get_mut(&parent).unwrap().ever = true;
            self.touch(parent);
        }
        Ok(id)
    }

    fn set_status(&mut self, id: u64, status: CommentStatus) {
        let plain = self.model.get_mut(&id).unwrap();
        plain.status = status;
        let parent = plain.parent;
        self.touch(id);
        if let Some(parent) = parent.filter(|_| status == CommentStatus::Visible) {
            self.model.get_mut(&parent).unwrap().ever = true;
        }
    }

    async fn take(&mut self, act: Act) {
        use CommentStatus::{Deleted, Hidden, Visible};
        let gone = Err(Reject::NotFound);
        match act {
            Act::Post { count } => {
                for _ in 0..count {
                    self.post(None).await.unwrap();
                }
            }
            Act::Reply { nth } => {
                let Some(parent) = self.nth(nth) else { return };
                if self.model[&parent].parent.is_none() {
                    let visible = self.model[&parent].status == Visible;
                    assert_eq!(self.post(Some(parent)).await.is_ok(), visible);
                }
            }
            Act::Delete { nth } => {
                let Some(id) = self.nth(nth) else { return };
                let was = self.model[&id].status;
                let told = self.engine.delete_comment(id, None).await;
                assert_eq!(told, if was == Deleted { gone } else { Ok(()) });
                self.set_status(id, Deleted);
            }
            Act::Like { nth, who } => {
                let Some(id) = self.nth(nth) else { return };
                let told = self.engine.like_comment(voter(who), id, true).await;
                if self.model[&id].status == Visible {
                    let likes = &mut self.model.get_mut(&id).unwrap().likes;
                    let fresh = likes.insert(who);
                    assert_eq!(told.unwrap().likes as usize, likes.len());
                    if fresh {
                        self.touch(id);
                    }
                } else {
                    assert_eq!(told.map(drop), gone);
                }
            }
            Act::Unlike { nth } => {
                let Some(id) = self.nth(nth) else { return };
                let Some(who) = self.model[&id].likes.first().copied() else { return };
                let told = self.engine.like_comment(voter(who), id, false).await.map(drop);
                if self.model[&id].status == Deleted {
                    assert_eq!(told, gone);
                } else {
                    told.unwrap();
                    self.model.get_mut(&id).unwrap().likes.remove(&who);
                    self.touch(id);
                }
            }
            Act::Judge { nth, approve } => {
                let Some(id) = self.nth(nth) else { return };
                let (verdict, status) = if approve { (Verdict::Approve, Visible) } else { (Verdict::Hide, Hidden) };
                let told = self.engine.moderate_comment(id, verdict).await;
                if self.model[&id].status == Deleted {
                    assert_eq!(told.map(drop), gone);
                } else {
                    told.unwrap();
                    self.set_status(id, status);
                }
            }
            Act::Drain => drop(self.engine.drain().await.unwrap()),
            Act::Look { order, limit } => self.look(order, limit),
        }
    }

    fn look(&mut self, order: usize, limit: usize) {
        if !self.walks[order].begun {
            let resting = self.listed(None);
            self.walks[order] = Walk { begun: true, resting, ..Walk::default() };
        }
        let walk = &mut self.walks[order];
        let query =
            CommentQuery { clip: "c0", parent: None, order: ORDERS[order], after: walk.after, limit, viewer: None };
        let page = self.engine.comments(query).unwrap();
        assert!(page.threads.len() <= limit);
        walk.seen.extend(page.threads.iter().map(|thread| thread.of.comment.place.id));
        walk.after = page.next;
        if page.next.is_none() {
            let Walk { seen, resting, .. } = std::mem::take(walk);
            let all: BTreeSet<u64> = seen.iter().copied().collect();
            assert!(resting.is_subset(&all), "{:?}: skipped {:?}", ORDERS[order], resting.difference(&all));
            let twice = seen.iter().filter(|id| seen.iter().filter(|other| other == id).count() > 1);
            // What was liked or unliked meanwhile may be met again where it is now; ids never move.
            let wrong: Vec<_> = twice.filter(|id| ORDERS[order] != Order::Top || resting.contains(id)).collect();
            assert!(wrong.is_empty(), "{:?}: twice {wrong:?}", ORDERS[order]);
        }
    }

    /// Everything at rest.
    fn check(&self) {
        for order in ORDERS {
            let mut after = None;
            let mut found = Vec::new();
            loop {
                let query = CommentQuery { clip: "c0", parent: None, order, after, limit: 7, viewer: None };
                let page = self.engine.comments(query).unwrap();
                for thread in &page.threads {
                    let id = thread.of.comment.place.id;
                    let visible = |id: &u64| self.model[id].status == CommentStatus::Visible;
                    let replies: Vec<u64> = self.listed(Some(id)).into_iter().filter(visible).collect();
                    assert_eq!(thread.of.replies as usize, replies.len(), "replies of {id}");
                    let first: Vec<u64> = thread.first.iter().map(|reply| reply.comment.place.id).collect();
                    assert_eq!(first, replies[..replies.len().min(3)], "first replies of {id}");
                    found.push((thread.of.comment.likes as usize, id));
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let mut wanted: Vec<(usize, u64)> =
                self.listed(None).into_iter().map(|id| (self.model[&id].likes.len(), id)).collect();
            match order {
                Order::Oldest => {}
                Order::Newest => wanted.reverse(),
                Order::Top => {
                    wanted.sort_unstable();
                    wanted.reverse();
                }
            }
            assert_eq!(found, wanted, "{order:?}");
        }
        let visible = self.model.values().filter(|plain| plain.status == CommentStatus::Visible).count();
        assert_eq!(self.engine.comment_count("c0"), Ok(visible as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn lists_are_right_whatever_happens_between_their_pages(acts in prop::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in acts {
                world.take(act).await;
            }
            world.check();
            for order in 0..ORDERS.len() {
                while world.walks[order].begun {
                    world.look(order, 3);
                }
            }
            world.engine.drain().await.unwrap();
            world.check();
        });
    }
}
