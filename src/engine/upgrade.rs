//! What serving a store with this program would change: in what forms its records are, what the next start does to them, and
//! what an older program could not read afterwards.
//!
//! Owns the list of what the format has gained since the first programs ([`Gain`]). Reads every record, as `verify` does.
//! Never: writes a record, settles what a crash left, decides whether to upgrade.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use super::verify::{Verified, verify_stores};
use crate::codec::{self, Kind};
use crate::domain::{Decided, Event, Origin, Seq};
use crate::error::Fault;
use crate::fold::records::SlotRecord;
use crate::fold::timeline::group_of;
use crate::fold::{Tables, ballot_block, keys, sorted};
use crate::log::{Recovered, block, recover};
use crate::store::{END, Home, Marker, Store};

/// Problems listed at most; the rest are counted.
const LISTED: usize = 100;

/// What the format has gained since the first programs, in the order of their coming.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Gain {
    /// What the first programs wrote.
    None,
    Comments,
    Rounds,
    Sorted,
    Minutes,
    Origins,
    Voids,
    Erasures,
}

impl Gain {
    const ALL: [Self; 7] =
        [Self::Comments, Self::Rounds, Self::Sorted, Self::Minutes, Self::Origins, Self::Voids, Self::Erasures];

    /// The gain that a kind of record came with.
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::LogBlock
            | Kind::BallotBlock
            | Kind::Totals
            | Kind::Seasons
            | Kind::FirstSlot
            | Kind::Clips
            | Kind::Bans
            | Kind::Mark => Self::None,
            Kind::Comments
            | Kind::CommentIds
            | Kind::Marks
            | Kind::Ranks
            | Kind::Queue
            | Kind::Replies
            | Kind::CommentCounts => Self::Comments,
            Kind::Slot => Self::Rounds,
            Kind::Sorted | Kind::Closing => Self::Sorted,
            Kind::Timeline => Self::Minutes,
            Kind::Void | Kind::NamedVotes | Kind::TakenBack => Self::Voids,
            Kind::Erasure => Self::Erasures,
        }
    }

    /// The gain that an event came with.
    fn of_event(event: &Event) -> Self {
        match event {
            Event::Started
            | Event::Voted(_)
            | Event::Retracted(_)
            | Event::SeasonCreated(_)
            | Event::SlotCreated(_)
            | Event::ClipAdded(_)
            | Event::SlotWaits(_)
            | Event::SlotOpened { .. }
            | Event::SlotFrozen(_)
            | Event::SlotLocked { .. }
            | Event::Banned { .. }
            | Event::Unbanned(_) => Self::None,
            Event::CommentChanged(_, change) if !change.needs_comment() => Self::Erasures,
            Event::ErasureBegun { .. } | Event::ErasureWent { .. } | Event::ErasureEnded(_) => Self::Erasures,
            Event::CommentPosted(_) | Event::CommentChanged(..) => Self::Comments,
            Event::SlotDecided { outcome, .. } if matches!(outcome.decided, Decided::TallyAfter(_)) => Self::Voids,
            Event::SlotStopped { .. }
            | Event::SlotExtended { .. }
            | Event::SlotReopened { .. }
            | Event::SlotDecided { .. } => Self::Rounds,
            Event::VotedFrom(..) => Self::Origins,
            Event::VoidBegun(_) | Event::VotesNamed(_) | Event::VoidTaken { .. } | Event::VoidLifted { .. } => {
                Self::Voids
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "what the first programs wrote",
            Self::Comments => "comments",
            Self::Rounds => "how rounds end",
            Self::Sorted => "closed slots' sorted ballots",
            Self::Minutes => "votes by the minute",
            Self::Origins => "where votes came from",
            Self::Voids => "votes taken out, and put back",
            Self::Erasures => "voters who were erased",
        }
    }

    /// When a server begins to write it.
    fn when(self) -> &'static str {
        match self {
            Self::None => "always",
            Self::Comments => "with the first comment",
            Self::Rounds => "when a slot is made or takes its next step",
            Self::Sorted => "when a slot closes",
            Self::Minutes => "with the next vote",
            Self::Origins => "with the next vote of a request",
            Self::Voids => "with the first void",
            Self::Erasures => "with the first erasure",
        }
    }
}

/// A format's version in a store, and what this program reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Versions<T> {
    /// What is there.
    pub found: T,
    /// The newest that this program reads, and the one that it writes.
    pub reads: u8,
}

/// Records of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Records {
    /// `log` or `tables`.
    pub tree: &'static str,
    /// The kind's number on the disk.
    pub kind: u8,
    /// What they hold.
    pub name: &'static str,
    /// How many.
    pub records: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Something that the format has gained.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Gained {
    /// What it is of.
    pub what: &'static str,
    /// Whether the store has some of it already.
    pub here: bool,
    /// When a server of this version begins to write it.
    pub begins: &'static str,
}

/// What a look at a store found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// This program's version.
    pub plaudit: &'static str,
    /// Whether this program can serve the store.
    pub readable: bool,
    /// What is wrong, for people; at most a hundred.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub wrong: u64,
    /// Of the data directory.
    pub layout: Versions<u8>,
    /// Of the records.
    pub format: Versions<Vec<u8>>,
    /// The last sequence.
    pub events: Seq,
    /// How far the tables contain the log.
    pub applied: Seq,
    /// Events that are in the log alone.
    pub tail: u64,
    /// Clips.
    pub clips: u64,
    /// Their votes that stand, recounted.
    pub votes: u64,
    /// Their comments that everyone can see, recounted.
    pub comments: u64,
    /// The records, by store and kind.
    pub records: Vec<Records>,
    /// What the format has gained since the first programs.
    pub gained: Vec<Gained>,
    /// What serving it changes, for people.
    pub changes: Vec<String>,
    /// What programs that lack it could not read rightly once this one has served the store, for people.
    pub afterwards: Vec<String>,
}

impl Upgrade {
    fn note(&mut self, problem: String) {
        self.wrong += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }
}

/// Looks at the store in `dir`. `tick` hears of records that were read.
pub fn upgrade_check(dir: &Path, tick: &mut dyn FnMut(u64)) -> Result<Upgrade, Fault> {
    let (home, left) = Home::look(dir)?;
    let (log, tables) = (home.log(), home.tables());
    let mut found = Upgrade {
        plaudit: env!("CARGO_PKG_VERSION"),
        readable: true,
        problems: Vec::new(),
        wrong: 0,
        layout: Versions { found: Marker::FORMAT, reads: Marker::FORMAT },
        format: Versions { found: Vec::new(), reads: codec::VERSION },
        events: 0,
        applied: 0,
        tail: 0,
        clips: 0,
        votes: 0,
        comments: 0,
        records: Vec::new(),
        gained: Vec::new(),
        changes: Vec::new(),
        afterwards: Vec::new(),
    };
    let mut seen = Seen::default();
    // Whatever a tree holds, copies for readers included.
    seen.read("log", log.as_ref(), &mut found, tick)?;
    seen.read("tables", tables.as_ref(), &mut found, tick)?;
    found.format.found = seen.versions.iter().copied().collect();
    found.records = seen.records();

    for left in left {
        found.changes.push(format!("{left}/ is left of a store that was being replaced: it is settled"));
    }
    // A record of a newer program would be taken for damage by what follows.
    if found.wrong == 0 {
        let genesis = block::genesis(home.store_id());
        let read = recover(log.as_ref(), home.tables(), genesis)
            .and_then(|recovered| seen.changes(&home, recovered, &mut found))
            .and_then(|()| verify_stores(log.as_ref(), tables, genesis, false));
        match read.and_then(|verified| home.check_not_older(verified.last).map(|()| verified)) {
            Ok(verified) => count(&mut found, verified),
            Err(why) => {
                found.readable = false;
                found.note(why.to_string());
            }
        }
    } else {
        found.readable = false;
    }
    for gain in Gain::ALL {
        let (what, here, begins) = (gain.name(), seen.gains.contains(&gain), seen.begins(gain));
        found.gained.push(Gained { what, here, begins });
        if !here && found.readable {
            found.afterwards.push(format!("{what}, {begins}"));
        }
    }
    Ok(found)
}

fn count(found: &mut Upgrade, verified: Verified) {
    found.clips = verified.rows.len() as u64;
    found.votes = verified.rows.iter().map(|row| row.votes).sum();
    found.comments = verified.rows.iter().map(|row| row.comments).sum();
    found.wrong += verified.wrong;
    found.problems.extend(verified.problems);
}

/// What the records say.
#[derive(Debug, Default)]
struct Seen {
    versions: BTreeSet<u8>,
    /// By store and kind: how many, and their bytes.
    kinds: BTreeMap<(&'static str, u8), (u64, u64)>,
    gains: BTreeSet<Gain>,
    /// Copies that were made for a reader of the tables.
    copies: u64,
    /// Pages of sorted ballots, by slot and generation.
    sorted: BTreeMap<(u32, u32), u64>,
    /// Groups of clips with pages of minutes.
    minutes: BTreeSet<u32>,
    /// Closed slots whose ballots the next start sorts.
    unsorted: u64,
}

impl Seen {
    fn read(
        &mut self,
        tree: &'static str,
        store: &dyn Store,
        found: &mut Upgrade,
        tick: &mut dyn FnMut(u64),
    ) -> Result<(), Fault> {
        store.scan(&[0], &[0xff; 9], &mut |key, record| {
            tick(1);
            if tree == "tables" && key >= END {
                self.copies += 1;
                return Ok(ControlFlow::Continue(()));
            }
            let Some((version, number)) = codec::named(record) else {
                found.note(Fault::damaged(tree, key, "it does not begin as a record does").to_string());
                return Ok(ControlFlow::Continue(()));
            };
            self.versions.insert(version);
            let sums = self.kinds.entry((tree, number)).or_default();
            *sums = (sums.0 + 1, sums.1 + record.len() as u64);
            let read = codec::check(tree, key, record).and_then(|()| match Kind::of(number) {
                Some(kind) => self.kind(kind, key, record),
                None => Err(Fault::Inconsistent {
                    why: format!(
                        "a record of {tree} is of kind {number}, which this program does not know: use a newer one"
                    ),
                }),
            });
            if let Err(why) = read {
                found.note(why.to_string());
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// What a record of a known kind shows of the format's gains.
    fn kind(&mut self, kind: Kind, key: &[u8], record: &[u8]) -> Result<(), Fault> {
        self.gains.insert(Gain::of(kind));
        match kind {
            Kind::LogBlock => drop(block::read(key, record, |logged| {
                self.gains.insert(Gain::of_event(&logged.event));
                Ok(())
            })?),
            Kind::BallotBlock => drop(ballot_block::read(key, record, |stored| {
                if stored.ballot.origin != Origin::default() {
                    self.gains.insert(Gain::Origins);
                }
                Ok(())
            })?),
            Kind::Sorted => {
                let slot = key.get(1..5).and_then(|slot| slot.try_into().ok()).map_or(0, u32::from_be_bytes);
                *self.sorted.entry((slot, sorted::generation_of(key)?)).or_default() += 1;
                if key[9] == sorted::BALLOTS
                    && sorted::read(key, record)?.iter().any(|ballot| ballot.origin != Origin::default())
                {
                    self.gains.insert(Gain::Origins);
                }
            }
            Kind::Timeline => self.minutes.extend(keys::timeline_group(key)),
            _ => {}
        }
        Ok(())
    }

    fn records(&self) -> Vec<Records> {
        let kinds = self.kinds.iter();
        let records = kinds.map(|((tree, kind), (records, bytes))| {
            let name = Kind::of(*kind).map_or("not known to this program", Kind::name);
            Records { tree, kind: *kind, name, records: *records, bytes: *bytes }
        });
        records.collect()
    }

    /// What the next start and the server behind it do to what is there.
    fn changes(&mut self, home: &Home, recovered: Recovered, found: &mut Upgrade) -> Result<(), Fault> {
        let Recovered { tables, end, tail, .. } = recovered;
        (found.events, found.applied, found.tail) = (end.seq, tables.mark().map_or(0, |mark| mark.seq), tail);
        let mut say = |changes: String| found.changes.push(changes);
        if tail > 0 {
            say(format!("{tail} events that are in the log alone are folded into the tables"));
        }
        if home.log_has_grown() {
            say("the log's file has outgrown what it holds: it is renewed once it is folded".into());
        }
        if self.copies > 0 {
            say(format!("{} copies go that were made for an export or a backup which was cut short", self.copies));
        }
        let first = self.kinds.get(&("tables", Kind::FirstSlot as u8)).map_or(0, |sums| sums.0);
        if first > 0 {
            say(format!("{first} slots in their first form: each is written in today's form at its next step"));
        }
        self.slots(&tables, &mut say)?;
        let mut under_way = 0;
        tables.each_void(|void| under_way += u64::from(void.is_under_way()))?;
        if under_way > 0 {
            say(format!("{under_way} voids whose votes were still searched for end without effect"));
        }
        let mut erasures = 0;
        tables.each_erasure(|erasure| erasures += u64::from(erasure.ended.is_none()))?;
        if erasures > 0 {
            say(format!("{erasures} erasures go on where they were"));
        }
        // Without the tail, whose minutes are kept when it is folded.
        let mut earlier = 0;
        Tables::open(home.tables())?.each_total(|clip, votes, _| {
            if !self.minutes.contains(&group_of(clip)) {
                earlier += votes;
            }
        })?;
        if earlier > 0 {
            say(format!(
                "{earlier} votes of before minutes were kept stay without; their clips' later votes are kept by the minute"
            ));
        }
        Ok(())
    }

    /// What the applier finds to do for closed slots at its start.
    fn slots(&mut self, tables: &Tables, say: &mut dyn FnMut(String)) -> Result<(), Fault> {
        let mut slots: Vec<SlotRecord> = Vec::new();
        tables.each_slot(|record| slots.push(record.clone()))?;
        let mut whole = BTreeSet::new();
        for record in &slots {
            let Some(freeze) = record.freeze() else { continue };
            let closing = tables.closing(record.slot.no)?.filter(|closing| closing.freeze == freeze);
            match closing.and_then(|closing| closing.sorted) {
                Some(pages) => drop(whole.insert((record.slot.no.0, pages.generation))),
                None => self.unsorted += 1,
            }
        }
        if self.unsorted > 0 {
            let unsorted = self.unsorted;
            say(format!(
                "the ballots of {unsorted} closed slots are sorted; a locked slot's then stand in its blocks' place"
            ));
        }
        let half: u64 = self.sorted.iter().filter(|(of, _)| !whole.contains(of)).map(|(_, pages)| pages).sum();
        if half > 0 {
            say(format!("{half} pages of sorted ballots go: what they were written for was cut short"));
        }
        Ok(())
    }

    fn begins(&self, gain: Gain) -> &'static str {
        if gain == Gain::Sorted && self.unsorted > 0 { "at the start" } else { gain.when() }
    }
}
