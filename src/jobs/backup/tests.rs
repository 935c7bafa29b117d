//! Files of backups, added to, cut short and changed.

use std::fs::OpenOptions;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::codec;

type Model = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

fn record(value: u8) -> Vec<u8> {
    codec::record(codec::Kind::Mark, b"k", &value)
}

fn back_up(path: &Path, model: &Model, sequence: u64, cut: Option<usize>) -> Option<BackupEnd> {
    let mut file = BackupFile::open(path).unwrap();
    let head = BackupHead { plaudit_backup: 1, store: "s".into(), voter_key: "v".into() };
    file.take(Piece::Head(head)).unwrap();
    file.take(Piece::Secrets(b"secret")).unwrap();
    for (at, (key, value)) in model.iter().enumerate() {
        if cut == Some(at) {
            file.frames.flush().unwrap();
            return None;
        }
        file.take(Piece::Put("tables", key, value)).unwrap();
    }
    let end = BackupEnd { sequence, records: model.len() as u64, ..BackupEnd::default() };
    file.take(Piece::End(end)).unwrap()
}

fn restored(path: &Path) -> (Model, u64) {
    let mut model = Model::new();
    let backup = FinishedBackup::look(path, &mut |_| {}).unwrap();
    let apply = &mut |piece: Piece<'_>, _| {
        match piece {
            Piece::Put("tables", key, value) => drop(model.insert(key.into(), value.into())),
            Piece::Gone("tables", key) => drop(model.remove(key)),
            _ => {}
        }
        Ok(())
    };
    backup.each(Place::default(), &mut |_| {}, apply).unwrap();
    (model, backup.end.sequence)
}

fn is_refused(path: &Path) -> bool {
    FinishedBackup::look(path, &mut |_| {}).is_err()
}

/// How many bytes of the file the last finished backup ends at.
fn finished(path: &Path) -> u64 {
    let (mut frames, mut at) = (Frames::default(), 0);
    for byte in std::fs::read(path).unwrap() {
        let before = frames.ends;
        frames.take(&[byte], &mut |_| Ok(())).unwrap();
        at = if frames.ends > before { frames.place.bytes } else { at };
    }
    at
}

proptest! {
    /// However often a file is added to, and whichever of these were cut short: it holds what the last finished one held.
    #[test]
    fn a_file_holds_its_last_finished_backup(
        stages in prop::collection::vec((prop::collection::btree_map(0_u8..30, 0_u8..3, 0..30), any::<Option<u8>>(), 0_u8..60), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let mut last: Option<(Model, u64)> = None;
        for (sequence, (model, cut, torn)) in (1..).zip(stages) {
            let model: Model = model.into_iter().map(|(key, value)| (vec![b'v', key], record(value))).collect();
            let cut = cut.map(usize::from).filter(|cut| *cut < model.len());
            if let Some(end) = back_up(&path, &model, sequence, cut) {
                prop_assert!(end.written <= model.len() as u64);
                last = Some((model, sequence));
            } else {
                // And within a frame of what was not finished.
                let long = std::fs::metadata(&path).unwrap().len();
                let unfinished = long - finished(&path);
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(long - unfinished.min(torn.into())).unwrap();
            }
            match &last {
                Some(last) => prop_assert_eq!(&restored(&path), last),
                None => prop_assert!(is_refused(&path)),
            }
        }
    }

    #[test]
    fn a_changed_byte_is_noticed(at: prop::sample::Index, bit in 0_u8..8) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let model: Model = (0..9).map(|key| (vec![b'v', key], record(key))).collect();
        back_up(&path, &model, 7, None);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(is_refused(&path));
    }
}

/// Of a file whose end is damaged the backup before it is taken; of one that can't be read none is, for it may be well.
#[test]
fn an_older_backup_stands_in_for_a_damaged_one_and_not_for_one_that_cannot_be_read() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let mut model: Model = (0..9).map(|key| (vec![b'v', key], record(key))).collect();
    back_up(&path, &model, 7, None);
    let first = usize::try_from(finished(&path)).unwrap();
    model.insert(vec![b'v', 1], record(99));
    back_up(&path, &model, 9, None);
    let mut bytes = std::fs::read(&path).unwrap();
    let unread = FinishedBackup::look_in(&mut bytes[..first + 30].chain(Failing), &path, &mut |_| {});
    assert!(matches!(unread, Err(Fault::Io { .. })), "{unread:?}");
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = FinishedBackup::look_in(&mut bytes.as_slice(), &path, &mut |_| {}).unwrap();
    assert_eq!((damaged.end.sequence, damaged.left.is_some()), (7, true));
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let mut model: Model = (0..200).map(|key| (vec![b'v', key], record(key))).collect();
    assert_eq!(back_up(&path, &model, 7, None).unwrap().written, 200);
    model.insert(vec![b'v', 3], record(99));
    model.remove(&vec![b'v', 4]);
    let end = back_up(&path, &model, 9, None).unwrap();
    assert_eq!((end.records, end.written, end.gone), (199, 1, 1));
    assert_eq!(restored(&path), (model, 9));
}

#[test]
fn what_is_no_backup_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let long = "A letter of more than a frame's header.\n".repeat(9);
    for text in ["x", "milk\nbread\n", "\0\0\0\u{1}notes", &long] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(BackupFile::open(&path), Err(Fault::Setting(_))), "{text:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    // But one that was cut short within its first frame is begun again.
    let model = Model::from([(b"k".to_vec(), record(1))]);
    std::fs::remove_file(&path).unwrap();
    back_up(&path, &model, 1, None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in [3, 5, 20, 30] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        back_up(&path, &model, 1, None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn two_at_once_do_not_write_into_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b");
    let first = BackupFile::open(&path).unwrap();
    let why = BackupFile::open(&path).unwrap_err().to_string();
    assert!(why.contains("another backup"), "{why}");
    drop(first);
    BackupFile::open(&path).unwrap();
}
