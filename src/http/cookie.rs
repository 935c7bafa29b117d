//! Where a browser sends the device's cookie to: this site's own pages, and where settings let other sites in, theirs too.
//! Never decides whose device it is.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{App, Origins};

/// What a proxy that ends TLS says of the way that a request came.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const OWN: &str = "SameSite=Lax";
/// A frame in another site's page, or its script, gets a cookie of its own for each site: browsers keep these where they keep no
/// other of a third party. Over TLS alone.
const EVERYWHERE: &str = "SameSite=None; Secure; Partitioned";

/// A new device's cookie, as the answer to this request sets it.
pub(super) fn placed(app: &App, request: &HeaderMap, cookie: HeaderValue) -> HeaderValue {
    let options = &app.0.options;
    // Whoever makes this up spoils a cookie of their own.
    let forwarded = request.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    if !(options.over_tls || forwarded) {
        return cookie;
    }
    let shared = !options.embed_origins.is_empty() || matches!(options.origins, Origins::Listed(_));
    let ours = cookie.to_str().expect("our own cookies are of visible letters");
    let placed = if shared { ours.replace(OWN, EVERYWHERE) } else { format!("{ours}; Secure") };
    HeaderValue::try_from(placed).expect("the same letters")
}
