//! `upgrade-check` on the kept stores of older programs: what it says, that it changes nothing, and that a server of this
//! version takes each over with every vote that is in it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use plaudit::codec::{self, Kind};
use plaudit::store::{SledStore, Store};
use serde_json::Value;

use crate::running::{err, out, run, serve};
use crate::stores::{KEPT, make_missing, unpack, votes};

fn checked(dir: &Path, code: i32) -> Value {
    let ended = run(["upgrade-check", "--json", "--data-dir", dir.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(code), "{}{}", out(&ended), err(&ended));
    serde_json::from_str(&out(&ended)).unwrap()
}

fn verified(dir: &Path) -> Vec<(String, u64, u64)> {
    let ended = run(["verify", "--json", "--data-dir", dir.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(0), "{}{}", out(&ended), err(&ended));
    let found: Value = serde_json::from_str(&out(&ended)).unwrap();
    let row = |row: &Value| {
        (row["id"].as_str().unwrap().to_owned(), row["votes"].as_u64().unwrap(), row["weight"].as_u64().unwrap())
    };
    found["clips"].as_array().unwrap().iter().map(row).collect()
}

fn list(found: &Value, name: &str) -> String {
    let texts: Vec<&str> = found[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    texts.join("\n")
}

fn here(found: &Value) -> Vec<&str> {
    let gained = found["gained"].as_array().unwrap();
    gained.iter().filter(|gain| gain["here"] == true).map(|gain| gain["what"].as_str().unwrap()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every record of a store that nobody has open.
fn records(dir: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    let store = SledStore::open(dir, "tables").unwrap();
    let each = &mut |key: &[u8], value: &plaudit::store::Value| {
        all.insert(key.to_vec(), value.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    store.scan(&[0], &[0xff; 9], each).unwrap();
    all
}

/// What the kept stores have in them, and what a start is said to do with it.
fn expected(name: &str) -> (u64, &'static [&'static str], &'static [&'static str]) {
    match name {
        "first" => {
            (7, &[], &["7 events", "3 slots in their first form", "1 closed slots are sorted", "37 votes of before"])
        }
        "comments" => (0, &["comments"], &["3 slots in their first form", "1 closed slots", "44 votes of before"]),
        "rounds" => (
            0,
            &["comments", "how rounds end", "closed slots' sorted ballots", "votes by the minute"],
            &["log.new/ is left", "2 copies go", "1 closed slots are sorted", "pages of sorted ballots go"],
        ),
        "origins" => (
            0,
            &[
                "comments",
                "how rounds end",
                "closed slots' sorted ballots",
                "votes by the minute",
                "where votes came from",
            ],
            &[],
        ),
        "voids" => (
            0,
            &[
                "comments",
                "how rounds end",
                "closed slots' sorted ballots",
                "votes by the minute",
                "where votes came from",
                "votes taken out, and put back",
            ],
            &["1 voids whose votes were still searched for end without effect"],
        ),
        _ => unreachable!("no other is kept"),
    }
}

#[test]
fn kept_stores_are_read_as_they_are_and_served_on() {
    if std::env::var_os("PLAUDIT_WRITE_FIXTURES").is_some() {
        make_missing();
    }
    for name in KEPT {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        unpack(name, dir);
        let log = if name == "rounds" { "log.new" } else { "log" };
        let before =
            (names(dir), fs::read(dir.join("MARKER")).unwrap(), records(&dir.join("tables")), records(&dir.join(log)));
        let found = checked(dir, 0);
        let text = out(&run(["upgrade-check", "--data-dir", dir.to_str().unwrap()]));
        let after =
            (names(dir), fs::read(dir.join("MARKER")).unwrap(), records(&dir.join("tables")), records(&dir.join(log)));
        assert!(before == after, "{name}: a look changes nothing");

        let (tail, gained, changes) = expected(name);
        let expected = votes(name);
        assert_eq!(found["readable"], true, "{name}");
        assert_eq!(found["format"], serde_json::json!({"found": [1], "reads": 1}), "{name}");
        assert_eq!(found["tail"], tail, "{name}");
        assert_eq!(found["applied"].as_u64().unwrap() + tail, found["events"].as_u64().unwrap(), "{name}");
        assert_eq!(found["votes"], expected.iter().map(|row| row.1).sum::<u64>(), "{name}");
        assert_eq!(found["comments"], if name == "first" { 0 } else { 2 }, "{name}");
        assert_eq!(here(&found), gained, "{name}");
        for change in changes {
            assert!(list(&found, "changes").contains(change), "{name}: {change} in {found}");
            assert!(text.contains(change), "{name}: {change} in {text}");
        }
        assert_eq!(found["changes"].as_array().unwrap().len(), changes.len(), "{name}: {found}");
        let lost = list(&found, "afterwards");
        assert!(gained.iter().all(|gain| !lost.contains(gain)), "{name}: {lost}");
        assert_eq!(lost.lines().count() + gained.len(), 7, "{name}: {lost}");
        let slots = if gained.contains(&"how rounds end") { 20 } else { 5 };
        let of = |kind: u64| found["records"].as_array().unwrap().iter().find(|of| of["kind"] == kind);
        assert_eq!(of(slots).unwrap()["records"], 3, "{name}: {found}");
        assert!(of(25 - slots).is_none(), "{name}: {found}");

        let server = serve(dir, &["--rate-limit", "off", "--rounds", "manual"]);
        let token = |sub: &str| out(&run(["token", "--sub", sub, "--data-dir", dir.to_str().unwrap()]));
        let cast = |sub: &str| server.vote(token(sub).trim_end(), "clip-2").0;
        // Who voted there has voted; in one of the stores the slot is closed.
        let answers = (cast("voter-0"), cast("voter-50"));
        assert_eq!(answers, if name == "rounds" { (400, 400) } else { (409, 200) }, "{name}");
        server.stop();
        let mut expected = expected;
        if name != "rounds" {
            expected[2] = (expected[2].0.clone(), expected[2].1 + 1, expected[2].2 + 1);
        }
        assert_eq!(verified(dir), expected, "{name}");

        let mut found = checked(dir, 0);
        for _ in 0..100 {
            if !list(&found, "changes").contains("sorted") {
                break;
            }
            // A stop does not wait for that: on a busy machine it may have come before it was done.
            serve(dir, &["--rate-limit", "off", "--rounds", "manual"]).stop();
            found = checked(dir, 0);
        }
        assert_eq!((&found["tail"], &found["readable"]), (&Value::from(0), &Value::Bool(true)), "{name}");
        assert!(here(&found).contains(&"closed slots' sorted ballots"), "{name}: the start sorted them: {found}");
        assert!(!list(&found, "changes").contains("sorted"), "{name}: {found}");
        assert_eq!(here(&found).contains(&"where votes came from"), name != "rounds", "{name}: {found}");
    }
}

/// Puts a record into the tables of a store.
fn put(dir: &Path, key: &[u8], record: &[u8]) {
    let store = SledStore::open(&dir.join("tables"), "tables").unwrap();
    store.insert(key, record).unwrap();
    store.flush().unwrap();
}

#[test]
fn a_store_of_a_newer_program_is_not_taken_for_damage() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    unpack("origins", dir);
    // The next format's, with the right checksum.
    let mut record = codec::record(Kind::Bans, b"y", &1_u8);
    record[2] = codec::VERSION + 1;
    let hash = blake3::hash(&[&record[..8], b"\x01y", &record[codec::HEADER..]].concat());
    record[8..24].copy_from_slice(&hash.as_bytes()[..16]);
    put(dir, b"y", &record);
    let found = checked(dir, 1);
    assert_eq!((&found["readable"], &found["wrong"]), (&Value::Bool(false), &Value::from(1)), "{found}");
    assert_eq!(found["format"], serde_json::json!({"found": [1, 2], "reads": 1}));
    assert!(list(&found, "problems").contains("use the version of plaudit that wrote it, or a newer one"), "{found}");

    // A kind that this program does not know.
    let mut record = codec::record(Kind::Bans, b"y", &1_u8);
    record[3] = 200;
    let hash = blake3::hash(&[&record[..8], b"\x01y", &record[codec::HEADER..]].concat());
    record[8..24].copy_from_slice(&hash.as_bytes()[..16]);
    put(dir, b"y", &record);
    let found = checked(dir, 1);
    assert_eq!(found["readable"], false, "{found}");
    assert!(list(&found, "problems").contains("is of kind 200, which this program does not know"), "{found}");

    // And one that is damaged.
    record[24] ^= 1;
    put(dir, b"y", &record);
    assert!(list(&checked(dir, 1), "problems").contains("damaged record in tables"));
}

#[test]
fn a_look_needs_a_store_that_nobody_serves() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("db");
    let check = || run(["upgrade-check", "--data-dir", dir.to_str().unwrap()]);
    let none = check();
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("there is no store in") && !dir.exists(), "{}", err(&none));
    let server = serve(&dir, &[]);
    let busy = check();
    assert_eq!(busy.status.code(), Some(1));
    assert!(err(&busy).contains("is in use by another process"), "{}", err(&busy));
    server.stop();
    assert_eq!(check().status.code(), Some(0));
    fs::remove_dir_all(dir.join("log")).unwrap();
    let lost = check();
    assert!(err(&lost).contains("log is gone: restore a backup") && !dir.join("log").exists(), "{}", err(&lost));
}
