//! The recount of comments: those of each clip that everyone can see, counted from the stored pages and held against what
//! settlement noted at the probe's place in the log.
//!
//! Pages say how comments are, not how they were then. One that was posted behind the probe is told by its id. That one of
//! those before it has come into sight or gone out of it since is not to be told, so a clip of which settlement has seen
//! that is left to the next recount. Settlement is ahead of the pages: it has seen all that they hold.

use crate::domain::{ClipNo, Comment, CommentRef, Seq};
use crate::error::Fault;
use crate::fold::ranges::Forwards;
use crate::log::Reading;
use crate::stage::Stage;
use crate::store::Store;

/// Pages counted in a step: some 300 comments of middling length, less than a millisecond.
const PAGES_A_STEP: usize = 16;

/// A recount under way.
#[derive(Debug)]
pub(super) struct Comments {
    /// The probe's place.
    until: Seq,
    /// By clip: comments in sight, and how often one came there or went.
    noted: Vec<(u64, u64)>,
    /// Clips that are done.
    done: usize,
    /// Up to where the next one's comments are counted; `None`: not begun.
    past: Option<CommentRef>,
    visible: u64,
    drift: u64,
}

impl Comments {
    /// Takes over what was noted.
    pub(super) fn new(reading: &mut Reading) -> Self {
        let noted = std::mem::take(&mut reading.comments);
        Self { until: reading.seq, noted, done: 0, past: None, visible: 0, drift: 0 }
    }

    /// By how much comments in sight and their counts differ, summed over clips.
    pub(super) fn drift(&self) -> u64 {
        self.drift
    }

    /// Counts some pages, which contain the probe's place by now. Whether everything is counted.
    pub(super) fn step(&mut self, tables: &dyn Store, stage: &Stage) -> Result<bool, Fault> {
        let mut left = PAGES_A_STEP;
        while let Some(&(noted, turns)) = self.noted.get(self.done) {
            if !self.count(tables, &mut left)? {
                return Ok(false);
            }
            // Looked at behind the last page: what that holds was settled before.
            if stage.look().clips[self.done].comment_reading().1 == turns {
                self.drift += noted.abs_diff(self.visible);
            }
            (self.done, self.past, self.visible) = (self.done + 1, None, 0);
        }
        Ok(true)
    }

    /// Goes on with a clip for so many pages; whether it is counted.
    fn count(&mut self, tables: &dyn Store, left: &mut usize) -> Result<bool, Fault> {
        let clip = ClipNo(u32::try_from(self.done).expect("clips are numbered by 32 bits"));
        // What answers a comment was posted behind it.
        let end = CommentRef { clip, parent: self.until, id: Seq::MAX };
        while *left > 0 {
            let past = self.past.unwrap_or(CommentRef { clip, parent: 0, id: 0 });
            let mut pages = Forwards::<Comment>::new(tables, past, end);
            let ended = loop {
                let Some(comment) = pages.next_item()? else { break true };
                if pages.pages() > *left {
                    // The page that it begins is the next step's, which reads it again.
                    break false;
                }
                if comment.place.id > self.until {
                    // So was all that answers the same and lies behind it: however fast more comes, a recount ends.
                    self.past = Some(CommentRef { id: Seq::MAX, ..comment.place });
                    break false;
                }
                self.past = Some(comment.place);
                self.visible += u64::from(comment.is_visible());
            };
            // A clip without a page costs a look.
            *left = left.saturating_sub(pages.pages().max(1));
            if ended {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::domain::{
        Clip, ClipDraft, ClipId, CommentChange, CommentPost, Event, Logged, Profile, Season, SeasonId, SeasonNo, Slot,
        SlotNo, VoterId, VoterKey,
    };
    use crate::fold::{Effect, Mark, Tables, fold};
    use crate::store::FaultyDisk;

    const CLIPS: u32 = 2;

    /// A stage and the pages of its comments.
    struct Rig {
        stage: Stage,
        store: Arc<dyn Store>,
        tables: Tables,
        seq: Seq,
    }

    impl Rig {
        fn new() -> Self {
            let stage = Stage::new(VoterKey::new([7; 32]), 1);
            let (season, slot) = (SeasonNo(0), SlotNo(0));
            let id = SeasonId::new("s").unwrap();
            let settle = |event: &Event| stage.settle(0, 0, event, &Effect::Plain);
            settle(&Event::SeasonCreated(Season { no: season, id, name: "Season".into() }));
            settle(&Event::SlotCreated(Slot { no: slot, season, position: 1 }));
            for no in (0..CLIPS).map(ClipNo) {
                let id = ClipId::new(&format!("c{}", no.0)).unwrap();
                settle(&Event::ClipAdded(Box::new(Clip { no, slot, id, draft: ClipDraft::default() })));
            }
            let store = FaultyDisk::new(1).open("tables");
            let tables = Tables::open(Arc::clone(&store)).unwrap();
            Self { stage, store, tables, seq: 0 }
        }

        /// Applies an event.
        fn apply(&mut self, event: Event) -> Seq {
            self.seq += 1;
            fold(&mut self.tables, &Logged { seq: self.seq, at: 0, event }, &Effect::Plain).unwrap();
            self.tables.commit(Mark { seq: self.seq, block: 1, chain: [0; 32] }).unwrap();
            self.seq
        }

        fn post(&mut self, clip: u32, text: &str) -> CommentRef {
            self.reply(clip, 0, text)
        }

        fn reply(&mut self, clip: u32, parent: Seq, text: &str) -> CommentRef {
            let (clip, depth, text) = (ClipNo(clip), u8::from(parent != 0), text.to_owned());
            let (author, profile) = (VoterId([1; 16]), Profile::default());
            let post = CommentPost { clip, parent, depth, author, profile, text, held: false, request: None };
            CommentRef { clip, parent, id: self.apply(Event::CommentPosted(Box::new(post))) }
        }

        fn delete(&mut self, of: CommentRef) {
            self.apply(Event::CommentChanged(of, CommentChange::Deleted { by: None }));
        }

        /// As settlement counts the turn of a comment that was posted earlier.
        fn turn(&self, clip: usize) {
            self.stage.look().clips[clip].comment_turns.fetch_add(1, Ordering::Relaxed);
        }

        fn noted(&self, comments: [u64; CLIPS as usize]) -> Comments {
            let comments = comments.iter().map(|count| (*count, 0)).collect();
            Comments::new(&mut Reading { seq: self.seq, counts: Vec::new(), masks: Vec::new(), comments })
        }

        /// Runs a recount to its end; its drift, and its steps.
        fn finish(&self, mut recount: Comments) -> (u64, usize) {
            let mut steps = 1;
            while !recount.step(self.store.as_ref(), &self.stage).unwrap() {
                steps += 1;
            }
            (recount.drift(), steps)
        }
    }

    #[test]
    fn what_was_posted_behind_the_probe_is_no_drift() {
        let mut rig = Rig::new();
        for _ in 0..3 {
            rig.post(0, "before");
        }
        let recount = rig.noted([3, 0]);
        rig.post(0, "behind");
        rig.post(1, "behind");
        assert_eq!(rig.finish(recount).0, 0);
        assert_eq!(rig.finish(rig.noted([5, 0])).0, 2, "four on the first, and one on the second that was not noted");
    }

    #[test]
    fn a_clip_whose_comments_came_or_went_meanwhile_is_left_out_and_no_other() {
        let mut rig = Rig::new();
        let (gone, _) = (rig.post(0, "gone"), rig.post(1, "stays"));
        let recount = rig.noted([1, 2]);
        rig.turn(0);
        rig.delete(gone);
        assert_eq!(rig.finish(recount).0, 1, "the second clip's");
        let unseen = rig.noted([1, 1]);
        assert_eq!(rig.finish(unseen).0, 0, "turned since its probe: left out");
    }

    #[test]
    fn a_change_that_settlement_never_counted_is_a_drift() {
        let mut rig = Rig::new();
        let gone = rig.post(0, "gone");
        let recount = rig.noted([1, 0]);
        rig.delete(gone);
        assert_eq!(rig.finish(recount).0, 1);
    }

    #[test]
    fn pages_that_part_between_two_steps_are_counted_once() {
        let mut rig = Rig::new();
        let long = "x".repeat(500);
        let parents = [rig.post(0, &long).id, rig.post(0, &long).id];
        for parent in parents {
            for _ in 0..200 {
                rig.reply(0, parent, &long);
            }
        }
        rig.post(1, &long);
        let mut recount = rig.noted([402, 1]);
        let mut steps = 0;
        while !recount.step(rig.store.as_ref(), &rig.stage).unwrap() {
            steps += 1;
            // In the middle and at the end: replies lie by their parent.
            for parent in parents.repeat(20) {
                rig.reply(0, parent, &long);
            }
        }
        assert!(steps >= 2, "{steps} steps");
        assert_eq!(recount.drift(), 0);
    }

    #[test]
    fn a_clip_that_grows_faster_than_it_is_counted_is_counted() {
        let mut rig = Rig::new();
        let long = "x".repeat(500);
        let first = rig.post(0, &long).id;
        for _ in 0..199 {
            rig.post(0, &long);
        }
        rig.reply(0, first, &long);
        let mut recount = rig.noted([201, 1]);
        for steps in 1.. {
            if recount.step(rig.store.as_ref(), &rig.stage).unwrap() {
                break;
            }
            assert!(steps < 5, "a step has {PAGES_A_STEP} pages, and some 17 were there");
            for _ in 0..PAGES_A_STEP * 16 {
                rig.post(0, &long);
            }
            let newest = CommentRef { clip: ClipNo(0), parent: 0, id: rig.seq };
            rig.reply(0, newest.id, &long);
        }
        assert_eq!(recount.drift(), 1, "the other clip's, which was noted and is not there");
    }
}
