//! Credentials to voter: a bearer token names a user, a request without one is a device.
//!
//! Knows headers and addresses and nothing else of HTTP. Never falls back from a token to the device, never shows or
//! logs a [`VoterId`], and never asks the engine.

mod device;
mod token;

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

pub use device::COOKIE as DEVICE_COOKIE;
pub use token::mint;

use crate::domain::{Profile, VoterId, VoterKey};
use crate::error::Reject;

/// What tells one voter from another.
#[derive(Clone)]
pub struct IdentityOptions {
    /// The secret that tokens are signed with, as the bytes given. Empty: no token is valid.
    pub jwt_secret: Vec<u8>,
    /// What a token's `iss` must be, if anything.
    pub jwt_issuer: Option<String>,
    /// What a token's `aud` must be or contain, if anything.
    pub jwt_audience: Option<String>,
    /// Makes devices' keys and signs their cookies. Must outlive restarts, or devices become others.
    pub cookie_key: [u8; 32],
    /// Makes a voter from a user's or device's name.
    pub voter_key: VoterKey,
    /// New devices that a network (IPv4: /24, IPv6: /48) may bring a UTC day.
    pub devices_per_network: u32,
}

/// Who asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Identified {
    /// The voter.
    pub voter: VoterId,
    /// The token's `sub`; `None` for a device.
    pub sub: Option<Box<str>>,
    /// The cookie that pins a device, when the request carried no valid one. Set it on answers to POST and DELETE, never on one
    /// that caches may share.
    pub set_cookie: Option<HeaderValue>,
}

/// Turns credentials into voters.
#[derive(Debug)]
pub struct Identity {
    tokens: token::Tokens,
    devices: device::Devices,
    voter_key: VoterKey,
}

impl Identity {
    /// Prepares keys once, so that a request only uses them.
    pub fn new(options: IdentityOptions) -> Self {
        Self {
            tokens: token::Tokens::new(&options.jwt_secret, options.jwt_issuer, options.jwt_audience),
            devices: device::Devices::new(&options.cookie_key, options.devices_per_network),
            voter_key: options.voter_key,
        }
    }

    /// Who asks, by the request's headers, the client's address and the time in Unix milliseconds.
    ///
    /// An `Authorization` header that holds no valid token, an empty one too, is `InvalidToken`. A device that is new to
    /// its network past the day's cap is `RateLimited` until midnight; when more devices are new today than are
    /// remembered, `Overloaded`.
    pub fn resolve(&self, headers: &HeaderMap, address: IpAddr, now_ms: u64) -> Result<Identified, Reject> {
        if let Some(sub) = self.tokens.subject(headers, now_ms)? {
            return Ok(Identified { voter: self.voter_key.user(&sub), sub: Some(sub), set_cookie: None });
        }
        let (key, set_cookie) = self.devices.recognise(headers, address.to_canonical(), now_ms)?;
        Ok(Identified { voter: self.voter_key.device(&key), sub: None, set_cookie })
    }

    /// The same for a request that changes nothing: it makes no device known, so that reads, which no rate limits, use up
    /// nobody's place among the day's new ones. `InvalidToken` as above.
    pub fn look(&self, headers: &HeaderMap, address: IpAddr, now_ms: u64) -> Result<VoterId, Reject> {
        if let Some(sub) = self.tokens.subject(headers, now_ms)? {
            return Ok(self.voter_key.user(&sub));
        }
        Ok(self.voter_key.device(&self.devices.look(headers, address.to_canonical())))
    }

    /// Who asks, if that is known: by a token, or by the cookie of a device that came before. Makes nobody new.
    ///
    /// An `Authorization` header that holds no valid token is `InvalidToken`, as in [`Identity::resolve`].
    pub fn known(&self, headers: &HeaderMap, now_ms: u64) -> Result<Option<Identified>, Reject> {
        if let Some(sub) = self.tokens.subject(headers, now_ms)? {
            return Ok(Some(Identified { voter: self.voter_key.user(&sub), sub: Some(sub), set_cookie: None }));
        }
        let key = self.devices.known(headers);
        Ok(key.map(|key| Identified { voter: self.voter_key.device(&key), sub: None, set_cookie: None }))
    }

    /// Whether the request is of a device whose cookie says that it passed the site's challenge.
    pub fn has_passed(&self, headers: &HeaderMap) -> bool {
        self.devices.has_passed(headers)
    }

    /// The cookie of a device that passed the site's challenge just now. It goes with the device, wherever and whenever.
    pub fn passed(&self, headers: &HeaderMap, address: IpAddr) -> HeaderValue {
        self.devices.passed(headers, address.to_canonical())
    }

    /// The cookie that takes the place of a device's, and ends at once.
    pub fn forgotten() -> HeaderValue {
        device::forgotten()
    }

    /// What others may see of who was identified: a token's `name` and `picture`, as far as they can be shown. A device has
    /// neither.
    pub fn profile(&self, headers: &HeaderMap, who: &Identified) -> Profile {
        if who.sub.is_none() {
            return Profile::default();
        }
        let (name, picture) = token::shown(headers);
        Profile::cut(name.as_deref(), picture.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn identity() -> Identity {
        Identity::new(IdentityOptions {
            jwt_secret: b"secret".to_vec(),
            jwt_issuer: None,
            jwt_audience: None,
            cookie_key: [1; 32],
            voter_key: VoterKey::new([2; 32]),
            devices_per_network: 10,
        })
    }

    #[test]
    fn a_token_names_a_user_and_sets_no_cookie() {
        let token = mint(b"secret", "ada", NOW_MS / 1000 + 60, None, None).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let found = identity().resolve(&headers, "192.0.2.1".parse().unwrap(), NOW_MS).unwrap();
        assert_eq!(found.voter, VoterKey::new([2; 32]).user("ada"));
        assert_eq!((found.sub.as_deref(), found.set_cookie), (Some("ada"), None));
    }

    #[test]
    fn a_header_without_a_valid_token_never_falls_back_to_the_device() {
        for bad in ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi", "bearer\u{e4}"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            let found = identity().resolve(&headers, "192.0.2.1".parse().unwrap(), NOW_MS);
            assert!(matches!(found, Err(Reject::InvalidToken(_))), "{bad:?}: {found:?}");
        }
    }

    #[test]
    fn without_a_header_a_device_votes_and_is_pinned() {
        let found = identity().resolve(&HeaderMap::new(), "192.0.2.1".parse().unwrap(), NOW_MS).unwrap();
        assert!(found.set_cookie.is_some());
        assert_eq!(found.sub, None);
        let mapped = identity().resolve(&HeaderMap::new(), "::ffff:192.0.2.1".parse().unwrap(), NOW_MS).unwrap();
        assert_eq!(found.voter, mapped.voter);
    }
}
