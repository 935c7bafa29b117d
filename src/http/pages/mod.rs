//! What people see: the viewer's and the operator's page, the frame for other sites, and the charts. The files are part of the program and are
//! sent as they lie in `site/`: no build step, nothing from elsewhere.
//!
//! The pages are clients of the API like any other. Never renders what a user wrote: that is the browser's, as text.

pub(super) mod chart;

use axum::extract::State;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use super::query::{NamePath, named};
use super::reply::Whole;
use super::routes::Outcome;
use super::{App, AppOptions, etag};
use crate::domain::Weights;
use crate::error::Reject;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What lies below `/pages/`.
const FILES: [(&str, &str, &str); 22] = [
    ("admin.js", SCRIPT, include_str!("site/admin.js")),
    ("office.js", SCRIPT, include_str!("site/office.js")),
    ("meters.js", SCRIPT, include_str!("site/meters.js")),
    ("voids.js", SCRIPT, include_str!("site/voids.js")),
    ("admin.css", CSS, include_str!("site/admin.css")),
    ("app.js", SCRIPT, include_str!("site/app.js")),
    ("api.js", SCRIPT, include_str!("site/api.js")),
    ("art.js", SCRIPT, include_str!("site/art.js")),
    ("ballot.js", SCRIPT, include_str!("site/ballot.js")),
    ("budget.js", SCRIPT, include_str!("site/budget.js")),
    ("cards.js", SCRIPT, include_str!("site/cards.js")),
    ("comments.js", SCRIPT, include_str!("site/comments.js")),
    ("dom.js", SCRIPT, include_str!("site/dom.js")),
    ("embed-frame.js", SCRIPT, include_str!("site/embed-frame.js")),
    ("live.js", SCRIPT, include_str!("site/live.js")),
    ("own.js", SCRIPT, include_str!("site/own.js")),
    ("proof.js", SCRIPT, include_str!("site/proof.js")),
    ("rounds.js", SCRIPT, include_str!("site/rounds.js")),
    ("time.js", SCRIPT, include_str!("site/time.js")),
    ("embed.css", CSS, include_str!("site/embed.css")),
    ("viewer.css", CSS, include_str!("site/viewer.css")),
    ("icon.svg", SVG, include_str!("site/icon.svg")),
];

/// Scripts and styles of this server alone, and none within the page. Pictures and films lie wherever a site keeps them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data: https: http:; media-src 'self' https: http:; base-uri 'none'; form-action 'none'; frame-ancestors ";
/// A cache asks before it uses what it has: after an update all files are of one version.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The pages as this server sends them.
pub(super) struct Pages {
    viewer: Page,
    admin: Page,
    embed: Page,
    loader: Page,
    files: Vec<(&'static str, Page)>,
}

impl Pages {
    pub(super) fn new(options: &AppOptions, weights: Weights) -> Self {
        let comments = if options.anonymous_comments { "everyone" } else { "members" };
        let Weights { standard, super_, mega } = weights;
        let weights = format!("{{&quot;standard&quot;:{standard},&quot;super&quot;:{super_},&quot;mega&quot;:{mega}}}");
        let page =
            |text: &str| Page::new(HTML, text.replace("{{comments}}", comments).replace("{{weights}}", &weights));
        let framed_by = ["'self'"].into_iter().chain(options.embed_origins.iter().map(String::as_str));
        let framed_by = framed_by.collect::<Vec<_>>().join(" ");
        Self {
            viewer: page(include_str!("site/viewer.html")).under("'none'"),
            admin: page(include_str!("site/admin.html")).under("'none'"),
            embed: page(include_str!("site/embed.html")).under(&framed_by),
            loader: Page::new(SCRIPT, include_str!("site/embed.js").into()),
            files: FILES.iter().map(|(name, kind, text)| (*name, Page::new(kind, (*text).into()))).collect(),
        }
    }
}

/// A file with its tag.
struct Page {
    kind: HeaderValue,
    body: Bytes,
    etag: HeaderValue,
    policy: HeaderValue,
}

impl Page {
    fn new(kind: &'static str, text: String) -> Self {
        let body = Bytes::from(text);
        let etag = etag::of(&body);
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        Self { kind: HeaderValue::from_static(kind), body, etag, policy }
    }

    /// The same as a page that these may show in a frame.
    fn under(self, framed_by: &str) -> Self {
        let policy = HeaderValue::try_from(format!("{POLICY}{framed_by}")).expect("settings check origins");
        Self { policy, ..self }
    }

    fn answer(&self, headers: &HeaderMap) -> Whole {
        let mut answer = etag::typed(headers, self.kind.clone(), &self.body, &self.etag);
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, REVALIDATE);
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        answer
    }
}

/// `GET /`
pub(super) async fn viewer(State(app): State<App>, headers: HeaderMap) -> Whole {
    app.0.pages.viewer.answer(&headers)
}

/// `GET /admin`: for everyone, and empty; what it shows asks for the token.
pub(super) async fn admin(State(app): State<App>, headers: HeaderMap) -> Whole {
    app.0.pages.admin.answer(&headers)
}

/// `GET /embed/{clipId}`: the page is the same for every clip, and reads from its address which one it shows.
pub(super) async fn embed(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    app.engine().counts(&named(path)?)?;
    Ok(app.0.pages.embed.answer(&headers))
}

/// `GET /embed.js`
pub(super) async fn loader(State(app): State<App>, headers: HeaderMap) -> Whole {
    app.0.pages.loader.answer(&headers)
}

/// `GET /pages/{file}`
pub(super) async fn file(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    let name = named(path)?;
    let found = app.0.pages.files.iter().find(|(known, _)| *known == name);
    Ok(found.ok_or(Reject::NotFound)?.1.answer(&headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(page: &Page) -> String {
        let answer = page.answer(&HeaderMap::new());
        answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
    }

    #[test]
    fn only_listed_sites_may_frame_and_only_the_embed() {
        let none = Pages::new(&AppOptions::default(), Weights::default());
        assert!(policy(&none.embed).ends_with("frame-ancestors 'self'"));
        let origins = vec!["https://a.example".to_owned(), "https://b.example".to_owned()];
        let some = Pages::new(&AppOptions { embed_origins: origins, ..AppOptions::default() }, Weights::default());
        assert!(policy(&some.embed).ends_with("frame-ancestors 'self' https://a.example https://b.example"));
        assert!(policy(&some.viewer).ends_with("frame-ancestors 'none'"));
    }

    #[test]
    fn a_page_holds_no_script_and_no_style_of_its_own() {
        for text in [include_str!("site/viewer.html"), include_str!("site/admin.html"), include_str!("site/embed.html")]
        {
            for tag in text.split('<').filter(|tag| tag.starts_with("script")) {
                assert!(tag.contains("src=") && tag.trim_end().ends_with('>'), "{tag}");
            }
            assert!(!text.contains("<style") && !text.contains("style=") && !text.contains(" on"), "inline");
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn what_a_page_names_is_there() {
        let pages = Pages::new(&AppOptions::default(), Weights::default());
        let texts = FILES.iter().map(|(_, _, text)| *text);
        let texts = texts.chain([
            include_str!("site/viewer.html"),
            include_str!("site/admin.html"),
            include_str!("site/embed.html"),
        ]);
        let mut named = 0;
        for text in texts {
            for part in text.split("'./").chain(text.split("\"/pages/")).skip(1) {
                let name = part.split(['\'', '"']).next().unwrap();
                if [".js", ".css", ".svg"].iter().any(|end| name.ends_with(end)) {
                    named += 1;
                    assert!(pages.files.iter().any(|(known, _)| *known == name), "{name}");
                }
            }
        }
        assert!(named > 10, "names were found");
    }

    #[test]
    fn who_has_a_file_is_told_so() {
        let page = Page::new(CSS, "a {}".into());
        let first = page.answer(&HeaderMap::new());
        let mut headers = HeaderMap::new();
        headers.insert(http::header::IF_NONE_MATCH, first.headers()[http::header::ETAG].clone());
        assert_eq!((first.status().as_u16(), page.answer(&headers).status().as_u16()), (200, 304));
    }
}
