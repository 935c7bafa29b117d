//! A sound store in memory that grows, and what it is exported and backed up as.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::records::read_records;
use super::super::*;
use crate::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Event, Season, SeasonId, SeasonNo, Slot, SlotNo, Vote, VoteKind, VoterId,
};
use crate::jobs::backup::{BackupEnd, BackupFile, BackupHead, FinishedBackup, Piece};
use crate::jobs::export::{Format, Manifest, Table, Written};
use crate::store::MemoryStore;

pub(super) const STORE: [u8; 16] = [1; 16];
pub(super) const KEY: [u8; 16] = [2; 16];
pub(super) const SECRET: &[u8] = b"the secrets";
const NOON: u64 = 1_700_000_000_000;

/// By tree and key.
pub(super) type Records = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

pub(super) struct Origin {
    log: Arc<MemoryStore>,
    tables: Arc<MemoryStore>,
    pub(super) last: Seq,
    voters: u8,
}

impl Origin {
    pub(super) fn new() -> Self {
        let store = |name| MemoryStore::new(name, 1 << 24);
        let mut origin = Self { log: store("log"), tables: store("tables"), last: 0, voters: 0 };
        let clips = (0..40).map(|no| {
            let id = ClipId::new(&format!("clip-{no}")).unwrap();
            let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
            Event::ClipAdded(Box::new(Clip { no: ClipNo(no), slot: SlotNo(0), id, draft }))
        });
        let season = Season { no: SeasonNo(0), id: SeasonId::new("s").unwrap(), name: "Season".into() };
        let mut events = vec![
            Event::SeasonCreated(season),
            Event::SlotCreated(Slot { no: SlotNo(0), season: SeasonNo(0), position: 1 }),
        ];
        events.extend(clips);
        events.push(Event::SlotOpened { slot: SlotNo(0), ends_at: None, hidden: false });
        origin.add(events);
        origin
    }

    /// More of everything: what was the log's last block goes, pages change, others come.
    pub(super) fn grow(&mut self) {
        let events = (self.voters..self.voters + 40).map(|n| {
            let (clip, weight) = (ClipNo(u32::from(n) % 40), 1);
            let voter = VoterId([n; 16]);
            Event::Voted(Vote { voter, clip, slot: SlotNo(0), kind: VoteKind::Standard, weight, day: 19_675 })
        });
        self.voters += 40;
        self.add(events.collect());
    }

    fn add(&mut self, events: Vec<Event>) {
        let mut appender =
            Appender::open(Arc::clone(&self.log) as _, Arc::clone(&self.tables) as _, block::genesis(STORE)).unwrap();
        for event in events {
            appender.add(NOON, event).unwrap().unwrap();
        }
        self.last = appender.finish().unwrap();
    }

    pub(super) fn records(&self) -> Records {
        records_of(&[&*self.log, &*self.tables])
    }

    /// An export of it, as far as an import reads one.
    pub(super) fn export(&self, dir: &Path) -> Manifest {
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let mut text = String::new();
        let records = self.records();
        for ((tree, key), record) in &records {
            let (key, record) = (hex(key), BASE64_STANDARD.encode(record));
            writeln!(text, r#"{{"tree":"{tree}","key":"{key}","record":"{record}"}}"#).unwrap();
        }
        let file = "records.jsonl".to_owned();
        fs::write(dir.join(&file), &text).unwrap();
        let (rows, bytes) = (records.len() as u64, text.len() as u64);
        let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
        Manifest {
            plaudit_export: 1,
            sequence: self.last,
            chain: String::new(),
            store: hex(&STORE),
            voter_key: hex(&KEY),
            format: Format::Jsonl,
            pseudonymous: false,
            tables: vec![Written { table: Table::Records, file, rows, bytes, blake3 }],
        }
    }

    /// Adds a backup of it to a file; says how many records had gone.
    pub(super) fn back_up(&self, path: &Path) -> u64 {
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let mut file = BackupFile::open(path).unwrap();
        let head = BackupHead { plaudit_backup: 1, store: hex(&STORE), voter_key: hex(&KEY) };
        file.take(Piece::Head(head)).unwrap();
        file.take(Piece::Secrets(SECRET)).unwrap();
        let records = self.records();
        for ((tree, key), record) in &records {
            file.take(Piece::Put(tree, key, record)).unwrap();
        }
        let end = BackupEnd { sequence: self.last, records: records.len() as u64, ..BackupEnd::default() };
        file.take(Piece::End(end)).unwrap().unwrap().gone
    }
}

fn records_of(stores: &[&dyn Store]) -> Records {
    let mut all = Records::new();
    for store in stores {
        store
            .scan(&[], &[0xff; 9], &mut |key, record| {
                all.insert((store.name(), key.to_vec()), record.to_vec());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
    }
    all
}

/// The records of what is a store: it opens as one, and nothing of its making is left.
pub(super) fn records_in(dir: &Path) -> Records {
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("RESTORING")), "{left:?}");
    let home = Home::open_existing(dir).unwrap();
    records_of(&[home.log().as_ref(), home.tables().as_ref()])
}

/// One run, cut behind so many records; says whether it came to the end.
pub(super) fn import(from: &Path, manifest: &Manifest, to: &Path, every: usize, cut_behind: u64) -> bool {
    let mut building = Building::begin(to, Begun::of_export(to, manifest).unwrap()).unwrap();
    (building.filling.every, building.filling.pace) = (every, Pace::always());
    let mut taken = 0;
    let records = &manifest.tables[0];
    let came = read_records(&from.join(&records.file), building.place(), &mut |tree, key, record, place| {
        if taken == cut_behind {
            return Err(cut());
        }
        taken += 1;
        building.put(tree, key, record)?;
        building.reached(place)
    });
    if building.sound(came).is_err() {
        return false;
    }
    building.finish(manifest.sequence, Some(records.rows), SECRET).unwrap();
    true
}

/// The same of a file of backups, cut behind so many pieces.
pub(super) fn restore(from: &Path, to: &Path, every: usize, cut_behind: u64) -> bool {
    let backup = FinishedBackup::look(from, &mut |_| {}).unwrap();
    let mut building = Building::begin(to, Begun::of_backup(to, &backup).unwrap()).unwrap();
    (building.filling.every, building.filling.pace) = (every, Pace::always());
    let mut left = cut_behind;
    // As take_backup has it, but for the cut.
    building.note(|begun| begun.source = backup.name()).unwrap();
    let came = backup.each(building.place(), &mut |_| {}, &mut |piece, place| {
        if left == 0 {
            return Err(cut());
        }
        left -= 1;
        building.apply(&piece)?;
        building.reached(place)
    });
    if building.sound(came).is_err() {
        return false;
    }
    assert_eq!(backup.secrets, SECRET);
    building.finish(backup.end.sequence, Some(backup.end.records), &backup.secrets).unwrap();
    true
}

/// What ends a run of a test.
fn cut() -> Fault {
    Fault::Io { doing: "being cut".into(), why: "short".into() }
}
