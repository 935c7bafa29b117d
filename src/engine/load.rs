//! From the tables to memory, at the start: stage, tallies, ballots of the slots that can still be voted in, and what
//! voters used today in slots that can't.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ballots::{Ballots, SHARDS, Standing};
use crate::closed::{SlotNames, SlotPages};
use crate::domain::{Day, Slot, SlotNo, SlotStatus, VoterId, day_of};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::sorted::{SortedPages, Who};
use crate::fold::{Stored, Tables, Voids};
use crate::stage::{Ban, Erasing, Scene, SlotVoids, Stage};

/// Threads that fill the ballots; each fills shards of its own.
const FILLERS: usize = 2;
const _: () = assert!(SHARDS.is_multiple_of(FILLERS));
/// Blocks that are decoded before any of them is filled in: a few megabytes of entries.
const BLOCKS_AT_ONCE: usize = 64;

/// Fills an empty stage and empty ballots. `now_ms` tells which budgets still count.
pub(crate) fn load(tables: &Tables, voids: &Voids, stage: &Stage, ballots: &Ballots, now_ms: u64) -> Result<(), Fault> {
    load_stage(tables, voids, stage)?;
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    let mut today = day_of(now_ms);
    let mut records = Vec::new();
    tables.each_slot(|record| records.push(record.clone()))?;
    for record in records {
        let pages = tables.sorted_pages(&record)?;
        let last = match pages {
            Some(pages) => Some(pages.max_day),
            None => tables.last_ballots(record.slot.no)?.map(|head| head.max_day),
        };
        let Some(last) = last else { continue };
        // The day that the newest vote anywhere was charged to has begun, whatever the clock says now.
        today = today.max(last);
        if record.status() == SlotStatus::Locked {
            closed.push((record.slot, pages, last));
        } else {
            open.push(record.slot.no);
        }
    }
    ballots.day(today);
    for slot in open {
        Fill::slot(tables, slot, &|stored| put(ballots, stored))?;
    }
    let mut erased = Vec::new();
    tables.each_erasure(|state| erased.extend(state.voter))?;
    for (slot, pages, _) in closed.into_iter().filter(|(.., last)| *last >= today) {
        match pages {
            Some(pages) => charge_sorted(tables, &slot, pages, &erased, ballots, today)?,
            None => Fill::slot(tables, slot.no, &|Stored { ballot, .. }| {
                if ballot.day >= today {
                    let back = matches!(ballot.act, Act::Retract(_));
                    ballots.load_charge(ballot.voter, ballot.day, ballot.weight, back);
                }
                Ok(())
            })?,
        }
    }
    Ok(())
}

/// Charges today's votes of a slot whose ballots are sorted: a vote that was taken back has given its weight back, and is not
/// among them. A voter who was erased is known by their `c`, as long as the erasure knows them: no budget comes back with it.
fn charge_sorted(
    tables: &Tables,
    slot: &Slot,
    pages: SortedPages,
    erased: &[VoterId],
    ballots: &Ballots,
    today: Day,
) -> Result<(), Fault> {
    let store = tables.store().as_ref();
    let scope = SlotNames::of(store, slot)?.scope;
    let by_c: HashMap<[u8; 32], VoterId> = erased.iter().map(|voter| (scope.voter(*voter), *voter)).collect();
    SlotPages::new(store, slot.no, pages).each(|ballot| {
        let voter = match ballot.who {
            Who::Voter(voter) => Some(voter),
            Who::Erased(c) => by_c.get(&c).copied(),
        };
        if let Some(voter) = voter.filter(|_| ballot.day >= today) {
            ballots.load_charge(voter, ballot.day, ballot.weight, false);
        }
        Ok(())
    })
}

fn load_stage(tables: &Tables, voids: &Voids, stage: &Stage) -> Result<(), Fault> {
    let mut scene = Scene::default();
    check_numbers(tables)?;
    tables.each_season(|season| scene.add_season(season.clone()))?;
    tables.each_slot(|record| scene.add_slot(0, record.slot))?;
    tables.each_clip(|clip| scene.add_clip(stage.clip(clip.clone())))?;
    tables.each_slot(|record| {
        let state = Arc::make_mut(&mut scene.slots[record.slot.no.index()]);
        (state.status, state.span, state.hide) = (record.status(), record.span, record.hidden);
        state.last_step = record.moves.last().map_or(0, |step| step.seq);
        (state.frozen_by, state.outcome) = (record.frozen_by, record.outcome.clone().map(Arc::new));
    })?;
    let mut unknown = None;
    tables.each_comment_count(|clip, count| match scene.clips.get(clip.index()) {
        Some(state) => state.comments.store(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed),
        None if count > 0 => unknown = Some(clip),
        None => {}
    })?;
    tables.each_total(|clip, votes, weight| match scene.clips.get(clip.index()) {
        Some(state) => state.tally.add(votes.cast_signed(), weight.cast_signed(), 0),
        None if votes > 0 => unknown = Some(clip),
        None => {}
    })?;
    if let Some(clip) = unknown {
        return Err(Fault::Inconsistent {
            why: format!("there are counts for clip number {}, which does not exist", clip.0),
        });
    }
    let bans = Arc::make_mut(&mut scene.bans);
    tables.each_ban(|voter, moves| {
        if let Some(last) = moves.last().filter(|last| !last.lifted) {
            bans.insert(voter, Ban { until: last.until, reason: last.reason.clone() });
        }
    })?;
    tables.each_erasure(|state| {
        if let Some(voter) = state.voter {
            let erasing = Erasing { voter, day: state.day, clips: state.clips, searched: state.searched.is_some() };
            stage.erasures().begin(state.id, erasing);
        }
    })?;
    load_voids(tables, voids, &mut scene)?;
    stage.change(|now| *now = scene);
    Ok(())
}

/// Behind the tallies, which a locked slot's winner follows.
fn load_voids(tables: &Tables, voids: &Voids, scene: &mut Scene) -> Result<(), Fault> {
    let (mut slots, mut unknown) = (BTreeMap::<SlotNo, SlotVoids>::new(), None);
    tables.each_void(|state| {
        if state.plan.slot.index() >= scene.slots.len() {
            unknown = Some(state.id);
        }
        slots.entry(state.plan.slot).or_default().list.push(state.clone());
    })?;
    if let Some(void) = unknown {
        return Err(Fault::Inconsistent { why: format!("void {void} is of a slot that does not exist") });
    }
    for (slot, mut state) in slots {
        (state.last, state.masks) = (voids.last(slot), voids.masks(slot));
        Arc::make_mut(&mut scene.slots[slot.index()]).voids = Arc::new(state);
        scene.follow_voids(slot);
    }
    Ok(())
}

/// That no page of seasons, slots or clips is lost: numbers have no gap, and what they name is there.
pub(crate) fn check_numbers(tables: &Tables) -> Result<(), Fault> {
    let (mut seasons, mut slots, mut clips) = (0, 0, 0);
    let mut lost = None;
    let mut note = |fits: bool, what: &str, no: u32| {
        if !fits && lost.is_none() {
            lost = Some(format!("{what} number {no} is there, and something that came before it is not"));
        }
    };
    tables.each_season(|season| {
        note(season.no.0 == seasons, "season", season.no.0);
        seasons += 1;
    })?;
    tables.each_slot(|record| {
        let slot = record.slot;
        note(slot.no.0 == slots && slot.season.0 < seasons, "slot", slot.no.0);
        slots += 1;
    })?;
    tables.each_clip(|clip| {
        note(clip.no.0 == clips && clip.slot.0 < slots, "clip", clip.no.0);
        clips += 1;
    })?;
    lost.map_or(Ok(()), |why| {
        Err(Fault::Inconsistent { why: format!("{why}: a page of the tables is lost. Restore a backup") })
    })
}

/// Blocks of ballots on their way into memory, some at a time: all fillers first decode their share of the blocks, then fill their
/// share of the shards from all of them, in log order.
struct Fill<'a> {
    take: &'a (dyn Fn(Stored) -> Result<(), Fault> + Sync),
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A block's entries by the filler whose shards they belong into.
type Shares = [Vec<Stored>; FILLERS];

impl Fill<'_> {
    fn slot(tables: &Tables, slot: SlotNo, take: &(dyn Fn(Stored) -> Result<(), Fault> + Sync)) -> Result<(), Fault> {
        let mut fill = Fill { take, blocks: Vec::with_capacity(BLOCKS_AT_ONCE) };
        tables.each_ballot_block(slot, 0, &mut |key, record| {
            fill.blocks.push((key.to_vec(), record.to_vec()));
            if fill.blocks.len() == BLOCKS_AT_ONCE {
                fill.run()?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        fill.run()
    }

    fn run(&mut self) -> Result<(), Fault> {
        let (blocks, take) = (&self.blocks, self.take);
        let decoded = by_all(|filler| {
            let mine = blocks.iter().skip(filler).step_by(FILLERS);
            mine.map(|(key, record)| shares(key, record)).collect::<Result<Vec<Shares>, Fault>>()
        })?;
        by_all(|filler| {
            let in_order = (0..blocks.len()).flat_map(|at| &decoded[at % FILLERS][at / FILLERS][filler]);
            in_order.into_iter().try_for_each(|stored| take(*stored))
        })?;
        self.blocks.clear();
        Ok(())
    }
}

fn shares(key: &[u8], record: &[u8]) -> Result<Shares, Fault> {
    let mut shares = Shares::default();
    ballot_block::read(key, record, |stored| {
        shares[Ballots::shard_of(stored.ballot.voter) % FILLERS].push(stored);
        Ok(())
    })?;
    Ok(shares)
}

/// Has each filler do its part, at the same time.
fn by_all<T: Send>(part: impl Fn(usize) -> Result<T, Fault> + Sync) -> Result<Vec<T>, Fault> {
    std::thread::scope(|scope| {
        let part = &part;
        let fillers: Vec<_> = (0..FILLERS).map(|filler| scope.spawn(move || part(filler))).collect();
        fillers.into_iter().map(|filler| filler.join().expect("a filler does not panic")).collect()
    })
}

/// Puts one stored ballot in, in log order.
pub(crate) fn put(ballots: &Ballots, stored: Stored) -> Result<(), Fault> {
    let Stored { seq, ballot, .. } = stored;
    let standing = Standing { seq, weight: ballot.weight, day: ballot.day };
    let (fits, what) = match ballot.act {
        Act::Cast(_) => {
            (ballots.load(ballot.voter, ballot.clip, standing), "votes for a clip that its voter has a vote for")
        }
        Act::Retract(vote) => {
            (ballots.load_back(ballot.voter, ballot.clip, vote), "takes back a vote that does not stand")
        }
    };
    if fits {
        Ok(())
    } else {
        Err(Fault::Inconsistent { why: format!("event {seq} {what}; `plaudit verify` lists all") })
    }
}
