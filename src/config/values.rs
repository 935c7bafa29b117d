//! The kinds of values that settings have: read from text once, whole or not at all. Error texts name what is right.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{OsStringValueParser, TypedValueParser};
use ipnet::IpNet;

use crate::domain::Weights;

/// When a vote is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum AckMode {
    /// Once it is flushed to the disk.
    #[default]
    Durable,
    /// Once its place in the log is fixed.
    Memory,
}

impl AckMode {
    /// As the flag spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Memory => "memory",
        }
    }
}

/// When others see a comment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Moderation {
    /// Once a moderator has approved it.
    Before,
    /// At once; a moderator may hide it.
    #[default]
    After,
}

/// A secret that the operator gave: the bytes as given, never decoded, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// These bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_owned())
    }

    /// For clap: any bytes but none at all.
    pub(crate) fn value_parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(|given: OsString| {
            if given.is_empty() {
                return Err("it is empty; leave it out to have one made");
            }
            Ok(Self(given.into_vec()))
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// `HOST:PORT` to listen on. A name is looked up when the server binds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen(String);

impl Listen {
    /// The addresses that it stands for, at least one.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = self.0.to_socket_addrs()?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }

    /// The same host at another port.
    #[must_use]
    pub fn at_port(&self, port: u16) -> Self {
        let host = self.0.rsplit_once(':').map_or("", |(host, _)| host);
        Self(format!("{host}:{port}"))
    }

    /// Whether it is an address that only this machine reaches.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.rsplit_once(':').map_or("", |(host, _)| host);
        host == "localhost"
            || host.trim_start_matches('[').trim_end_matches(']').parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
        match parts {
            Some((host, Ok(_))) if !host.is_empty() && !bare_v6 => Ok(Self(text.into())),
            _ => Err("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080".into()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a minute; `None`: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// Requests of one voter.
    pub voter: Option<NonZeroU32>,
    /// Requests of one address.
    pub address: Option<NonZeroU32>,
    /// Events that the servers of one app trigger.
    pub app: Option<NonZeroU32>,
}

impl RateLimit {
    /// Whether anything is limited.
    pub fn is_on(self) -> bool {
        self.holds_voters() || self.app.is_some()
    }

    /// Whether whoever votes and comments is limited.
    pub fn holds_voters(self) -> bool {
        self.voter.is_some() || self.address.is_some()
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { voter: NonZeroU32::new(60), address: NonZeroU32::new(600), app: NonZeroU32::new(60_000) }
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self { voter: None, address: None, app: None });
        }
        let mut rates = Self::default();
        for (name, value) in pairs(text, "voter=60,address=600,app=60000, or off")? {
            let rate = match value.parse() {
                Ok(rate) => Some(rate),
                Err(_) if value == "off" => None,
                Err(_) => return Err(format!("{name}={value}: a rate is a number a minute from 1, or off")),
            };
            match name {
                "voter" => rates.voter = rate,
                "address" => rates.address = rate,
                "app" => rates.app = rate,
                _ => return Err(format!("{name}: the rates are voter, address and app")),
            }
        }
        Ok(rates)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |rate: Option<NonZeroU32>| rate.map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        if self.is_on() {
            write!(f, "voter={},address={},app={}", text(self.voter), text(self.address), text(self.app))
        } else {
            f.write_str("off")
        }
    }
}

/// `standard=1,super=3,mega=10`; a kind left out keeps its default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteWeights(pub Weights);

impl FromStr for VoteWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = Weights::default();
        for (name, value) in pairs(text, "standard=1,super=3,mega=10")? {
            let weight = value.parse().ok().filter(|weight| (1..=10_000).contains(weight));
            let weight = weight.ok_or_else(|| format!("{name}={value}: a weight is 1 to 10000"))?;
            match name {
                "standard" => weights.standard = weight,
                "super" => weights.super_ = weight,
                "mega" => weights.mega = weight,
                _ => return Err(format!("{name}: the kinds are standard, super and mega")),
            }
        }
        Ok(Self(weights))
    }
}

/// Networks, comma-separated; a plain address is a network of one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks(pub Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = |part: &str| {
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("{part:?} is no address or network such as 10.0.0.0/8"))
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// A time above zero: `90s`, `10m`, `1h`, `2d`, or a plain number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number from 1 with s, m, h or d behind it, such as 90s, 10m or 1h".to_owned();
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    // A century bounds it, so that a time added to now never overflows.
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    seconds.filter(|s| (1..=100 * 366 * 86_400).contains(s)).map(Duration::from_secs).ok_or_else(wrong)
}

/// As [`parse_duration`]; `off` and `0` are zero.
pub fn parse_duration_or_off(text: &str) -> Result<Duration, String> {
    match text {
        "off" | "0" => Ok(Duration::ZERO),
        _ => parse_duration(text).map_err(|why| format!("{why}, or off")),
    }
}

/// Bytes: a whole number from 1, with `KiB`, `MiB` or `GiB` behind it or nothing.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = digits.parse::<usize>().ok().zip(unit).and_then(|(count, unit): (_, usize)| count.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "must be a number of bytes, such as 65536, 256KiB or 1GiB".into())
}

/// Checks a filter of `tracing`, and keeps its text.
pub fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|why| why.to_string())
}

/// A count from 1.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "must be a number from 1".into())
}

fn pairs<'a>(text: &'a str, example: &str) -> Result<Vec<(&'a str, &'a str)>, String> {
    let pair = |part: &'a str| part.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
    let pairs: Vec<_> = text
        .split(',')
        .map(|part| pair(part).ok_or_else(|| format!("must look like {example}")))
        .collect::<Result<_, _>>()?;
    match pairs.iter().enumerate().find(|(at, (name, _))| pairs[..*at].iter().any(|(earlier, _)| earlier == name)) {
        Some((_, (name, _))) => Err(format!("{name} is there twice")),
        None => Ok(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_are_read_in_parts_and_off() {
        let read = |text: &str| text.parse::<RateLimit>().map(|rates| rates.to_string());
        for (text, means) in [
            ("voter=60,address=600", "voter=60,address=600,app=60000"),
            ("voter=5", "voter=5,address=600,app=60000"),
            ("address=1000, voter=off", "voter=off,address=1000,app=60000"),
            ("app=7", "voter=60,address=600,app=7"),
            ("off", "off"),
            ("voter=off,address=off", "voter=off,address=off,app=60000"),
            ("voter=off,address=off,app=off", "off"),
        ] {
            assert_eq!(read(text).unwrap(), means, "{text}");
        }
        for bad in ["", "60", "voter=0", "voter=-1", "voter=60,voter=70", "clip=3", "voter=", "OFF"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weights_keep_their_defaults_where_nothing_is_said() {
        assert_eq!("mega=20".parse::<VoteWeights>().unwrap().0, Weights { standard: 1, super_: 3, mega: 20 });
        for bad in ["", "mega", "mega=0", "mega=10001", "giga=3"] {
            assert!(bad.parse::<VoteWeights>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_need_a_port_and_know_loopback() {
        for (text, loopback) in [
            ("127.0.0.1:8080", true),
            ("[::1]:0", true),
            ("localhost:80", true),
            ("0.0.0.0:8080", false),
            ("a.b:1", false),
        ] {
            let listen = text.parse::<Listen>().unwrap();
            assert_eq!(listen.is_loopback(), loopback, "{text}");
            let moved = listen.at_port(9).to_string();
            assert!(moved.ends_with(":9") && moved.parse::<Listen>().unwrap().is_loopback() == loopback, "{moved}");
        }
        for bad in ["", "8080", ":8080", "127.0.0.1", "::1", "127.0.0.1:99999"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn proxies_are_networks_or_plain_addresses() {
        let read = |text: &str| text.parse::<Networks>().map(|proxies| proxies.0.len());
        assert_eq!(read(""), Ok(0));
        assert_eq!(read("10.0.0.0/8, ::1,192.168.0.1"), Ok(3));
        assert!(read("10.0.0.0/33").is_err());
        assert!(read("proxy.example").is_err());
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(parse_duration_or_off("off"), Ok(Duration::ZERO));
        for bad in ["", "0", "h", "1w", "1.5h", "-1s", "99999999999999999999s", "40000d"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(parse_bytes("65536"), Ok(65_536));
        assert_eq!(parse_bytes("256KiB"), Ok(262_144));
        assert_eq!(parse_bytes("1GiB"), Ok(1 << 30));
        for bad in ["", "0", "KiB", "1kb", "-1", "1.5MiB", "99999999999GiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_log_filter_is_checked_before_it_is_used() {
        assert!(log_filter("plaudit=debug,warn").is_ok());
        assert!(log_filter("plaudit=loud").is_err());
    }
}
