//! The settings of the broadcaster: its apps, who may connect, where webhooks go, and its bounds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::values::{Secret, at_least_one};
use super::{parse_bytes, parse_duration};

/// Bytes of the longest id and key of an app.
const NAME_MAX: usize = 64;

/// An app of the Pusher protocol: who may trigger, and who may let viewers into channels that aren't public.
#[derive(Clone, PartialEq, Eq)]
pub struct PushApp {
    /// In the HTTP API's paths.
    pub id: String,
    /// What viewers connect with. No secret.
    pub key: String,
    /// Signs the API's requests and viewers' subscriptions.
    pub secret: Secret,
}

impl FromStr for PushApp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be ID:KEY:SECRET, id and key of [A-Za-z0-9_-], 1 to {NAME_MAX} of them");
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or_else(wrong);
        let (id, key, secret) = (part()?, part()?, part()?);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if [id, key].iter().any(|name| name.len() > NAME_MAX || !name.bytes().all(plain)) {
            return Err(wrong());
        }
        Ok(Self { id: id.to_owned(), key: key.to_owned(), secret: Secret::of(secret.as_bytes()) })
    }
}

impl fmt::Debug for PushApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushApp({}:{}:hidden)", self.id, self.key)
    }
}

/// What the broadcaster can be told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Push")]
pub struct PushSettings {
    /// App that may push, ID:KEY:SECRET; several with commas; default: made at the first start, kept in DIR/secrets.toml
    #[arg(long, value_name = "APP", env = "PLAUDIT_PUSH_APP", hide_env_values = true, value_delimiter = ',')]
    pub push_app: Vec<PushApp>,
    /// Ids of apps given by --push-app that are switched off: their viewers are closed with 4003, their servers' calls are
    /// refused; default: none
    #[arg(long, value_name = "IDS", env = "PLAUDIT_PUSH_DISABLED", value_delimiter = ',')]
    pub push_disabled: Vec<String>,
    /// Origins whose pages may connect, scheme and host, with commas between; default: all
    #[arg(long, value_name = "ORIGINS", env = "PLAUDIT_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<String>,
    /// URLs that webhooks are sent to, with commas between; default: none
    #[arg(long, value_name = "URLS", env = "PLAUDIT_WEBHOOK", value_delimiter = ',', value_parser = url)]
    pub webhook: Vec<String>,
    /// Open viewers; default: the connections less a tenth, which is left to requests
    #[arg(long, value_name = "N", env = "PLAUDIT_MAX_VIEWERS", value_parser = at_least_one)]
    pub max_viewers: Option<usize>,
    /// Open viewers of one address; default: as many as the server
    #[arg(long, value_name = "N", env = "PLAUDIT_MAX_VIEWERS_PER_ADDRESS", value_parser = at_least_one)]
    pub max_viewers_per_address: Option<usize>,
    /// Open viewers of one app; a further one is closed with 4004 and stays away; default: as many as the server
    #[arg(long, value_name = "N", env = "PLAUDIT_MAX_VIEWERS_PER_APP", value_parser = at_least_one)]
    pub max_viewers_per_app: Option<usize>,
    /// Bytes that may wait for one viewer before it is closed as too slow
    #[arg(long, value_name = "BYTES", env = "PLAUDIT_VIEWER_BUDGET", default_value = "256KiB", value_parser = parse_bytes)]
    pub viewer_budget: usize,
    /// Bytes that may wait for all viewers together
    #[arg(long, value_name = "BYTES", env = "PLAUDIT_PUSH_BUDGET", default_value = "1GiB", value_parser = parse_bytes)]
    pub push_budget: usize,
    /// How long a viewer may be silent before it is asked for a sign of life
    #[arg(long, value_name = "TIME", env = "PLAUDIT_ACTIVITY_TIMEOUT", default_value = "120s", value_parser = parse_duration)]
    pub activity_timeout: Duration,
    /// How long that sign may take
    #[arg(long, value_name = "TIME", env = "PLAUDIT_PONG_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub pong_timeout: Duration,
    /// Over how long a stopping server spreads the closing of its viewers
    #[arg(long, value_name = "TIME", env = "PLAUDIT_DRAIN", default_value = "5s", value_parser = drain)]
    pub drain: Duration,
}

/// The longest drain: the whole stop takes 10 s at most, and requests and the store need their share.
const DRAIN_MAX: Duration = Duration::from_secs(7);

fn drain(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time > DRAIN_MAX {
        return Err(format!("at most {} s: the whole stop takes 10 s", DRAIN_MAX.as_secs()));
    }
    Ok(time)
}

/// The same, or `*` for all of them.
pub(super) fn origins(text: &str) -> Result<String, String> {
    if text.trim() == "*" { Ok("*".into()) } else { origin(text) }
}

/// `https://example.com`, as browsers send it: no path, no slash behind it.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.split_once("://").map_or("", |(_, host)| host);
    if host.is_empty() || host.contains(['/', '?', '#', '*']) {
        return Err("an origin is scheme and host, such as https://example.com, without a path".into());
    }
    Ok(text.to_ascii_lowercase())
}

pub(super) fn url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let known = text.starts_with("http://") || text.starts_with("https://");
    let parsed = text.parse::<http::Uri>().ok();
    let parsed = parsed.filter(|url| known && url.host().is_some_and(|host| !host.is_empty()));
    parsed.map(|_| text.to_owned()).ok_or_else(|| "must be an http:// or https:// URL".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_id_key_and_secret() {
        let app: PushApp = "1:key:a:b".parse().unwrap();
        assert_eq!((app.id.as_str(), app.key.as_str(), app.secret.bytes()), ("1", "key", &b"a:b"[..]));
        assert!(!format!("{app:?}").contains("a:b"));
        for bad in ["", "1", "1:k", "1:k:", ":k:s", "1::s", "a/b:k:s", "1:k k:s", &format!("1:{}:s", "k".repeat(65))] {
            assert!(bad.parse::<PushApp>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!((origins(" *"), origins("http://a")), (Ok("*".into()), Ok("http://a".into())));
        assert_eq!(origin("https://Example.com:8443"), Ok("https://example.com:8443".into()));
        for bad in ["", "example.com", "https://", "https://a/", "https://*.a"] {
            assert!(origin(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_webhook_goes_to_a_url() {
        assert!(url("https://example.com/hook?x=1").is_ok());
        for bad in ["", "example.com", "ftp://a", "http://", "http:///x"] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_drain_leaves_time_for_the_rest() {
        assert_eq!(drain("5s"), Ok(Duration::from_secs(5)));
        assert!(drain("8s").is_err());
    }
}
