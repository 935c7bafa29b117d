//! The files under `data/` that a machine is set up from: what they start is there, and it runs with few rights.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

/// A unit's settings, each with its value.
fn settings(unit: &str) -> Vec<(String, String)> {
    let lines = unit.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_unit_runs_a_user_without_rights() {
    let unit = fs::read_to_string("data/plaudit.service").unwrap();
    let settings = settings(&unit);
    let of = |key: &str| settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ] {
        assert_eq!(of(key), Some(value), "{key}");
    }
    assert!(of("SystemCallFilter").unwrap().contains("seccomp"), "the durable mode can't start without");
    // A stop takes 10 s; a supervisor that kills before that loses nothing, and makes the next start longer.
    assert!(of("TimeoutStopSec").unwrap().parse::<u32>().unwrap() > 10);
    // It lies where the unit may write, and nowhere else.
    let data = of("Environment").unwrap().strip_prefix("PLAUDIT_DATA_DIR=").unwrap();
    assert!(data.starts_with(&format!("/var/lib/{}/", of("StateDirectory").unwrap())));
}

/// What both files start is a command line that the program reads.
#[test]
fn what_is_started_can_be_read() {
    let unit = fs::read_to_string("data/plaudit.service").unwrap();
    let started = settings(&unit).into_iter().find(|(key, _)| key == "ExecStart").unwrap().1;
    let (program, args) = started.split_once(' ').unwrap();
    assert_eq!(program, "/usr/local/bin/plaudit");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("plaudit.toml");
    fs::write(&config, "").unwrap();
    let args = args.replace("/etc/plaudit/plaudit.toml", config.to_str().unwrap()).replace("serve", "doctor");
    let doctor = Command::new(env!("CARGO_BIN_EXE_plaudit"))
        .args(args.split(' '))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path().join("db"))
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(0), "{}", String::from_utf8_lossy(&doctor.stderr));
}

#[test]
fn the_image_has_the_program_alone_and_no_rights() {
    let file = fs::read_to_string("data/Containerfile").unwrap();
    let stages: Vec<&str> = file.split("\nFROM ").collect();
    let [_, build, last] = stages[..] else { panic!("a stage that builds, and one that runs") };
    assert!(build.contains("cargo build --locked --release") && !last.contains("RUN "));
    let wanted = format!("rust:{}", env!("CARGO_PKG_RUST_VERSION"));
    assert!(build.contains(&wanted), "the compiler is {wanted}");
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    assert!(last.contains(&format!("--chown={user}:{group}")) && last.contains("VOLUME /data"));
    // What is compiled in must be in the build.
    for part in ["src", "data", "benches", "Cargo.toml Cargo.lock"] {
        assert!(build.contains(&format!("COPY {part} ")), "{part}");
    }
}
