//! Imports and restores that are killed, and run again. Real processes, stopped once they have noted how far they are.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use crate::running::{done, err, out, plaudit, run, verified, wait_until};

const COMMENTS: u64 = 12_000;

/// Files of another site: some votes, and comments enough for several notes of how far it is.
pub(crate) fn make_tables(dir: &Path) -> (PathBuf, PathBuf) {
    let mut votes = "clip_id,voter_key,user_id,vote_weight,slot_position,created_at\n".to_owned();
    for n in 0..300 {
        let weight = if n % 50 == 7 { "none" } else { "1" };
        writeln!(votes, "c{},,u{n},{weight},{},1700000000000", n % 4, n % 4 % 2 + 1).unwrap();
    }
    // Rejects enough for some to be in their file when it is killed.
    for n in 0..400 {
        writeln!(votes, "c{},,u{n},none,1,1700000000000", n % 4).unwrap();
    }
    let mut comments = "id,clip_id,user_id,comment_text,created_at\n".to_owned();
    let text = "åäö€".repeat(120);
    for n in 0..COMMENTS {
        writeln!(comments, "m{n},c{},u{},{text}{n},1700000000000", n % 4, n % 300).unwrap();
    }
    let (from, more) = (dir.join("votes.csv"), dir.join("comments.csv"));
    fs::write(&from, votes).unwrap();
    fs::write(&more, comments).unwrap();
    (from, more)
}

/// How many records or events are noted to be on the disk.
fn noted(dir: &Path) -> u64 {
    let text = fs::read(dir.join("RESTORING")).unwrap_or_default();
    let noted = serde_json::from_slice::<Value>(&text).unwrap_or_default();
    noted["place"]["taken"].as_u64().unwrap_or(0)
}

/// Starts a command that makes a store, and has it stand still in the middle.
pub(crate) fn stopped(args: &[&str], dir: &Path) -> Child {
    // It may be at its end before it is stopped: then once more.
    for _ in 0..20 {
        let _none_yet = fs::remove_dir_all(dir);
        if let Some(at) = args.iter().position(|arg| *arg == "--rejects") {
            let _none_yet = fs::remove_file(args[at + 1]);
        }
        let mut child = plaudit().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        wait_until(|| noted(dir) > 0 || child.try_wait().unwrap().is_some(), &|| "a note of how far it is".into());
        if child.try_wait().unwrap().is_none() && kill_process(id, Signal::STOP).is_ok() && stands_still(id) {
            // Nothing changes any more: it is in the middle, or was at its end when the signal came.
            if noted(dir) > 0 {
                return child;
            }
        }
        let _ended = child.kill();
        child.wait().unwrap();
    }
    panic!("{args:?} was always at its end before it could be stopped");
}

/// Waits until every thread of a child stands still; `false`: it has ended instead, and is still to be waited for.
fn stands_still(id: Pid) -> bool {
    let either = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(id), either).unwrap().expect("waited for it");
    status.stopped()
}

/// Kills it as it stands; what is there is no store. Then the same once more: it goes on, and is done.
fn killed_and_done(args: &[&str], dir: &Path) -> String {
    let mut child = stopped(args, dir);
    let second = run(args);
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains("another restore or import is making a store"), "{}", err(&second));
    child.kill().unwrap();
    child.wait().unwrap();
    let at = dir.to_str().unwrap();
    for command in [&["verify", "--data-dir", at][..], &["serve", "--listen", "127.0.0.1:0", "--data-dir", at]] {
        let refused = run(command);
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains("is a store in the making"), "{}", err(&refused));
    }
    let noted = noted(dir);
    let ended = run(args);
    assert_eq!(ended.status.code(), Some(0), "{args:?}: {}{}", out(&ended), err(&ended));
    let behind = err(&ended).lines().find_map(|line| line.strip_prefix("going on behind ").map(str::to_owned));
    let behind: u64 = behind.expect("it says so").split_once(' ').unwrap().0.parse().unwrap();
    assert!(noted > 0 && behind >= noted, "{behind}, and {noted} were noted");
    assert!(!dir.join("RESTORING").exists());
    out(&ended)
}

#[test]
fn what_is_killed_in_the_middle_goes_on_and_comes_to_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (from, more) = make_tables(scratch.path());
    let (from, more) = (from.to_str().unwrap(), more.to_str().unwrap());
    let (db, rejects) = (place("db"), place("rejects"));

    // Another site's tables.
    let import = |db: &str, rejects: &str| {
        let args = ["import", "--json", "--from", from, "--comments", more, "--rejects", rejects, "--data-dir", db];
        args.map(str::to_owned)
    };
    let args = import(&db, &rejects);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let took = killed_and_done(&args, Path::new(&db));
    let (uncut, uncut_rejects) = (place("uncut"), place("uncut-rejects"));
    let uncut_args = import(&uncut, &uncut_rejects);
    assert_eq!(took, done(&uncut_args.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(fs::read(&rejects).unwrap(), fs::read(&uncut_rejects).unwrap());
    let (found, wanted) = (verified(Path::new(&db)), verified(Path::new(&uncut)));
    assert_eq!(
        (&found["ok"], &found["clips"], &found["last"]),
        (&Value::Bool(true), &wanted["clips"], &wanted["last"])
    );
    // Its rejects are done with: no run writes over them.
    assert_eq!(run(import(&place("third"), &rejects)).status.code(), Some(1));
    assert!(!Path::new(&place("third")).exists());

    // Its export, and its backup.
    let (export, backup) = (place("export"), place("backup"));
    done(&["export", "--data-dir", &db, "--to", &export]);
    done(&["backup", "--data-dir", &db, "--to", &backup]);
    for (command, from) in [("import", &export), ("restore", &backup)] {
        let copy = place(command);
        killed_and_done(&[command, "--from", from, "--data-dir", &copy], Path::new(&copy));
        assert_eq!(verified(Path::new(&copy)), found, "{command}");
        let secrets = |dir: &str| fs::read(Path::new(dir).join("secrets.toml")).unwrap();
        assert_eq!(secrets(&copy), secrets(&db), "{command}");
    }
}

#[test]
fn other_tables_another_map_and_another_season_are_begun_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, more) = make_tables(scratch.path());
    let db = scratch.path().join("db");
    let rejects = |n: u32| scratch.path().join(format!("rejects-{n}")).to_str().unwrap().to_owned();
    let args = |n: u32, last: &[&str]| {
        let (from, more) = (from.to_str().unwrap(), more.to_str().unwrap());
        let mut args: Vec<String> = ["import", "--from", from, "--comments", more].map(str::to_owned).to_vec();
        args.extend(["--rejects".to_owned(), rejects(n), "--data-dir".to_owned(), db.to_str().unwrap().to_owned()]);
        args.extend(last.iter().map(|&arg| arg.to_owned()));
        args
    };
    let first = args(0, &[]);
    let mut child = stopped(&first.iter().map(String::as_str).collect::<Vec<_>>(), &db);
    child.kill().unwrap();
    child.wait().unwrap();
    let begun = fs::read(db.join("RESTORING")).unwrap();
    assert!(noted(&db) > 0);

    // Rows of the first run are another's to these, and so nothing is touched.
    let refused = run(args(0, &["--season", "other"]));
    assert!(
        refused.status.code() == Some(1) && err(&refused).contains("rejects-0 is there, with rows of another run"),
        "{}",
        err(&refused)
    );
    assert_eq!(fs::read(db.join("RESTORING")).unwrap(), begun);

    for (n, last) in [(1, &["--season", "other"][..]), (2, &["--map", "username=user_id"]), (3, &[])] {
        if n == 3 {
            let votes = fs::read_to_string(&from).unwrap();
            fs::write(&from, votes + "c1,,late,1,2,1700000000000\n").unwrap();
        }
        // It comes to its end: what was begun is put back behind it, for the next.
        let kept = scratch.path().join("kept");
        copy(&db, &kept);
        let ended = run(args(n, last));
        assert_eq!(ended.status.code(), Some(0), "{last:?}: {}", err(&ended));
        assert!(err(&ended).contains("beginning anew") && !err(&ended).contains("going on"), "{}", err(&ended));
        let votes: u64 = verified(&db)["clips"].as_array().unwrap().iter().map(|c| c["votes"].as_u64().unwrap()).sum();
        assert_eq!(votes, 294 + u64::from(n == 3));
        fs::remove_dir_all(&db).unwrap();
        fs::rename(&kept, &db).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
