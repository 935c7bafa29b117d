//! Reads a request's query, named values, percent-decoded, of which the first of a name counts; and the part of a path that is a
//! name. Never checks what a value means.

use std::borrow::Cow;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use percent_encoding::percent_decode_str;

use crate::error::Reject;

/// A request's query string, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a http::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The value of a name, decoded; `InvalidParameter` when it isn't UTF-8.
    pub(super) fn get(self, name: &'static str) -> Result<Option<Cow<'a, str>>, Reject> {
        let mut pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let Some((_, raw)) = pairs.find(|(key, _)| *key == name) else { return Ok(None) };
        if !raw.contains(['%', '+']) {
            return Ok(Some(raw.into()));
        }
        // As forms write it: a plus is a space.
        let spaced = raw.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| invalid(name, "it is not UTF-8"))?;
        Ok(Some(decoded.into_owned().into()))
    }

    /// The value of a name as a whole number from 1.
    pub(super) fn position(self, name: &'static str) -> Result<Option<u32>, Reject> {
        self.get(name)?.map(|value| position(name, &value)).transpose()
    }
}

/// A path with one name in it, as axum found it.
pub(super) type NamePath = Result<Path<String>, PathRejection>;

/// The name in a path.
pub(super) fn named(path: NamePath) -> Result<String, Reject> {
    path.map(|Path(name)| name).map_err(|_| unreadable())
}

/// What a path is that can't be decoded.
pub(super) fn unreadable() -> Reject {
    invalid("path", "it is not UTF-8")
}

/// A slot's position: a whole number from 1, without a sign.
pub(super) fn position(name: &'static str, text: &str) -> Result<u32, Reject> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.filter(|number| *number >= 1).ok_or_else(|| invalid(name, "a whole number from 1"))
}

pub(super) fn invalid(name: &'static str, why: &str) -> Reject {
    Reject::InvalidParameter { name, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_first_counts() {
        let query = Query("a=1&b=x%20y+z&a=2&c&d=%C3%A4");
        assert_eq!(query.get("a").unwrap().as_deref(), Some("1"));
        assert_eq!(query.get("b").unwrap().as_deref(), Some("x y z"));
        assert_eq!(query.get("c").unwrap().as_deref(), Some(""));
        assert_eq!(query.get("d").unwrap().as_deref(), Some("ä"));
        assert_eq!(query.get("e").unwrap(), None);
        assert!(Query("a=%ff").get("a").is_err());
    }

    #[test]
    fn a_position_is_a_whole_number_from_one() {
        assert_eq!(Query("slot=7").position("slot").unwrap(), Some(7));
        assert_eq!(Query("").position("slot").unwrap(), None);
        for bad in ["", "0", "-1", "+1", "1.5", "x", "4294967296"] {
            assert!(position("slot", bad).is_err(), "{bad:?}");
        }
    }
}
