//! `verify` and `log`: reading a stopped store, all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::certify::{recount_sealed, slot_name};
use super::editions::Locked;
use super::load::{check_numbers, put};
use super::minutes::{self, Minutes};
use super::recount::recount;
use crate::ballots::Ballots;
use crate::closed::SlotNames;
use crate::codec::Chain;
use crate::domain::{
    Clip, ClipNo, CommentChange, Decided, ErasurePart, ErasureState, Event, Logged, Origin, Seq, SlotNo, Verdict, Vote,
    VoterId, VoterKey,
};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Sorted, SortedPages, Who};
use crate::fold::timeline::group_of;
use crate::fold::{Mask, Stored, Tables, Voids, find};
use crate::log::{Recovered, block, recover};
use crate::store::{Home, Store};

/// Problems listed at most; the rest are counted.
const LISTED: usize = 100;

/// A clip as it was recounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The clip's id.
    pub id: String,
    /// Votes that stand.
    pub votes: u64,
    /// Their weight.
    pub weight: u64,
    /// Comments that everyone can see.
    pub comments: u64,
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Every clip, recounted from the stored ballots and the log's tail.
    pub rows: Vec<Row>,
    /// What is wrong, for people; at most a hundred.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub wrong: u64,
    /// Counts of clips, and timelines of neighbouring clips, that were put right.
    pub repaired: u64,
    /// The last sequence.
    pub last: u64,
    /// Events that are in the log and not yet in the tables.
    pub tail: u64,
}

impl Verified {
    pub(super) fn note(&mut self, problem: String) {
        self.wrong += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }

    /// Notes what was found of something else, by its name.
    pub(super) fn note_all(&mut self, of: &str, (problems, wrong): (Vec<String>, u64)) {
        let unlisted = wrong - problems.len() as u64;
        for problem in problems {
            self.note(format!("{of}: {problem}"));
        }
        self.wrong += unlisted;
    }
}

/// Reads every record of the store in `dir`: checksums, the log's chain, the judge again, a recount of every clip and of its
/// minutes. `repair` puts stored counts and timelines right that differ from the recount, and changes nothing else.
pub fn verify(dir: &Path, repair: bool) -> Result<Verified, Fault> {
    let home = Home::open_existing(dir)?;
    let (log, tables) = (home.log(), home.tables());
    let genesis = block::genesis(home.store_id());
    let found = verify_stores(log.as_ref(), Arc::clone(&tables), genesis, false)?;
    // Before anything is put right: an older copy is not to be changed.
    home.check_not_older(found.last)?;
    if !repair || found.wrong == 0 {
        return Ok(found);
    }
    verify_stores(log.as_ref(), tables, genesis, true)
}

/// The same over two stores.
pub fn verify_stores(log: &dyn Store, tables: Arc<dyn Store>, genesis: Chain, repair: bool) -> Result<Verified, Fault> {
    let Recovered { mut tables, transitions, end, tail, .. } = recover(log, tables, genesis)?;
    let voids = transitions.voids();
    let mut found = Verified { last: end.seq, tail, ..Verified::default() };
    let lost = check_numbers(&tables);
    if let Err(lost) = &lost {
        found.note(lost.to_string());
    }
    // What is lost is not to be counted as nothing.
    let repair = repair && lost.is_ok();
    let mut clips: Vec<Clip> = Vec::new();
    tables.each_clip(|clip| clips.push(clip.clone()))?;
    tables.each_season(|_| {})?;
    let mut slots: Vec<SlotRecord> = Vec::new();
    tables.each_slot(|record| slots.push(record.clone()))?;

    let erasures = check_erasures(&tables, &mut found)?;
    let mut minutes = Minutes::read(&tables, &mut found)?;
    let mut counted: BTreeMap<ClipNo, (i64, i64)> = BTreeMap::new();
    let mut unread: BTreeSet<SlotNo> = BTreeSet::new();
    for record in &slots {
        let (slot, frozen_at) = (record.slot.no, record.outcome.as_ref().map(|outcome| outcome.frozen_at));
        let mut masks = Masks::of(voids, slot);
        if let Some(pages) = tables.sorted_pages(record)? {
            let sealed = Sealed { record, pages, clips: &clips, erasures: &erasures };
            let whole = sealed.verify(&tables, &mut masks, &mut found, &mut counted, &mut minutes)?;
            // Votes that were taken back under a void have left neither.
            let in_minutes = masks.taken_back(&counted);
            let own = clips.iter().filter(|clip| clip.slot == slot).map(|clip| clip.no);
            minutes.seal(own, &in_minutes, whole);
            masks.end(&mut counted, whole, &mut found);
            if !whole {
                unread.insert(slot);
            }
            continue;
        }
        // One slot's voters at a time: duplicates can't span slots, since a clip never moves.
        let ballots = Ballots::new(u32::MAX, u64::MAX);
        tables.each_ballot_block(slot, 0, &mut |key, record| {
            ballot_block::read(key, record, |stored| {
                let stands = put(&ballots, stored);
                if let Err(problem) = &stands {
                    found.note(problem.to_string());
                }
                if frozen_at.is_some_and(|at| stored.seq > at) {
                    found.note(format!("event {} is a ballot behind its slot's freeze", stored.seq));
                }
                if clips.get(stored.ballot.clip.index()).is_none_or(|clip| clip.slot != slot) {
                    found.note(format!("event {}: its clip is not of its slot", stored.seq));
                }
                if stands.is_err() {
                    // A second vote of a voter for a clip counts no more here than it may anywhere.
                    return Ok(());
                }
                masks.look_at(&stored);
                if !minutes::counted_back(voids, slot, &stored) {
                    return Ok(());
                }
                minutes.count(&stored, &mut found);
                let sign = if matches!(stored.ballot.act, Act::Cast(_)) { 1 } else { -1 };
                let sum = counted.entry(stored.ballot.clip).or_default();
                *sum = (sum.0 + sign, sum.1 + sign * i64::from(stored.ballot.weight));
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        masks.end(&mut counted, true, &mut found);
    }

    let mut wrong = minutes.compare(&clips, &mut found);
    // Nor is a timeline whose votes can't all be read to end up without them.
    for clip in clips.iter().filter(|clip| unread.contains(&clip.slot)) {
        wrong.remove(&group_of(clip.no));
    }
    if repair && !wrong.is_empty() {
        minutes::repair(&mut tables, voids, &slots, &wrong)?;
        found.repaired += wrong.len() as u64;
    }

    let mut stored: BTreeMap<ClipNo, (u64, u64)> = BTreeMap::new();
    tables.each_total(|clip, votes, weight| {
        stored.insert(clip, (votes, weight));
    })?;
    for (clip, (votes, _)) in stored.iter().filter(|(clip, (votes, _))| clip.index() >= clips.len() && *votes > 0) {
        found.note(format!("{votes} votes are stored for clip number {}, which does not exist", clip.0));
    }
    let comments = recount(&mut tables, &clips, &mut found, repair)?;
    for clip in &clips {
        let (votes, weight) = counted.get(&clip.no).copied().unwrap_or_default();
        let sums = (u64::try_from(votes).unwrap_or(0), u64::try_from(weight).unwrap_or(0));
        let kept = stored.get(&clip.no).copied().unwrap_or_default();
        if sums != kept {
            let (id, (votes, weight), (had, weighed)) = (&clip.id, sums, kept);
            found.note(format!("clip {id}: stored {had} votes of weight {weighed}, recounted {votes} of {weight}"));
            if repair && !unread.contains(&clip.slot) {
                tables.repair_total(clip.no, sums)?;
                found.repaired += 1;
            }
        }
        let comments = comments.get(&clip.no).copied().unwrap_or(0);
        found.rows.push(Row { id: clip.id.to_string(), votes: sums.0, weight: sums.1, comments });
    }
    check_winners(&tables, &slots, &clips, &counted, &mut found)?;
    if found.repaired > 0 {
        tables.commit(end)?;
    }
    Ok(found)
}

/// A winner by the votes is the recount's, with the voids that were in force at the lock: highest weight, then most votes, then the
/// clip that was added first.
fn check_winners(
    tables: &Tables,
    slots: &[SlotRecord],
    clips: &[Clip],
    counted: &BTreeMap<ClipNo, (i64, i64)>,
    found: &mut Verified,
) -> Result<(), Fault> {
    let by_votes = |record: &SlotRecord| {
        record.outcome.clone().filter(|outcome| !matches!(outcome.decided, Decided::ByHand { .. }))
    };
    // From what counts now to what counted at the lock.
    let mut later: BTreeMap<ClipNo, (i64, i64)> = BTreeMap::new();
    tables.each_void(|void| {
        let locked = slots.get(void.plan.slot.index()).filter(|record| by_votes(record).is_some());
        let Some(locked) = locked.map(|record| record.last) else { return };
        let lifted = void.lifted.as_ref().map(|(step, _)| step);
        let steps = void.taken.iter().chain(lifted).filter(|step| step.seq > locked);
        for (clip, votes, weight) in steps.flat_map(|step| &step.changes) {
            let sum = later.entry(*clip).or_default();
            *sum = (sum.0 + votes, sum.1 + weight);
        }
    })?;
    let mut best: BTreeMap<SlotNo, (i64, i64, ClipNo)> = BTreeMap::new();
    for clip in clips {
        let (votes, weight) = counted.get(&clip.no).copied().unwrap_or_default();
        let (since, weighed) = later.get(&clip.no).copied().unwrap_or_default();
        let (votes, weight) = (votes - since, weight - weighed);
        let sums = best.entry(clip.slot).or_insert((weight, votes, clip.no));
        if (weight, votes) > (sums.0, sums.1) {
            *sums = (weight, votes, clip.no);
        }
    }
    for record in slots {
        let Some(outcome) = by_votes(record) else { continue };
        let recounted = best.get(&record.slot.no).map(|(.., clip)| *clip);
        if outcome.winner != recounted {
            let name = |clip: Option<ClipNo>| {
                let clip = clip.and_then(|no| clips.get(no.index()));
                clip.map_or_else(|| "no clip".to_owned(), |clip| format!("clip {}", clip.id))
            };
            let (won, counted) = (name(outcome.winner), name(recounted));
            let (no, position) = (record.slot.no.0, record.slot.position);
            found.note(format!("slot number {no}, position {position}: {won} won, by the recount {counted} does"));
        }
    }
    Ok(())
}

/// A slot's votes under voids, as its ballots are read.
struct Masks {
    all: Arc<[Mask]>,
    /// By the place of the mask: its vote was read.
    seen: Vec<bool>,
    /// By the place of the mask: its vote was taken back under a void, so that only its block had it.
    back: Vec<bool>,
}

impl Masks {
    fn of(voids: &Voids, slot: SlotNo) -> Self {
        let all = voids.masks(slot);
        let back = all.iter().map(|mask| voids.is_back(slot, mask.vote.seq)).collect();
        Self { seen: vec![false; all.len()], back, all }
    }

    /// Notes a vote in its slot's blocks.
    fn look_at(&mut self, stored: &Stored) {
        if matches!(stored.ballot.act, Act::Cast(_)) {
            self.see(stored.seq, stored.ballot.clip, stored.ballot.weight);
        }
    }

    fn see(&mut self, seq: Seq, clip: ClipNo, weight: u16) {
        let named = |at: &usize| (self.all[*at].vote.clip, self.all[*at].vote.weight) == (clip, weight);
        if let Some(at) = find(&self.all, seq).filter(named) {
            self.seen[at] = true;
        }
    }

    /// What a locked slot's clips have in their minutes: the votes that stand, and those that were taken back uncounted.
    fn taken_back(&self, counted: &BTreeMap<ClipNo, (i64, i64)>) -> BTreeMap<ClipNo, (i64, i64)> {
        let mut counted = counted.clone();
        for (mask, _) in self.all.iter().zip(&self.back).filter(|(_, back)| **back) {
            let sum = counted.entry(mask.vote.clip).or_default();
            *sum = (sum.0 + 1, sum.1 + i64::from(mask.vote.weight));
        }
        counted
    }

    /// Takes the masked votes that were counted out again; names those that are none. `whole`: every ballot was read.
    fn end(&self, counted: &mut BTreeMap<ClipNo, (i64, i64)>, whole: bool, found: &mut Verified) {
        for ((mask, seen), back) in self.all.iter().zip(&self.seen).zip(&self.back) {
            if *seen {
                let sum = counted.entry(mask.vote.clip).or_default();
                *sum = (sum.0 - 1, sum.1 - i64::from(mask.vote.weight));
            } else if whole && !back {
                found.note(format!("a void names event {}, which is no such vote of its slot", mask.vote.seq));
            }
        }
    }
}

/// Erasures that know their voter still; notes what their records have wrong.
fn check_erasures(tables: &Tables, found: &mut Verified) -> Result<Vec<ErasureState>, Fault> {
    let mut known = Vec::new();
    tables.each_erasure(|erasure| {
        let ErasureState { id, voter, searched, ended, pass, .. } = erasure;
        let in_order = (!pass.tidied || searched.is_some()) && (!pass.swept || (pass.tidied && pass.waits.is_some()));
        if !in_order || voter.is_some() == ended.is_some() || ended.is_some_and(|at| Some(at) <= *searched) {
            found.note(format!("erasure {id}: its record contradicts itself"));
        }
        if voter.is_some() {
            known.push(erasure.clone());
        }
    })?;
    Ok(known)
}

/// Whether an erasure says that a slot is emptied.
fn is_through(erasure: &ErasureState, slot: SlotNo) -> bool {
    erasure.pass.waits.as_ref().is_some_and(|waits| !waits.contains(&slot))
}

/// A locked slot whose ballots are sorted.
struct Sealed<'a> {
    record: &'a SlotRecord,
    pages: SortedPages,
    /// All that there are.
    clips: &'a [Clip],
    erasures: &'a [ErasureState],
}

impl Sealed<'_> {
    /// Its sorted pages against everything that is kept above them; whether all could be read.
    fn verify(
        &self,
        tables: &Tables,
        masks: &mut Masks,
        found: &mut Verified,
        counted: &mut BTreeMap<ClipNo, (i64, i64)>,
        minutes: &mut Minutes,
    ) -> Result<bool, Fault> {
        let Self { record, pages, clips, erasures } = *self;
        // Erasures come in the order of their begins: the last of a voter's reaches furthest.
        let through = erasures.iter().filter(|erasure| is_through(erasure, record.slot.no));
        let emptied: HashMap<VoterId, Seq> = through.filter_map(|erasure| Some((erasure.voter?, erasure.id))).collect();
        let store = tables.store().as_ref();
        let Some(closing) = tables.closing(record.slot.no)? else { return Ok(true) };
        let of = slot_name(&SlotNames::of(store, &record.slot)?, record);
        let own = clips.iter().filter(|clip| clip.slot == record.slot.no).map(|clip| (clip.no, clip.id.clone()));
        let own: Vec<_> = own.collect();
        let certificate = match (Locked { tables, store_id: [0; 16], record, closing, pages, clips: &own }).newest() {
            Ok(certificate) => Some(certificate),
            Err(damage @ Fault::Damaged { .. }) => {
                found.note(format!("{of}, its counts: {damage}"));
                None
            }
            Err(other) => return Err(other),
        };
        let look = &mut |vote: &Sorted, found: &mut Verified| {
            masks.see(vote.seq, vote.clip, vote.weight);
            if matches!(vote.who, Who::Voter(voter) if emptied.get(&voter).is_some_and(|before| vote.seq < *before)) {
                found.note(format!("event {}: its voter was erased, and is named still", vote.seq));
            }
            minutes.look_for(vote, found);
        };
        let masked = certificate.as_ref().map_or(&[][..], |certificate| &certificate.voids);
        let (audit, whole) = recount_sealed(tables, record, pages, clips, masked, found, counted, look)?;
        if let Some(certificate) = certificate {
            found.note_all(&of, audit.against(&certificate));
        }
        Ok(whole)
    }
}

/// Prints the events that the log still holds, a JSON object a line; the applied head of the log is dropped as it goes. Voters
/// appear by their public name.
pub fn print_log(dir: &Path, key: &VoterKey, out: &mut dyn Write) -> Result<u64, Fault> {
    let home = Home::open_existing(dir)?;
    let mut printed = 0;
    home.log().scan(&block::key(0), &[0xff; 9], &mut |at, record| {
        block::read(at, record, |logged| {
            printed += 1;
            writeln!(out, "{}", line(key, &logged)).map_err(|why| Fault::io("printing", &why))
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(printed)
}

fn line(key: &VoterKey, logged: &Logged) -> Json {
    let name = |voter: VoterId| key.public(voter);
    let mut line = match &logged.event {
        Event::Started => json!({"event": "started"}),
        Event::Voted(vote) => voted(&name(vote.voter), vote, Origin::default()),
        Event::VotedFrom(vote, origin) => voted(&name(vote.voter), vote, *origin),
        Event::Retracted(back) => json!({
            "event": "retracted", "voter": name(back.voter), "clip": back.clip, "slot": back.slot, "vote": back.vote,
            "weight": back.weight, "day": back.day,
        }),
        Event::SeasonCreated(season) => {
            json!({"event": "season_created", "season": season.no, "id": season.id, "name": season.name})
        }
        Event::SlotCreated(slot) => {
            json!({"event": "slot_created", "slot": slot.no, "season": slot.season, "position": slot.position})
        }
        Event::ClipAdded(clip) => {
            json!({"event": "clip_added", "clip": clip.no, "slot": clip.slot, "id": clip.id, "title": clip.draft.title})
        }
        Event::SlotWaits(slot) => json!({"event": "slot_waits", "slot": slot}),
        Event::SlotOpened { slot, ends_at, hidden } => {
            json!({"event": "slot_opened", "slot": slot, "ends_at": ends_at, "hidden": hidden})
        }
        Event::SlotFrozen(slot) => json!({"event": "slot_frozen", "slot": slot}),
        Event::SlotLocked { slot, winner } => json!({"event": "slot_locked", "slot": slot, "winner": winner}),
        Event::SlotStopped { slot, by, after } => {
            json!({"event": "slot_stopped", "slot": slot, "by": by.as_str(), "after": after})
        }
        Event::SlotExtended { slot, ends_at } => json!({"event": "slot_extended", "slot": slot, "ends_at": ends_at}),
        Event::SlotReopened { slot, ends_at } => json!({"event": "slot_reopened", "slot": slot, "ends_at": ends_at}),
        Event::SlotDecided { slot, outcome } => {
            let (reason, after_void) = match &outcome.decided {
                Decided::Tally => (None, None),
                Decided::ByHand { reason } => (Some(reason), None),
                Decided::TallyAfter(void) => (None, Some(void)),
            };
            let root = outcome.root.map(|root| blake3::Hash::from(root.hash).to_hex().to_string());
            let leaves = outcome.root.map(|root| root.leaves);
            json!({
                "event": "slot_decided", "slot": slot, "frozen_at": outcome.frozen_at, "winner": outcome.winner,
                "by_hand": reason, "after_void": after_void, "root": root, "leaves": leaves,
            })
        }
        Event::VoidBegun(plan) => {
            json!({"event": "void_begun", "slot": plan.slot, "by": plan.by.as_str(), "reason": plan.reason})
        }
        Event::VotesNamed(part) => {
            let votes: Vec<u64> = part.votes.iter().map(|vote| vote.seq).collect();
            json!({"event": "votes_named", "void": part.void, "slot": part.slot, "votes": votes})
        }
        Event::VoidTaken { void, slot } => json!({"event": "void_taken", "void": void, "slot": slot}),
        Event::VoidLifted { void, slot, reason } => {
            json!({"event": "void_lifted", "void": void, "slot": slot, "reason": reason})
        }
        // Of one who asked to be forgotten not even the public name.
        Event::ErasureBegun { day, .. } => json!({"event": "erasure_begun", "day": day}),
        Event::ErasureWent { erasure, part } => match part {
            ErasurePart::Clips { clips, owners } => {
                json!({"event": "clips_emptied", "erasure": erasure, "clips": clips, "owners": owners})
            }
            ErasurePart::Searched => json!({"event": "erasure_searched", "erasure": erasure}),
        },
        Event::ErasureEnded(erasure) => json!({"event": "erasure_ended", "erasure": erasure}),
        Event::Banned { voter, until, reason } => {
            json!({"event": "banned", "voter": name(*voter), "until": until, "reason": reason})
        }
        Event::Unbanned(voter) => json!({"event": "unbanned", "voter": name(*voter)}),
        Event::CommentPosted(post) => json!({
            "event": "comment_posted", "voter": name(post.author), "clip": post.clip, "parent": post.parent,
            "depth": post.depth, "name": post.profile.name, "avatar": post.profile.avatar, "text": post.text,
            "held": post.held,
        }),
        Event::CommentChanged(of, change) => {
            let mut line = match change {
                CommentChange::Deleted { by } => json!({"event": "comment_deleted", "voter": by.map(name)}),
                CommentChange::Liked(voter) => json!({"event": "comment_liked", "voter": name(*voter)}),
                CommentChange::Unliked(voter) => json!({"event": "comment_unliked", "voter": name(*voter)}),
                CommentChange::Reported { voter, hides_at } => {
                    json!({"event": "comment_reported", "voter": name(*voter), "hides_at": hides_at})
                }
                CommentChange::Moderated(Verdict::Approve) => json!({"event": "comment_approved"}),
                CommentChange::Moderated(Verdict::Hide) => json!({"event": "comment_hidden"}),
                CommentChange::Emptied => json!({"event": "comment_emptied"}),
                CommentChange::Unnamed { .. } => json!({"event": "comment_unnamed"}),
            };
            line["clip"] = of.clip.0.into();
            line["comment"] = of.id.into();
            line
        }
    };
    line["seq"] = logged.seq.into();
    line["at"] = logged.at.into();
    line
}

fn voted(voter: &str, vote: &Vote, origin: Origin) -> Json {
    json!({
        "event": "voted", "voter": voter, "clip": vote.clip, "slot": vote.slot, "kind": vote.kind,
        "weight": vote.weight, "day": vote.day, "risk": origin.risk, "network": origin.network.hex(),
    })
}
