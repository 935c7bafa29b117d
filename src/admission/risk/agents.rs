//! What user agents say, by a short list of words, and the answers for those that come again and again.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;

/// Libraries and commands that ask over HTTP.
const TOOLS: [&str; 16] = [
    "curl/",
    "wget/",
    "python-requests",
    "python-urllib",
    "aiohttp",
    "python-httpx",
    "go-http-client",
    "apache-httpclient",
    "java/",
    "libwww-perl",
    "guzzlehttp",
    "axios/",
    "node-fetch",
    "undici",
    "postmanruntime",
    "insomnia/",
];
/// Browsers that nobody sits at, and what walks the web by itself.
const ROBOTS: [&str; 8] =
    ["headless", "phantomjs", "selenium", "webdriver", "puppeteer", "playwright", "crawler", "spider"];
/// Bytes that are looked at: browsers' own agents are shorter, and a longer one is not to cost more.
const LOOKED_AT: usize = 512;
/// Answers kept: a power of two, 8 bytes each.
const KEPT: usize = 1024;

/// What a user agent says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agent {
    /// Nothing: there is none, or it is empty.
    Missing,
    /// It names a library or a command.
    Tool,
    /// It names automation.
    Robot,
    /// Anything else: a browser, an app.
    Other,
}

impl Agent {
    /// Reads one; upper and lower case are the same.
    pub fn of(agent: &[u8]) -> Self {
        let text = String::from_utf8_lossy(looked_at(agent)).to_ascii_lowercase();
        let text = text.trim();
        // Cubot makes phones.
        let bot = text.match_indices("bot").any(|(at, _)| !text[..at].ends_with("cu"));
        if text.is_empty() {
            Self::Missing
        } else if bot || ROBOTS.iter().any(|word| text.contains(word)) {
            Self::Robot
        } else if text == "node" || TOOLS.iter().any(|word| text.contains(word)) {
            Self::Tool
        } else {
            Self::Other
        }
    }
}

fn looked_at(agent: &[u8]) -> &[u8] {
    &agent[..agent.len().min(LOOKED_AT)]
}

/// Answers by the hash of what was asked; another takes the place of one that was there.
#[derive(Debug)]
pub(super) struct Agents {
    /// A hash whose last two bits are the answer; 0 in a place that was never used.
    kept: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
}

impl Agents {
    pub(super) fn new() -> Self {
        let kept = (0..KEPT).map(|_| AtomicU64::new(0)).collect();
        Self { kept, hasher: DefaultHashBuilder::default() }
    }

    /// As [`Agent::of`]: a hash and a look where it was read before.
    pub(super) fn tell(&self, agent: &[u8]) -> Agent {
        let hash = self.hasher.hash_one(looked_at(agent));
        let place = &self.kept[usize::try_from(hash >> 2 & (KEPT as u64 - 1)).expect("below 1024")];
        let kept = place.load(Ordering::Relaxed);
        if kept >> 2 == hash >> 2 {
            match kept & 3 {
                0 if kept != 0 => return Agent::Missing,
                1 => return Agent::Tool,
                2 => return Agent::Robot,
                3 => return Agent::Other,
                _ => {}
            }
        }
        let told = Agent::of(agent);
        place.store(hash >> 2 << 2 | told as u64, Ordering::Relaxed);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [(&str, Agent); 18] = [
        ("", Agent::Missing),
        ("  ", Agent::Missing),
        ("curl/8.5.0", Agent::Tool),
        ("Wget/1.21.4", Agent::Tool),
        ("python-requests/2.31.0", Agent::Tool),
        ("Python/3.11 aiohttp/3.9.1", Agent::Tool),
        ("Go-http-client/2.0", Agent::Tool),
        ("node", Agent::Tool),
        ("Java/17.0.2", Agent::Tool),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Agent::Robot),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/120.0.0.0 Safari/537.36", Agent::Robot),
        ("Mozilla/5.0 (Unknown; Linux) AppleWebKit/538.1 PhantomJS/2.1.1 Safari/538.1", Agent::Robot),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", Agent::Other),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148", Agent::Other),
        ("Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 Chrome/120.0 Mobile", Agent::Other),
        ("Votes/3.1 CFNetwork/1485 Darwin/23.1.0", Agent::Other),
        ("okhttp/4.12.0", Agent::Other),
        ("\u{fc}mlaut", Agent::Other),
    ];

    #[test]
    fn agents_are_told_by_their_words_however_often_they_come() {
        let agents = Agents::new();
        for _ in 0..3 {
            for (agent, told) in CASES {
                assert_eq!(Agent::of(agent.as_bytes()), told, "{agent}");
                assert_eq!(agents.tell(agent.as_bytes()), told, "{agent}");
            }
        }
    }

    #[test]
    fn more_agents_than_are_kept_are_told_all_the_same() {
        let agents = Agents::new();
        for n in 0..5_000 {
            let (tool, other) = (format!("curl/{n}"), format!("Browser/{n}"));
            assert_eq!(agents.tell(tool.as_bytes()), Agent::Tool);
            assert_eq!(agents.tell(other.as_bytes()), Agent::Other);
        }
    }

    #[test]
    fn a_long_agent_costs_no_more() {
        let long = [&b"x".repeat(LOOKED_AT)[..], b"curl/8"].concat();
        assert_eq!(Agent::of(&long), Agent::Other);
        assert_eq!(Agent::of(&[0xff; 600]), Agent::Other);
    }
}
