//! Directories that are filled, cut short anywhere and gone on with: what comes out is what comes out of none that was cut.

use std::fs;
use std::path::Path;

use super::*;
use crate::jobs::export::rows::{Cell, Column, Rows};
use crate::jobs::export::{Format, hex, read_manifest, writing};

/// Rows of a test's table.
const ROWS: u64 = 40;

fn manifest(format: Format) -> Manifest {
    let (chain, store, voter_key) = (String::new(), "one".into(), String::new());
    Manifest { plaudit_export: 1, sequence: 1, chain, store, voter_key, format, pseudonymous: true, tables: Vec::new() }
}

fn open(dir: &Path, format: Format) -> Folder {
    Folder::open(dir, manifest(format), "state").unwrap().noting_every(300)
}

fn cut() -> Fault {
    Fault::Setting("no more came".into())
}

/// Writes a table of rows that are not alike; breaks off behind so many. `see` is told of each.
fn write(format: Format, out: &mut dyn RowSink, breaks: Option<u64>, see: &mut dyn FnMut(u64)) -> Result<u64, Fault> {
    let columns = [Column::number("n"), Column::text("text")];
    let mut rows = Rows::new(format, &columns, out).map_err(|why| writing(&why))?;
    for n in 0..ROWS {
        if breaks == Some(n) {
            return Err(cut());
        }
        let text = format!("\"{n}\"\n{}", "x".repeat(usize::try_from(n * 7 % 90).unwrap()));
        rows.row(&[Cell::Number(n), Cell::Text(&text)]).map_err(|why| writing(&why))?;
        see(n);
    }
    rows.end().map_err(|why| writing(&why))
}

/// Fills what is missing, and finishes.
fn fill(mut folder: Folder, format: Format) -> Manifest {
    while let Some(table) = folder.next() {
        folder.put_table(table, |out| write(format, out, None, &mut |_| {})).unwrap();
    }
    folder.finish().unwrap()
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

/// What a directory is without interruption.
fn uncut(format: Format) -> (Manifest, Vec<(String, Vec<u8>)>) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = fill(open(dir.path(), format), format);
    let mut read = 0;
    let tick = &mut |bytes, all| {
        read += bytes;
        assert_eq!(all, manifest.tables.iter().map(|written| written.bytes).sum::<u64>());
    };
    assert_eq!(read_manifest(dir.path(), tick).unwrap(), manifest);
    assert_eq!(read, manifest.tables.iter().map(|written| written.bytes).sum::<u64>());
    let files = files(dir.path());
    assert_eq!(files.len(), 8, "seven tables and the manifest");
    for written in &manifest.tables {
        let bytes = &files.iter().find(|(name, _)| *name == written.file).unwrap().1;
        let hash = hex(blake3::hash(bytes).as_bytes());
        assert_eq!((written.rows, written.bytes, &written.blake3), (ROWS, bytes.len() as u64, &hash));
    }
    (manifest, files)
}

/// Rows that are sure of the table under way.
fn sure(dir: &Path) -> u64 {
    let begun = Begun::find(dir).unwrap();
    begun.place().unwrap().1.unwrap().rows
}

#[test]
fn a_table_that_is_broken_off_anywhere_comes_out_as_if_it_was_not() {
    for format in Format::ALL {
        let wanted = uncut(format);
        for breaks in 0..ROWS {
            let dir = tempfile::tempdir().unwrap();
            let mut folder = open(dir.path(), format);
            folder.put_table(Table::Seasons, |out| write(format, out, None, &mut |_| {})).unwrap();
            let broken = folder.put_table(Table::Slots, |out| write(format, out, Some(breaks), &mut |_| {}));
            assert!(broken.unwrap_err().to_string().contains("no more came"));
            assert!(!folder.has(Table::Slots) && !dir.path().join(Table::Slots.file(format)).exists());
            drop(folder);
            // All but what was gathered: 300 bytes, of which ten rows have more.
            let sure = sure(dir.path());
            let wanted_sure = if format == Format::Parquet { 0 } else { breaks.saturating_sub(10) };
            assert!((wanted_sure..=breaks).contains(&sure), "{sure} of {breaks} rows");
            assert_eq!((fill(open(dir.path(), format), format), files(dir.path())), wanted, "behind row {breaks}");
        }
    }
}

/// Whatever a killed process leaves: the notes as they were, and of the part what is on the disk.
#[test]
fn what_a_kill_or_a_power_cut_leaves_is_gone_on_with() {
    for format in [Format::Jsonl, Format::Csv] {
        let wanted = uncut(format);
        let (dir, images) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let part = format!("{}{PART}", Table::Seasons.file(format));
        let mut folder = open(dir.path(), format);
        let is_noted = || fs::read_to_string(dir.path().join(BEGUN)).unwrap().contains("\"part\"");
        let image = |n: u64| {
            // Another thread notes, in its own time; how far it is by some row is nobody's promise.
            for _ in (0..200).take_while(|_| n > 12 && !is_noted()) {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            let image = images.path().join(n.to_string());
            fs::create_dir(&image).unwrap();
            // In this order: the notes of before, and a part that may have grown since.
            fs::copy(dir.path().join(BEGUN), image.join(BEGUN)).unwrap();
            fs::copy(dir.path().join(&part), image.join(&part)).unwrap();
        };
        folder.put_table(Table::Seasons, |out| write(format, out, None, &mut |n| image(n))).unwrap();
        let mut furthest = 0;
        for n in 0..ROWS {
            let image = images.path().join(n.to_string());
            let notes: Notes = serde_json::from_slice(&fs::read(image.join(BEGUN)).unwrap()).unwrap();
            let sure = notes.part.as_ref().map_or(0, |part| part.bytes);
            furthest = furthest.max(sure);
            let mut bytes = fs::read(image.join(&part)).unwrap();
            // What was not synced: there, gone, or something else.
            match n % 3 {
                0 => {}
                1 => bytes.truncate(usize::try_from(sure).unwrap()),
                _ => bytes[usize::try_from(sure).unwrap()..].fill(0),
            }
            fs::write(image.join(&part), bytes).unwrap();
            assert_eq!(self::sure(&image), notes.part.map_or(0, |part| part.rows));
            assert_eq!((fill(open(&image, format), format), files(&image)), wanted, "killed at row {n}");
        }
        assert!(furthest > 300, "notes were made on the way");
    }
}

#[test]
fn a_table_that_is_whole_but_for_its_name_is_given_it() {
    let (format, wanted) = (Format::Parquet, uncut(Format::Parquet));
    let dir = tempfile::tempdir().unwrap();
    let mut folder = open(dir.path(), format);
    folder.put_table(Table::Seasons, |out| write(format, out, None, &mut |_| {})).unwrap();
    drop(folder);
    let path = dir.path().join("seasons.parquet");
    fs::rename(&path, dir.path().join(format!("seasons.parquet{PART}"))).unwrap();
    let folder = open(dir.path(), format);
    assert!(folder.has(Table::Seasons) && path.exists());
    assert_eq!((fill(folder, format), files(dir.path())), wanted);
}

#[test]
fn a_part_that_is_not_what_was_noted_begins_anew() {
    let (format, wanted) = (Format::Jsonl, uncut(Format::Jsonl));
    for damage in [|bytes: &mut Vec<u8>| bytes[3] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(500), Vec::clear] {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = open(dir.path(), format);
        folder.put_table(Table::Seasons, |out| write(format, out, Some(30), &mut |_| {})).unwrap_err();
        drop(folder);
        assert!(sure(dir.path()) > 10);
        let part = dir.path().join(format!("seasons.jsonl{PART}"));
        let mut bytes = fs::read(&part).unwrap();
        damage(&mut bytes);
        fs::write(&part, bytes).unwrap();
        assert_eq!(sure(dir.path()), 0);
        assert_eq!((fill(open(dir.path(), format), format), files(dir.path())), wanted);
    }
}

#[test]
fn another_state_begins_anew_and_another_export_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let mut folder = open(dir, Format::Jsonl);
    folder.put_table(Table::Seasons, |out| write(Format::Jsonl, out, None, &mut |_| {})).unwrap();
    let refused = |manifest: Manifest| Folder::open(dir, manifest, "state").unwrap_err().to_string();
    assert!(refused(manifest(Format::Jsonl)).contains("another export is filling"));
    drop(folder);
    let why = refused(manifest(Format::Csv));
    assert!(why.contains("was begun with --format jsonl and with --pseudonymous"), "{why}");
    let why = refused(Manifest { pseudonymous: false, ..manifest(Format::Jsonl) });
    assert!(why.contains("go on with those, or name another directory"), "{why}");
    let why = refused(Manifest { store: "two".into(), ..manifest(Format::Jsonl) });
    assert!(why.contains("another store"), "{why}");
    let why = read_manifest(dir, &mut |_, _| {}).unwrap_err().to_string();
    assert!(why.contains("not whole: run the same `plaudit export` again"), "{why}");
    assert!(open(dir, Format::Jsonl).has(Table::Seasons), "nothing was touched");

    let folder = Folder::open(dir, manifest(Format::Jsonl), "another state").unwrap();
    assert!(!folder.has(Table::Seasons) && !dir.join("seasons.jsonl").exists());
    assert!(folder.finish().unwrap_err().to_string().contains("seasons are missing"));
    // Notes of a version that knew no states, or that nobody can read: anew, and nothing of before is left.
    for notes in [serde_json::to_vec(&manifest(Format::Jsonl)).unwrap(), b"{}".to_vec()] {
        fs::write(dir.join(BEGUN), notes).unwrap();
        fs::write(dir.join("secrets.toml"), "told").unwrap();
        fs::write(dir.join(format!("votes.csv{PART}")), "half").unwrap();
        drop(open(dir, Format::Jsonl));
        assert_eq!(files(dir).len(), 1, "{:?}", files(dir));
    }
    fill(open(dir, Format::Jsonl), Format::Jsonl);
    assert!(refused(manifest(Format::Jsonl)).contains("holds an export already"));
    // Killed with its first notes half written; and what is no export's.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join(format!("{BEGUN}{PART}")), "{").unwrap();
    drop(open(other.path(), Format::Jsonl));
    fs::remove_file(other.path().join(BEGUN)).unwrap();
    fs::write(other.path().join("votes.jsonl"), "mine").unwrap();
    let why = Folder::open(other.path(), manifest(Format::Jsonl), "state").unwrap_err().to_string();
    assert!(why.contains("is not empty"), "{why}");
}

#[test]
fn what_was_there_before_goes_in_front_of_new_notes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(BEGUN), "nobody can read these").unwrap();
    fs::write(dir.path().join("seasons.jsonl"), "rows of before").unwrap();
    // It can't be removed, as by one who was killed in front of that.
    fs::create_dir(dir.path().join("secrets.toml")).unwrap();
    let refused = Folder::open(dir.path(), manifest(Format::Jsonl), "state").unwrap_err().to_string();
    assert!(refused.contains("removing secrets.toml"), "{refused}");
    assert_eq!(Begun::find(dir.path()).unwrap().place(), None, "no notes that the secrets would stay beside");
    fs::remove_dir(dir.path().join("secrets.toml")).unwrap();
    fs::write(dir.path().join("secrets.toml"), "secret").unwrap();
    fill(open(dir.path(), Format::Jsonl), Format::Jsonl);
    assert!(files(dir.path()) == uncut(Format::Jsonl).1);
}

#[test]
fn notes_lead_nowhere_else() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("out");
    let mut folder = open(&dir, Format::Jsonl);
    folder.put_table(Table::Seasons, |out| write(Format::Jsonl, out, None, &mut |_| {})).unwrap();
    drop(folder);
    let notes = fs::read_to_string(dir.join(BEGUN)).unwrap();
    let rows = fs::read(dir.join("seasons.jsonl")).unwrap();
    fs::write(dir.join(BEGUN), notes.replace("seasons.jsonl", "../stranger")).unwrap();
    fs::write(scratch.path().join(format!("stranger{PART}")), &rows).unwrap();
    let begun = Begun::find(&dir).unwrap();
    assert_eq!(begun.place().unwrap().1.unwrap().table, Table::Seasons, "it is written again");
    assert!(scratch.path().join(format!("stranger{PART}")).exists(), "and nothing out there is renamed");
}
