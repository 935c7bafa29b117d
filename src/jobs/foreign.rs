//! Votes and comments of another site's tables, as CSV: rows to events, one log of them. Slots and clips are made as rows name
//! them. A slot at a time, in the order of positions: one of a season takes votes at once. So the file is read once to see what
//! is in it, and once a slot. What can't be taken goes to the rejects, with its line and the reason.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use csv::StringRecord;

use crate::domain::{
    Clip, ClipDraft, ClipId, ClipNo, CommentPost, CommentRef, CommentText, DEPTH_MAX, Event, FrozenBy, NetworkHash,
    Origin, Profile, Season, SeasonId, SeasonNo, Slot, SlotNo, Vote, VoteKind, VoterId, VoterKey, day_of,
};
use crate::error::Fault;
use crate::log::Appender;

/// Clips and slots at most: a server takes no more either.
const CLIPS_MAX: usize = 65_536;
const SLOTS_MAX: usize = 16_384;

/// Columns that a table of votes must have, and one of comments.
const VOTES: [&str; 4] = ["clip_id", "vote_weight", "slot_position", "created_at"];
const COMMENTS: [&str; 4] = ["id", "clip_id", "comment_text", "created_at"];

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
    pub columns: HashMap<String, String>,
    /// Where to; `None`: it is only looked at.
    pub to: Option<Appender>,
    /// Takes file, line and reason of each row that is not taken.
    pub rejects: csv::Writer<Box<dyn Write + 'a>>,
    /// What was done so far.
    pub taken: Taken,
    /// By id: its number and its slot's position.
    clips: HashMap<String, (ClipNo, u32)>,
    seq: u64,
}

struct Row {
    clip: String,
    voter: VoterId,
    kind: VoteKind,
    weight: u16,
    position: u32,
    risk: u8,
    at: u64,
}

impl<'a> Foreign<'a> {
    /// With nothing taken yet.
    pub fn new(
        season: SeasonId,
        key: VoterKey,
        columns: HashMap<String, String>,
        to: Option<Appender>,
        rejects: Box<dyn Write + 'a>,
    ) -> Result<Self, Fault> {
        let mut rejects = csv::Writer::from_writer(rejects);
        rejects.write_record(["file", "line", "reason"]).map_err(|why| not_written(&why))?;
        let (taken, clips) = (Taken::default(), HashMap::new());
        Ok(Self { season, key, columns, to, rejects, taken, clips, seq: 0 })
    }

    /// Takes a table of votes.
    pub fn votes(&mut self, file: &Path) -> Result<(), Fault> {
        let mut slots: BTreeMap<u32, Vec<(String, ClipNo)>> = BTreeMap::new();
        self.each(file, &VOTES, &mut |me, line, row, columns| {
            let row = match me.row(row, columns) {
                Ok(row) => row,
                Err(why) => return me.reject(file, line, &why),
            };
            match me.clips.get(&row.clip) {
                Some((_, position)) if *position != row.position => {
                    me.reject(file, line, &format!("its clip is in slot {position}"))
                }
                Some(_) => Ok(()),
                None if me.clips.len() == CLIPS_MAX
                    || (slots.len() == SLOTS_MAX && !slots.contains_key(&row.position)) =>
                {
                    me.reject(file, line, "more clips or slots than a store takes")
                }
                None => {
                    let no = ClipNo(u32::try_from(me.clips.len()).expect("at most CLIPS_MAX"));
                    slots.entry(row.position).or_default().push((row.clip.clone(), no));
                    me.clips.insert(row.clip, (no, row.position));
                    Ok(())
                }
            }
        })?;
        self.event(
            0,
            Event::SeasonCreated(Season { no: SeasonNo(0), id: self.season.clone(), name: self.season.to_string() }),
        )?;
        // Numbers are given in the order of creation.
        let mut next = 0;
        let last = slots.keys().next_back().copied();
        for (no, (position, clips)) in (0..).map(SlotNo).zip(&slots) {
            self.event(0, Event::SlotCreated(Slot { no, season: SeasonNo(0), position: *position }))?;
            for (id, _) in clips {
                let clip = ClipNo(next);
                next += 1;
                self.clips.insert(id.clone(), (clip, *position));
                let draft = ClipDraft { title: id.clone(), ..ClipDraft::default() };
                let id = ClipId::new(id).expect("checked when it was read");
                self.event(0, Event::ClipAdded(Box::new(Clip { no: clip, slot: no, id, draft })))?;
            }
            let opened = self.event(0, Event::SlotOpened { slot: no, ends_at: None, hidden: false })?;
            self.slot(file, no, *position)?;
            if Some(*position) != last {
                // As if its time were over: the server locks it, with a certificate.
                self.event(0, Event::SlotStopped { slot: no, by: FrozenBy::Timer, after: Some(opened) })?;
            }
            self.taken.slots += 1;
            self.taken.clips += clips.len() as u64;
        }
        Ok(())
    }

    fn slot(&mut self, file: &Path, slot: SlotNo, of: u32) -> Result<(), Fault> {
        let mut known: HashSet<(VoterId, ClipNo)> = HashSet::new();
        self.each(file, &VOTES, &mut |me, line, row, columns| {
            // Those of other slots, and those that were rejected already.
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
        let mut places: HashMap<String, (CommentRef, u8)> = HashMap::new();
        self.each(file, &COMMENTS, &mut |me, line, row, columns| match me.comment(row, columns, &places) {
            Err(why) => me.reject(file, line, &why),
            Ok((id, at, post)) => {
                let (clip, parent, depth) = (post.clip, post.parent, post.depth);
                let seq = me.event(at, Event::CommentPosted(Box::new(post)))?;
                places.insert(id, (CommentRef { clip, parent, id: seq }, depth));
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
        to.add(at, event)?
            .map_err(|refusal| Fault::Inconsistent { why: format!("an event is out of turn: {refusal:?}") })
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
        needs: &[&str],
        visit: &mut dyn FnMut(&mut Self, u64, &StringRecord, &HashMap<String, usize>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let opened = File::open(file).map_err(|why| Fault::io(format!("opening {}", file.display()), &why))?;
        let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(opened);
        let wrong = |why: csv::Error| Fault::Setting(format!("{}: {why}", file.display()));
        let places: HashMap<String, usize> =
            rows.headers().map_err(wrong)?.iter().enumerate().map(|(at, name)| (name.trim().to_owned(), at)).collect();
        let named = |name: &&str| self.columns.get(*name).map_or(*name, String::as_str).to_owned();
        if let Some(absent) = needs.iter().map(named).find(|name| !places.contains_key(name)) {
            return Err(Fault::Setting(format!("{} has no column {absent}: --map names them", file.display())));
        }
        let mut row = StringRecord::new();
        loop {
            let line = rows.position().line();
            match rows.read_record(&mut row) {
                Ok(true) => visit(self, row.position().map_or(line, csv::Position::line), &row, &places)?,
                Ok(false) => return Ok(()),
                Err(why) if why.is_io_error() => return Err(wrong(why)),
                Err(_) => self.reject(file, line, "it is not UTF-8")?,
            }
        }
    }

    /// A column's text; empty where there is none.
    fn get<'r>(&self, row: &'r StringRecord, places: &HashMap<String, usize>, name: &str) -> &'r str {
        let column = self.columns.get(name).map_or(name, String::as_str);
        places.get(column).and_then(|at| row.get(*at)).map_or("", str::trim)
    }

    fn row(&self, row: &StringRecord, places: &HashMap<String, usize>) -> Result<Row, String> {
        let get = |name| self.get(row, places, name);
        let clip = get("clip_id");
        ClipId::new(clip).map_err(|why| why.to_string())?;
        let kind = match get("vote_type") {
            "" => VoteKind::Standard,
            text => VoteKind::parse(text).map_err(|why| why.to_string())?,
        };
        let weight = get("vote_weight").parse().ok().filter(|weight: &u16| (1..=10_000).contains(weight));
        let position = get("slot_position").parse().ok().filter(|position: &u32| (1..=1_000_000).contains(position));
        Ok(Row {
            clip: clip.to_owned(),
            voter: self.voter(get("user_id"), get("voter_key"))?,
            kind,
            weight: weight.ok_or("vote_weight: a whole number from 1 to 10000")?,
            position: position.ok_or("slot_position: a whole number from 1 to 1000000")?,
            risk: match get("flagged") {
                "t" | "true" | "1" => Origin::FLAGGED_FROM,
                "f" | "false" | "0" | "" => 0,
                _ => return Err("flagged: true or false".into()),
            },
            at: unix_ms(get("created_at")).ok_or("created_at: no time")?,
        })
    }

    fn voter(&self, user: &str, device: &str) -> Result<VoterId, String> {
        match (user, device) {
            ("", "") => Err("neither user_id nor voter_key".into()),
            ("", device) => Ok(self.key.device(device.as_bytes())),
            (user, _) => Ok(self.key.user(user)),
        }
    }

    fn comment(
        &self,
        row: &StringRecord,
        places: &HashMap<String, usize>,
        known: &HashMap<String, (CommentRef, u8)>,
    ) -> Result<(String, u64, CommentPost), String> {
        let get = |name| self.get(row, places, name);
        let (clip, _) = self.clips.get(get("clip_id")).copied().ok_or("no vote names its clip")?;
        let (parent, depth) = match get("parent_comment_id") {
            "" => (0, 0),
            parent => {
                let (place, depth) = known.get(parent).ok_or("its parent is not in front of it")?;
                (place.id, depth + 1)
            }
        };
        if depth > DEPTH_MAX || known.get(get("parent_comment_id")).is_some_and(|(place, _)| place.clip != clip) {
            return Err("it answers too deep, or another clip's comment".into());
        }
        if known.contains_key(get("id")) {
            return Err("a duplicate: its id came before".into());
        }
        if matches!(get("is_deleted"), "t" | "true" | "1") {
            return Err("it is deleted".into());
        }
        let text = CommentText::new(get("comment_text")).map_err(|why| why.to_string())?;
        let post = CommentPost {
            clip,
            parent,
            depth,
            author: self.voter(get("user_id"), get("voter_key"))?,
            profile: Profile::cut(Some(get("username")), Some(get("avatar_url"))),
            text: text.as_str().to_owned(),
            held: false,
            request: None,
        };
        Ok((get("id").to_owned(), unix_ms(get("created_at")).ok_or("created_at: no time")?, post))
    }
}

fn not_written(why: &csv::Error) -> Fault {
    Fault::Io { doing: "writing the rejects".into(), why: why.to_string() }
}

/// Reads a time as Postgres writes it, RFC 3339, or Unix milliseconds.
fn unix_ms(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks: Vec<u8> = [4, 7, 10, 13, 16].iter().filter_map(|at| text.as_bytes().get(*at).copied()).collect();
    let separated = matches!(marks.as_slice(), [b'-', b'-', b' ' | b'T' | b't', b':', b':']);
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !separated || !fits || year < 1970 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        millis = format!("{:0<3.3}", &fraction[..digits]).parse().ok()?;
        rest = &fraction[digits..];
    }
    let offset = match rest {
        "" | "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
            let plain = matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes) = if plain { digits.split_at(2) } else { return None };
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().unwrap_or(0))
        }
    };
    // Days from 1970-01-01 by the civil calendar, years counted from March.
    let (shifted, place) = (year - i64::from(month <= 2), (month + 9) % 12);
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (place * 153 + 2) / 5 + day - 1 - 719_468;
    let minutes = (days * 24 + hour) * 60 + minute - offset;
    u64::try_from((minutes * 60 + second) * 1_000 + millis).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_postgres_and_others_write_them() {
        for (text, ms) in [
            ("1970-01-01 00:00:00+00", Some(0)),
            ("2023-11-14 22:13:20.123456+00", Some(1_700_000_000_123)),
            ("2023-11-14T23:13:20.5+01:00", Some(1_700_000_000_500)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            ("2024-02-29 12:00:00", Some(1_709_208_000_000)),
            ("1700000000000", Some(1_700_000_000_000)),
            ("", None),
            ("yesterday", None),
            ("2023-13-14 22:13:20", None),
            ("2023-11-14 22:13:20+x", None),
            ("1969-01-01 00:00:00", None),
        ] {
            assert_eq!(unix_ms(text), ms, "{text}");
        }
    }
}
