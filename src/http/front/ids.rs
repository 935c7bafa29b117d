//! Requests' ids: the client's own where that can be logged, else one of ours. Never: one of ours that says who asked.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue};

use super::REQUEST_ID;

const REQUEST_ID_MAX: usize = 128;

/// Makes ids that differ within a process and, as good as surely, between processes.
pub(super) struct RequestIds {
    next: AtomicU64,
    mask: u64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // Without randomness the ids of two processes may meet, which confuses a log and harms nothing.
        let mask = getrandom::u64().unwrap_or(0);
        Self { next: AtomicU64::new(0), mask }
    }

    /// The client's own id if it is one that can be logged, else one of ours.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        if let Some(own) = headers.get(REQUEST_ID) {
            let text = own.as_bytes();
            if (1..=REQUEST_ID_MAX).contains(&text.len()) && text.iter().all(plain) {
                return own.clone();
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed) ^ self.mask;
        let mut hex = [0; 16];
        for (at, digit) in hex.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[usize::try_from(number >> (60 - 4 * at) & 0xf).expect("4 bits")];
        }
        HeaderValue::from_bytes(&hex).expect("hex digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ids: &RequestIds, own: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(own) = own {
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(own.as_bytes()).unwrap());
        }
        ids.of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept_and_others_are_replaced() {
        let ids = RequestIds { next: AtomicU64::new(0), mask: 0xabc0_0000_0000_0000 };
        assert_eq!(id(&ids, Some("f47ac10b-58cc:1_2.3")), "f47ac10b-58cc:1_2.3");
        assert_eq!(id(&ids, None), "abc0000000000000");
        assert_eq!(id(&ids, Some("a b")), "abc0000000000001");
        assert_eq!(id(&ids, Some("")), "abc0000000000002");
        assert_eq!(id(&ids, Some(&"x".repeat(129))), "abc0000000000003");
    }
}
