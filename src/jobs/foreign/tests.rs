//! Another site's tables, on a disk that fails: whatever was in the log when it was cut, the end is the same.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fold::Mark;
use crate::log::{block, recover};
use crate::store::{FaultyDisk, Store};

mod oddities;

const STORE: [u8; 16] = [1; 16];

/// Files of two slots, with rows of each kind that is not taken, and with answers.
struct Files {
    scratch: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { scratch: tempfile::tempdir().unwrap() };
        let mut votes = "clip_id,voter_key,user_id,vote_weight,vote_type,slot_position,flagged,created_at\n".to_owned();
        for n in 0..60 {
            let (clip, slot) = (n % 7, n % 7 % 2 + 1);
            let weight = if n % 11 == 3 { "none" } else { "1" };
            writeln!(votes, "c{clip},k{},,{weight},standard,{slot},f,{}", n % 23, 1_700_000_000_000_u64 + n).unwrap();
        }
        let mut comments = "id,clip_id,user_id,username,comment_text,parent_comment_id,created_at\n".to_owned();
        for n in 0..30_u64 {
            let parent = if n % 3 == 2 { format!("m{}", n - 1) } else { String::new() };
            let text = if n % 8 == 5 { "" } else { "\"hear, hear\"" };
            writeln!(comments, "m{n},c{},u{n},Ada,{text},{parent},{}", n / 3 % 7, 1_700_000_100_000 + n).unwrap();
        }
        fs::write(files.path("votes"), votes).unwrap();
        fs::write(files.path("comments"), comments).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.csv"))
    }

    /// A run over the stores as they are; with what was taken, the rejects, and the events that it was told are kept.
    fn import(&self, log: Arc<dyn Store>, tables: Arc<dyn Store>) -> Result<(Taken, Vec<u8>, Vec<u64>), Fault> {
        let to = Appender::open(log, tables, block::genesis(STORE))?.from_first()?.in_steps_of(3, 5);
        let (mut rejects, mut kept) = (Vec::new(), Vec::new());
        let hear = Box::new(|heard| {
            if let Heard::Kept(last) = heard {
                kept.push(last);
            }
            Ok(())
        });
        let (season, key) = (SeasonId::new("s").unwrap(), VoterKey::new([3; 32]));
        let mut foreign = Foreign::new(season, key, BTreeMap::new(), Some(to), Box::new(&mut rejects), hear)?;
        foreign.votes(&self.path("votes"))?;
        foreign.comments(&self.path("comments"))?;
        let (taken, _) = foreign.finish()?;
        Ok((taken, rejects, kept))
    }
}

/// Where it all ends: the log's chain is over every event, and over where its blocks begin.
fn end_of(disk: &FaultyDisk) -> Mark {
    recover(disk.open("log").as_ref(), disk.open("tables"), block::genesis(STORE)).unwrap().end
}

fn run(files: &Files, disk: &FaultyDisk) -> Result<(Taken, Vec<u8>, Vec<u64>), Fault> {
    files.import(disk.open("log"), disk.open("tables"))
}

fn uncut(files: &Files) -> (Taken, Vec<u8>, Mark) {
    let disk = FaultyDisk::new(0);
    let (taken, rejects, kept) = run(files, &disk).unwrap();
    assert!(kept.len() > 5 && kept.is_sorted(), "{kept:?}");
    assert!(taken.votes > 30 && taken.comments > 10 && taken.rejected > 10, "{taken:?}");
    disk.crash(1);
    (taken, rejects, end_of(&disk))
}

#[test]
fn an_import_cut_at_any_write_is_in_the_end_what_an_uncut_one_is() {
    let files = Files::new();
    let (taken, rejects, end) = uncut(&files);
    let (mut cuts, mut went_on) = (0_u64, 0);
    loop {
        let disk = FaultyDisk::new(cuts);
        disk.fail_at(cuts + 1);
        let ended = run(&files, &disk).is_ok();
        disk.crash(cuts);
        if ended {
            break;
        }
        went_on += u64::from(end_of(&disk).seq > 0);
        let again = run(&files, &disk).unwrap();
        disk.crash(cuts + 1);
        assert_eq!((again.0, again.1, end_of(&disk)), (taken, rejects.clone(), end), "cut at write {cuts}");
        let problems = problems(&disk, taken);
        assert!(problems.is_empty(), "cut at write {cuts}: {problems:?}");
        cuts += 1;
    }
    assert!(cuts > 100 && went_on > cuts / 2, "{went_on} of {cuts}");
}

/// The log's tail is in the tables; the counts there are what the events say.
fn problems(disk: &FaultyDisk, taken: Taken) -> Vec<String> {
    let found = recover(disk.open("log").as_ref(), disk.open("tables"), block::genesis(STORE)).unwrap();
    let (mut votes, mut problems) = (0, Vec::new());
    found.tables.each_total(|_, of, _| votes += of).unwrap();
    let mut comments = 0;
    found
        .tables
        .each_comment(|_| {
            comments += 1;
            Ok(())
        })
        .unwrap();
    if found.tail != 0 {
        problems.push(format!("{} events in the tail", found.tail));
    }
    if (votes, comments) != (taken.votes, taken.comments) {
        problems.push(format!("{votes} votes, {comments} comments"));
    }
    problems
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Cut again and again, each time with more or less kept of either store.
    #[test]
    fn an_import_may_be_cut_any_number_of_times(cuts in prop::collection::vec((1_u64..150, any::<u64>()), 0..7)) {
        let files = Files::new();
        let (taken, rejects, end) = uncut(&files);
        let disk = FaultyDisk::new(1);
        for (k, seed) in cuts {
            disk.fail_at(k);
            let _cut_or_not = run(&files, &disk);
            disk.crash(seed);
        }
        let again = run(&files, &disk).unwrap();
        disk.crash(3);
        prop_assert_eq!((again.0, again.1, end_of(&disk)), (taken, rejects, end));
    }
}

#[test]
fn other_events_than_the_logs_are_found_at_the_seam() {
    let files = Files::new();
    let disk = FaultyDisk::new(1);
    run(&files, &disk).unwrap();
    let comments = fs::read_to_string(files.path("comments")).unwrap();
    // Another last one; and one less.
    let changed = comments.replace("m28,c2,u28", "m28,c2,u99");
    assert_ne!(changed, comments);
    let cut = comments.split_once("m28,").unwrap().0;
    for (text, why) in [(changed.as_str(), "is not the one"), (cut, "were given")] {
        fs::write(files.path("comments"), text).unwrap();
        let failed = run(&files, &disk).unwrap_err();
        assert!(matches!(&failed, Fault::Inconsistent { .. }) && failed.to_string().contains(why), "{failed}");
    }
}

#[test]
fn what_decides_the_events_is_in_the_name() {
    let files = Files::new();
    let season = |text| SeasonId::new(text).unwrap();
    let map =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<BTreeMap<_, _>>();
    let (votes, comments) = (files.path("votes"), files.path("comments"));
    let both = [Some(votes.as_path()), Some(comments.as_path())];
    let name = |season: &SeasonId, map: &BTreeMap<String, String>, of: &[Option<&Path>]| {
        name(season, map, of, &mut |_| {}).unwrap().0
    };
    let plain = name(&season("s"), &map(&[]), &both);
    assert_eq!(plain, name(&season("s"), &map(&[]), &both));
    let mut names = vec![
        plain,
        name(&season("t"), &map(&[]), &both),
        name(&season("s"), &map(&[("id", "no")]), &both),
        name(&season("s"), &map(&[("no", "id")]), &both),
        name(&season("s"), &map(&[]), &[Some(&votes), None]),
        name(&season("s"), &map(&[]), &[Some(&comments), Some(&votes)]),
    ];
    let mut file = fs::OpenOptions::new().append(true).open(&votes).unwrap();
    file.write_all(b"\n").unwrap();
    names.push(name(&season("s"), &map(&[]), &both));
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn only_a_file_without_rows_may_be_written_over_by_anyone() {
    for (text, rows) in [
        ("", RowsIn::None),
        ("file,li", RowsIn::None),
        ("file,line,reason\n", RowsIn::None),
        ("file,line,reason\nvotes.csv,3,so\n", RowsIn::Rejects),
        ("file,line,reasons\n", RowsIn::Others),
        ("milk\n", RowsIn::Others),
    ] {
        assert_eq!(rows_in(&mut text.as_bytes()).unwrap(), rows, "{text:?}");
    }
}
