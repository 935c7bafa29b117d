//! Exports that are cut short, over a real connection and by a real kill, and gone on with by the same command.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::running::{Running, done, err, out, plaudit, run, serve, wait_until};

const ADMIN: &str = "the admin token of these tests, long enough for anyone";
/// So many votes are some megabytes of rows.
const VOTES: &str = "12000";

/// A store of many votes.
fn store(scratch: &Path) -> PathBuf {
    let dir = scratch.join("db");
    let ended = run(["bench", "--engine", "--clips", "3", "--votes", VOTES, "--keep", dir.to_str().unwrap(), "--json"]);
    assert_eq!(ended.status.code(), Some(0), "{}{}", out(&ended), err(&ended));
    dir
}

fn start(dir: &Path) -> Running {
    serve(dir, &["--admin-token", ADMIN, "--rate-limit", "off", "--rounds", "manual"])
}

/// What becomes of a connection's answer.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It breaks behind so many bytes.
    Cut(usize),
    /// Nothing comes behind so many bytes, and it stays open.
    Stall(usize),
    /// It breaks behind so many bytes, of which one was changed, far enough in front of that to be noticed.
    Change(usize),
    Pass,
}

/// Stands between a client and a server, one connection behind the other; tells of each that has met its fate, and waits then.
struct Proxy {
    address: String,
    met: Receiver<()>,
    go_on: Sender<()>,
    /// The first line of each answer's body.
    heads: Arc<Mutex<Vec<Value>>>,
}

impl Proxy {
    fn before(server: &Running, fates: Vec<Fate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, met) = channel();
        let (go_on, wait) = channel();
        let (to, heads) = (server.address.clone(), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&heads);
        thread::spawn(move || {
            let mut open = Vec::new();
            for fate in fates.into_iter().chain(std::iter::repeat(Fate::Pass)) {
                let (client, _) = listener.accept().unwrap();
                let server = TcpStream::connect(&to).unwrap();
                let (mut asks, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut asks, &mut asked);
                    let _ = asked.shutdown(Shutdown::Write);
                });
                pass(&server, &client, fate, &heard);
                if matches!(fate, Fate::Stall(_)) {
                    open.push((client, server));
                } else {
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                }
                if !matches!(fate, Fate::Pass) && (tell.send(()).is_err() || wait.recv().is_err()) {
                    return;
                }
            }
        });
        Self { address, met, go_on, heads }
    }

    /// Waits until a connection has met its fate, has something happen, and lets the next one come.
    fn next(&self, happens: impl FnOnce()) {
        self.met.recv().unwrap();
        happens();
        self.go_on.send(()).unwrap();
    }
}

fn pass(mut server: &TcpStream, mut client: &TcpStream, fate: Fate, heads: &Mutex<Vec<Value>>) {
    let (Fate::Cut(most) | Fate::Stall(most) | Fate::Change(most)) = fate else {
        let (mut kept, mut has_head) = (Vec::new(), false);
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = server.read(&mut buffer) {
            if !has_head {
                kept.extend_from_slice(&buffer[..read]);
                has_head = keep_head(&kept, heads);
            }
            if client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        return;
    };
    let mut bytes = vec![0; most];
    server.read_exact(&mut bytes).unwrap();
    keep_head(&bytes, heads);
    if matches!(fate, Fate::Change(_)) {
        // A digit of a row: no line begins or ends there.
        let at = bytes[..most - 1_300_000].iter().rposition(|byte| *byte == b'7').unwrap();
        bytes[at] = b'8';
    }
    client.write_all(&bytes).unwrap();
}

/// Whether there is one.
fn keep_head(answer: &[u8], heads: &Mutex<Vec<Value>>) -> bool {
    let text = String::from_utf8_lossy(answer);
    let head = text.split_inclusive('\n').find(|line| line.starts_with("{\"export\":") && line.ends_with('\n'));
    heads.lock().unwrap().extend(head.map(|head| serde_json::from_str::<Value>(head).unwrap()));
    head.is_some()
}

fn export(address: &str, to: &Path, more: &[&str]) -> Child {
    let mut command = plaudit();
    command.args(["export", "--json", "--admin-token", ADMIN, "--target", &format!("http://{address}"), "--to"]);
    command.arg(to).args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Votes by somebody new.
fn vote(server: &Running, dir: &Path, who: u32) {
    let token = done(&["token", "--sub", &format!("later-{who}"), "--data-dir", dir.to_str().unwrap()]);
    let clips: Value = serde_json::from_str(&server.ask("GET", "/api/vote", &[], "").1).unwrap();
    let clip = clips[0]["id"].as_str().unwrap();
    assert_eq!(server.vote(token.trim_end(), clip).0, 200);
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// An export is that of its sequence: the store that is made of it says so, by a recount, and its rows are as many.
fn is_of_its_moment(export: &Path, scratch: &Path) {
    let copy = scratch.join("copy");
    let (from, to) = (export.to_str().unwrap(), copy.to_str().unwrap());
    done(&["import", "--from", from, "--data-dir", to]);
    let verified: Value = serde_json::from_str(&done(&["verify", "--json", "--data-dir", to])).unwrap();
    assert_eq!((&verified["last"], &verified["ok"]), (&manifest(export)["sequence"], &Value::Bool(true)));
    // The rows of its tables are those of the store's own export.
    let again = scratch.join("again");
    done(&["export", "--data-dir", to, "--to", again.to_str().unwrap()]);
    for table in ["seasons", "slots", "clips", "voters", "votes", "voids", "comments"] {
        let file = format!("{table}.jsonl");
        assert!(fs::read(export.join(&file)).unwrap() == fs::read(again.join(&file)).unwrap(), "{table}");
    }
    assert!(!export.join(".begun.json").exists());
}

#[test]
fn an_export_whose_connection_breaks_again_and_again_is_of_one_moment() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, to) = (store(scratch.path()), scratch.path().join("out"));
    let server = start(&dir);
    // Twice nobody answers at all, behind one that brought it further.
    let fates = [900, 2_500_000, 0, 0, 1_300_000, 4_000, 1_200_000].map(Fate::Cut).to_vec();
    let proxy = Proxy::before(&server, fates.clone());
    let child = export(&proxy.address, &to, &[]);
    for who in 0..7 {
        proxy.next(|| vote(&server, &dir, who));
    }
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", err(&ended));
    assert_eq!(err(&ended).matches("going on with the export").count(), 7, "{}", err(&ended));
    let heads = proxy.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 6, "{heads:?}");
    assert!(heads.iter().all(|head| head["state"] == heads[0]["state"]), "one moment: {heads:?}");
    assert!(heads[0]["from"].is_null() && heads[1..].iter().all(|head| head["from"].is_object()), "{heads:?}");
    assert!(heads.iter().any(|head| head["from"]["rows"].as_u64() > Some(0)), "within a table: {heads:?}");
    assert_eq!(manifest(&to)["sequence"], heads[0]["export"]["sequence"]);
    server.stop();
    is_of_its_moment(&to, scratch.path());
}

#[test]
fn a_client_that_is_killed_goes_on_at_the_same_moment_and_begins_anew_behind_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, to) = (store(scratch.path()), scratch.path().join("out"));
    let server = start(&dir);
    let proxy = Proxy::before(&server, vec![Fate::Stall(3_000_000), Fate::Stall(200_000)]);
    let kill = |mut child: Child, table: &str| {
        // What came is on its way into the directory.
        wait_until(|| to.join(table).exists(), &|| format!("{table} is there"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!to.join("manifest.json").exists());
    };
    kill(export(&proxy.address, &to, &[]), "voters.jsonl");
    let refused =
        run(["import", "--from", to.to_str().unwrap(), "--data-dir", scratch.path().join("x").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("run the same `plaudit export` again"), "{}", err(&refused));
    // Neither as something else, nor where nobody is.
    let refused = export(&proxy.address, &to, &["--format", "csv"]).wait_with_output().unwrap();
    assert!(err(&refused).contains("was begun with --format jsonl and without --pseudonymous"), "{}", err(&refused));
    proxy.next(|| vote(&server, &dir, 1));
    // The same command: the server has not even noticed yet that the first one is gone.
    let child = export(&proxy.address, &to, &[]);
    proxy.next(|| kill(child, "voters.jsonl"));
    {
        let heads = proxy.heads.lock().unwrap();
        assert_eq!(
            (&heads[0]["state"], &heads[1]["from"]["table"]),
            (&heads[1]["state"], &Value::from("votes")),
            "{heads:?}"
        );
    }
    drop(proxy);
    server.stop();
    let server = start(&dir);
    let ended = export(&server.address, &to, &[]).wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", err(&ended));
    assert!(err(&ended).contains("it begins anew"), "{}", err(&ended));
    server.stop();
    is_of_its_moment(&to, scratch.path());
}

#[test]
fn what_came_otherwise_than_it_was_sent_is_thrown_away_and_some_answers_are_final() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, to) = (store(scratch.path()), scratch.path().join("out"));
    let server = start(&dir);
    let proxy = Proxy::before(&server, vec![Fate::Change(3_000_000)]);
    let child = export(&proxy.address, &to, &[]);
    proxy.next(|| vote(&server, &dir, 1));
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", err(&ended));
    assert!(err(&ended).contains("what came is not what the server sent: going on"), "{}", err(&ended));
    // A wrong token is none later either, and nothing that was begun is touched.
    let wrong = scratch.path().join("wrong");
    let url = format!("http://{}", server.address);
    let refused = run(["export", "--target", &url, "--admin-token", "wrong", "--to", wrong.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("401") && !err(&refused).contains("going on"), "{}", err(&refused));
    assert!(!wrong.exists());
    server.stop();
    is_of_its_moment(&to, scratch.path());
}

#[test]
fn an_offline_export_that_is_killed_is_gone_on_with_to_the_byte() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = store(scratch.path());
    let at = dir.to_str().unwrap();
    for format in ["jsonl", "csv", "parquet"] {
        let whole = scratch.path().join(format!("whole-{format}"));
        done(&["export", "--data-dir", at, "--format", format, "--to", whole.to_str().unwrap()]);
        let to = scratch.path().join(format!("cut-{format}"));
        let args = ["export", "--data-dir", at, "--format", format, "--to", to.to_str().unwrap()];
        let mut killed = 0;
        // Until it was cut short: on a busy machine it may be through before it is killed.
        for _ in 0..100 {
            let _begun_anew = fs::remove_dir_all(&to);
            // Each time a table further, until one came through before it was killed.
            for table in ["clips", "voters", "votes"] {
                let mut child = plaudit().args(args).stderr(Stdio::null()).spawn().unwrap();
                let file = to.join(format!("{table}.{format}"));
                wait_until(|| file.exists() || child.try_wait().unwrap().is_some(), &|| format!("{table} are there"));
                child.kill().unwrap();
                child.wait().unwrap();
                if to.join("manifest.json").exists() {
                    break;
                }
                killed += 1;
            }
            if killed > 0 {
                break;
            }
        }
        assert!(killed > 0, "it was always at its end before it could be cut short");
        if !to.join("manifest.json").exists() {
            done(&args);
        }
        let mut names: Vec<_> = fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let mut found: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.sort();
        assert_eq!(found, names, "nothing is left over");
        for name in names {
            assert!(fs::read(whole.join(&name)).unwrap() == fs::read(to.join(&name)).unwrap(), "{format}: {name:?}");
        }
    }
}
