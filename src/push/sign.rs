//! Signatures: HMAC-SHA256 in hex over what pusher's libraries sign. Checks and makes them. Never says which part of a
//! signature is wrong, and takes as long for a wrong one as for the right one.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// Bytes of an HMAC-SHA256.
const TAG: usize = 32;

/// A key and its secret, as an app has them.
pub struct Signer {
    key: String,
    secret: Key,
}

impl Signer {
    /// The signer of an app's key.
    pub fn new(key: &str, secret: &[u8]) -> Self {
        Self { key: key.to_owned(), secret: Key::new(HMAC_SHA256, secret) }
    }

    /// The app's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The signature of a text, in hex.
    pub fn sign(&self, text: &[u8]) -> String {
        hex(sign(&self.secret, text).as_ref())
    }

    /// Whether this is the signature of the text.
    pub fn signed(&self, text: &[u8], signature: &str) -> bool {
        let mut tag = [0; TAG];
        unhex(signature, &mut tag) && verify(&self.secret, text, &tag).is_ok()
    }

    /// Whether `auth`, `key:signature`, lets a connection into a channel; `data` is what a presence channel's
    /// subscriber says of itself, verbatim.
    pub fn lets_in(&self, auth: &str, socket_id: &str, channel: &str, data: Option<&str>) -> bool {
        let text = match data {
            Some(data) => format!("{socket_id}:{channel}:{data}"),
            None => format!("{socket_id}:{channel}"),
        };
        self.authorises(auth, &text)
    }

    /// Whether `auth` says that a connection is the user of `data`, verbatim.
    pub fn signs_in(&self, auth: &str, socket_id: &str, data: &str) -> bool {
        self.authorises(auth, &format!("{socket_id}::user::{data}"))
    }

    fn authorises(&self, auth: &str, text: &str) -> bool {
        let Some((key, signature)) = auth.split_once(':') else { return false };
        // A key is no secret: it may be compared as fast as it goes.
        key == self.key && self.signed(text.as_bytes(), signature)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.key)
    }
}

/// Whether `md5`, in hex, is that of a body.
pub fn is_md5(body: &[u8], md5: &str) -> bool {
    let mut given = [0; 16];
    unhex(md5, &mut given) && bool::from(Md5::digest(body).as_slice().ct_eq(&given))
}

/// The MD5 of a body, in hex.
pub fn md5(body: &[u8]) -> String {
    hex(Md5::digest(body).as_slice())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|four| char::from(DIGITS[usize::from(four)])).collect()
}

/// Reads exactly as many hex digits as fill the bytes.
fn unhex(text: &str, into: &mut [u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.len() == 2 * into.len()
        && text.as_bytes().chunks_exact(2).zip(into).all(|(pair, byte)| {
            let both = digit(pair[0]).zip(digit(pair[1]));
            both.map(|(high, low)| *byte = high << 4 | low).is_some()
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The key and secret of Pusher's documentation.
    fn signer() -> Signer {
        Signer::new("278d425bdf160c739803", b"7ad3773142a6692b25b8")
    }

    #[test]
    fn the_documentations_examples_verify() {
        let private = "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert!(signer().lets_in(private, "1234.1234", "private-foobar", None));
        let user = signer().sign(br#"1234.1234::user::{"id":"12345"}"#);
        assert!(signer().signs_in(&format!("278d425bdf160c739803:{user}"), "1234.1234", r#"{"id":"12345"}"#));
        let request = "POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
                       &body_md5=ec365a775a4cd0599faeb73354201b6f";
        assert!(
            signer().signed(request.as_bytes(), "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c")
        );
        let body = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        assert!(is_md5(body, "ec365a775a4cd0599faeb73354201b6f"));
    }

    #[test]
    fn a_signature_is_for_one_connection_one_channel_and_one_text() {
        let auth = format!("278d425bdf160c739803:{}", signer().sign(b"1.2:presence-a:{\"user_id\":1}"));
        let lets = |auth: &str, socket, channel, data| signer().lets_in(auth, socket, channel, data);
        assert!(lets(&auth, "1.2", "presence-a", Some("{\"user_id\":1}")));
        assert!(!lets(&auth, "1.3", "presence-a", Some("{\"user_id\":1}")));
        assert!(!lets(&auth, "1.2", "presence-b", Some("{\"user_id\":1}")));
        assert!(!lets(&auth, "1.2", "presence-a", Some("{\"user_id\":2}")));
        assert!(!lets(&auth, "1.2", "presence-a", Some("{\"user_id\": 1}")));
        assert!(!lets(&auth, "1.2", "presence-a", None));
        assert!(!signer().signs_in(&auth, "1.2", "{\"user_id\":1}"));
        assert!(!Signer::new("278d425bdf160c739803", b"other").lets_in(&auth, "1.2", "presence-a", None));
        assert!(!Signer::new("other", b"7ad3773142a6692b25b8").lets_in(&auth, "1.2", "presence-a", None));
    }

    #[test]
    fn what_is_no_signature_lets_nobody_in() {
        let whole = signer().sign(b"1.2:private-a");
        for auth in ["", ":", "278d425bdf160c739803", "278d425bdf160c739803:", "278d425bdf160c739803:zz", &whole] {
            assert!(!signer().lets_in(auth, "1.2", "private-a", None), "{auth}");
        }
        let short = format!("278d425bdf160c739803:{}", &whole[..62]);
        assert!(!signer().lets_in(&short, "1.2", "private-a", None));
        assert!(!is_md5(b"", "d41d8cd98f00b204e9800998ecf8427") && is_md5(b"", "d41d8cd98f00b204e9800998ecf8427e"));
    }

    proptest! {
        #[test]
        fn only_the_signed_text_verifies(text: Vec<u8>, other: Vec<u8>, flip in 0_usize..64) {
            let signature = signer().sign(&text);
            prop_assert!(signer().signed(&text, &signature));
            prop_assert_eq!(signer().signed(&other, &signature), text == other);
            let mut bent = signature.into_bytes();
            bent[flip] = if bent[flip] == b'0' { b'1' } else { b'0' };
            prop_assert!(!signer().signed(&text, std::str::from_utf8(&bent).unwrap()));
        }

        #[test]
        fn hex_is_read_back(bytes: [u8; 16]) {
            let mut read = [0; 16];
            prop_assert!(unhex(&hex(&bytes), &mut read));
            prop_assert_eq!(read, bytes);
        }
    }
}
