//! Votes by the minute: pages of what neighbouring clips gained and lost, in log order.
//!
//! A page belongs to [`CLIPS_A_TIMELINE`] clips with neighbouring numbers and is keyed by the first sequence in it, so a
//! step that touches many clips rewrites few pages, and only a group's last page ever changes. A page holds segments: the
//! ballots of one clip whose time falls in one minute and whose sequences lie less than [`SPAN`] apart. The minute is that
//! of the event's own time; a clock that jumps back begins a segment of the earlier minute, and nothing is moved.
//!
//! ```text
//! head      first u64, last u64, before: votes u64 and weight u64 of each clip of the group in front of the page,
//!           segments u32                                                                        (varints)
//! segment   clip less the group's first u8, its first sequence less the previous segment's, last less first, minute less
//!           the previous segment's (zigzag), votes, weight (zigzag), earliest ms in the minute u16, latest less earliest
//! ```
//!
//! What a clip had at a sequence is what stands before the page, the page's segments up to it, and at most one segment's
//! ballots counted one by one. Never: a count that the ballots don't give.

use super::keys;
use super::totals::Change;
use crate::codec::{self, Kind};
use crate::domain::{ClipNo, Seq};
use crate::error::Fault;

/// Clips whose minutes share pages.
pub const CLIPS_A_TIMELINE: u32 = 16;
/// Sequences that a segment reaches over, at most: counting within one reads no more ballots than that.
pub const SPAN: u64 = 16_384;
/// Segments of a page: at 28 bytes, the most that one takes, the page stays below 8 KiB.
pub const SEGMENTS: usize = 256;
/// Milliseconds of a minute.
pub const MINUTE_MS: u64 = 60_000;

/// What a clip gained and lost within a minute, over neighbouring sequences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Which clip.
    pub clip: ClipNo,
    /// The sequence of its first ballot.
    pub first: Seq,
    /// The sequence of its last ballot.
    pub last: Seq,
    /// Minutes since 1970, UTC; a time too late for 32 bits is in the last one.
    pub minute: u32,
    /// Votes less retractions.
    pub votes: i32,
    /// Their weight.
    pub weight: i64,
    /// The earliest time in it, milliseconds into the minute.
    pub low: u16,
    /// The latest.
    pub high: u16,
}

impl Segment {
    /// The earliest time in it, Unix milliseconds.
    pub fn from_ms(&self) -> u64 {
        u64::from(self.minute) * MINUTE_MS + u64::from(self.low)
    }

    /// The latest.
    pub fn to_ms(&self) -> u64 {
        u64::from(self.minute) * MINUTE_MS + u64::from(self.high)
    }
}

/// A page of a group of clips.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimelinePage {
    /// The sequence that it begins at.
    pub first: Seq,
    /// The last sequence that it contains.
    pub last: Seq,
    /// Votes and weight of each clip of the group in front of this page.
    pub before: [(u64, u64); CLIPS_A_TIMELINE as usize],
    /// In the order of their first sequences.
    pub segments: Vec<Segment>,
}

/// The group that a clip's minutes are in.
pub fn group_of(clip: ClipNo) -> u32 {
    clip.0 / CLIPS_A_TIMELINE
}

/// The minute of a time, and the milliseconds in it.
pub fn minute_of(at_ms: u64) -> (u32, u16) {
    let minute = u32::try_from(at_ms / MINUTE_MS).unwrap_or(u32::MAX);
    (minute, u16::try_from(at_ms % MINUTE_MS).expect("below a minute"))
}

impl TimelinePage {
    /// An empty page that begins at a sequence, behind these counts. The first of a group that a void comes upon stays empty until
    /// there is a vote.
    pub fn begin(first: Seq, before: [(u64, u64); CLIPS_A_TIMELINE as usize]) -> Self {
        Self { first, last: first.saturating_sub(1), before, segments: Vec::new() }
    }

    /// Adds a clip's change. `false`: it is full, and the change begins the next page. Full by what is in it, not by how
    /// steps fell, so the same log gives the same pages.
    #[must_use]
    pub fn add(&mut self, seq: Seq, at_ms: u64, clip: ClipNo, change: Change) -> bool {
        let (minute, ms) = minute_of(at_ms);
        let votes = i32::try_from(change.votes).expect("a ballot is one vote");
        let full = self.segments.len() == SEGMENTS;
        let open = self.segments.iter_mut().rev().find(|segment| segment.clip == clip);
        match open.filter(|segment| segment.minute == minute && seq - segment.first < SPAN) {
            Some(segment) => {
                (segment.last, segment.votes) = (seq, segment.votes + votes);
                segment.weight += change.weight;
                (segment.low, segment.high) = (segment.low.min(ms), segment.high.max(ms));
            }
            None if full => return false,
            None => self.segments.push(Segment {
                clip,
                first: seq,
                last: seq,
                minute,
                votes,
                weight: change.weight,
                low: ms,
                high: ms,
            }),
        }
        self.last = seq;
        true
    }

    /// What a clip had in front of this page.
    pub fn before(&self, clip: ClipNo) -> (u64, u64) {
        self.before[place(clip)]
    }

    /// What each clip of the group has behind this page.
    pub fn behind(&self) -> Result<[(u64, u64); CLIPS_A_TIMELINE as usize], Fault> {
        let mut sums = self.before;
        for segment in &self.segments {
            let (votes, weight) = &mut sums[place(segment.clip)];
            let sum = votes.checked_add_signed(segment.votes.into()).zip(weight.checked_add_signed(segment.weight));
            (*votes, *weight) = sum.ok_or_else(|| Fault::Inconsistent {
                why: format!(
                    "the timeline at event {} takes more from clip {} than it has",
                    segment.first, segment.clip.0
                ),
            })?;
        }
        Ok(sums)
    }

    /// The record to store, under [`keys::timeline`].
    pub fn record(&self, group: u32) -> Vec<u8> {
        let mut record = Vec::with_capacity(64 + self.segments.len() * 16);
        codec::begin(&mut record);
        let count = u32::try_from(self.segments.len()).expect("at most SEGMENTS");
        codec::put(&(self.first, self.last, self.before, count), &mut record);
        let (mut first, mut minute) = (self.first, 0);
        for segment in &self.segments {
            let clip = u8::try_from(place(segment.clip)).expect("below CLIPS_A_TIMELINE");
            let (step, span) = (segment.first - first, segment.last - segment.first);
            let later = i64::from(segment.minute) - i64::from(minute);
            let parts =
                (clip, step, span, later, segment.votes, segment.weight, segment.low, segment.high - segment.low);
            codec::put(&parts, &mut record);
            (first, minute) = (segment.first, segment.minute);
        }
        codec::seal(Kind::Timeline, &keys::timeline(group, self.first), &mut record);
        record
    }
}

/// Reads a stored page.
pub fn read(key: &[u8], record: &[u8]) -> Result<TimelinePage, Fault> {
    let damaged = |why: &str| Fault::damaged("tables", key, why);
    let group = keys::timeline_group(key).ok_or_else(|| damaged("its key does not decode"))?;
    let (mut body, _) = codec::open("tables", Kind::Timeline, key, record)?;
    let head = codec::take::<(Seq, Seq, [(u64, u64); CLIPS_A_TIMELINE as usize], u32)>(&mut body);
    let (first, last, before, count) = head.ok_or_else(|| damaged("its head does not decode"))?;
    let mut page = TimelinePage { first, last, before, segments: Vec::with_capacity(SEGMENTS.min(count as usize)) };
    let (mut at, mut minute) = (first, 0);
    for _ in 0..count {
        let segment = take(&mut body, group, at, minute).ok_or_else(|| damaged("a segment does not decode"))?;
        (at, minute) = (segment.first, segment.minute);
        page.segments.push(segment);
    }
    let ends = page.segments.iter().map(|segment| segment.last).max();
    if !body.is_empty() || ends.unwrap_or(first.saturating_sub(1)) != last {
        return Err(damaged("its head and its segments differ"));
    }
    Ok(page)
}

fn take(body: &mut &[u8], group: u32, at: Seq, minute: u32) -> Option<Segment> {
    let (clip, step, span, later, votes, weight, low, more): (u8, u64, u64, i64, i32, i64, u16, u16) =
        codec::take(body)?;
    let clip = Some(u32::from(clip)).filter(|clip| *clip < CLIPS_A_TIMELINE)?;
    let first = at.checked_add(step)?;
    Some(Segment {
        clip: ClipNo(group.checked_mul(CLIPS_A_TIMELINE)?.checked_add(clip)?),
        first,
        last: first.checked_add(span)?,
        minute: u32::try_from(i64::from(minute).checked_add(later)?).ok()?,
        votes,
        weight,
        low,
        high: low.checked_add(more)?,
    })
}

fn place(clip: ClipNo) -> usize {
    (clip.0 % CLIPS_A_TIMELINE) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GROUP: u32 = 3;

    proptest! {
        #[test]
        fn a_page_reads_back_and_sums_to_what_was_added(
            raw in prop::collection::vec((1_u64..30_000, 0_u64..200_000, 0_u32..16, 1_i64..10_000, any::<bool>()), 1..600),
        ) {
            let mut page = TimelinePage::begin(70_000, [(1_000, 10_000_000); 16]);
            let (mut seq, mut sums) = (70_000, page.before);
            for (step, at, clip, weight, back) in raw {
                let sign = if back { -1 } else { 1 };
                let change = Change { votes: sign, weight: sign * weight };
                if !page.add(seq, 1_700_000_000_000 + at, ClipNo(GROUP * 16 + clip), change) {
                    prop_assert_eq!(page.segments.len(), SEGMENTS);
                    break;
                }
                let (votes, total) = &mut sums[clip as usize];
                (*votes, *total) = (votes.strict_add_signed(change.votes), total.strict_add_signed(change.weight));
                prop_assert_eq!(page.last, seq);
                seq += step;
            }
            let record = page.record(GROUP);
            prop_assert!(record.len() <= 8 * 1024, "{} bytes", record.len());
            prop_assert_eq!(&read(&keys::timeline(GROUP, page.first), &record).unwrap(), &page);
            prop_assert_eq!(page.behind().unwrap(), sums);
            let spans = page.segments.iter().all(|one| one.last - one.first < SPAN && one.high < 60_000);
            prop_assert!(spans);
        }
    }

    #[test]
    fn a_time_past_all_minutes_is_in_the_last() {
        assert_eq!(minute_of(u64::MAX).0, u32::MAX);
        assert_eq!(minute_of(61_234), (1, 1_234));
    }
}
