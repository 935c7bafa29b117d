//! Compressed answers: gzip and brotli for texts that gain by it, whichever the client prefers. What was compressed is kept for a
//! while, so that many who ask for the same page cost one compression.
//!
//! Only whole bodies of reads, from [`LEAST`] bytes on: the answers to votes are smaller, and a stream of events is never whole.
//! An entity tag becomes a weak one, for it names the text and not its bytes; `Vary` is set whether it was compressed or not.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hashbrown::HashMap;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Body as _;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::front::Body;

/// Bytes below which a body goes out as it is: it fits into a packet anyway.
pub(super) const LEAST: usize = 1024;
/// What `Vary` says of an answer that may be coded.
pub(super) const BY_CODING: HeaderValue = HeaderValue::from_static("accept-encoding");
/// Bytes above which a body is compressed on a thread that may take its time.
const LARGE: usize = 64 * 1024;
/// Large bodies that are compressed at once.
const TURNS: usize = 4;
/// Bytes above which a body goes out as it is.
const MOST: usize = 4 << 20;
/// Bytes of compressed bodies that are kept.
const KEPT_MAX: usize = 16 << 20;
const GZIP_LEVEL: Compression = Compression::new(5);
/// Brotli's middle: half of gzip's speed at this size, a tenth smaller.
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW: u32 = 20;

/// How a body can be coded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Coding {
    Gzip,
    Brotli,
}

impl Coding {
    /// What the client prefers of what there is; brotli where both are as good; `None`: the body as it is.
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        let (mut brotli, mut gzip, mut any, mut plain) = (None, None, None, None);
        for range in lines.flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
            match () {
                () if name.eq_ignore_ascii_case("br") => brotli = Some(weight),
                () if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => gzip = Some(weight),
                () if name.eq_ignore_ascii_case("identity") => plain = Some(weight),
                () if name == "*" => any = Some(weight),
                () => {}
            }
        }
        let (brotli, gzip) = (brotli.or(any).unwrap_or(0.0), gzip.or(any).unwrap_or(0.0));
        let (coding, weight) = if brotli >= gzip { (Self::Brotli, brotli) } else { (Self::Gzip, gzip) };
        (weight > 0.0 && weight >= plain.unwrap_or(0.0)).then_some(coding)
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        })
    }

    /// The body coded; `None` if it would gain nothing.
    fn pack(self, body: &[u8]) -> Option<Bytes> {
        let room = Vec::with_capacity(body.len() / 2);
        let packed = match self {
            Self::Gzip => {
                let mut to = GzEncoder::new(room, GZIP_LEVEL);
                to.write_all(body).and_then(|()| to.finish())
            }
            Self::Brotli => {
                let mut to = brotli::CompressorWriter::new(room, 4096, BROTLI_QUALITY, BROTLI_WINDOW);
                to.write_all(body).map(|()| to.into_inner())
            }
        };
        let packed = packed.expect("writing to memory");
        (packed.len() < body.len()).then(|| packed.into())
    }
}

/// What was compressed lately, by what it was: `None` where nothing is gained. Full, it forgets all of it, which costs one more
/// compression each.
#[derive(Default)]
pub(super) struct Packed {
    kept: RwLock<Kept>,
    /// Held while a large body is compressed, so that who asks for the same one meanwhile waits for it. By the body's hash: others
    /// go on, and no more at once than there are turns.
    turns: [Mutex<()>; TURNS],
}

#[derive(Default)]
struct Kept {
    of: HashMap<(blake3::Hash, Coding), Option<Bytes>>,
    bytes: usize,
}

impl Packed {
    async fn pack(&self, body: Bytes, coding: Coding) -> Option<Bytes> {
        let key = (blake3::hash(&body), coding);
        let find = || self.kept.read().of.get(&key).cloned();
        if let Some(kept) = find() {
            return kept;
        }
        let large = body.len() > LARGE;
        let turn = &self.turns[usize::from(key.0.as_bytes()[0]) % TURNS];
        let _turn = if large { Some(turn.lock().await) } else { None };
        if let Some(kept) = find().filter(|_| large) {
            return kept;
        }
        let packed = if large {
            // A runtime that is going down may drop it: then the body goes out as it is.
            tokio::task::spawn_blocking(move || coding.pack(&body)).await.ok()?
        } else {
            coding.pack(&body)
        };
        let mut kept = self.kept.write();
        // An entry of nothing takes room too.
        let size = packed.as_ref().map_or(0, Bytes::len) + size_of::<((blake3::Hash, Coding), Option<Bytes>)>();
        if kept.bytes + size > KEPT_MAX {
            *kept = Kept::default();
        }
        if kept.of.insert(key, packed.clone()).is_none() {
            kept.bytes += size;
        }
        packed
    }

    /// The answer to a read, coded as its client wants it.
    pub(super) async fn answer(&self, coding: Option<Coding>, mut answer: Response<Body>) -> Response<Body> {
        let may_be_coded = vary(&mut answer);
        let Some(coding) = coding.filter(|_| may_be_coded) else { return answer };
        let (mut parts, body) = answer.into_parts();
        let whole = match body {
            Either::Left(whole) => whole.into_inner().unwrap_or_default(),
            Either::Right(body) => match body.collect().await {
                Ok(whole) => whole.to_bytes(),
                Err(why) => {
                    // It said its length, so it was in memory: nothing can fail there.
                    tracing::error!(%why, "a body could not be read");
                    Bytes::new()
                }
            },
        };
        let Some(packed) = self.pack(whole.clone(), coding).await else {
            return Response::from_parts(parts, Either::Left(Full::new(whole)));
        };
        parts.headers.insert(CONTENT_ENCODING, coding.name());
        parts.headers.remove(CONTENT_LENGTH);
        if let Some(weak) = parts.headers.get(ETAG).and_then(weakened) {
            parts.headers.insert(ETAG, weak);
        }
        Response::from_parts(parts, Either::Left(Full::new(packed)))
    }
}

/// Has caches ask for each coding anew, if there are several of this answer; whether there are.
pub(super) fn vary(answer: &mut Response<Body>) -> bool {
    let several = may_be_coded(answer);
    // Of a page that the client has, too: it says what the page itself would say.
    if (several || answer.status() == StatusCode::NOT_MODIFIED) && answer.headers().get(VARY) != Some(&BY_CODING) {
        answer.headers_mut().append(VARY, BY_CODING);
    }
    several
}

fn may_be_coded(answer: &Response<Body>) -> bool {
    let headers = answer.headers();
    let told_not_to = headers.get(CACHE_CONTROL).is_some_and(|line| line.as_bytes().ends_with(b"no-transform"));
    let whole = answer.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
    answer.status() == StatusCode::OK
        && whole.is_some_and(|size| (LEAST..=MOST).contains(&size))
        && !headers.contains_key(CONTENT_ENCODING)
        && !told_not_to
        && headers.get(CONTENT_TYPE).is_some_and(|kind| is_text(kind.as_bytes()))
}

fn is_text(content_type: &[u8]) -> bool {
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |kind: &&[u8]| media.eq_ignore_ascii_case(kind);
    let texts: [&[u8]; 6] = [
        b"application/json",
        b"application/problem+json",
        b"application/javascript",
        b"application/openmetrics-text",
        b"application/manifest+json",
        b"image/svg+xml",
    ];
    // Compressing a stream of events would hold each event back.
    let text = media.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"text/"));
    texts.iter().any(is) || (text && !is(&&b"text/event-stream"[..]))
}

/// `W/"…"` of a strong tag.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.as_bytes();
    if tag.starts_with(b"W/") { None } else { HeaderValue::from_bytes(&[b"W/", tag].concat()).ok() }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn wanted(line: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, line.parse().unwrap());
        Coding::wanted(&headers)
    }

    #[test]
    fn the_client_chooses() {
        for (line, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Brotli)),
            ("br;q=0.5, gzip", Some(Coding::Gzip)),
            ("br;q=0, *", Some(Coding::Gzip)),
            ("GZIP;Q=0.2", Some(Coding::Gzip)),
            ("*", Some(Coding::Brotli)),
            ("identity, gzip;q=0.5", None),
            ("gzip;q=0", None),
            ("gzip;q=x", None),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(wanted(line), coding, "{line}");
        }
        assert_eq!(Coding::wanted(&HeaderMap::new()), None);
    }

    fn page(kind: &'static str, body: Vec<u8>) -> Response<Body> {
        Response::builder()
            .header(CONTENT_TYPE, kind)
            .header(ETAG, "\"tag\"")
            .body(Either::Left(Full::new(body.into())))
            .unwrap()
    }

    async fn bytes(answer: Response<Body>) -> (HeaderMap, Bytes) {
        let (parts, body) = answer.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn a_page_comes_back_as_it_was_and_says_so() {
        let packed = Packed::default();
        for length in [LEAST, LARGE + 1] {
            let text: Vec<u8> = b"plaudit ".iter().copied().cycle().take(length).collect();
            for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Brotli, "br")] {
                // The second time it is one that was kept.
                for _ in 0..2 {
                    let answer = packed.answer(Some(coding), page("application/json", text.clone())).await;
                    let (headers, body) = bytes(answer).await;
                    let said = (&headers[CONTENT_ENCODING], &headers[VARY], &headers[ETAG]);
                    assert_eq!(
                        said,
                        (&name.parse().unwrap(), &"accept-encoding".parse().unwrap(), &"W/\"tag\"".parse().unwrap())
                    );
                    assert!(body.len() < length / 4);
                    let mut again = Vec::new();
                    match coding {
                        Coding::Gzip => flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut again).unwrap(),
                        Coding::Brotli => brotli::Decompressor::new(&body[..], 4096).read_to_end(&mut again).unwrap(),
                    };
                    assert_eq!(again, text);
                }
            }
        }
        assert_eq!(packed.kept.read().of.len(), 4);
    }

    #[tokio::test]
    async fn what_gains_nothing_goes_out_as_it_is() {
        let packed = Packed::default();
        let mut noise = vec![0; LEAST];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for (kind, body) in [
            ("application/json", vec![b' '; LEAST - 1]),
            ("image/png", vec![b' '; LEAST]),
            ("text/event-stream", vec![b' '; LEAST]),
            ("text/html; charset=utf-8", noise),
        ] {
            let (headers, out) = bytes(packed.answer(Some(Coding::Gzip), page(kind, body.clone())).await).await;
            assert_eq!((headers.get(CONTENT_ENCODING), &headers[ETAG]), (None, &HeaderValue::from_static("\"tag\"")));
            assert_eq!(out, body, "{kind}");
        }
        let large = page("text/html", vec![b' '; LEAST]);
        let (headers, _) = bytes(packed.answer(None, large).await).await;
        assert_eq!(headers[VARY], "accept-encoding", "a cache must not hand it to whoever wants another");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_who_ask_at_once_cost_one_compression() {
        let packed = std::sync::Arc::new(Packed::default());
        let text: Bytes = b"plaudit ".iter().copied().cycle().take(2 * LARGE).collect();
        let asks = (0..16).map(|_| {
            let (packed, text) = (std::sync::Arc::clone(&packed), text.clone());
            tokio::spawn(async move { packed.pack(text, Coding::Brotli).await.unwrap() })
        });
        let asks: Vec<_> = asks.collect();
        let mut answers = Vec::new();
        for ask in asks {
            answers.push(ask.await.unwrap());
        }
        // The very same bytes, not equal ones.
        assert!(answers.iter().all(|answer| answer.as_ptr() == answers[0].as_ptr()));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let packed = Packed::default();
        for at in 0..40_u64 {
            let mut noise = vec![b' '; 1 << 20];
            blake3::Hasher::new().update(&at.to_be_bytes()).finalize_xof().fill(&mut noise[..1 << 19]);
            packed.pack(noise.into(), Coding::Gzip).await.unwrap();
            let kept = packed.kept.read();
            assert!(kept.bytes <= KEPT_MAX);
            assert!(kept.of.values().flatten().map(Bytes::len).sum::<usize>() <= kept.bytes);
        }
    }
}
