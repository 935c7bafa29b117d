//! Imports of other sites' tables and the file of what they don't take: nobody else's rows are lost, and nobody is in one's own way.

use std::fs;
use std::path::Path;

use crate::remaking::{make_tables, stopped};
use crate::running::{done, err, run, verified};

const HEAD: &str = "clip_id,voter_key,vote_weight,slot_position,created_at\n";

#[test]
fn a_command_that_was_mistyped_leaves_nothing_in_the_way_of_the_next() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (from, rejects, db) = (file("votes.csv"), file("rejects"), file("db"));
    fs::write(&from, format!("{}a,k,1,1,1700000000000\n", HEAD.replace("clip_id", "clip"))).unwrap();
    let plain = ["import", "--from", &from, "--rejects", &rejects, "--data-dir", &db];
    for (more, why) in [
        (&[][..], "votes.csv has no column clip_id: --map names them"),
        (&["--dry-run"], "votes.csv has no column clip_id: --map names them"),
        (&["--map", "clip_id=clip", "--map", "vote_type=kind"], "no column kind, which --map gives as its vote_type"),
    ] {
        let refused = run([&plain[..], more].concat());
        assert!(refused.status.code() == Some(1) && err(&refused).contains(why), "{}", err(&refused));
        assert!(!Path::new(&rejects).exists() && !Path::new(&db).exists(), "{more:?}");
    }
    // A file without rows is in nobody's way either, whichever run left it.
    fs::write(&rejects, "").unwrap();
    for more in [&["--map", "clip_id=clip", "--dry-run"][..], &["--map", "clip_id=clip"]] {
        done(&[&plain[..], more].concat());
    }
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "file,line,reason\n");
    assert_eq!(verified(Path::new(&db))["clips"][0]["votes"], 1);
    // What can be read once alone.
    for command in [&["import", "--from", "/dev/null"], &["restore", "--from", "/dev/null"]] {
        let refused = run([&command[..], &["--data-dir", &file("no")]].concat());
        assert!(
            refused.status.code() == Some(1) && err(&refused).contains("/dev/null is no file"),
            "{}",
            err(&refused)
        );
        assert!(!Path::new(&file("no")).exists());
    }

    // An export's directory has its own comments, and its own names.
    let (export, copy) = (file("export"), file("copy"));
    done(&["export", "--data-dir", &db, "--to", &export]);
    for more in [["--comments", &from], ["--map", "clip_id=clip"]] {
        let refused = run([&["import", "--from", &export, "--data-dir", &copy][..], &more[..]].concat());
        assert!(err(&refused).contains("go with a CSV file of votes"), "{}", err(&refused));
        assert!(refused.status.code() == Some(1) && !Path::new(&copy).exists());
    }
}

#[test]
fn rows_that_another_import_put_in_the_place_of_ones_own_are_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (from, more) = make_tables(scratch.path());
    let (rejects, db) = (file("rejects"), file("db"));
    let args = |rejects: &str| {
        let (from, more) = (from.to_str().unwrap(), more.to_str().unwrap());
        let args = ["import", "--from", from, "--comments", more, "--rejects", rejects, "--data-dir", &db];
        args.map(str::to_owned)
    };
    let own = args(&rejects);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut child = stopped(&own, Path::new(&db));
    child.kill().unwrap();
    child.wait().unwrap();

    // It had no rows yet, for all that anyone can see: another import takes it, and fills it.
    fs::write(&rejects, "").unwrap();
    let other = file("other.csv");
    fs::write(&other, format!("{HEAD}a,k,1,1,1700000000000\na,k,none,1,1700000000000\n")).unwrap();
    done(&["import", "--from", &other, "--rejects", &rejects, "--data-dir", &file("other")]);
    let rows = fs::read_to_string(&rejects).unwrap();
    assert!(rows.contains("other.csv,3,"), "{rows}");

    let refused = run(&own);
    assert!(
        refused.status.code() == Some(1) && err(&refused).contains("with rows of another run"),
        "{}",
        err(&refused)
    );
    assert_eq!(fs::read_to_string(&rejects).unwrap(), rows);
    // With a file of its own it goes on all the same.
    let ended = run(args(&file("mine")));
    assert!(ended.status.code() == Some(0) && err(&ended).contains("going on behind"), "{}", err(&ended));
    assert!(fs::read_to_string(file("mine")).unwrap().lines().count() > 400);
}
