//! What tables say, table by table, against what the model says. Never: a change of either.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use plaudit::domain::{ClipNo, ErasureState, VoterId};
use plaudit::fold::{BanMove, Stored, Tables, ballot_block};
use proptest::prelude::*;

use crate::model::{Erasure, Model, SlotModel};

/// What the tables say, against what the model says. A lifted ban may be forgotten or not.
pub(crate) fn check(tables: &Tables, model: &Model) -> Result<(), TestCaseError> {
    let mut counts = BTreeMap::new();
    tables.each_total(|clip, votes, weight| {
        if (votes, weight) != (0, 0) {
            counts.insert(clip, (votes, weight));
        }
    })?;
    prop_assert_eq!(counts, model.counts());

    check_minutes(tables, model)?;
    model.comments.check(tables)?;
    let mut voids = BTreeMap::new();
    tables.each_void(|void| {
        voids.insert(void.id, (void.votes, void.lifted.is_some(), void.dropped.is_some()));
    })?;
    prop_assert_eq!(&voids, &model.voids);
    let mut erasures = BTreeMap::new();
    tables.each_erasure(|one| {
        let ErasureState { voter, at, day, clips, searched, ended, .. } = *one;
        erasures.insert(one.id, Erasure { voter, at, day, clips, searched, ended });
    })?;
    prop_assert_eq!(&erasures, &model.erasures);
    for slot in &model.slots {
        let mut stored = Vec::new();
        tables.each_ballot_block(slot.slot.no, 0, &mut |key, record| {
            check_bounds(
                &ballot_block::read(key, record, |entry| {
                    stored.push(entry);
                    Ok(())
                })?,
                record,
            );
            Ok(ControlFlow::Continue(()))
        })?;
        let wanted = model.ballots.get(&slot.slot.no).cloned().unwrap_or_default();
        prop_assert!(stored == wanted, "slot {}: {} ballots, {} wanted", slot.slot.no.0, stored.len(), wanted.len());
        let last = tables.last_ballots(slot.slot.no)?;
        prop_assert_eq!(last.map(|head| head.last), wanted.last().map(|entry| entry.seq));
    }

    let mut slots = Vec::new();
    tables.each_slot(|record| {
        slots.push(SlotModel {
            slot: record.slot,
            status: record.status(),
            span: record.span,
            hidden: record.hidden,
            frozen_by: record.frozen_by,
            outcome: record.outcome.clone(),
            last_step: record.moves.last().expect("a slot has a step").seq,
        });
    })?;
    prop_assert_eq!(&slots, &model.slots);
    let (mut seasons, mut clips) = (Vec::new(), Vec::new());
    tables.each_season(|season| seasons.push(season.clone()))?;
    tables.each_clip(|clip| clips.push(clip.clone()))?;
    prop_assert_eq!(&seasons, &model.seasons);
    prop_assert!(clips == model.clips, "{} clips, {} wanted", clips.len(), model.clips.len());

    let mut bans: BTreeMap<VoterId, BanMove> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    tables.each_ban(|voter, moves| {
        assert!(seen.insert(voter), "a voter is listed once");
        let last = moves.last().expect("a voter without steps is not listed");
        if !last.lifted {
            bans.insert(voter, last.clone());
        }
    })?;
    let wanted = model.bans.iter().filter_map(|(voter, ban)| Some((*voter, ban.clone()?))).collect();
    prop_assert_eq!(bans, wanted);
    Ok(())
}

/// By clip and minute, votes and weight: summed from the pages, and from the model's ballots.
pub(crate) type ByMinute = BTreeMap<(ClipNo, u64), (i64, i64)>;

/// The minutes are the ballots', each in that of its own time, and a page goes on from the one before it.
pub(crate) fn check_minutes(tables: &Tables, model: &Model) -> Result<(), TestCaseError> {
    let (mut kept, mut wanted) = (ByMinute::new(), ByMinute::new());
    let mut behind = None;
    let mut firsts: BTreeMap<ClipNo, u64> = BTreeMap::new();
    tables.each_timeline(|group, page| {
        let before = behind.take().filter(|(of, _)| *of == group).map_or([(0, 0); 16], |(_, sums)| sums);
        assert_eq!(page.before, before, "group {group} at {}", page.first);
        behind = Some((group, page.behind()?));
        assert!(page.record(group).len() <= 8 * 1024);
        for one in page.segments {
            assert!(firsts.insert(one.clip, one.last).is_none_or(|last| last < one.first), "segments don't overlap");
            let sum = kept.entry((one.clip, one.minute.into())).or_default();
            *sum = (sum.0 + i64::from(one.votes), sum.1 + one.weight);
        }
        Ok(())
    })?;
    // A vote that was taken back under a void has no retraction there.
    let counted = |stored: &&Stored| !model.uncounted.contains(&stored.seq);
    for Stored { at, ballot, .. } in model.ballots.values().flatten().filter(counted) {
        let sign = if matches!(ballot.act, ballot_block::Act::Cast(_)) { 1 } else { -1 };
        let sum = wanted.entry((ballot.clip, at / 60_000)).or_default();
        *sum = (sum.0 + sign, sum.1 + sign * i64::from(ballot.weight));
    }
    prop_assert_eq!(kept, wanted);
    Ok(())
}

/// A block stays within its bounds.
pub(crate) fn check_bounds(head: &ballot_block::Head, record: &[u8]) {
    assert!(head.entries > 0 && record.len() <= ballot_block::LIMIT + 256, "{} bytes", record.len());
}
