//! What a starting server says: where it is, what it promises, what it found, and how to cast a vote at once.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, PushApp};
use crate::engine::{Ack, Engine};

/// The banner, whole lines.
pub(super) fn text(config: &Config, apps: &[PushApp], engine: &Engine, at: SocketAddr, started_empty: bool) -> String {
    let dir = &config.store.data_dir;
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.clone());
    let memory = config.offline.memory;
    let mut text = String::new();
    let mut line = |name: &str, what: &str| writeln!(text, "  {name:<11} {what}").expect("writing to a string");
    let scheme = scheme(config);
    line("listening", &format!("{scheme}://{at}"));
    line("data", &if memory { "in memory alone".into() } else { dir.display().to_string() });
    line(
        "durability",
        if memory { "none: all of it ends with this process" } else { durability(engine.settings().ack) },
    );
    line("recovered", &recovered(engine, started_empty));
    line("rate limit", &config.limits.rate_limit.to_string());
    for app in apps {
        let off = if config.push.push_disabled.contains(&app.id) { "; switched off" } else { "" };
        line("push", &format!("app {}, key {}, secret {}{off}", app.id, app.key, secret_source(config)));
    }
    let vote = match open_clip(engine) {
        Some(clip) => format!("cast a vote:\n  {}\n", curl(scheme, at, &clip)),
        None => "no slot is open for voting: an admin opens one\n".to_owned(),
    };
    format!("plaudit {}\n{text}\n{vote}", env!("CARGO_PKG_VERSION"))
}

/// Where the secret of the apps is to be found; it is never printed itself.
fn secret_source(config: &Config) -> String {
    if config.push.push_app.is_empty() && config.offline.memory {
        "made for this run (--print-json tells it)".to_owned()
    } else if config.push.push_app.is_empty() {
        format!("in {} (push-app)", config.store.data_dir.join("secrets.toml").display())
    } else {
        "as given by --push-app".to_owned()
    }
}

fn durability(ack: Ack) -> &'static str {
    match ack {
        Ack::Durable => "durable: a vote is answered once it is flushed to the disk, so it survives a power loss",
        Ack::Memory => {
            "memory: a vote is answered before the flush, which follows within 100 ms; a crash or a power loss can \
             take that much"
        }
    }
}

fn recovered(engine: &Engine, started_empty: bool) -> String {
    if started_empty {
        return if engine.is_empty() { "nothing: a new store" } else { "nothing: a new store, with the demo season" }
            .into();
    }
    format!(
        "{}, {} with votes in open slots; {} were in the log alone",
        counted(engine.seasons().len() as u64, "season"),
        counted(engine.voters(), "voter"),
        counted(engine.recovered(), "event")
    )
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn open_clip(engine: &Engine) -> Option<String> {
    let (slot, _) = engine.slot_version(None, None).ok()?;
    Some(engine.slot_clips(slot).clips.first()?.id.to_string())
}

/// A command that casts a vote as a device. An id is of `[A-Za-z0-9_.=@-]`, so it needs no quoting.
fn curl(scheme: &str, at: SocketAddr, clip: &str) -> String {
    let at = reached(at);
    // The certificate is for the name that others use.
    let unchecked = if scheme == "https" { "-k " } else { "" };
    format!(
        "curl {unchecked}-X POST {scheme}://{at}/api/vote -H 'content-type: application/json' -d '{{\"clipId\":\"{clip}\"}}'"
    )
}

/// How a server is spoken to.
pub(super) fn scheme(config: &Config) -> &'static str {
    if config.tls.tls_cert.is_some() { "https" } else { "http" }
}

/// Where this machine reaches a server that listens there.
pub(super) fn reached(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vote_goes_to_an_address_that_can_be_reached() {
        for (at, to) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:81", "[::1]:81"), ("10.1.2.3:82", "10.1.2.3:82")] {
            let line = curl("http", at.parse().unwrap(), "clip-1");
            assert!(line.contains(&format!("http://{to}/api/vote")), "{line}");
            assert!(!line.contains(" -k "), "{line}");
            assert!(line.ends_with(r#"-d '{"clipId":"clip-1"}'"#), "{line}");
        }
    }

    #[test]
    fn a_vote_over_tls_is_cast_so_that_it_works_at_once() {
        let line = curl("https", "127.0.0.1:443".parse().unwrap(), "clip-1");
        assert!(line.starts_with("curl -k -X POST https://127.0.0.1:443/api/vote"), "{line}");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "voter")), ["0 voters", "1 voter", "2 voters"]);
    }
}
