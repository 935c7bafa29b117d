//! Credentials: any headers name a voter or are refused; nothing that our secret did not sign names a user, and a signed
//! token names the one that its claims do, while it is valid.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;
use plaudit::domain::VoterKey;
use plaudit::identity::{Identified, Identity, IdentityOptions};
use serde_json::Value;

const SECRET: &[u8] = b"the secret of this target, which is long enough";
const NOW_S: u64 = 1_700_000_000;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    authorization: Vec<Credential<'a>>,
    cookies: Vec<&'a [u8]>,
    agent: Option<&'a [u8]>,
    address: u128,
    parties: bool,
}

#[derive(Arbitrary, Debug)]
enum Credential<'a> {
    Raw(&'a [u8]),
    Bearer(&'a [u8]),
    /// Signed by us, over any text.
    Signed {
        header: Option<&'a str>,
        claims: Claims<'a>,
    },
}

#[derive(Arbitrary, Debug)]
enum Claims<'a> {
    Text(&'a str),
    Fields { sub: Field<'a>, exp: Field<'a>, nbf: Field<'a>, aud: Field<'a>, iss: Field<'a> },
}

#[derive(Arbitrary, Debug)]
enum Field<'a> {
    Absent,
    Text(&'a str),
    Number(f64),
    Near(i8),
    Right,
    Texts(Vec<&'a str>),
}

impl Field<'_> {
    fn put(&self, name: &str, right: Value, into: &mut serde_json::Map<String, Value>) {
        let value = match self {
            Self::Absent => return,
            Self::Text(text) => (*text).into(),
            Self::Number(number) => (*number).into(),
            Self::Near(by) => NOW_S.saturating_add_signed((*by).into()).into(),
            Self::Right => right,
            Self::Texts(texts) => texts.clone().into(),
        };
        into.insert(name.to_owned(), value);
    }
}

impl Claims<'_> {
    fn json(&self) -> String {
        let (sub, exp, nbf, aud, iss) = match self {
            Self::Text(text) => return (*text).to_owned(),
            Self::Fields { sub, exp, nbf, aud, iss } => (sub, exp, nbf, aud, iss),
        };
        let mut map = serde_json::Map::new();
        sub.put("sub", "ada".into(), &mut map);
        exp.put("exp", (NOW_S + 60).into(), &mut map);
        nbf.put("nbf", NOW_S.into(), &mut map);
        aud.put("aud", vec!["x", "site"].into(), &mut map);
        iss.put("iss", "issuer".into(), &mut map);
        Value::Object(map).to_string()
    }
}

/// Without padding, as JWTs have it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

impl Credential<'_> {
    fn value(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.to_vec(),
            Self::Bearer(bytes) => [b"Bearer ", *bytes].concat(),
            Self::Signed { header, claims } => {
                let header = header.unwrap_or("{\"alg\":\"HS256\"}");
                let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.json().as_bytes()));
                let key = EncodingKey::from_secret(SECRET);
                let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("HMAC takes any text");
                format!("Bearer {signed}.{signature}").into_bytes()
            }
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let identity = Identity::new(IdentityOptions {
        jwt_secret: SECRET.to_vec(),
        jwt_issuer: input.parties.then(|| "issuer".into()),
        jwt_audience: input.parties.then(|| "site".into()),
        cookie_key: [1; 32],
        voter_key: VoterKey::new([2; 32]),
        devices_per_network: 1,
    });
    let mut headers = HeaderMap::new();
    for credential in input.authorization.iter().take(3) {
        let Ok(value) = HeaderValue::from_bytes(&credential.value()) else { return };
        headers.append(header::AUTHORIZATION, value);
    }
    for cookie in input.cookies.iter().take(4) {
        let Ok(value) = HeaderValue::from_bytes(cookie) else { return };
        headers.append(header::COOKIE, value);
    }
    if let Some(agent) = input.agent {
        let Ok(value) = HeaderValue::from_bytes(agent) else { return };
        headers.append(header::USER_AGENT, value);
    }
    let address = IpAddr::V6(Ipv6Addr::from_bits(input.address));
    let found = identity.resolve(&headers, address, NOW_S * 1000);

    let Ok(Identified { voter, sub, set_cookie }) = found else {
        // The first device of a network is never one too many.
        assert!(!input.authorization.is_empty());
        return;
    };
    match sub {
        Some(sub) => {
            assert!(set_cookie.is_none() && (1..=256).contains(&sub.len()));
            let [Credential::Signed { claims, .. }] = &input.authorization[..] else {
                panic!("{sub} has no token of ours")
            };
            let claims: Value = serde_json::from_str(&claims.json()).expect("what was valid is JSON");
            assert_eq!(claims["sub"], *sub);
            assert!(claims["exp"].as_f64().is_some_and(|exp| exp > NOW_S as f64), "{claims}");
            assert!(!input.parties || claims["iss"] == "issuer", "{claims}");
            assert_eq!(voter, VoterKey::new([2; 32]).user(&sub));
        }
        None => {
            assert!(input.authorization.is_empty(), "a token never falls back to the device");
            let cookie = set_cookie.expect("nobody signed a cookie here");
            let pair = cookie.as_bytes().split(|byte| *byte == b';').next().expect("its first part");
            let mut pinned = HeaderMap::new();
            pinned.insert(header::COOKIE, HeaderValue::from_bytes(pair).expect("it was one"));
            let elsewhere = IpAddr::V6(Ipv6Addr::from_bits(!input.address));
            let again = identity.resolve(&pinned, elsewhere, NOW_S * 1000);
            assert_eq!(again, Ok(Identified { voter, sub: None, set_cookie: None }));
        }
    }
});
