//! `compact` as its users run it: killed at any moment, on a store in use, on none.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use plaudit::store::{SledStore, Store};
use serde_json::Value;

use crate::running::{err, out, plaudit, run, serve};
use crate::stores::{unpack, votes};

/// Files with much in them that has gone.
fn bloat(dir: &Path) {
    for tree in ["log", "tables"] {
        let store = SledStore::open(&dir.join(tree), "tables").unwrap();
        let key = |n: u32| [b"y", n.to_be_bytes().as_slice()].concat();
        (0..500).for_each(|n| store.insert(&key(n), &vec![7; 32 * 1024]).unwrap());
        store.flush().unwrap();
        (0..500).for_each(|n| store.remove(&key(n)).unwrap());
        store.flush().unwrap();
    }
}

#[test]
fn a_killed_compaction_leaves_the_store_as_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    unpack("voids", dir);
    bloat(dir);
    let at = dir.to_str().unwrap();
    let expected = votes("voids").iter().fold(String::new(), |text, (id, votes, weight)| {
        text + &format!(
            "{id} {votes} {weight}
"
        )
    });
    for after in 0..12 {
        // The one before may have come to its end.
        if after % 4 == 3 {
            bloat(dir);
        }
        let mut child =
            plaudit().args(["compact", "--data-dir", at]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // Whatever it was doing by then.
        std::thread::sleep(Duration::from_millis(8 * after));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = run(["verify", "--data-dir", at]);
        assert_eq!((found.status.code(), out(&found)), (Some(0), expected.clone()), "{}", err(&found));
    }
    let whole = run(["compact", "--json", "--data-dir", at]);
    assert_eq!(whole.status.code(), Some(0), "{}", err(&whole));
    let came: Value = serde_json::from_str(&out(&whole)).unwrap();
    assert!(came["bytesAfter"].as_u64() <= came["bytesBefore"].as_u64(), "{came}");
    assert_eq!(out(&run(["verify", "--data-dir", at])), expected);
    let server = serve(dir, &[]);
    let busy = run(["compact", "--data-dir", at]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(err(&busy).contains("is in use by another process"), "{}", err(&busy));
    server.stop();
}

#[test]
fn without_a_store_there_is_nothing_to_compact() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("none");
    let none = run(["compact", "--data-dir", dir.to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("there is no store in") && !dir.exists());
}
