//! Bearer tokens: HS256 JWTs, checked and made. The algorithm is pinned: what a token's header asks for is compared,
//! never obeyed.
//!
//! `jsonwebtoken` makes them. They are checked here, by the same library's HMAC beneath it: its own check prepares the key anew
//! for every token, goes by the machine's clock, and reads header and claims twice, on the path of every vote.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, Reject};

/// How far ahead of us the clock may be that wrote a token's `nbf`. `exp` has no such leeway: at that second the token
/// is no longer valid.
const NOT_BEFORE_LEEWAY_MS: u128 = 5_000;
const SUB_MAX: usize = 256;
/// Bytes of an HMAC-SHA256.
const TAG: usize = 32;
/// The headers that libraries write, which pass [`check_header`], as a test sees to: the first by most of them, the second by ours.
const USUAL_HEADERS: [&str; 2] = ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"];

/// Makes a token for a user.
///
/// `exp_s` is the end of its validity in Unix seconds; `issuer` and `audience` are what the server was told to ask for.
/// Fails when `sub` is not 1 to 256 bytes, or the secret is empty.
pub fn mint(
    secret: &[u8],
    sub: &str,
    exp_s: u64,
    issuer: Option<&str>,
    audience: Option<&str>,
) -> Result<String, Fault> {
    #[derive(Serialize)]
    struct Claims<'a> {
        sub: &'a str,
        exp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        iss: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        aud: Option<&'a str>,
    }
    if !(1..=SUB_MAX).contains(&sub.len()) {
        return Err(Fault::Setting(format!("a token's sub must be 1 to {SUB_MAX} bytes")));
    }
    if secret.is_empty() {
        return Err(Fault::Setting("a token needs a secret that is not empty".into()));
    }
    let claims = Claims { sub, exp: exp_s, iss: issuer, aud: audience };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .map_err(|why| Fault::Setting(format!("the token could not be signed: {why}")))
}

/// The `name` and `picture` of a request's token, which [`Tokens::subject`] has checked before. What isn't text is left out.
pub(super) fn shown(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let claims = || -> Option<serde_json::Map<String, serde_json::Value>> {
        let token = bearer(headers.get(header::AUTHORIZATION)?.as_bytes())?;
        decoded(token.split('.').nth(1)?, &mut Vec::new())
    };
    let claims = claims().unwrap_or_default();
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    (text("name"), text("picture"))
}

/// Checks tokens.
pub(super) struct Tokens {
    /// `None`: no secret was given, so no token is valid. An empty HMAC key would let anyone sign.
    key: Option<hmac::Key>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Tokens {
    pub(super) fn new(secret: &[u8], issuer: Option<String>, audience: Option<String>) -> Self {
        let key = (!secret.is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self { key, issuer, audience }
    }

    /// The `sub` of the request's token; `None` when it has no `Authorization` header.
    pub(super) fn subject(&self, headers: &HeaderMap, now_ms: u64) -> Result<Option<Box<str>>, Reject> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = given.next() else { return Ok(None) };
        if given.next().is_some() {
            return Err(Reject::InvalidToken("there are several Authorization headers"));
        }
        let token = bearer(first.as_bytes()).ok_or(Reject::InvalidToken("the header is not \"Bearer <token>\""))?;
        self.check(token, now_ms).map(Some).map_err(Reject::InvalidToken)
    }

    fn check(&self, token: &str, now_ms: u64) -> Result<Box<str>, &'static str> {
        let key = self.key.as_ref().ok_or("this server takes no tokens")?;
        let (signed, signature) = token.rsplit_once('.').ok_or("it is not a JWT")?;
        let (head, claims) = signed.split_once('.').ok_or("it is not a JWT")?;

        let mut text = Vec::with_capacity(token.len());
        if !USUAL_HEADERS.contains(&head) {
            check_header(head, &mut text)?;
        }
        // Before the claims are looked at: nothing that nobody signed is parsed further.
        if !is_signed(signed, signature, key) {
            return Err("its signature is wrong");
        }

        text.clear();
        let claimed = decoded::<Claims<'_>>(claims, &mut text).ok_or("it needs the claims sub and exp")?;
        if !(1..=SUB_MAX).contains(&claimed.sub.len()) {
            return Err("its sub is not 1 to 256 bytes");
        }
        let expires = millis(claimed.exp).ok_or("its exp is no time")?;
        if expires <= u128::from(now_ms) {
            return Err("it has expired");
        }
        if let Some(from) = claimed.nbf {
            let from = millis(from).ok_or("its nbf is no time")?;
            if from > u128::from(now_ms) + NOT_BEFORE_LEEWAY_MS {
                return Err("it is not valid yet");
            }
        }
        let sub: Box<str> = claimed.sub.into();
        self.check_parties(&text)?;
        Ok(sub)
    }

    /// `iss` and `aud`, read only where they are asked for: elsewhere they may be anything.
    fn check_parties(&self, claims: &[u8]) -> Result<(), &'static str> {
        if let Some(issuer) = &self.issuer {
            let claimed: Issued<'_> = serde_json::from_slice(claims).map_err(|_| "it has no iss")?;
            if claimed.iss != issuer.as_str() {
                return Err("its iss is not the one asked for");
            }
        }
        if let Some(audience) = &self.audience {
            let claimed: Meant<'_> = serde_json::from_slice(claims).map_err(|_| "it has no aud")?;
            let meant = match &claimed.aud {
                Audience::One(aud) => aud == audience,
                Audience::Many(auds) => auds.iter().any(|aud| aud == audience),
            };
            if !meant {
                return Err("its aud does not contain the one asked for");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).field("audience", &self.audience).finish_non_exhaustive()
    }
}

fn check_header(head: &str, text: &mut Vec<u8>) -> Result<(), &'static str> {
    let pinned = decoded::<JoseHeader<'_>>(head, text).ok_or("its header can't be read")?;
    if pinned.alg != "HS256" {
        return Err("its algorithm is not HS256");
    }
    if pinned.crit.is_some() {
        return Err("it demands an extension (crit)");
    }
    Ok(())
}

fn is_signed(signed: &str, signature: &str, key: &hmac::Key) -> bool {
    // With room for one step more of the decoder, which counts its steps before it begins.
    let mut tag = [0; TAG + 1];
    let decoded = URL_SAFE_NO_PAD.decode_slice(signature, &mut tag);
    decoded == Ok(TAG) && hmac::verify(key, signed.as_bytes(), &tag[..TAG]).is_ok()
}

#[derive(Deserialize)]
struct JoseHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    /// Seconds; RFC 7519 lets them have a fraction.
    exp: f64,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
struct Issued<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Meant<'a> {
    #[serde(borrow)]
    aud: Audience<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    #[serde(borrow)]
    One(Cow<'a, str>),
    Many(Vec<String>),
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Decodes one part of a token into `text` and reads it there. An array is refused: serde would take one for a struct.
fn decoded<'a, T: Deserialize<'a>>(part: &str, text: &'a mut Vec<u8>) -> Option<T> {
    URL_SAFE_NO_PAD.decode_vec(part, text).ok()?;
    let object = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if object { serde_json::from_slice(text).ok() } else { None }
}

fn millis(seconds: f64) -> Option<u128> {
    Duration::try_from_secs_f64(seconds).ok().map(|since_1970| since_1970.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::crypto;
    use serde_json::{Value, json};

    const NOW_S: u64 = 1_700_000_000;
    const NOW_MS: u64 = NOW_S * 1000;

    fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn hs256(claims: &Value) -> String {
        signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, b"secret")
    }

    fn tokens() -> Tokens {
        Tokens::new(b"secret", None, None)
    }

    #[test]
    fn a_minted_token_is_valid_until_its_last_second() {
        let token = mint(b"secret", "ada", NOW_S + 60, None, None).unwrap();
        assert_eq!(tokens().check(&token, NOW_MS).as_deref(), Ok("ada"));
        assert_eq!(tokens().check(&token, NOW_MS + 59_999).as_deref(), Ok("ada"));
        assert_eq!(tokens().check(&token, NOW_MS + 60_000), Err("it has expired"));
        assert!(Tokens::new(b"other", None, None).check(&token, NOW_MS).is_err());
    }

    #[test]
    fn what_the_header_says_cannot_choose_the_algorithm() {
        let claims = json!({"sub": "ada", "exp": NOW_S + 60});
        for alg in ["none", "HS384", "HS512", "RS256", "hs256", ""] {
            let token = signed(&json!({ "alg": alg }), &claims, b"secret");
            assert_eq!(tokens().check(&token, NOW_MS), Err("its algorithm is not HS256"), "{alg}");
        }
        let critical = signed(&json!({"alg": "HS256", "crit": ["exp"]}), &claims, b"secret");
        assert!(tokens().check(&critical, NOW_MS).is_err());
        let unsigned = hs256(&claims);
        let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
        assert_eq!(tokens().check(&unsigned, NOW_MS), Err("its signature is wrong"));
    }

    #[test]
    fn usual_headers_are_such_as_are_let_through_when_they_are_read() {
        for head in USUAL_HEADERS {
            assert_eq!(check_header(head, &mut Vec::new()), Ok(()), "{head}");
        }
        let minted = mint(b"secret", "ada", NOW_S + 60, None, None).unwrap();
        assert!(USUAL_HEADERS.contains(&minted.split('.').next().unwrap()));
        let claims = json!({"sub": "ada", "exp": NOW_S + 60});
        let unusual = signed(&json!({"alg": "HS256", "kid": "1"}), &claims, b"secret");
        assert_eq!(tokens().check(&unusual, NOW_MS).as_deref(), Ok("ada"));
    }

    #[test]
    fn a_signature_is_of_one_length() {
        let token = mint(b"secret", "ada", NOW_S + 60, None, None).unwrap();
        for wrong in [&token[..token.len() - 1], &format!("{token}A"), &format!("{token}AA"), &format!("{token}AAAA")] {
            assert_eq!(tokens().check(wrong, NOW_MS), Err("its signature is wrong"), "{wrong}");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let token = mint(b"secret", "ada", NOW_S + 60, None, None).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(tokens().check(&changed, NOW_MS).is_err(), "byte {at}");
        }
    }

    #[test]
    fn sub_and_exp_are_required_and_bounded() {
        let good = ["x".to_owned(), "ü".repeat(128), "with \"quotes\" and \n".to_owned()];
        for sub in good {
            let token = hs256(&json!({"sub": sub, "exp": NOW_S + 1}));
            assert_eq!(tokens().check(&token, NOW_MS).as_deref(), Ok(sub.as_str()));
        }
        for bad in [
            json!({"exp": NOW_S + 60}),
            json!({"sub": "ada"}),
            json!({"sub": "", "exp": NOW_S + 60}),
            json!({"sub": "x".repeat(257), "exp": NOW_S + 60}),
            json!({"sub": 7, "exp": NOW_S + 60}),
            json!({"sub": "ada", "exp": "tomorrow"}),
            json!({"sub": "ada", "exp": -1}),
            json!({"sub": "ada", "exp": 1e300}),
            json!({"sub": "ada", "exp": NOW_S + 60, "nbf": NOW_S + 30}),
            json!(["ada", NOW_S + 60, null]),
        ] {
            assert!(tokens().check(&hs256(&bad), NOW_MS).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_claims_may_be_anything() {
        let token = hs256(&json!({
            "sub": "ada", "exp": 1_700_000_060.5, "nbf": NOW_S + 4, "iat": "?", "iss": 5, "aud": {"x": []}
        }));
        assert_eq!(tokens().check(&token, NOW_MS).as_deref(), Ok("ada"));
    }

    #[test]
    fn issuer_and_audience_are_held_to_when_configured() {
        let both = Tokens::new(b"secret", Some("site".into()), Some("votes".into()));
        let minted = |iss, aud| mint(b"secret", "ada", NOW_S + 60, iss, aud).unwrap();
        assert!(both.check(&minted(Some("site"), Some("votes")), NOW_MS).is_ok());
        for (iss, aud) in
            [(None, Some("votes")), (Some("site"), None), (Some("x"), Some("votes")), (Some("site"), Some("x"))]
        {
            assert!(both.check(&minted(iss, aud), NOW_MS).is_err(), "{iss:?} {aud:?}");
        }
        let several = hs256(&json!({"sub": "ada", "exp": NOW_S + 60, "iss": "site", "aud": ["x", "votes"]}));
        assert!(both.check(&several, NOW_MS).is_ok());
    }

    #[test]
    fn without_a_secret_no_token_is_valid() {
        let token = signed(&json!({"alg": "HS256"}), &json!({"sub": "ada", "exp": NOW_S + 60}), b"");
        assert!(Tokens::new(b"", None, None).check(&token, NOW_MS).is_err());
        assert!(mint(b"", "ada", NOW_S, None, None).is_err());
        assert!(mint(b"secret", "", NOW_S, None, None).is_err());
    }

    #[test]
    fn a_bearer_header_is_read_as_clients_write_it() {
        assert_eq!(bearer(b"Bearer abc"), Some("abc"));
        assert_eq!(bearer(b"bearer  abc "), Some("abc"));
        for bad in [&b"Bearer"[..], b"Bearer ", b"abc", b"Token abc", b"Bearer \xff"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }
}
