//! Comments in pages: any log of comments, cut into commits anywhere, with crashes between and within them, ends in the
//! same pages, and those say what a naive reading of the whole log says: read whole, by id, and page by page both ways.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/plain.rs"]
mod plain;

use plain::{Comments, Plain};
use plaudit::domain::{
    ClipNo, Comment, CommentChange, CommentPost, CommentRef, CommentStatus, Event, Logged, ModerationQueue, Profile,
    RequestKey, Verdict, VoterId,
};
use plaudit::error::Fault;
use plaudit::fold::comments::{CommentId, LIKED, Queued, REPORTED, Rank, Replies};
use plaudit::fold::ranges::{Backwards, Forwards, Item, find};
use plaudit::fold::{self, Effect, Mark, Tables, fold, judge};
use plaudit::store::{FaultyDisk, Store};
use proptest::prelude::*;

const NOON: u64 = 1_700_000_000_000;
/// Two neighbours and one of another page of counts.
const CLIPS: [ClipNo; 3] = [ClipNo(0), ClipNo(1), ClipNo(300)];
const HIDES_AT: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum Verb {
    Post {
        clip: usize,
        length: u16,
        held: bool,
        keyed: bool,
    },
    /// So many short comments of one clip, or replies to one comment: they fill pages.
    Burst {
        posts: u16,
        to: Option<usize>,
    },
    Reply {
        to: usize,
        length: u16,
    },
    Like {
        nth: usize,
        who: u8,
    },
    /// Likes of many comments by one voter, of one comment by many.
    LikeMany {
        first: usize,
        count: u16,
        who: u8,
    },
    Fans {
        nth: usize,
        count: u16,
    },
    Unlike {
        nth: usize,
    },
    Report {
        nth: usize,
        who: u8,
    },
    Delete {
        nth: usize,
    },
    Judge {
        nth: usize,
        approve: bool,
    },
}

fn verb() -> impl Strategy<Value = Verb> {
    let some = any::<usize>;
    prop_oneof![
        6 => (0_usize..3, 1_u16..500, any::<bool>(), any::<bool>())
            .prop_map(|(clip, length, held, keyed)| Verb::Post { clip, length, held, keyed }),
        2 => (1_u16..120, prop::option::of(some())).prop_map(|(posts, to)| Verb::Burst { posts, to }),
        6 => (some(), 1_u16..500).prop_map(|(to, length)| Verb::Reply { to, length }),
        10 => (some(), 0_u8..6).prop_map(|(nth, who)| Verb::Like { nth, who }),
        2 => (some(), 1_u16..200, 0_u8..6).prop_map(|(first, count, who)| Verb::LikeMany { first, count, who }),
        1 => (some(), 1_u16..600).prop_map(|(nth, count)| Verb::Fans { nth, count }),
        4 => some().prop_map(|nth| Verb::Unlike { nth }),
        5 => (some(), 0_u8..6).prop_map(|(nth, who)| Verb::Report { nth, who }),
        3 => some().prop_map(|nth| Verb::Delete { nth }),
        4 => (some(), any::<bool>()).prop_map(|(nth, approve)| Verb::Judge { nth, approve }),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Commit,
    /// The commit fails at its k-th write, and the machine dies.
    DieWithin {
        k: u64,
        seed: u64,
    },
    /// The machine dies before the commit.
    Die {
        seed: u64,
    },
}

fn cuts() -> impl Strategy<Value = Vec<(prop::sample::Index, Cut)>> {
    let cut = prop_oneof![
        3 => Just(Cut::Commit),
        6 => (1_u64..40, any::<u64>()).prop_map(|(k, seed)| Cut::DieWithin { k, seed }),
        1 => any::<u64>().prop_map(|seed| Cut::Die { seed }),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), cut), 0..16)
}

#[derive(Clone, Debug, Default)]
struct Model {
    log: Vec<Logged>,
    comments: Comments,
}

fn voter(n: u32) -> VoterId {
    let mut id = [0x11; 16];
    // Spread, as hashes are.
    id[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    VoterId(id)
}

impl Model {
    fn push(&mut self, event: Event) -> u64 {
        let seq = self.log.len() as u64 + 1;
        self.comments.take(seq, &event);
        self.log.push(Logged { seq, at: NOON + seq * 7 % 1_000, event });
        seq
    }

    fn nth(&self, nth: usize) -> Option<(u64, Plain)> {
        let at = nth % self.comments.0.len().max(1);
        self.comments.0.iter().nth(at).map(|(id, plain)| (*id, plain.clone()))
    }

    fn post(&mut self, clip: ClipNo, parent: u64, length: u16, held: bool, keyed: bool) {
        let depth = if parent == 0 { 0 } else { self.comments.0[&parent].depth + 1 };
        let n = u8::try_from(self.log.len() % 250).unwrap();
        let text: String = "déjà vu ".chars().cycle().take(length.into()).collect();
        let post = CommentPost {
            clip,
            parent,
            depth,
            author: voter(u32::from(n % 7)),
            profile: Profile::cut(Some(&format!("Voter {n}")), None),
            text,
            held,
            request: keyed.then_some(RequestKey { key: [n; 16], body: [n; 16] }),
        };
        self.push(Event::CommentPosted(Box::new(post)));
    }

    /// Changes a comment that isn't deleted.
    fn change(&mut self, id: u64, change: CommentChange) {
        self.push(Event::CommentChanged(self.comments.place(id), change));
    }

    fn like(&mut self, id: u64, who: VoterId) {
        let plain = &self.comments.0[&id];
        if plain.status == CommentStatus::Visible && !plain.has(id, who, LIKED) {
            self.change(id, CommentChange::Liked(who));
        }
    }

    fn take(&mut self, verb: Verb) {
        use CommentStatus::{Deleted, Visible};
        match verb {
            Verb::Post { clip, length, held, keyed } => self.post(CLIPS[clip], 0, length, held, keyed),
            Verb::Burst { posts, to } => {
                let to =
                    to.and_then(|nth| self.nth(nth)).filter(|(_, plain)| plain.depth < 5 && plain.status == Visible);
                let (parent, clip) = to.map_or((0, CLIPS[0]), |(id, plain)| (id, plain.clip));
                for n in 0..posts {
                    self.post(clip, parent, 1 + n % 9, false, false);
                }
            }
            Verb::Reply { to, length } => {
                let Some((parent, plain)) = self.nth(to) else { return };
                if plain.status == Visible && plain.depth < 5 {
                    self.post(plain.clip, parent, length, length % 5 == 0, false);
                }
            }
            Verb::Like { nth, who } => {
                if let Some((id, _)) = self.nth(nth) {
                    self.like(id, voter(who.into()));
                }
            }
            Verb::LikeMany { first, count, who } => {
                for n in 0..usize::from(count) {
                    if let Some((id, _)) = self.nth(first.wrapping_add(n)) {
                        self.like(id, voter(who.into()));
                    }
                }
            }
            Verb::Fans { nth, count } => {
                let Some((id, _)) = self.nth(nth) else { return };
                for n in 0..count {
                    self.like(id, voter(1_000 + u32::from(n)));
                }
            }
            Verb::Unlike { nth } => {
                let Some((id, plain)) = self.nth(nth) else { return };
                if let Some(who) = plain.likes.first().copied().filter(|_| plain.status != Deleted) {
                    self.change(id, CommentChange::Unliked(who));
                }
            }
            Verb::Report { nth, who } => {
                let Some((id, plain)) = self.nth(nth) else { return };
                let voter = voter(who.into());
                if plain.status == Visible && !plain.has(id, voter, REPORTED) {
                    self.change(id, CommentChange::Reported { voter, hides_at: HIDES_AT });
                }
            }
            Verb::Delete { nth } => {
                let Some((id, plain)) = self.nth(nth) else { return };
                if plain.status != Deleted {
                    self.change(id, CommentChange::Deleted { by: None });
                }
            }
            Verb::Judge { nth, approve } => {
                let Some((id, plain)) = self.nth(nth) else { return };
                if plain.status != Deleted {
                    let verdict = if approve { Verdict::Approve } else { Verdict::Hide };
                    self.change(id, CommentChange::Moderated(verdict));
                }
            }
        }
    }
}

/// What readers see who go through the stored pages both ways, from any place in between.
fn check_stored(store: &dyn Store, model: &Model, from: prop::sample::Index) -> Result<(), TestCaseError> {
    for clip in CLIPS {
        let all = |parent| model.comments.0.iter().filter(move |(_, of)| (of.clip, of.parent) == (clip, parent));
        let parents = model.comments.0.iter().filter(|(_, of)| of.clip == clip).map(|(id, _)| *id).take(40);
        for parent in std::iter::once(0).chain(parents) {
            let ids: Vec<u64> = all(parent).map(|(id, _)| *id).collect();
            let at = ids.get(from.index(ids.len().max(1))).copied().unwrap_or(0);
            let of = |id| CommentRef { clip, parent, id };
            let up = up::<Comment>(store, of(at), of(u64::MAX))?;
            prop_assert_eq!(
                up.iter().map(|one| one.place.id).collect::<Vec<_>>(),
                ids.iter().copied().filter(|id| *id > at).collect::<Vec<_>>()
            );
            let down = down::<Comment>(store, of(at), of(0))?;
            prop_assert_eq!(
                down.iter().map(|one| one.place.id).collect::<Vec<_>>(),
                ids.iter().rev().copied().filter(|id| *id < at).collect::<Vec<_>>()
            );
            let mut ranked: Vec<(u32, u64)> = all(parent).map(|(id, of)| (of.liked(), *id)).collect();
            ranked.sort_unstable();
            ranked.reverse();
            let ranks = down_ranks(store, clip, parent)?;
            prop_assert_eq!(ranks, ranked);
        }
    }
    for (id, plain) in model.comments.0.iter().take(200) {
        let found = find::<CommentId>(store, *id)?.expect("it was posted");
        let comment = find::<Comment>(store, found.place)?.expect("it is there");
        plain.check(*id, &comment);
        let replies = find::<Replies>(store, (found.place.clip, *id))?;
        prop_assert_eq!(replies.map_or(0, |replies| replies.ever), plain.ever);
    }
    for queue in [ModerationQueue::Pending, ModerationQueue::Reported, ModerationQueue::Hidden] {
        let waiting = up::<Queued>(store, (queue, 0), (queue, u64::MAX))?;
        let wanted = model.comments.0.iter().filter(|(_, plain)| plain.queue() == Some(queue));
        prop_assert_eq!(
            waiting.iter().map(|one| one.place.id).collect::<Vec<_>>(),
            wanted.map(|(id, _)| *id).collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn up<T: Item>(store: &dyn Store, past: T::Key, end: T::Key) -> Result<Vec<T>, Fault> {
    let mut items = Forwards::<T>::new(store, past, end);
    std::iter::from_fn(|| items.next_item().transpose()).collect()
}

fn down<T: Item>(store: &dyn Store, below: T::Key, low: T::Key) -> Result<Vec<T>, Fault> {
    let mut items = Backwards::<T>::new(store, below, low);
    std::iter::from_fn(|| items.next_item().transpose()).collect()
}

fn down_ranks(store: &dyn Store, clip: ClipNo, parent: u64) -> Result<Vec<(u32, u64)>, Fault> {
    let ranks = down::<Rank>(store, (clip, parent, u32::MAX, u64::MAX), (clip, parent, 0, 0))?;
    Ok(ranks.into_iter().map(|rank| (rank.likes, rank.place.id)).collect())
}

fn catch_up(disk: &FaultyDisk, log: &[Logged], end: usize) -> Result<Tables, Fault> {
    let mut tables = Tables::open(disk.open("tables"))?;
    let mark = tables.mark().map_or(0, |mark| mark.seq);
    let mut known = tables.transitions()?;
    for logged in log.iter().take(end).skip(usize::try_from(mark).unwrap()) {
        let Logged { seq, at, event } = logged;
        assert_eq!(judge(&known, *seq, *at, event), Ok(()), "event {seq} was judged fine before: {event:?}");
        known.note(*seq, *at, event);
        fold(&mut tables, logged, &Effect::Plain)?;
    }
    Ok(tables)
}

fn mark(end: usize) -> Mark {
    Mark { seq: end as u64, block: 1, chain: [0; 32] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn the_pages_are_the_logs_however_it_was_cut(
        verbs in prop::collection::vec(verb(), 0..80),
        cuts in cuts(),
        from in any::<prop::sample::Index>(),
    ) {
        let mut model = Model::default();
        for verb in verbs {
            model.take(verb);
        }
        let disk = FaultyDisk::new(1);
        let mut tables = catch_up(&disk, &model.log, 0)?;
        let mut folded = 0;
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, cut)| (at.index(model.log.len() + 1), cut)).collect();
        cuts.sort_by_key(|(at, _)| *at);
        for (end, cut) in cuts {
            for logged in &model.log[folded..end] {
                fold(&mut tables, logged, &Effect::Plain)?;
            }
            folded = end;
            match cut {
                Cut::Commit => tables.commit(mark(end))?,
                Cut::DieWithin { k, seed } => {
                    disk.fail_at(k);
                    // A commit with fewer writes than k ends before its failure.
                    let _ = tables.commit(mark(end));
                    disk.crash(seed);
                    tables = catch_up(&disk, &model.log, end)?;
                }
                Cut::Die { seed } => {
                    disk.crash(seed);
                    tables = catch_up(&disk, &model.log, end)?;
                }
            }
        }
        for logged in &model.log[folded..] {
            fold(&mut tables, logged, &Effect::Plain)?;
        }
        model.comments.check(&tables)?;
        tables.commit(mark(model.log.len()))?;
        model.comments.check(&tables)?;
        model.comments.check(&Tables::open(disk.open("tables"))?)?;
        check_stored(disk.open("tables").as_ref(), &model, from)?;
    }
}

/// Pages stay within their bytes, and many comments need few.
#[test]
fn comments_share_pages() {
    let mut model = Model::default();
    for _ in 0..3_000 {
        model.post(CLIPS[0], 0, 60, false, false);
    }
    let disk = FaultyDisk::new(1);
    let mut tables = catch_up(&disk, &[], 0).unwrap();
    for (n, logged) in model.log.iter().enumerate() {
        fold(&mut tables, logged, &Effect::Plain).unwrap();
        if n % 100 == 99 {
            tables.commit(mark(n + 1)).unwrap();
        }
    }
    let (mut pages, mut bytes) = (0, 0);
    disk.open("tables")
        .scan(b"k", b"l", &mut |_, record| {
            assert!(record.len() <= 9 * 1024, "{} bytes", record.len());
            (pages, bytes) = (pages + 1, bytes + record.len());
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    assert!(pages < 3_000 / 20, "{pages} pages of {bytes} bytes");
    assert_eq!(fold::comments::LIKED & fold::comments::REPORTED, 0);
}

/// A crash that cuts the parting of a page short leaves the old page, and in it what lies past the next one's start. Whoever
/// reads downwards looks past it, also when what it was has left the next page since.
#[test]
fn what_a_cut_parting_left_over_is_read_by_nobody() {
    let mut cut_short = 0;
    for (k, seed) in (1..10).flat_map(|k| (0..3).map(move |seed| (k, seed))) {
        let mut model = Model::default();
        let disk = FaultyDisk::new(k);
        // The ranks of the first half nearly fill a page; the second half parts it in the middle of the first.
        (0..1_300).for_each(|_| model.post(CLIPS[0], 0, 1, false, false));
        catch_up(&disk, &model.log, 1_300).unwrap().commit(mark(1_300)).unwrap();
        (0..300).for_each(|_| model.post(CLIPS[0], 0, 1, false, false));
        let mut tables = catch_up(&disk, &model.log, 1_600).unwrap();
        disk.fail_at(k);
        tables.commit(mark(1_600)).unwrap_err();
        disk.crash(seed);
        let mut starts = Vec::new();
        let note = &mut |key: &[u8], _: &plaudit::store::Value| {
            starts.extend(Rank::parse(key));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        disk.open("tables").scan(b"o", b"p", note).unwrap();
        let second = starts.iter().map(|start| start.3).find(|id| (1..1_500).contains(id));
        cut_short += u32::from(second.is_some());
        catch_up(&disk, &model.log, 1_600).unwrap().commit(mark(1_600)).unwrap();
        // The second page loses what it began with, and the first is left alone.
        let second = second.unwrap_or(1_000);
        (second..second + 100).for_each(|id| model.like(id, voter(1)));
        catch_up(&disk, &model.log, model.log.len()).unwrap().commit(mark(model.log.len())).unwrap();
        let wanted = model.comments.0.iter().map(|(id, plain)| (plain.liked(), *id));
        let mut wanted: Vec<(u32, u64)> = wanted.collect();
        wanted.sort_unstable();
        wanted.reverse();
        let read = down_ranks(disk.open("tables").as_ref(), CLIPS[0], 0).unwrap();
        assert!(read == wanted, "k = {k}: {} ranks read, {} wanted", read.len(), wanted.len());
    }
    assert!(cut_short > 0, "some crash came between the parts");
}
