//! `verify`'s part about timelines: every page read, and every segment counted anew from the ballots. Of a locked slot's ballots
//! those that were taken back are gone: its clips' timelines have to end at their counts, and to have every vote that stands in
//! its minute.
//!
//! Keeps about a hundred bytes a segment while it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::load::put;
use super::verify::Verified;
use crate::ballots::Ballots;
use crate::closed::SlotPages;
use crate::domain::{Clip, ClipNo, Seq, SlotNo};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act, Ballot, Stored};
use crate::fold::records::SlotRecord;
use crate::fold::sorted::Sorted;
use crate::fold::timeline::{CLIPS_A_TIMELINE, MINUTE_MS, Segment, group_of, minute_of};
use crate::fold::{Tables, Voids};

/// What the pages say, and what the ballots have come to.
#[derive(Debug)]
pub(super) struct Minutes {
    groups: HashMap<u32, Group>,
    clips: HashMap<ClipNo, Vec<Counted>>,
    /// Clips of locked slots: votes that stand, and their weight; `None` where they can't all be read.
    sealed: HashMap<ClipNo, Option<(i64, i64)>>,
    /// Groups whose pages say something else than the ballots.
    wrong: BTreeSet<u32>,
}

/// A group's first page.
#[derive(Debug)]
struct Group {
    first: Seq,
    before: [(u64, u64); CLIPS_A_TIMELINE as usize],
    counted: [(i64, i64); CLIPS_A_TIMELINE as usize],
}

/// A segment, and its ballots as far as they were seen.
#[derive(Debug)]
struct Counted {
    kept: Segment,
    votes: i64,
    weight: i64,
    /// The earliest and the latest time seen.
    times: Option<(u64, u64)>,
    /// The last sequence seen.
    last: Seq,
}

impl Minutes {
    /// Reads every page; notes where one does not go on from the one before it.
    pub(super) fn read(tables: &Tables, found: &mut Verified) -> Result<Self, Fault> {
        let mut minutes =
            Self { groups: HashMap::new(), clips: HashMap::new(), sealed: HashMap::new(), wrong: BTreeSet::new() };
        let mut behind = None;
        tables.each_timeline(|group, page| {
            let sums = page.behind();
            match behind.take().filter(|(of, _)| *of == group) {
                Some((_, before)) if before != page.before => {
                    minutes.wrong.insert(group);
                    found.note(format!("the timeline of clips {group} × 16 does not go on at event {}", page.first));
                }
                Some(_) => {}
                None => {
                    let one = Group { first: page.first, before: page.before, counted: Default::default() };
                    minutes.groups.insert(group, one);
                }
            }
            match sums {
                Ok(sums) => behind = Some((group, sums)),
                Err(why) => {
                    minutes.wrong.insert(group);
                    found.note(why.to_string());
                }
            }
            for kept in page.segments {
                let counted = Counted { kept, votes: 0, weight: 0, times: None, last: 0 };
                minutes.clips.entry(kept.clip).or_default().push(counted);
            }
            Ok(())
        })?;
        Ok(minutes)
    }

    /// Counts a stored ballot.
    pub(super) fn count(&mut self, stored: &Stored, found: &mut Verified) {
        let Stored { seq, at, ballot } = *stored;
        let sign = if matches!(ballot.act, Act::Cast(_)) { 1 } else { -1 };
        let weight = sign * i64::from(ballot.weight);
        // Without a page no vote has come since minutes are kept: a program that kept none wrote all of them.
        let Some(group) = self.groups.get_mut(&group_of(ballot.clip)) else { return };
        if seq < group.first {
            // A vote from before minutes were kept.
            let sum = &mut group.counted[(ballot.clip.0 % CLIPS_A_TIMELINE) as usize];
            *sum = (sum.0 + sign, sum.1 + weight);
            return;
        }
        let segments = self.clips.get_mut(&ballot.clip).map_or(&mut [][..], Vec::as_mut_slice);
        let behind = segments.partition_point(|counted| counted.kept.first <= seq);
        let (minute, _) = minute_of(at);
        let segment = behind.checked_sub(1).map(|at| &mut segments[at]);
        match segment.filter(|of| seq <= of.kept.last && of.kept.minute == minute) {
            None => {
                self.wrong.insert(group_of(ballot.clip));
                found.note(format!("event {seq}: its clip's timeline does not have it in its minute"));
            }
            Some(of) => {
                (of.votes, of.weight, of.last) = (of.votes + sign, of.weight + weight, seq);
                let (low, high) = of.times.unwrap_or((at, at));
                of.times = Some((low.min(at), high.max(at)));
            }
        }
    }

    /// Looks for a vote of a locked slot that stands.
    pub(super) fn look_for(&mut self, vote: &Sorted, found: &mut Verified) {
        let Sorted { seq, at, clip, .. } = *vote;
        let group = group_of(clip);
        if self.groups.get(&group).is_none_or(|group| seq < group.first) {
            return;
        }
        let segments = self.clips.get(&clip).map_or(&[][..], Vec::as_slice);
        let behind = segments.partition_point(|counted| counted.kept.first <= seq);
        let segment = behind.checked_sub(1).map(|at| &segments[at].kept);
        if !segment.is_some_and(|of| seq <= of.last && (of.from_ms()..=of.to_ms()).contains(&clamped(at))) {
            self.wrong.insert(group);
            found.note(format!("event {seq}: its clip's timeline does not have it in its minute"));
        }
    }

    /// A locked slot's clips, with what all of its votes that stand come to; `whole`: all could be read.
    pub(super) fn seal(
        &mut self,
        clips: impl Iterator<Item = ClipNo>,
        counted: &BTreeMap<ClipNo, (i64, i64)>,
        whole: bool,
    ) {
        for clip in clips {
            let sums = counted.get(&clip).copied().unwrap_or_default();
            self.sealed.insert(clip, whole.then_some(sums));
        }
    }

    /// Notes every segment that says something else than its ballots; gives the groups that have one.
    pub(super) fn compare(mut self, clips: &[Clip], found: &mut Verified) -> BTreeSet<u32> {
        let Self { sealed, mut wrong, .. } = self;
        let name =
            |no: ClipNo| clips.get(no.index()).map_or_else(|| format!("number {}", no.0), |of| of.id.to_string());
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_unstable_by_key(|(group, _)| *group);
        for (group, of) in groups {
            let both = of.before.into_iter().zip(of.counted);
            for (no, ((votes, weight), counted)) in (group * CLIPS_A_TIMELINE..).map(ClipNo).zip(both) {
                if let Some(standing) = sealed.get(&no) {
                    let segments = self.clips.remove(&no).unwrap_or_default();
                    let start = (i128::from(votes), i128::from(weight));
                    let end = segments.iter().fold(start, |sum, Counted { kept, .. }| {
                        (sum.0 + i128::from(kept.votes), sum.1 + i128::from(kept.weight))
                    });
                    if let Some(standing) = standing.filter(|sums| end != (sums.0.into(), sums.1.into())) {
                        wrong.insert(group);
                        found.note(format!(
                            "clip {}: its timeline ends at {} votes of weight {}, recounted {} of {}",
                            name(no),
                            end.0,
                            end.1,
                            standing.0,
                            standing.1
                        ));
                    }
                    continue;
                }
                if (i128::from(votes), i128::from(weight)) != (counted.0.into(), counted.1.into()) {
                    wrong.insert(group);
                    found.note(format!(
                        "clip {}: its timeline begins behind {votes} votes of weight {weight}, recounted {} of {}",
                        name(no),
                        counted.0,
                        counted.1
                    ));
                }
            }
        }
        let mut clips: Vec<_> = self.clips.into_iter().collect();
        clips.sort_unstable_by_key(|(no, _)| *no);
        for (no, segments) in clips {
            for of in segments {
                let Segment { first, last, minute, votes, weight, .. } = of.kept;
                let times = Some((of.kept.from_ms(), of.kept.to_ms()));
                let sums = (of.votes, of.weight) == (votes.into(), weight);
                if sums && (of.last, of.times) == (last, times) {
                    continue;
                }
                wrong.insert(group_of(no));
                if sums {
                    found.note(format!(
                        "clip {}: its timeline's minute {minute} from event {first} on ends elsewhere than its ballots",
                        name(no)
                    ));
                } else {
                    found.note(format!(
                        "clip {}: its timeline has {votes} votes of weight {weight} in minute {minute} from event {first} on, \
                         recounted {} of {}",
                        name(no),
                        of.votes,
                        of.weight
                    ));
                }
            }
        }
        wrong
    }
}

/// Makes the pages of these groups anew from the ballots that are left in the order of the log: of a locked slot, the votes that
/// stand. Keeps those ballots in memory.
pub(super) fn repair(
    tables: &mut Tables,
    voids: &Voids,
    slots: &[SlotRecord],
    groups: &BTreeSet<u32>,
) -> Result<(), Fault> {
    let mut of_groups: BTreeMap<u32, Vec<Stored>> = groups.iter().map(|group| (*group, Vec::new())).collect();
    for record in slots {
        let slot = &record.slot.no;
        if let Some(pages) = tables.sorted_pages(record)? {
            SlotPages::new(tables.store().as_ref(), *slot, pages).each(|vote| {
                if let Some(of) = of_groups.get_mut(&group_of(vote.clip)) {
                    of.push(as_cast(&vote));
                }
                Ok(())
            })?;
            continue;
        }
        let ballots = Ballots::new(u32::MAX, u64::MAX);
        tables.each_ballot_block(*slot, 0, &mut |key, record| {
            ballot_block::read(key, record, |stored| {
                if put(&ballots, stored).is_ok()
                    && counted_back(voids, *slot, &stored)
                    && let Some(of) = of_groups.get_mut(&group_of(stored.ballot.clip))
                {
                    of.push(stored);
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    for (group, mut of) in of_groups {
        of.sort_unstable_by_key(|stored| stored.seq);
        tables.repair_timeline(group, &of)?;
    }
    Ok(())
}

/// Whether a ballot is in the minutes: the retraction of a vote that a void had taken out is not.
pub(super) fn counted_back(voids: &Voids, slot: SlotNo, stored: &Stored) -> bool {
    match stored.ballot.act {
        Act::Cast(_) => true,
        Act::Retract(vote) => !voids.is_back(slot, vote),
    }
}

/// A sorted vote as its block had it. Minutes name no voter.
fn as_cast(vote: &Sorted) -> Stored {
    let voter = vote.who.id();
    let Sorted { clip, weight, day, kind, origin, .. } = *vote;
    let ballot = Ballot { voter, clip, weight, day, act: Act::Cast(kind), origin };
    Stored { seq: vote.seq, at: vote.at, ballot }
}

/// A time as segments know it: in the last minute that there is, if it is later.
fn clamped(at_ms: u64) -> u64 {
    let (minute, ms) = minute_of(at_ms);
    u64::from(minute) * MINUTE_MS + u64::from(ms)
}
