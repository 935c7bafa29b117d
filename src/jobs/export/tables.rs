//! The tables' rows, each as it is read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::rows::{Cell, Column, Rows};
use super::sink::RowSink;
use super::voters::{Entry, Voters};
use super::{Format, Source, Tick, writing};
use crate::closed::SlotPages;
use crate::domain::{Clip, ClipNo, Decided, Origin, Season, SeasonNo, Seq, SlotNo, VoteKind, VoterId};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::records::SlotRecord;
use crate::fold::sorted::Who;

/// Rows between two calls of the caller's.
const TICK: u64 = 8_192;

/// A store as an export shows it.
pub(super) struct View<'a> {
    pub(super) source: &'a Source,
    pub(super) format: Format,
    /// Whether names are shown.
    pub(super) named: bool,
}

/// A row of votes, of either form that a store keeps it in.
struct Ballot<'a> {
    who: Who,
    seq: Seq,
    at: u64,
    clip: ClipNo,
    /// `None`: it takes the vote at that sequence back.
    kind: Result<VoteKind, Seq>,
    weight: u16,
    day: u16,
    origin: Origin,
    slot: &'a SlotRecord,
}

impl View<'_> {
    pub(super) fn seasons(&self, out: &mut dyn RowSink) -> Result<u64, Fault> {
        let columns = [Column::number("number"), Column::text("id"), Column::text("name")];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        for season in self.all_seasons()? {
            let cells = [number(season.no.0), Cell::Text(season.id.as_str()), Cell::Text(&season.name)];
            rows.row(&cells).map_err(|why| writing(&why))?;
        }
        rows.end().map_err(|why| writing(&why))
    }

    pub(super) fn slots(&self, out: &mut dyn RowSink) -> Result<u64, Fault> {
        let columns = [
            Column::number("number"),
            Column::text("season_id"),
            Column::number("position"),
            Column::text("status"),
            Column::time("voting_started_at"),
            Column::time("voting_ends_at"),
            Column::yes("results_hidden"),
            Column::id("frozen_at"),
            Column::text("frozen_by"),
            Column::text("winner_clip_id"),
            Column::text("decided_by_hand"),
            Column::hex("root"),
            Column::number("leaves"),
        ];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        let (seasons, clips, slots) = (self.all_seasons()?, self.all_clips()?, self.all_slots()?);
        let winners = self.winners_since(&slots, &clips)?;
        for record in slots {
            let outcome = record.outcome.as_ref();
            let reason = outcome.and_then(|outcome| match &outcome.decided {
                Decided::Tally | Decided::TallyAfter(_) => None,
                Decided::ByHand { reason } => Some(reason.as_str()),
            });
            let root = outcome.and_then(|outcome| outcome.root);
            let winner = winners.get(&record.slot.no).copied().or_else(|| record.winner());
            let winner = winner.and_then(|clip| clips.get(clip.index())).map(|clip| clip.id.as_str());
            let cells = [
                number(record.slot.no.0),
                season_id(&seasons, record.slot.season),
                number(record.slot.position),
                Cell::Text(record.status().as_str()),
                record.span.started_at.into(),
                record.span.ends_at.into(),
                Cell::Bool(record.hidden),
                record.frozen_at().map_or(Cell::Null, Cell::Id),
                record.frozen_by.map(crate::domain::FrozenBy::as_str).into(),
                winner.into(),
                reason.into(),
                root.as_ref().map_or(Cell::Null, |root| Cell::Hex(&root.hash)),
                root.map(|root| root.leaves).into(),
            ];
            rows.row(&cells).map_err(|why| writing(&why))?;
        }
        rows.end().map_err(|why| writing(&why))
    }

    pub(super) fn clips(&self, out: &mut dyn RowSink) -> Result<u64, Fault> {
        let columns = [
            Column::number("number"),
            Column::text("id"),
            Column::text("season_id"),
            Column::number("slot_position"),
            Column::text("title"),
            Column::text("owner_id"),
            Column::text("username"),
            Column::text("avatar_url"),
            Column::text("video_url"),
            Column::text("thumbnail_url"),
            Column::number("vote_count"),
            Column::number("weighted_score"),
            Column::number("comment_count"),
        ];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        let (seasons, slots) = (self.all_seasons()?, self.all_slots()?);
        let (mut votes, mut comments) = (HashMap::new(), HashMap::new());
        self.source.tables.each_total(|clip, count, weight| {
            votes.insert(clip, (count, weight));
        })?;
        self.source.tables.each_comment_count(|clip, count| {
            comments.insert(clip, count);
        })?;
        for clip in self.all_clips()? {
            let slot = slots.get(clip.slot.index()).ok_or_else(|| lost("slot", clip.slot.0))?;
            let (count, weight) = votes.get(&clip.no).copied().unwrap_or_default();
            let name = |text: &'_ Option<String>| text.clone().filter(|_| self.named);
            let (owner, username, avatar) =
                (name(&clip.draft.owner), name(&clip.draft.username), name(&clip.draft.avatar_url));
            let cells = [
                number(clip.no.0),
                Cell::Text(clip.id.as_str()),
                season_id(&seasons, slot.slot.season),
                number(slot.slot.position),
                Cell::Text(&clip.draft.title),
                owner.as_deref().into(),
                username.as_deref().into(),
                avatar.as_deref().into(),
                clip.draft.video_url.as_deref().into(),
                clip.draft.thumbnail_url.as_deref().into(),
                Cell::Number(count),
                Cell::Number(weight),
                Cell::Number(comments.get(&clip.no).copied().unwrap_or(0)),
            ];
            rows.row(&cells).map_err(|why| writing(&why))?;
        }
        rows.end().map_err(|why| writing(&why))
    }

    pub(super) fn voters(&self, out: &mut dyn RowSink, tick: Tick<'_>) -> Result<u64, Fault> {
        let columns = [
            Column::hex("voter"),
            Column::text("user_id"),
            Column::number("votes"),
            Column::number("comments"),
            Column::yes("banned"),
            Column::time("banned_until"),
        ];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        let mut voters = Voters::new(&self.source.scratch)?;
        self.each_ballot(&mut |ballot| {
            let Who::Voter(voter) = ballot.who else { return Ok(()) };
            voters.add(Entry { voter, votes: if ballot.kind.is_ok() { 1 } else { -1 }, comments: 0 })
        })?;
        self.source
            .tables
            .each_comment(|comment| voters.add(Entry { voter: comment.author, votes: 0, comments: 1 }))?;
        let mut bans: HashMap<VoterId, Option<u64>> = HashMap::new();
        self.source.tables.each_ban(|voter, moves| {
            if let Some(last) = moves.last().filter(|last| !last.lifted) {
                bans.insert(voter, last.until);
            }
        })?;
        bans.keys().try_for_each(|voter| voters.add(Entry { voter: *voter, votes: 0, comments: 0 }))?;
        voters.each(|Entry { voter, votes, comments }| {
            // Of comments whose authors were erased.
            if voter == VoterId::NOBODY {
                return Ok(());
            }
            let name = (self.named && !rows.skips()).then(|| self.source.key.public(voter));
            let ban = bans.get(&voter);
            let cells = [
                Cell::Hex(&voter.0),
                name.as_deref().into(),
                Cell::Number(u64::try_from(votes).unwrap_or(0)),
                number(comments),
                Cell::Bool(ban.is_some()),
                ban.copied().flatten().into(),
            ];
            rows.row(&cells).map_err(|why| writing(&why))?;
            if rows.count().is_multiple_of(TICK) { tick(TICK) } else { Ok(()) }
        })?;
        rows.end().map_err(|why| writing(&why))
    }

    pub(super) fn votes(&self, out: &mut dyn RowSink, tick: Tick<'_>) -> Result<u64, Fault> {
        let columns = [
            Column::id("sequence"),
            Column::time("created_at"),
            Column::text("season_id"),
            Column::number("slot_position"),
            Column::text("clip_id"),
            Column::hex("voter"),
            Column::hex("erased"),
            Column::text("vote_type"),
            Column::number("vote_weight"),
            Column::number("day"),
            Column::number("risk"),
            Column::yes("flagged"),
            Column::hex("network"),
            Column::id("retracts"),
            Column::yes("voided"),
        ];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        let (seasons, clips, voided) = (self.all_seasons()?, self.all_clips()?, self.voided()?);
        self.each_ballot(&mut |ballot| {
            let voided = voided.get(&ballot.slot.slot.no);
            let voided = voided.is_some_and(|votes| votes.binary_search(&ballot.seq).is_ok());
            let (voter, erased) = match &ballot.who {
                Who::Voter(voter) => (Cell::Hex(&voter.0), Cell::Null),
                Who::Erased(c) => (Cell::Null, Cell::Hex(c)),
            };
            let clip = clips.get(ballot.clip.index()).ok_or_else(|| lost("clip", ballot.clip.0))?;
            let network = ballot.origin.network.known();
            let cells = [
                Cell::Id(ballot.seq),
                Cell::Number(ballot.at),
                season_id(&seasons, ballot.slot.slot.season),
                number(ballot.slot.slot.position),
                Cell::Text(clip.id.as_str()),
                voter,
                erased,
                match ballot.kind {
                    Ok(VoteKind::Standard) => Cell::Text("standard"),
                    Ok(VoteKind::Super) => Cell::Text("super"),
                    Ok(VoteKind::Mega) => Cell::Text("mega"),
                    Err(_) => Cell::Null,
                },
                number(ballot.weight.into()),
                number(ballot.day.into()),
                number(ballot.origin.risk.into()),
                Cell::Bool(ballot.origin.is_flagged()),
                network.as_ref().map_or(Cell::Null, |network| Cell::Hex(network)),
                ballot.kind.err().map_or(Cell::Null, Cell::Id),
                Cell::Bool(voided),
            ];
            rows.row(&cells).map_err(|why| writing(&why))?;
            if rows.count().is_multiple_of(TICK) { tick(TICK) } else { Ok(()) }
        })?;
        rows.end().map_err(|why| writing(&why))
    }

    /// Voids, those that were lifted and those without effect too. Which votes are under one says the table of votes.
    pub(super) fn voids(&self, out: &mut dyn RowSink) -> Result<u64, Fault> {
        let columns = [
            Column::id("id"),
            Column::text("season_id"),
            Column::number("slot_position"),
            Column::text("by"),
            Column::text("reason"),
            Column::time("created_at"),
            Column::time("taken_at"),
            Column::time("lifted_at"),
            Column::text("lift_reason"),
            Column::yes("dropped"),
            Column::number("ballots"),
        ];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        let (seasons, slots) = (self.all_seasons()?, self.all_slots()?);
        let mut voids = Vec::new();
        self.source.tables.each_void(|void| voids.push(void.clone()))?;
        for void in voids {
            let slot = slots.get(void.plan.slot.index()).ok_or_else(|| lost("slot", void.plan.slot.0))?;
            let lifted = void.lifted.as_ref();
            let cells = [
                Cell::Id(void.id),
                season_id(&seasons, slot.slot.season),
                number(slot.slot.position),
                Cell::Text(void.plan.by.as_str()),
                Cell::Text(&void.plan.reason),
                Cell::Number(void.begun_at),
                void.taken.as_ref().map(|step| step.at).into(),
                lifted.map(|(step, _)| step.at).into(),
                lifted.map(|(_, reason)| reason.as_str()).into(),
                Cell::Bool(void.dropped.is_some()),
                Cell::Number(void.votes),
            ];
            rows.row(&cells).map_err(|why| writing(&why))?;
        }
        rows.end().map_err(|why| writing(&why))
    }

    /// By slot: who wins by the votes that count, where a void behind the lock may have made it another clip.
    fn winners_since(&self, slots: &[SlotRecord], clips: &[Clip]) -> Result<HashMap<SlotNo, ClipNo>, Fault> {
        let mut since = HashSet::new();
        self.source.tables.each_void(|void| {
            let record = slots.get(void.plan.slot.index());
            let decided = record.and_then(|record| Some((record, record.outcome.as_ref()?)));
            if let Some((record, outcome)) = decided
                && !matches!(outcome.decided, Decided::ByHand { .. })
                && void.last > record.last
                && void.taken.is_some()
            {
                since.insert(void.plan.slot);
            }
        })?;
        let mut votes = HashMap::new();
        if !since.is_empty() {
            self.source.tables.each_total(|clip, count, weight| {
                votes.insert(clip, (weight, count));
            })?;
        }
        // Highest weight, then most votes, then added first.
        let mut best: HashMap<SlotNo, ((u64, u64), ClipNo)> = HashMap::new();
        for clip in clips.iter().filter(|clip| since.contains(&clip.slot)) {
            let sums = votes.get(&clip.no).copied().unwrap_or_default();
            let most = best.entry(clip.slot).or_insert((sums, clip.no));
            if sums > most.0 {
                *most = (sums, clip.no);
            }
        }
        Ok(best.into_iter().map(|(slot, (_, clip))| (slot, clip)).collect())
    }

    /// By slot: votes that voids in force take out, by sequence.
    fn voided(&self) -> Result<BTreeMap<SlotNo, Vec<Seq>>, Fault> {
        let mut in_force = Vec::new();
        self.source.tables.each_void(|void| {
            if void.is_in_force() {
                in_force.push((void.plan.slot, void.id));
            }
        })?;
        let mut voided: BTreeMap<SlotNo, Vec<Seq>> = BTreeMap::new();
        for (slot, void) in in_force {
            let of = voided.entry(slot).or_default();
            self.source.tables.each_named(slot, void, |votes| of.extend(votes.iter().map(|vote| vote.seq)))?;
        }
        for votes in voided.values_mut() {
            votes.sort_unstable();
        }
        Ok(voided)
    }

    pub(super) fn comments(&self, out: &mut dyn RowSink, tick: Tick<'_>) -> Result<u64, Fault> {
        let columns = [
            Column::id("id"),
            Column::text("clip_id"),
            Column::id("parent_id"),
            Column::number("depth"),
            Column::time("created_at"),
            Column::hex("voter"),
            Column::text("user_id"),
            Column::text("username"),
            Column::text("avatar_url"),
            Column::text("content"),
            Column::text("status"),
            Column::number("likes_count"),
            Column::number("reports"),
        ];
        let mut rows = Rows::new(self.format, &columns, out).map_err(|why| writing(&why))?;
        let clips = self.all_clips()?;
        self.source.tables.each_comment(|comment| {
            let clip = clips.get(comment.place.clip.index()).ok_or_else(|| lost("clip", comment.place.clip.0))?;
            let known = comment.author != VoterId::NOBODY;
            let user = (self.named && known && !rows.skips()).then(|| self.source.key.public(comment.author));
            let cells = [
                Cell::Id(comment.place.id),
                Cell::Text(clip.id.as_str()),
                Some(comment.place.parent).filter(|parent| *parent > 0).map_or(Cell::Null, Cell::Id),
                number(comment.depth.into()),
                Cell::Number(comment.at),
                if known { Cell::Hex(&comment.author.0) } else { Cell::Null },
                user.as_deref().into(),
                Some(comment.profile.name.as_str()).filter(|_| self.named).into(),
                comment.profile.avatar.as_deref().filter(|_| self.named).into(),
                Cell::Text(&comment.text),
                Cell::Text(comment.status.as_str()),
                number(comment.likes),
                number(comment.reports),
            ];
            rows.row(&cells).map_err(|why| writing(&why))?;
            if rows.count().is_multiple_of(TICK) { tick(TICK) } else { Ok(()) }
        })?;
        rows.end().map_err(|why| writing(&why))
    }

    pub(super) fn records(&self, out: &mut dyn RowSink) -> Result<u64, Fault> {
        let columns = [Column::text("tree"), Column::hex("key"), Column::text("record")];
        let mut rows = Rows::new(Format::Jsonl, &columns, out).map_err(|why| writing(&why))?;
        let mut text = String::new();
        self.source.each_record(&mut |tree, key, record| {
            text.clear();
            if !rows.skips() {
                BASE64_STANDARD.encode_string(record, &mut text);
            }
            rows.row(&[Cell::Text(tree), Cell::Hex(key), Cell::Text(&text)]).map_err(|why| writing(&why))
        })?;
        rows.end().map_err(|why| writing(&why))
    }

    /// Every ballot, by slot.
    fn each_ballot(&self, visit: &mut dyn FnMut(&Ballot<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let tables = &self.source.tables;
        for slot in &self.all_slots()? {
            let no: SlotNo = slot.slot.no;
            if let Some(pages) = tables.sorted_pages(slot)? {
                SlotPages::new(tables.store().as_ref(), no, pages).each(|sorted| {
                    let crate::fold::sorted::Sorted { who, seq, at, clip, kind, weight, day, origin } = sorted;
                    visit(&Ballot { who, seq, at, clip, kind: Ok(kind), weight, day, origin, slot })
                })?;
                continue;
            }
            tables.each_ballot_block(no, 0, &mut |key, record| {
                ballot_block::read(key, record, |stored| {
                    let ballot = stored.ballot;
                    let kind = match ballot.act {
                        Act::Cast(kind) => Ok(kind),
                        Act::Retract(vote) => Err(vote),
                    };
                    let (who, clip, weight) = (Who::Voter(ballot.voter), ballot.clip, ballot.weight);
                    let (day, origin) = (ballot.day, ballot.origin);
                    visit(&Ballot { who, seq: stored.seq, at: stored.at, clip, kind, weight, day, origin, slot })
                })?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    fn all_seasons(&self) -> Result<Vec<Season>, Fault> {
        let mut all = Vec::new();
        self.source.tables.each_season(|season| all.push(season.clone()))?;
        Ok(all)
    }

    fn all_slots(&self) -> Result<Vec<SlotRecord>, Fault> {
        let mut all = Vec::new();
        self.source.tables.each_slot(|slot| all.push(slot.clone()))?;
        Ok(all)
    }

    fn all_clips(&self) -> Result<Vec<Clip>, Fault> {
        let mut all = Vec::new();
        self.source.tables.each_clip(|clip| all.push(clip.clone()))?;
        Ok(all)
    }
}

fn number<'a>(n: u32) -> Cell<'a> {
    Cell::Number(n.into())
}

fn season_id(seasons: &[Season], no: SeasonNo) -> Cell<'_> {
    seasons.get(no.index()).map(|season| season.id.as_str()).into()
}

fn lost(what: &str, number: u32) -> Fault {
    Fault::Inconsistent { why: format!("{what} number {number} is named, and its record is not there") }
}
