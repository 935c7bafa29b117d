//! From the tables to memory, at the start: stage, tallies, ballots of the slots that can still be voted in, and what
//! voters used today in slots that can't.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use crate::ballots::{Ballots, SHARDS, Standing};
use crate::domain::{Day, SlotNo, SlotStatus, day_of};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act, Head};
use crate::fold::{Stored, Tables};
use crate::stage::{Ban, Scene, Stage};

/// Threads that fill the ballots; each fills shards of its own.
const FILLERS: usize = 2;
const _: () = assert!(SHARDS.is_multiple_of(FILLERS));

/// Fills an empty stage and empty ballots. `now_ms` tells which budgets still count.
pub(crate) fn load(tables: &Tables, stage: &Stage, ballots: &Ballots, now_ms: u64) -> Result<(), Fault> {
    load_stage(tables, stage)?;
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    let mut today = day_of(now_ms);
    for slot in &stage.look().slots {
        let Some(head) = tables.last_ballots(slot.slot.no)? else { continue };
        // The day that the newest vote anywhere was charged to has begun, whatever the clock says now.
        today = today.max(head.max_day);
        if slot.status == SlotStatus::Locked { closed.push((slot.slot.no, head)) } else { open.push(slot.slot.no) }
    }
    ballots.day(today);
    closed.retain(|(_, head): &(SlotNo, Head)| head.max_day >= today);
    std::thread::scope(|scope| {
        let (open, closed) = (&open, &closed);
        let fillers: Vec<_> = (0..FILLERS)
            .map(|filler| scope.spawn(move || fill(tables, ballots, open, closed, today, filler)))
            .collect();
        fillers.into_iter().try_for_each(|filler| filler.join().expect("a filler does not panic"))
    })
}

fn load_stage(tables: &Tables, stage: &Stage) -> Result<(), Fault> {
    let mut scene = Scene::default();
    tables.each_season(|season| scene.add_season(season.clone()))?;
    tables.each_slot(|record| scene.add_slot(record.slot))?;
    tables.each_clip(|clip| scene.add_clip(stage.clip(clip.clone())))?;
    tables.each_slot(|record| {
        let state = std::sync::Arc::make_mut(&mut scene.slots[record.slot.no.index()]);
        (state.status, state.span, state.hide, state.winner) =
            (record.status(), record.span, record.hidden, record.winner);
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
    let bans = std::sync::Arc::make_mut(&mut scene.bans);
    tables.each_ban(|voter, moves| {
        if let Some(last) = moves.last().filter(|last| !last.lifted) {
            bans.insert(voter, Ban { until: last.until, reason: last.reason.clone() });
        }
    })?;
    stage.change(|now| *now = scene);
    Ok(())
}

fn fill(
    tables: &Tables,
    ballots: &Ballots,
    open: &[SlotNo],
    closed: &[(SlotNo, Head)],
    today: Day,
    filler: usize,
) -> Result<(), Fault> {
    let mine = |stored: &Stored| Ballots::shard_of(stored.ballot.voter) % FILLERS == filler;
    for slot in open {
        each(tables, *slot, |stored| if mine(&stored) { put(ballots, stored) } else { Ok(()) })?;
    }
    for (slot, _) in closed {
        each(tables, *slot, |stored| {
            let Stored { ballot, .. } = stored;
            if ballot.day >= today && mine(&stored) {
                let back = matches!(ballot.act, Act::Retract(_));
                ballots.load_charge(ballot.voter, ballot.day, ballot.weight, back);
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn each(tables: &Tables, slot: SlotNo, mut visit: impl FnMut(Stored) -> Result<(), Fault>) -> Result<(), Fault> {
    tables.each_ballot_block(slot, 0, &mut |key, record| {
        ballot_block::read(key, record, &mut visit)?;
        Ok(ControlFlow::Continue(()))
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
