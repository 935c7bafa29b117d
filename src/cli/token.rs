//! Tokens for trying out and for load. Never checks one: that is the identity's part.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde::Serialize;

use super::args::Token;
use super::{Done, print, secrets};
use crate::config::TokenSettings;
use crate::error::Fault;

/// Prints a token.
pub(super) fn run(args: &Token) -> Result<Done, Fault> {
    let secret = match &args.tokens.jwt_secret {
        Some(secret) => secret.bytes().to_owned(),
        None => secrets::load(&args.store.data_dir)?.jwt,
    };
    let minter = Minter::new(&secret, &args.tokens);
    let token = minter.mint(&args.sub, args.name.as_deref(), now_s() + args.ttl.as_secs())?;
    print(&format!("{token}\n"))?;
    Ok(Done::Well)
}

/// Unix seconds.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Makes HS256 tokens, with the secret prepared once: a load generator that shares its cores with the server must not
/// spend more on a token than the server does.
#[derive(Clone)]
pub struct Minter {
    key: EncodingKey,
    header: String,
    issuer: Option<String>,
    audience: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Minter {
    /// Signs with `secret`; the tokens name the issuer and audience that the settings ask for.
    pub fn new(secret: &[u8], settings: &TokenSettings) -> Self {
        Self {
            key: EncodingKey::from_secret(secret),
            header: BASE64_URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#),
            issuer: settings.jwt_issuer.clone(),
            audience: settings.jwt_audience.clone(),
        }
    }

    /// A token for `sub` that is valid until `exp`, Unix seconds.
    pub fn mint(&self, sub: &str, name: Option<&str>, exp: u64) -> Result<String, Fault> {
        let claims = Claims { sub, exp, name, iss: self.issuer.as_deref(), aud: self.audience.as_deref() };
        let claims = serde_json::to_vec(&claims).expect("texts and a number");
        let mut token = String::with_capacity(256);
        token.push_str(&self.header);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = crypto::sign(token.as_bytes(), &self.key, Algorithm::HS256)
            .map_err(|why| Fault::Setting(format!("the token can't be signed: {why}")))?;
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    #[test]
    fn a_token_is_what_the_library_accepts() {
        let settings =
            TokenSettings { jwt_secret: None, jwt_issuer: Some("site".into()), jwt_audience: Some("votes".into()) };
        let token = Minter::new(b"secret", &settings).mint("alice", Some("Alice \"A\""), now_s() + 60).unwrap();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&["site"]);
        rules.set_audience(&["votes"]);
        let read = |secret: &[u8]| decode::<serde_json::Value>(&token, &DecodingKey::from_secret(secret), &rules);
        let claims = read(b"secret").unwrap().claims;
        assert_eq!((claims["sub"].as_str(), claims["name"].as_str()), (Some("alice"), Some("Alice \"A\"")));
        assert!(read(b"another").is_err());
    }
}
