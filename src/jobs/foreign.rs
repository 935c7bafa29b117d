//! Votes and comments of another site's tables, as CSV: rows to events, one log of them. Slots and clips are made as rows name
//! them. A slot at a time, in the order of positions: one of a season takes votes at once. So the file is read once to see what
//! is in it, and once a slot. What can't be taken goes to the rejects, with its line and the reason.
//!
//! The same files, season, columns and key make the same events in the same order: where it was cut short it is begun from the
//! front, and the log leaves out those that it has.

mod columns;
mod parse;
mod rows;
mod source;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;

pub use columns::check;
use columns::{COMMENTS, Places, Table, VOTES};
use csv::StringRecord;
use parse::{Known, Posted, Row};
use rows::{Read, Rows};
pub use source::{RowsIn, Stamps, name, rows_in};

use crate::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Event, FrozenBy, NetworkHash, Origin, Season, SeasonId, SeasonNo, Seq, Slot,
    SlotNo, Vote, VoterId, VoterKey, day_of,
};
use crate::error::Fault;
use crate::log::Appender;

/// Clips and slots at most: a server takes no more either.
const CLIPS_MAX: usize = 65_536;
const SLOTS_MAX: usize = 16_384;

/// Who hears of bytes that were read hears of so many at once.
const PIECE: u64 = 64 * 1024;

/// What was taken, and what was not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Taken {
    /// Slots that votes named.
    pub slots: u64,
    /// Clips that votes named.
    pub clips: u64,
    /// Votes taken.
    pub votes: u64,
    /// Comments taken.
    pub comments: u64,
    /// Rows that were not taken.
    pub rejected: u64,
}

/// Another site's tables on their way into a store.
pub struct Foreign<'a> {
    /// The season that all of it is put into.
    pub season: SeasonId,
    /// Makes voters.
    pub key: VoterKey,
    /// What columns are called there, by what they are called here.
    pub columns: BTreeMap<String, String>,
    /// Where to; `None`: it is only looked at.
    pub to: Option<Appender>,
    /// Takes file, line and reason of each row that is not taken.
    pub rejects: csv::Writer<Box<dyn Write + 'a>>,
    /// What was done so far.
    pub taken: Taken,
    /// The files as they were when they were first looked at: each time that they are read they must be that.
    pub stamps: Stamps,
    /// Hears how far it is.
    hear: Hear<'a>,
    /// By id: its number and its slot's position.
    clips: HashMap<String, (ClipNo, u32)>,
    seq: u64,
    /// The last event that `hear` was told is kept.
    kept: u64,
}

/// What a table of votes has of a slot.
struct Named {
    /// Clips, with numbers by the order in which rows name them.
    clips: Vec<(String, ClipNo)>,
    /// When it was first voted in, and last: rows may be in any order.
    first: u64,
    last: u64,
}

impl Default for Named {
    fn default() -> Self {
        Self { clips: Vec::new(), first: u64::MAX, last: 0 }
    }
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// So many more bytes of files were read.
    Read(u64),
    /// So many more are going to be.
    ToRead(u64),
    /// Everything up to this event is on the disk.
    Kept(Seq),
}

/// An error of it ends the import.
pub type Hear<'a> = Box<dyn FnMut(Heard) -> Result<(), Fault> + 'a>;

/// The first line of rejects.
const REJECTS: [&str; 3] = ["file", "line", "reason"];

impl<'a> Foreign<'a> {
    /// With nothing taken yet.
    pub fn new(
        season: SeasonId,
        key: VoterKey,
        columns: BTreeMap<String, String>,
        to: Option<Appender>,
        rejects: Box<dyn Write + 'a>,
        hear: Hear<'a>,
    ) -> Result<Self, Fault> {
        let mut rejects = csv::Writer::from_writer(rejects);
        rejects.write_record(REJECTS).map_err(|why| not_written(&why))?;
        let (taken, stamps, clips) = (Taken::default(), Stamps::default(), HashMap::new());
        Ok(Self { season, key, columns, to, rejects, taken, stamps, hear, clips, seq: 0, kept: 0 })
    }

    /// Takes a table of votes.
    pub fn votes(&mut self, file: &Path) -> Result<(), Fault> {
        let mut slots: BTreeMap<u32, Named> = BTreeMap::new();
        self.each(file, &VOTES, &mut |me, line, row, columns| {
            let row = match me.row(row, columns) {
                Ok(row) => row,
                Err(why) => return me.reject(file, line, &why),
            };
            match me.clips.get(&row.clip) {
                Some((_, position)) if *position != row.position => {
                    return me.reject(file, line, &format!("its clip is in slot {position}"));
                }
                Some(_) => {}
                None if me.clips.len() == CLIPS_MAX
                    || (slots.len() == SLOTS_MAX && !slots.contains_key(&row.position)) =>
                {
                    return me.reject(file, line, "more clips or slots than a store takes");
                }
                None => {
                    let no = ClipNo(u32::try_from(me.clips.len()).expect("at most CLIPS_MAX"));
                    slots.entry(row.position).or_default().clips.push((row.clip.clone(), no));
                    me.clips.insert(row.clip, (no, row.position));
                }
            }
            let slot = slots.get_mut(&row.position).expect("its clip is in it");
            (slot.first, slot.last) = (slot.first.min(row.at), slot.last.max(row.at));
            Ok(())
        })?;
        self.event(
            slots.values().map(|slot| slot.first).min().unwrap_or(0),
            Event::SeasonCreated(Season { no: SeasonNo(0), id: self.season.clone(), name: self.season.to_string() }),
        )?;
        // Numbers are given in the order of creation.
        let (mut next, long) = (0, length(file)?);
        (self.hear)(Heard::ToRead(long * slots.len() as u64))?;
        let last = slots.keys().next_back().copied();
        for (no, (position, Named { clips, first, last: ended })) in (0..).map(SlotNo).zip(&slots) {
            self.event(*first, Event::SlotCreated(Slot { no, season: SeasonNo(0), position: *position }))?;
            for (id, _) in clips {
                let clip = ClipNo(next);
                next += 1;
                self.clips.insert(id.clone(), (clip, *position));
                let draft = ClipDraft { title: id.clone(), ..ClipDraft::default() };
                let id = ClipId::new(id).expect("checked when it was read");
                self.event(*first, Event::ClipAdded(Box::new(Clip { no: clip, slot: no, id, draft })))?;
            }
            let opened = self.event(*first, Event::SlotOpened { slot: no, ends_at: None, hidden: false })?;
            self.slot(file, no, *position)?;
            if Some(*position) != last {
                // As if its time were over: the server locks it, with a certificate.
                self.event(*ended, Event::SlotStopped { slot: no, by: FrozenBy::Timer, after: Some(opened) })?;
            }
            self.taken.slots += 1;
            self.taken.clips += clips.len() as u64;
        }
        Ok(())
    }

    fn slot(&mut self, file: &Path, slot: SlotNo, of: u32) -> Result<(), Fault> {
        let mut known: HashSet<(VoterId, ClipNo)> = HashSet::new();
        self.each(file, &VOTES, &mut |me, line, row, columns| {
            // Those of other slots, most of them, and those that were rejected already.
            if row.is_ok_and(|row| me.position(row, columns) != Some(of)) {
                return Ok(());
            }
            let Ok(row) = me.row(row, columns) else { return Ok(()) };
            let Some((clip, _)) = me.clips.get(&row.clip).copied().filter(|(_, at)| *at == of && row.position == of)
            else {
                return Ok(());
            };
            if !known.insert((row.voter, clip)) {
                return me.reject(file, line, "a duplicate: its voter has a vote for this clip");
            }
            let Row { voter, kind, weight, at, .. } = row;
            let vote = Vote { voter, clip, slot, kind, weight, day: day_of(at) };
            let origin = Origin { risk: row.risk, network: NetworkHash::UNKNOWN };
            me.event(at, Event::voted(vote, origin))?;
            me.taken.votes += 1;
            Ok(())
        })
    }

    /// Takes a table of comments, parents before their replies; behind the votes, which name the clips.
    pub fn comments(&mut self, file: &Path) -> Result<(), Fault> {
        let mut known = Known::new();
        self.each(file, &COMMENTS, &mut |me, line, row, columns| match me.comment(row, columns, &known) {
            Err(why) => me.reject(file, line, &why),
            Ok((id, at, post)) => {
                let (clip, depth) = (post.clip, post.depth);
                let seq = me.event(at, Event::CommentPosted(Box::new(post)))?;
                known.insert(id, Posted { seq, clip, depth });
                me.taken.comments += 1;
                Ok(())
            }
        })
    }

    /// Everything was taken: the last sequence.
    pub fn finish(mut self) -> Result<(Taken, u64), Fault> {
        self.rejects.flush().map_err(|why| Fault::io("writing the rejects", &why))?;
        let last = self.to.map_or(Ok(self.seq), Appender::finish)?;
        Ok((self.taken, last))
    }

    fn event(&mut self, at: u64, event: Event) -> Result<u64, Fault> {
        let Some(to) = &mut self.to else {
            self.seq += 1;
            return Ok(self.seq);
        };
        let seq = to
            .add(at, event)?
            .map_err(|refusal| Fault::Inconsistent { why: format!("an event is out of turn: {refusal:?}") })?;
        let committed = to.committed();
        // Once more given, they are kept already; that is known.
        if committed > self.kept && seq >= committed {
            self.kept = committed;
            (self.hear)(Heard::Kept(committed))?;
        }
        Ok(seq)
    }

    fn reject(&mut self, file: &Path, line: u64, why: &str) -> Result<(), Fault> {
        self.taken.rejected += 1;
        let file = file.to_string_lossy();
        self.rejects.write_record([&*file, &line.to_string(), why]).map_err(|why| not_written(&why))
    }

    #[expect(clippy::type_complexity, reason = "each row goes to one closure")]
    fn each(
        &mut self,
        file: &Path,
        table: &Table,
        visit: &mut dyn FnMut(&mut Self, u64, Read<'_>, &Places) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.stamps.see(file)?;
        let mut rows = Rows::open(file)?;
        let places = table.places(file, &rows.names()?, &self.columns)?;
        let mut row = StringRecord::new();
        while let Some((line, came)) = rows.next(&mut row)? {
            visit(self, line, came.map(|()| &row), &places)?;
            if let Some(bytes) = rows.take_read(PIECE) {
                (self.hear)(Heard::Read(bytes))?;
            }
        }
        // What was written to it meanwhile would be in one reading and not in another.
        self.stamps.see(file)?;
        rows.take_read(0).map_or(Ok(()), |bytes| (self.hear)(Heard::Read(bytes)))
    }
}

/// Bytes of a file.
pub fn length(file: &Path) -> Result<u64, Fault> {
    let found = std::fs::metadata(file).map_err(|why| Fault::io(format!("looking at {}", file.display()), &why))?;
    Ok(found.len())
}

fn not_written(why: &csv::Error) -> Fault {
    Fault::Io { doing: "writing the rejects".into(), why: why.to_string() }
}
