//! What a clip had when: by the minute, at a sequence, at a time. From the pages of minutes, and where a segment has to be
//! cut, from its ballots.
//!
//! A group's last page is read first: what lies in front of it never changes again, and it contains all that the mark
//! does, or is ahead of it. Either way the answer is exact as of the later of the two, which it names.
//!
//! Votes that voids took out are as if they had never been, by the minute and at a time; at a sequence is what the clip had then,
//! with the voids of before.
//!
//! A locked slot's votes that were taken back are gone with its blocks, so its segments can't be cut: the answer is then what
//! the clip had in front of the segment, and names that moment.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::domain::{ClipNo, NamedVote, Seq, SlotNo, VoidState};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::timeline::{self, MINUTE_MS, Segment, TimelinePage, group_of};
use crate::fold::{Mask, Stored, find, keys, lookup};
use crate::store::Store;

/// Segments of a minute whose ballots are counted for one answer, at most: 16,384 ballots each. A clock that only goes
/// forwards needs one or two.
const CUT_MAX: usize = 32;

/// What a clip gained and lost in a step, and what it had at the step's end, in the order of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// When the step begins, Unix milliseconds.
    pub at: u64,
    /// Votes less retractions.
    pub votes: i64,
    /// Their weight.
    pub weight: i64,
    /// Votes at its end.
    pub total_votes: u64,
    /// Weight at its end.
    pub total_weight: u64,
}

/// A clip's steps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Series {
    /// Exact as of this sequence.
    pub as_of: Seq,
    /// Steps in which something changed.
    pub points: Vec<Point>,
    /// Where the next one begins, when there are more.
    pub next: Option<u64>,
}

/// Votes and weight at a sequence or time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Then {
    /// Exact as of this sequence; a later one was asked for, or a time.
    pub as_of: Seq,
    /// Exact at this time, where one was asked for: that one, or the last before it that a locked slot's minutes know.
    pub at_ms: Option<u64>,
    /// Votes.
    pub votes: u64,
    /// Weight.
    pub weight: u64,
}

/// A clip, where its votes lie, what of them voids took out, and what the tables are known to contain.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The clip.
    pub clip: ClipNo,
    /// Its slot.
    pub slot: SlotNo,
    /// The mark, read before the pages are, and behind every void below.
    pub applied: Seq,
    /// The slot's voids.
    pub voids: &'a [VoidState],
    /// The slot's votes that they take out now, by sequence.
    pub masks: &'a [Mask],
}

impl Of<'_> {
    /// The clip's votes that are taken out now: minutes have them as if they counted, and have no retraction of one that was taken
    /// back under a void.
    fn masked(&self) -> impl Iterator<Item = &NamedVote> {
        self.masks.iter().map(|mask| &mask.vote).filter(|vote| vote.clip == self.clip)
    }

    /// What voids and liftings have done to the clip up to a sequence.
    fn voided(&self, from: Seq, seq: Seq) -> (i64, i64) {
        let steps = self.voids.iter().flat_map(|void| {
            let lifted = void.lifted.as_ref().map(|(step, _)| step);
            void.taken.iter().chain(lifted).filter(|step| (from..=seq).contains(&step.seq))
        });
        let of_clip = steps.flat_map(|step| &step.changes).filter(|(clip, ..)| *clip == self.clip);
        of_clip.fold((0, 0), |sum, (_, votes, weight)| (sum.0 + votes, sum.1 + weight))
    }
}

/// A clip's steps from a time on, at most so many: multiples of `step_ms`, itself one of a minute. What came before
/// `opened_ms` by a clock that was behind is in the step of the opening.
pub fn series(
    store: &dyn Store,
    of: Of<'_>,
    step_ms: u64,
    opened_ms: u64,
    from_ms: u64,
    limit: usize,
) -> Result<Series, Fault> {
    let (pages, as_of) = pages(store, of)?;
    let mut sum = pages.first().map_or(Sum::default(), |page| Sum::behind(page, of.clip));
    let mut steps: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    for one in segments(&pages, of.clip) {
        let at = (u64::from(one.minute) * MINUTE_MS).max(opened_ms);
        let step = steps.entry(at - at % step_ms).or_default();
        *step = (step.0 + i64::from(one.votes), step.1 + one.weight);
    }
    let first = pages.first().map_or(0, |page| page.first);
    for vote in of.masked() {
        if vote.seq < first {
            sum.add(-1, -i64::from(vote.weight));
            continue;
        }
        let (minute, _) = timeline::minute_of(vote.at);
        let at = (u64::from(minute) * MINUTE_MS).max(opened_ms);
        let step = steps.entry(at - at % step_ms).or_default();
        *step = (step.0 - 1, step.1 - i64::from(vote.weight));
    }
    let mut series = Series { as_of, ..Series::default() };
    for (at, (gained, weighed)) in steps.into_iter().filter(|(_, change)| *change != (0, 0)) {
        sum.add(gained, weighed);
        if at < from_ms {
            continue;
        }
        if series.points.len() == limit {
            series.next = Some(at);
            break;
        }
        let Then { votes, weight, .. } = sum.then(as_of, None);
        let point = Point { at, votes: gained, weight: weighed, total_votes: votes, total_weight: weight };
        series.points.push(point);
    }
    Ok(series)
}

/// What a clip had behind a sequence: its ballots up to there. A later one than is known reads as the last that is, and one within
/// a segment of a locked slot as the last in front of it. `None`: from before minutes were kept.
pub fn at_sequence(store: &dyn Store, of: Of<'_>, seq: Seq) -> Result<Option<Then>, Fault> {
    let Of { clip, applied, .. } = of;
    let (from, to) = keys::timeline_of(group_of(clip));
    let Some((key, record)) = store.last_in(&from, &to)? else {
        return Ok(Some(Then { as_of: seq.min(applied), at_ms: None, votes: 0, weight: 0 }));
    };
    let mut page = timeline::read(&key, &record)?;
    let mut as_of = seq.min(applied.max(page.last));
    if as_of < page.first {
        let found = store.last_in(&from, &keys::timeline(group_of(clip), as_of + 1))?;
        let Some((key, record)) = found else {
            let first = first_page(store, of)?.unwrap_or(page);
            return Ok((first.before(clip) == (0, 0)).then_some(Then { as_of, at_ms: None, votes: 0, weight: 0 }));
        };
        page = timeline::read(&key, &record)?;
    }
    let mut sum = Sum::behind(&page, clip);
    for one in segments(std::slice::from_ref(&page), clip) {
        if one.last <= as_of {
            sum.add(one.votes.into(), one.weight);
        } else if one.first <= as_of && !sum.count(store, of, one.first, as_of, &|_| true)? {
            // A clip's segments do not overlap: in front of this one is behind all others that were added.
            as_of = one.first - 1;
        }
    }
    if !of.voids.is_empty() {
        // What the first page begins behind has the voids of before it.
        let first = first_page(store, of)?.map_or(page.first, |page| page.first);
        let (votes, weight) = of.voided(first, as_of);
        sum.add(votes, weight);
    }
    Ok(Some(sum.then(as_of, None)))
}

/// What a clip had at a time in Unix milliseconds: its ballots whose own time is not later, and that no void takes out now; for a locked slot at the last time
/// up to then that is in no segment. `None`: the clock jumped about in that minute more often than ballots are counted for.
pub fn at_time(store: &dyn Store, of: Of<'_>, at_ms: u64) -> Result<Option<Then>, Fault> {
    let (pages, as_of) = pages(store, of)?;
    let mut before = pages.first().map_or(Sum::default(), |page| Sum::behind(page, of.clip));
    let first = pages.first().map_or(0, |page| page.first);
    for vote in of.masked().filter(|vote| vote.seq < first) {
        before.add(-1, -i64::from(vote.weight));
    }
    let (mut sum, mut cut) = (before, 0);
    for one in segments(&pages, of.clip).filter(|one| one.from_ms() <= at_ms) {
        if one.to_ms() <= at_ms {
            sum.add(one.votes.into(), one.weight);
            continue;
        }
        cut += 1;
        if cut > CUT_MAX {
            return Ok(None);
        }
        if !sum.count(store, of, one.first, one.last, &|stored| stored.at <= at_ms)? {
            return Ok(Some(at_whole(before, &pages, of, at_ms, as_of)));
        }
    }
    sum.leave_out(of, first, at_ms);
    Ok(Some(sum.then(as_of, Some(at_ms))))
}

/// The same at the last time that cuts no segment.
fn at_whole(mut sum: Sum, pages: &[TimelinePage], of: Of<'_>, at_ms: u64, as_of: Seq) -> Then {
    let clip = of.clip;
    let cut = |at_ms: u64| segments(pages, clip).find(move |one| one.from_ms() <= at_ms && at_ms < one.to_ms());
    // Earlier at every turn: a segment that is cut begins at or before that time.
    let mut whole = Some(at_ms);
    while let Some(one) = whole.and_then(cut) {
        whole = one.from_ms().checked_sub(1);
    }
    for one in segments(pages, clip).filter(|one| whole.is_some_and(|at_ms| one.to_ms() <= at_ms)) {
        sum.add(one.votes.into(), one.weight);
    }
    let first = pages.first().map_or(0, |page| page.first);
    sum.leave_out(of, first, whole.unwrap_or(0));
    sum.then(as_of, Some(whole.unwrap_or(0)))
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    votes: i64,
    weight: i64,
}

impl Sum {
    fn behind(page: &TimelinePage, clip: ClipNo) -> Self {
        let (votes, weight) = page.before(clip);
        Self { votes: votes.cast_signed(), weight: weight.cast_signed() }
    }

    fn add(&mut self, votes: i64, weight: i64) {
        (self.votes, self.weight) = (self.votes + votes, self.weight + weight);
    }

    /// Leaves out the votes from a sequence on, up to a time, that voids take out.
    fn leave_out(&mut self, of: Of<'_>, first: Seq, at_ms: u64) {
        for vote in of.masked().filter(|vote| vote.seq >= first && vote.at <= at_ms) {
            self.add(-1, -i64::from(vote.weight));
        }
    }

    /// Counts the clip's ballots between two sequences, both included, as minutes do: without the retraction of a vote that a void
    /// had taken out. `false`: it can't, and has not, since the slot is locked.
    fn count(
        &mut self,
        store: &dyn Store,
        of: Of<'_>,
        first: Seq,
        last: Seq,
        wanted: &dyn Fn(&Stored) -> bool,
    ) -> Result<bool, Fault> {
        let mut counted = *self;
        let found = store.last_in(&keys::ballots(of.slot, 0), &keys::ballots(of.slot, first + 1))?;
        let from = found.map_or(keys::ballots(of.slot, first).to_vec(), |(key, _)| key);
        store.scan(&from, &keys::ballots(of.slot, last + 1), &mut |key, record| {
            ballot_block::read(key, record, |stored| {
                let inside = (first..=last).contains(&stored.seq) && stored.ballot.clip == of.clip;
                if inside && wanted(&stored) {
                    let weight = i64::from(stored.ballot.weight);
                    match stored.ballot.act {
                        Act::Cast(_) => counted.add(1, weight),
                        // Its mask stays for good.
                        Act::Retract(vote) if find(of.masks, vote).is_some() => {}
                        Act::Retract(_) => counted.add(-1, -weight),
                    }
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        // Behind the reading: until now every block was there.
        let whole = lookup::sealed(store, of.slot)?.is_none();
        if whole {
            *self = counted;
        }
        Ok(whole)
    }

    fn then(self, as_of: Seq, at_ms: Option<u64>) -> Then {
        // Below zero by time alone: a retraction whose clock was behind its vote's.
        let whole = |sum: i64| u64::try_from(sum.max(0)).expect("not below zero");
        Then { as_of, at_ms, votes: whole(self.votes), weight: whole(self.weight) }
    }
}

fn segments(pages: &[TimelinePage], clip: ClipNo) -> impl Iterator<Item = &Segment> {
    pages.iter().flat_map(|page| &page.segments).filter(move |one| one.clip == clip)
}

/// All pages of the clip's group, and the sequence that they are exact at.
fn pages(store: &dyn Store, of: Of<'_>) -> Result<(Vec<TimelinePage>, Seq), Fault> {
    let (from, to) = keys::timeline_of(group_of(of.clip));
    let Some((end, record)) = store.last_in(&from, &to)? else { return Ok((Vec::new(), of.applied)) };
    let last = timeline::read(&end, &record)?;
    let mut pages = Vec::new();
    store.scan(&from, &end, &mut |key, record| {
        let mut page = timeline::read(key, record)?;
        page.segments.retain(|one| one.clip == of.clip);
        pages.push(page);
        Ok(ControlFlow::Continue(()))
    })?;
    let as_of = of.applied.max(last.last);
    pages.push(last);
    Ok((pages, as_of))
}

fn first_page(store: &dyn Store, of: Of<'_>) -> Result<Option<TimelinePage>, Fault> {
    let (from, to) = keys::timeline_of(group_of(of.clip));
    let mut first = None;
    store.scan(&from, &to, &mut |key, record| {
        first = Some(timeline::read(key, record)?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}
