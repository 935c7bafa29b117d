//! Devices: who votes without a token. The first key of a device is a keyed hash of where it is and what it says it is;
//! a signed cookie then pins that key, so that a phone that changes its network stays the same voter.
//!
//! The first key is fixed on purpose: dropping the cookie gives the same key again, never a second vote. Never stores an
//! address: what is counted for the cap is a hash.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use parking_lot::Mutex;

use hashbrown::{HashMap, HashSet};

use crate::clock::DAY_MS;
use crate::domain::{Day, Network, day_of};
use crate::error::Reject;

/// The cookie that pins a device.
pub const COOKIE: &str = "plaudit_device";
/// A year: browsers keep no cookie longer than about that.
const MAX_AGE_S: u32 = 31_536_000;
const KEY: usize = 16;
/// Devices that can be new on one day, over all networks. About 40 bytes each.
const NEW_A_DAY_MAX: usize = 2_000_000;

/// 16 bytes that stand for a device.
pub(super) type DeviceKey = [u8; KEY];

/// Recognises devices and counts new ones.
pub(super) struct Devices {
    first_key: [u8; 32],
    mac_key: [u8; 32],
    passed_key: [u8; 32],
    per_network: u32,
    new_max: usize,
    /// Taken by requests without a valid cookie alone.
    today: Mutex<Today>,
}

#[derive(Default)]
struct Today {
    day: Day,
    seen: HashSet<DeviceKey>,
    of_network: HashMap<Network, u32>,
}

impl Devices {
    pub(super) fn new(secret: &[u8; 32], per_network: u32) -> Self {
        Self {
            first_key: blake3::derive_key("plaudit 2025 device: first key", secret),
            mac_key: blake3::derive_key("plaudit 2025 device: cookie", secret),
            passed_key: blake3::derive_key("plaudit 2025 device: cookie of one that passed", secret),
            per_network,
            new_max: NEW_A_DAY_MAX,
            today: Mutex::default(),
        }
    }

    /// The device's key, and the cookie to set when it brought no valid one.
    pub(super) fn recognise(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        now_ms: u64,
    ) -> Result<(DeviceKey, Option<HeaderValue>), Reject> {
        if let Some(key) = self.known(headers) {
            return Ok((key, None));
        }
        let key = self.first(headers, address);
        self.count(key, Network::of(address), now_ms)?;
        Ok((key, Some(sealed(key, &self.mac_key))))
    }

    /// The device's key as it would be recognised. Counts nothing.
    pub(super) fn look(&self, headers: &HeaderMap, address: IpAddr) -> DeviceKey {
        self.known(headers).unwrap_or_else(|| self.first(headers, address))
    }

    /// The key that a valid cookie pins.
    pub(super) fn known(&self, headers: &HeaderMap) -> Option<DeviceKey> {
        cookies(headers).find_map(|value| self.opened(value)).map(|(key, _)| key)
    }

    /// Whether the cookie that pins the key says that the device passed the site's challenge.
    pub(super) fn has_passed(&self, headers: &HeaderMap) -> bool {
        cookies(headers).find_map(|value| self.opened(value)).is_some_and(|(_, passed)| passed)
    }

    /// The cookie that pins the device's key and says that it passed.
    pub(super) fn passed(&self, headers: &HeaderMap, address: IpAddr) -> HeaderValue {
        sealed(self.look(headers, address), &self.passed_key)
    }

    fn first(&self, headers: &HeaderMap, address: IpAddr) -> DeviceKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.first_key);
        match address {
            IpAddr::V4(v4) => hasher.update(b"4").update(&v4.octets()),
            // A /64 is one home or phone, and it changes the rest of its address as it likes.
            IpAddr::V6(v6) => hasher.update(b"6").update(&v6.octets()[..8]),
        };
        for name in [header::USER_AGENT, header::ACCEPT_LANGUAGE] {
            let value = value_of(headers, &name);
            // The length goes first, so that no two pairs of texts run together into one.
            hasher.update(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes()).update(value);
        }
        let mut key = [0; KEY];
        hasher.finalize_xof().fill(&mut key);
        key
    }

    /// Holds a network to its new devices of the day. A device that comes again without its cookie is the same one.
    fn count(&self, key: DeviceKey, network: Network, now_ms: u64) -> Result<(), Reject> {
        let mut today = self.today.lock();
        let day = day_of(now_ms);
        // A clock that jumps back must not open yesterday's count again.
        if day > today.day {
            *today = Today { day, ..Today::default() };
        }
        if today.seen.contains(&key) {
            return Ok(());
        }
        let known = today.of_network.get(&network).copied().unwrap_or(0);
        if known >= self.per_network {
            return Err(Reject::RateLimited { retry_after_s: (DAY_MS - now_ms % DAY_MS).div_ceil(1000) });
        }
        if today.seen.len() >= self.new_max {
            return Err(Reject::Overloaded);
        }
        today.seen.insert(key);
        today.of_network.insert(network, known + 1);
        Ok(())
    }

    /// The key in a cookie of ours, and whether the device passed the site's challenge.
    fn opened(&self, value: &str) -> Option<(DeviceKey, bool)> {
        use subtle::ConstantTimeEq;
        let mut bytes = [0; 2 * KEY];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        let key: DeviceKey = bytes[..KEY].try_into().expect("16 of 32 bytes");
        let sealed_with = |mac_key| bool::from(bytes[KEY..].ct_eq(&mac(key, mac_key)));
        if sealed_with(&self.mac_key) {
            return Some((key, false));
        }
        sealed_with(&self.passed_key).then_some((key, true))
    }
}

fn mac(key: DeviceKey, mac_key: &[u8; 32]) -> [u8; KEY] {
    let mut mac = [0; KEY];
    blake3::Hasher::new_keyed(mac_key).update(&key).finalize_xof().fill(&mut mac);
    mac
}

fn sealed(key: DeviceKey, mac_key: &[u8; 32]) -> HeaderValue {
    let mut bytes = [0; 2 * KEY];
    bytes[..KEY].copy_from_slice(&key);
    bytes[KEY..].copy_from_slice(&mac(key, mac_key));
    cookie(&URL_SAFE_NO_PAD.encode(bytes), MAX_AGE_S)
}

/// A cookie that browsers throw away, and with it the one that it takes the place of.
pub(super) fn forgotten() -> HeaderValue {
    cookie("", 0)
}

fn cookie(value: &str, max_age_s: u32) -> HeaderValue {
    HeaderValue::try_from(format!("{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax"))
        .expect("base64url is visible ASCII")
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices").field("per_network", &self.per_network).finish_non_exhaustive()
    }
}

fn value_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a [u8] {
    headers.get(name).map_or(&[], HeaderValue::as_bytes)
}

/// The values of our cookie, whichever line or place they stand in.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn headers(agent: &str, language: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, agent.parse().unwrap());
        headers.insert(header::ACCEPT_LANGUAGE, language.parse().unwrap());
        headers
    }

    fn with_cookie(set_cookie: &HeaderValue) -> HeaderMap {
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("theme=dark; {pair}; x=y").parse().unwrap());
        headers
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn key_of(devices: &Devices, headers: &HeaderMap, address: &str) -> DeviceKey {
        devices.recognise(headers, at(address), NOW_MS).unwrap().0
    }

    #[test]
    fn dropping_the_cookie_gives_the_same_key() {
        let devices = Devices::new(&[1; 32], 10);
        let first = devices.recognise(&headers("a", "en"), at("192.0.2.1"), NOW_MS).unwrap();
        let again = devices.recognise(&headers("a", "en"), at("192.0.2.1"), NOW_MS).unwrap();
        assert_eq!(first, again);
    }

    #[test]
    fn the_first_key_depends_on_address_agent_and_language() {
        let devices = Devices::new(&[1; 32], 10);
        let key = key_of(&devices, &headers("a", "en"), "192.0.2.1");
        assert_ne!(key, key_of(&devices, &headers("a", "en"), "192.0.2.2"));
        assert_ne!(key, key_of(&devices, &headers("b", "en"), "192.0.2.1"));
        assert_ne!(key, key_of(&devices, &headers("a", "de"), "192.0.2.1"));
        assert_ne!(key, key_of(&devices, &headers("ae", "n"), "192.0.2.1"));
        assert_ne!(key, key_of(&Devices::new(&[2; 32], 10), &headers("a", "en"), "192.0.2.1"));
        let v6 = key_of(&devices, &headers("a", "en"), "2001:db8::1");
        assert_eq!(v6, key_of(&devices, &headers("a", "en"), "2001:db8::ffff:1"));
        assert_ne!(v6, key_of(&devices, &headers("a", "en"), "2001:db8:0:1::1"));
    }

    #[test]
    fn the_cookie_pins_the_key_wherever_the_device_goes() {
        let devices = Devices::new(&[1; 32], 1);
        let (key, cookie) = devices.recognise(&headers("a", "en"), at("192.0.2.1"), NOW_MS).unwrap();
        let cookie = cookie.unwrap();
        let moved = devices.recognise(&with_cookie(&cookie), at("198.51.100.9"), NOW_MS).unwrap();
        assert_eq!(moved, (key, None));
        let text = cookie.to_str().unwrap();
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(text.contains(attribute), "{attribute} in {text}");
        }
    }

    #[test]
    fn a_forged_cookie_is_as_good_as_none() {
        let devices = Devices::new(&[1; 32], 10);
        let own = key_of(&devices, &headers("a", "en"), "192.0.2.1");
        let foreign = sealed([7; KEY], &Devices::new(&[9; 32], 10).mac_key);
        let passed = sealed([7; KEY], &Devices::new(&[9; 32], 10).passed_key);
        for value in [
            foreign.to_str().unwrap(),
            passed.to_str().unwrap(),
            "plaudit_device=",
            "plaudit_device=AAAA",
            "plaudit_device=***",
        ] {
            let mut headers = headers("a", "en");
            headers.insert(header::COOKIE, value.split(';').next().unwrap().parse().unwrap());
            let (key, cookie) = devices.recognise(&headers, at("192.0.2.1"), NOW_MS).unwrap();
            assert_eq!(key, own, "{value}");
            assert!(cookie.is_some(), "{value}");
            assert!(!devices.has_passed(&headers), "{value}");
        }
    }

    #[test]
    fn who_passed_is_the_same_device_and_says_so() {
        let devices = Devices::new(&[1; 32], 10);
        let (key, plain) = devices.recognise(&headers("a", "en"), at("192.0.2.1"), NOW_MS).unwrap();
        let plain = with_cookie(&plain.unwrap());
        assert!(!devices.has_passed(&plain) && !devices.has_passed(&headers("a", "en")));
        for before in [plain, headers("a", "en")] {
            let passed = with_cookie(&devices.passed(&before, at("192.0.2.1")));
            assert!(devices.has_passed(&passed));
            assert_eq!(devices.recognise(&passed, at("198.51.100.9"), NOW_MS), Ok((key, None)));
        }
    }

    #[test]
    fn a_network_brings_so_many_new_devices_a_day() {
        let devices = Devices::new(&[1; 32], 2);
        let ask = |agent, address, now| devices.recognise(&headers(agent, "en"), at(address), now).map(|found| found.0);
        let midnight = (NOW_MS / DAY_MS + 1) * DAY_MS;
        let known = ask("a", "192.0.2.1", NOW_MS).unwrap();
        ask("b", "192.0.2.200", NOW_MS).unwrap();
        let wait = (midnight - NOW_MS) / 1000;
        assert_eq!(ask("c", "192.0.2.3", NOW_MS), Err(Reject::RateLimited { retry_after_s: wait }));
        assert_eq!(ask("a", "192.0.2.1", NOW_MS), Ok(known), "who was counted stays in");
        ask("c", "192.0.3.3", NOW_MS).expect("another /24");
        ask("c", "2001:db8::1", NOW_MS).unwrap();
        ask("d", "2001:db8:0:ffff::1", NOW_MS).unwrap();
        assert!(ask("e", "2001:db8:0:7::1", NOW_MS).is_err(), "the same /48");
        ask("e", "2001:db8:1::1", NOW_MS).expect("another /48");
        ask("c", "192.0.2.3", midnight).expect("a new day");
        ask("d", "192.0.2.3", midnight - 1).expect("the second of that day, though the clock went back");
        assert!(ask("e", "192.0.2.3", midnight - 1).is_err());
    }

    #[test]
    fn the_memory_of_new_devices_is_bounded() {
        let mut devices = Devices::new(&[1; 32], 10);
        devices.new_max = 2;
        key_of(&devices, &headers("a", "en"), "192.0.2.1");
        key_of(&devices, &headers("b", "en"), "192.0.2.1");
        let third = devices.recognise(&headers("c", "en"), at("192.0.2.1"), NOW_MS);
        assert_eq!(third, Err(Reject::Overloaded));
        key_of(&devices, &headers("b", "en"), "192.0.2.1");
    }
}
