//! Whole stores carried about: exported, imported, backed up, restored. Real servers, killed in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::running::{Running, done, err, out, run, serve, verified, wait_until};

/// A token of each voter, by the store's own command.
fn token(dir: &Path, sub: &str) -> String {
    let made = run(["token", "--sub", sub, "--data-dir", dir.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    out(&made).trim_end().to_owned()
}

/// Voters `from..to` vote for the demo's clips in turn; every fourth takes it back; all of them comment.
fn load(server: &Running, dir: &Path, from: u32, to: u32) {
    for who in from..to {
        let token = token(dir, &format!("voter-{who}"));
        let clip = format!("clip-{}", who % 3 + 1);
        assert_eq!(server.vote(&token, &clip).0, 200);
        let bearer = format!("Bearer {token}");
        let bearer = [("authorization", bearer.as_str())];
        if who % 4 == 0 {
            let body = format!(r#"{{"clipId":"{clip}"}}"#);
            assert_eq!(server.ask("DELETE", "/api/vote", &bearer, &body).0, 200);
        }
        let comment = format!(r#"{{"clipId":"{clip}","content":"number {who}, \"quoted\", and more"}}"#);
        assert_eq!(server.ask("POST", "/api/comments", &bearer, &comment).0, 201);
    }
}

const ADMIN: &str = "the admin token of these tests, long enough for anyone";

fn start(dir: &Path) -> Running {
    serve(dir, &["--admin-token", ADMIN, "--rate-limit", "off", "--slow-mode", "off", "--rounds", "manual"])
}

fn rows(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_backup_of_a_killed_server_is_the_store_of_its_moment() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, file, copy) = (scratch.path().join("db"), scratch.path().join("backup"), scratch.path().join("copy"));
    let (at, file) = (dir.to_str().unwrap(), file.to_str().unwrap());
    let mut server = start(&dir);
    load(&server, &dir, 0, 12);
    let url = format!("http://{}", server.address);
    let remote = ["backup", "--json", "--to", file, "--target", &url, "--admin-token", ADMIN];
    let first: Value = serde_json::from_str(&done(&remote)).unwrap();
    assert_eq!(first["records"], first["written"]);
    load(&server, &dir, 12, 20);
    let second: Value = serde_json::from_str(&done(&remote)).unwrap();
    assert!(second["sequence"].as_u64() > first["sequence"].as_u64());
    assert!(second["written"].as_u64().unwrap() < second["records"].as_u64().unwrap(), "{second}");
    load(&server, &dir, 20, 24);
    server.signal(rustix::process::Signal::KILL);
    server.ended();
    drop(server);

    done(&["restore", "--from", file, "--data-dir", copy.to_str().unwrap()]);
    let (restored, whole) = (verified(&copy), verified(&dir));
    assert_eq!((&restored["last"], &restored["ok"]), (&second["sequence"], &Value::Bool(true)));
    assert_eq!(whole["ok"], true);
    let sum =
        |of: &Value, what: &str| of["clips"].as_array().unwrap().iter().map(|c| c[what].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum(&restored, "votes"), sum(&restored, "comments")), (15, 20));
    assert_eq!((sum(&whole, "votes"), sum(&whole, "comments")), (18, 24));

    // Nothing is written over, and the copy goes on where the backup ended: its voters are the same.
    assert_eq!(run(["restore", "--from", file, "--data-dir", at]).status.code(), Some(1));
    let server = start(&copy);
    assert_eq!(server.vote(&token(&copy, "voter-13"), "clip-2").0, 409, "it stands");
    assert_eq!(server.vote(&token(&copy, "voter-21"), "clip-1").0, 200, "it came behind the backup");
    server.stop();

    // Of the stopped store too, into the same file.
    let third: Value = serde_json::from_str(&done(&["backup", "--json", "--to", file, "--data-dir", at])).unwrap();
    assert!(third["sequence"].as_u64() > second["sequence"].as_u64());
    let again = scratch.path().join("again");
    done(&["restore", "--from", file, "--data-dir", again.to_str().unwrap()]);
    assert_eq!(verified(&again)["clips"], whole["clips"]);
}

#[test]
fn an_export_is_the_same_of_a_running_server_and_of_its_stopped_store_and_imports_exactly() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, live, still) = (scratch.path().join("db"), scratch.path().join("live"), scratch.path().join("still"));
    let copy = scratch.path().join("copy");
    let (at, to) = (dir.to_str().unwrap(), live.to_str().unwrap());
    let server = start(&dir);
    load(&server, &dir, 0, 10);
    let bearer = format!("Bearer {ADMIN}");
    let bearer = [("authorization", bearer.as_str())];
    let seasons: Value = serde_json::from_str(&server.ask("GET", "/api/seasons", &[], "").1).unwrap();
    let season = seasons["seasons"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.ask("POST", &format!("/api/admin/seasons/{season}/slots/1/lock"), &bearer, "").0, 200);
    let path = format!("/api/seasons/{season}/slots/1/certificate");
    let mut certificate = (409, String::new());
    wait_until(
        || {
            certificate = server.ask("GET", &path, &[], "");
            certificate.0 == 200
        },
        &|| "the certificate".into(),
    );
    let certificate = certificate.1;
    let url = format!("http://{}", server.address);
    let manifest: Value =
        serde_json::from_str(&done(&["export", "--json", "--to", to, "--target", &url, "--admin-token", ADMIN]))
            .unwrap();
    assert_eq!(server.ask("GET", "/api/admin/export", &[], "").0, 401);
    server.stop();
    done(&["export", "--to", still.to_str().unwrap(), "--data-dir", at]);
    for file in
        ["votes.jsonl", "comments.jsonl", "voters.jsonl", "seasons.jsonl", "slots.jsonl", "voids.jsonl", "secrets.toml"]
    {
        assert_eq!(fs::read(live.join(file)).unwrap(), fs::read(still.join(file)).unwrap(), "{file}");
    }
    let votes = rows(&live.join("votes.jsonl"));
    assert_eq!(votes.len(), 7, "those that stand in a locked slot");
    let mut by_clip: BTreeMap<String, u64> = BTreeMap::new();
    for vote in &votes {
        *by_clip.entry(vote["clip_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for clip in rows(&live.join("clips.jsonl")) {
        let counted = by_clip.get(clip["id"].as_str().unwrap()).copied().unwrap_or(0);
        assert_eq!(clip["vote_count"].as_u64(), Some(counted), "{clip}");
    }
    let comments = rows(&live.join("comments.jsonl"));
    assert_eq!(comments.len(), 10);
    assert!(comments.iter().any(|comment| comment["content"] == "number 3, \"quoted\", and more"));
    assert_eq!(rows(&live.join("voters.jsonl")).len(), 10);

    // An export that was filled is not written over.
    assert_eq!(run(["export", "--to", to, "--data-dir", at]).status.code(), Some(1));
    // A changed byte is noticed, and nothing is made.
    let changed = fs::read_to_string(still.join("comments.jsonl")).unwrap().replacen("quoted", "Quoted", 1);
    fs::write(still.join("comments.jsonl"), changed).unwrap();
    let refused = run(["import", "--from", still.to_str().unwrap(), "--data-dir", copy.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        err(&refused).contains("comments.jsonl is not what its manifest says") && !copy.exists(),
        "{}",
        err(&refused)
    );

    done(&["import", "--from", to, "--dry-run", "--data-dir", copy.to_str().unwrap()]);
    assert!(!copy.exists());
    done(&["import", "--from", to, "--data-dir", copy.to_str().unwrap()]);
    assert_eq!(verified(&copy)["last"], manifest["sequence"]);
    let file = scratch.path().join("certificate.json");
    fs::write(&file, &certificate).unwrap();
    done(&["verify", "--certificate", file.to_str().unwrap(), "--data-dir", copy.to_str().unwrap()]);
    let server = start(&copy);
    assert_eq!(server.ask("GET", &path, &[], "").1, certificate);
    server.stop();
}

#[test]
fn a_pseudonymous_export_tells_neither_secrets_nor_names_and_csv_reads_as_csv() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, to) = (scratch.path().join("db"), scratch.path().join("out"));
    let server = start(&dir);
    load(&server, &dir, 0, 5);
    let url = format!("http://{}", server.address);
    let at = to.to_str().unwrap();
    done(&["export", "--pseudonymous", "--format", "csv", "--to", at, "--target", &url, "--admin-token", ADMIN]);
    server.stop();
    assert!(!to.join("secrets.toml").exists() && !to.join("records.jsonl").exists());
    let mut votes = csv::Reader::from_path(to.join("votes.csv")).unwrap();
    assert_eq!(votes.records().map(|row| row.unwrap().len()).collect::<Vec<_>>(), [15; 7], "two taken back among them");
    let mut voters = csv::Reader::from_path(to.join("voters.csv")).unwrap();
    assert!(voters.records().all(|row| row.unwrap()[1].is_empty()), "no name that others see");
    let refused = run(["import", "--from", at, "--data-dir", scratch.path().join("x").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("a pseudonymous export can't be imported"), "{}", err(&refused));
    // One that was cut short begins anew where the store has moved on, and goes on where it has not.
    let begun = scratch.path().join("begun");
    fs::create_dir(&begun).unwrap();
    fs::write(begun.join(".begun.json"), "{}").unwrap();
    fs::write(begun.join("votes.jsonl.part"), "half").unwrap();
    done(&["export", "--to", begun.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()]);
    assert!(rows(&begun.join("votes.jsonl")).len() == 7 && !begun.join(".begun.json").exists());
    assert!(!begun.join("votes.jsonl.part").exists());
}

#[test]
fn another_sites_tables_become_a_store_and_what_cannot_be_taken_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let votes = "clip,voter_key,user_id,vote_weight,vote_type,slot_position,flagged,created_at\n\
        b,k1,,1,standard,2,f,2023-11-14 22:13:20.1+00\n\
        a,k1,u1,3,super,1,t,2023-11-14 22:13:21+00\n\
        a,k1,,1,standard,1,f,2023-11-14 22:13:22+00\n\
        a,k2,u1,1,standard,1,f,2023-11-14 22:13:23+00\n\
        a,,,1,standard,1,f,2023-11-14 22:13:24+00\n\
        a,k3,,0,standard,1,f,2023-11-14 22:13:24+00\n\
        a,k3,,1,huge,1,f,2023-11-14 22:13:24+00\n\
        b,k3,,1,standard,1,f,2023-11-14 22:13:24+00\n\
        c,k3,,1,,1,,yesterday\n\
        c,k3,,10,mega,1,,2023-11-14T23:13:24+01:00\n";
    let comments = "id,clip_id,user_id,username,comment_text,parent_comment_id,created_at\n\
        x,a,u1,Ada,\"first, and last\",,2023-11-14 22:13:20+00\n\
        y,a,u2,Bo,an answer,x,2023-11-14 22:14:20+00\n\
        z,nowhere,u2,Bo,lost,,2023-11-14 22:14:20+00\n\
        w,a,u2,Bo,lost,q,2023-11-14 22:14:20+00\n";
    fs::write(file("votes.csv"), votes).unwrap();
    fs::write(file("comments.csv"), comments.replace("clip_id", "clip")).unwrap();
    let (from, more, dir) = (file("votes.csv"), file("comments.csv"), file("db"));
    let import = |rejects: &str, last: &[&str]| {
        let rejects = file(rejects);
        let args = ["import", "--json", "--from", &from, "--comments", &more, "--map", "clip_id=clip"];
        serde_json::from_str::<Value>(&done(&[&args[..], &["--rejects", &rejects, "--data-dir", &dir], last].concat()))
            .unwrap()
    };
    let would = import("dry.csv", &["--dry-run"]);
    assert!(!Path::new(&dir).exists());
    let took = import("rejects.csv", &[]);
    assert_eq!(would, took);
    assert_eq!(took, serde_json::json!({"slots": 2, "clips": 3, "votes": 4, "comments": 2, "rejected": 8}));
    let mut rejects = csv::Reader::from_path(file("rejects.csv")).unwrap();
    let lines: Vec<(String, String)> =
        rejects.records().map(|row| row.unwrap()).map(|row| (row[1].into(), row[2].into())).collect();
    let mut named: Vec<u64> = lines.iter().map(|(line, _)| line.parse().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, [4, 5, 5, 6, 7, 8, 9, 10], "{lines:?}");
    assert!(lines.iter().any(|(line, why)| line == "5" && why.contains("duplicate")), "{lines:?}");
    // Rejects of an earlier run are not written over, and nothing is begun then.
    let (rejects, other) = (file("rejects.csv"), file("other"));
    let refused =
        run(["import", "--from", &from, "--map", "clip_id=clip", "--rejects", &rejects, "--data-dir", &other]);
    assert!(refused.status.code() == Some(1) && err(&refused).contains("rejects.csv"), "{}", err(&refused));
    assert!(!Path::new(&other).exists());
    let found = verified(Path::new(&dir));
    let counts: Vec<_> = found["clips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["id"].as_str().unwrap(), c["votes"].as_u64().unwrap(), c["weight"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("a", 2, 4), ("c", 1, 10), ("b", 1, 1)]);
    // Its users are this store's: who voted there has voted.
    let server = start(Path::new(&dir));
    // A slot was opened when it was first voted in.
    for (slot, opened) in [(1, 1_700_000_001_000_u64), (2, 1_700_000_000_100)] {
        let (status, text) = server.ask("GET", &format!("/api/seasons/imported/slots/{slot}"), &[], "");
        let slot: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, slot["votingStartedAt"].as_u64()), (200, Some(opened)), "{text}");
    }
    assert_eq!(server.vote(&token(Path::new(&dir), "u1"), "b").0, 200);
    assert_eq!(server.vote(&token(Path::new(&dir), "u1"), "b").0, 409);
    server.stop();
}

/// A Parquet file's rows as the lines of JSON say the same.
fn columns(file: &Path) -> Vec<Value> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    let read = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
    let value = |(name, cell): (&String, &Field)| {
        let value = match cell {
            Field::Null => Value::Null,
            Field::Bool(yes) => Value::from(*yes),
            Field::Str(text) => Value::from(text.as_str()),
            // What stands in quotes there is a number here.
            Field::Long(n) if IDS.contains(&name.as_str()) => Value::from(n.to_string()),
            Field::Long(n) | Field::TimestampMillis(n) => Value::from(*n),
            other => panic!("{name}: {other:?}"),
        };
        (name.clone(), value)
    };
    let rows = read.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().map(value).collect::<serde_json::Map<_, _>>().into()).collect()
}

/// Columns of sequences. Those of seasons and clips that are called so hold text.
const IDS: [&str; 5] = ["sequence", "retracts", "frozen_at", "id", "parent_id"];

#[test]
fn parquet_holds_what_the_lines_hold_and_its_export_imports() {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name);
    let (dir, copy) = (place("db"), place("copy"));
    let (at, server) = (dir.to_str().unwrap(), start(&dir));
    load(&server, &dir, 0, 9);
    let url = format!("http://{}", server.address);
    let live = place("live");
    let remote = ["export", "--target", &url, "--admin-token", ADMIN, "--format", "parquet", "--to"];
    done(&[&remote[..], &[live.to_str().unwrap()]].concat());
    server.stop();
    let (lines, still) = (place("lines"), place("still"));
    done(&["export", "--data-dir", at, "--to", lines.to_str().unwrap()]);
    done(&["export", "--data-dir", at, "--format", "parquet", "--to", still.to_str().unwrap()]);
    for table in ["seasons", "slots", "clips", "voters", "votes", "voids", "comments"] {
        let wanted = rows(&lines.join(format!("{table}.jsonl")));
        assert_eq!(columns(&still.join(format!("{table}.parquet"))), wanted, "{table}");
        let sent = fs::read(live.join(format!("{table}.parquet"))).unwrap();
        // To the byte: nothing has happened in between.
        assert_eq!(sent, fs::read(still.join(format!("{table}.parquet"))).unwrap(), "{table}");
        assert_eq!(wanted.is_empty(), table == "voids", "{table}");
    }
    let manifest: Value = serde_json::from_slice(&fs::read(still.join("manifest.json")).unwrap()).unwrap();
    let of = |name: &str| {
        let tables = manifest["tables"].as_array().unwrap();
        tables.iter().find(|table| table["table"] == name).unwrap().clone()
    };
    assert_eq!((&of("votes")["file"], &of("votes")["rows"]), (&Value::from("votes.parquet"), &Value::from(12)));
    let hash = blake3::hash(&fs::read(still.join("votes.parquet")).unwrap()).to_hex();
    assert_eq!(of("votes")["blake3"], hash.as_str());

    // The records lie beside the tables, whatever form those have.
    done(&["import", "--from", live.to_str().unwrap(), "--data-dir", copy.to_str().unwrap()]);
    assert_eq!(verified(&copy)["clips"], verified(&dir)["clips"]);
    let file = still.join("votes.parquet");
    let refused = run(["import", "--from", file.to_str().unwrap(), "--data-dir", place("no").to_str().unwrap()]);
    assert!(
        err(&refused).contains("a Parquet file can't be imported: name an export's directory"),
        "{}",
        err(&refused)
    );
    assert!(refused.status.code() == Some(1) && !place("no").exists());
}
