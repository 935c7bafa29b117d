//! What is beside the disk: settings, limits, port, memory, clock, certificate, and whether flushes can be made real.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Finding, bytes};
use crate::cli::process;
use crate::cli::serve;
use crate::config::{AckMode, Config, RESERVED_FILES};
use crate::http::Tls;
use crate::store::make_flushes_real;

/// Fewer connections than this are soon taken by one page's visitors.
const CONNECTIONS_FEW: usize = 1_000;
/// Bytes of memory of a voter with one vote, measured, and of the process without any.
const VOTER_BYTES: u64 = 64;
const OWN_BYTES: u64 = 128 << 20;
/// 2025-01-01: no clock that is right is before it.
const BUILT_AFTER_S: u64 = 1_735_689_600;
/// What two clocks of one machine may differ by, as a file's time is coarse.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// The settings held against each other.
pub(super) fn settings(config: &Config) -> Vec<Finding> {
    const WHAT: &str = "settings";
    let checked = config.check().and_then(|warnings| serve::check_engine(config).map(|()| warnings));
    match checked {
        Err(why) => vec![Finding::ill(WHAT, why.to_string(), "change the flag, the variable or the key in the file")],
        Ok(warnings) if warnings.is_empty() => vec![Finding::well(WHAT, "agree with each other")],
        Ok(warnings) => {
            let poor = |warning| Finding::poor(WHAT, warning, "change it, unless it is meant so");
            warnings.into_iter().map(poor).collect()
        }
    }
}

/// The limit of open files, raised as far as a server would raise it.
pub(super) fn open_files(config: &Config) -> Finding {
    const WHAT: &str = "open files";
    let limit = process::raise_open_files();
    let advice = "raise it: LimitNOFILE= in the systemd unit, --ulimit nofile= of a container, or ulimit -Hn";
    match config.connections(limit) {
        Err(why) => Finding::ill(WHAT, why.to_string(), advice),
        Ok((_, Some(fewer))) => Finding::poor(WHAT, fewer, advice),
        Ok((connections, None)) => {
            let found = format!("{limit}, of which {RESERVED_FILES} are kept: {connections} connections");
            let few = connections < CONNECTIONS_FEW && config.limits.max_connections.is_none();
            if few { Finding::poor(WHAT, found, advice) } else { Finding::well(WHAT, found) }
        }
    }
}

/// Certificate and key, if there are any.
pub(super) fn certificate(config: &Config) -> Option<Finding> {
    const WHAT: &str = "certificate";
    // What contradicts itself is told with the settings.
    let (cert, key) = config.tls.pair().ok()??;
    Some(match Tls::load(cert, key) {
        Ok(_) => Finding::well(WHAT, format!("{} and its key fit each other", cert.display())),
        Err(why) => Finding::ill(WHAT, why.to_string(), "give a chain in PEM, the server's own first, and its own key"),
    })
}

/// Whether the port can be had.
pub(super) fn port(config: &Config) -> Finding {
    const WHAT: &str = "port";
    let listen = &config.listen;
    let bound = listen.addresses().and_then(|addresses| TcpListener::bind(&addresses[..]));
    match bound {
        Ok(_) => Finding::well(WHAT, format!("{listen} is free")),
        Err(why) if why.kind() == std::io::ErrorKind::AddrInUse => Finding::poor(
            WHAT,
            format!("{listen} is in use, perhaps by a server that runs already"),
            "see who has it with `ss -ltnp`; stop it, or choose another with --listen",
        ),
        Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => Finding::ill(
            WHAT,
            format!("{listen}: {why}"),
            "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE, or a proxy in front",
        ),
        Err(why) => Finding::ill(WHAT, format!("{listen}: {why}"), "give an address of this machine to --listen"),
    }
}

/// Whether the voters that are let in would fit.
pub(super) fn memory(config: &Config) -> Finding {
    const WHAT: &str = "memory";
    let Some(available) = available() else { return Finding::well(WHAT, "the system does not say how much there is") };
    let voters = config.limits.max_voters;
    let pushed = u64::try_from(config.push.push_budget).unwrap_or(u64::MAX);
    let needed = voters.saturating_mul(VOTER_BYTES).saturating_add(pushed).saturating_add(OWN_BYTES);
    let found = format!(
        "{} available; {voters} voters of one vote and a full push budget would take {}",
        bytes(available),
        bytes(needed)
    );
    if needed <= available {
        return Finding::well(WHAT, found);
    }
    let fit = available.saturating_sub(pushed.saturating_add(OWN_BYTES)) / VOTER_BYTES;
    Finding::poor(
        WHAT,
        found,
        format!("lower --max-voters (about {fit} fit) or --push-budget: a full bound answers, a full machine kills"),
    )
}

/// Bytes that may be had, the container's bound included.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)?;
    let bound = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(machine.min(bound.unwrap_or(u64::MAX)))
}

/// Whether the clock can be right: days, ends of slots and tokens go by it.
pub(super) fn clock(dir: &Path) -> Finding {
    const WHAT: &str = "clock";
    let now = SystemTime::now();
    let advice = "set it, and keep it set: timedatectl set-ntp true, or chrony";
    if now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) < BUILT_AFTER_S {
        return Finding::ill(WHAT, "is years behind", advice);
    }
    let written =
        ["log", "tables", "MARKER"].iter().filter_map(|part| fs::metadata(dir.join(part)).ok()?.modified().ok()).max();
    if let Some(ahead) =
        written.and_then(|written| written.duration_since(now).ok()).filter(|ahead| *ahead > CLOCK_SLACK)
    {
        let found = format!("is {} s behind the last write to the store", ahead.as_secs());
        return Finding::ill(WHAT, found, advice);
    }
    if ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/ntpd.pid"]
        .iter()
        .any(|path| Path::new(path).exists())
    {
        return Finding::well(WHAT, "is kept by a time service");
    }
    // A container shares its host's clock and sees nothing of who keeps it.
    Finding::well(WHAT, "is plausible; whether a time service keeps it can't be seen from here")
}

/// Whether a flush reaches the disk. Installs the filter that makes it so, as a server would: on this process.
pub(super) fn flushes(ack: AckMode) -> Finding {
    const WHAT: &str = "durability";
    match (make_flushes_real(), ack) {
        (Ok(()), AckMode::Durable) => Finding::well(WHAT, "a flush reaches the disk before a vote is answered"),
        (Ok(()), AckMode::Memory) => {
            Finding::well(WHAT, "--ack memory: up to 100 ms of answered votes can be lost in a crash")
        }
        (Err(why), AckMode::Durable) => Finding::ill(
            WHAT,
            why.to_string(),
            "allow seccomp filters (a container's profile may forbid them), or use --ack memory",
        ),
        (Err(why), AckMode::Memory) => Finding::poor(
            WHAT,
            why.to_string(),
            "a power loss may take more than the last 100 ms: allow seccomp filters",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    fn config(flags: &[&str]) -> Config {
        crate::config::tests::config(&[&["--listen", "127.0.0.1:0"], flags].concat()).unwrap()
    }

    #[test]
    fn settings_that_stop_a_start_are_ill_and_unwise_ones_poor() {
        let health = |flags: &[&str]| settings(&config(flags)).iter().map(|finding| finding.health).collect::<Vec<_>>();
        assert_eq!(health(&[]), [Health::Well]);
        assert_eq!(health(&["--jwt-secret", "short", "--cron-secret", "short too"]), [Health::Poor, Health::Poor]);
        assert_eq!(health(&["--tls-cert", "x"]), [Health::Ill]);
        assert_eq!(health(&["--daily-limit", "1"]), [Health::Ill], "what the engine refuses");
    }

    #[test]
    fn a_taken_port_is_told_from_a_free_one() {
        assert_eq!(port(&config(&[])).health, Health::Well);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap().to_string();
        let finding = port(&crate::config::tests::config(&["--listen", &at]).unwrap());
        assert!(finding.health == Health::Poor && finding.advice.unwrap().contains("--listen"));
        let foreign = crate::config::tests::config(&["--listen", "192.0.2.1:80"]).unwrap();
        assert_eq!(port(&foreign).health, Health::Ill);
    }

    #[test]
    fn voters_that_would_not_fit_are_counted() {
        assert_eq!(
            memory(&config(&["--max-voters", "1000", "--push-budget", "1MiB", "--viewer-budget", "1MiB"])).what,
            "memory"
        );
        let many = memory(&config(&["--max-voters", "1000000000000"]));
        assert!(many.health == Health::Poor && many.advice.unwrap().contains("--max-voters"));
    }

    #[test]
    fn a_clock_behind_the_store_is_ill() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(clock(dir.path()).health, Health::Well);
        let marker = fs::File::create(dir.path().join("MARKER")).unwrap();
        marker.set_modified(SystemTime::now() + Duration::from_hours(1)).unwrap();
        assert_eq!(clock(dir.path()).health, Health::Ill);
    }

    #[test]
    fn few_open_files_are_poor_and_certificates_are_looked_at() {
        assert!(open_files(&config(&["--max-connections", "1"])).health == Health::Well);
        assert_eq!(certificate(&config(&[])), None);
        let absent = certificate(&config(&["--tls-cert", "/no/cert", "--tls-key", "/no/key"])).unwrap();
        assert!(absent.health == Health::Ill && absent.found.contains("/no/cert"));
    }
}
