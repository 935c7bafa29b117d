//! Traces: spans of sampled requests, sent to a collector by OTLP over HTTP. Names OpenTelemetry.
//!
//! Spans wait in a bounded queue and leave by a thread of their own; full, they are dropped. With no collector named there is
//! nothing of it but one look at a constant. Never holds a voter's or a clip's name: a span says route, status and stages.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::error::Fault;
use crate::outbound::Outbound;

/// How long a collector may take to answer.
const COLLECTOR_TIME: Duration = Duration::from_secs(5);
/// Bytes of its answer that are read.
const ANSWER_MAX: usize = 64 * 1024;
/// Stages of one request that are kept.
const STAGES_MAX: usize = 8;

/// Whether anything in this process is traced: who times stages looks here first.
static ON: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    static STAGES: RefCell<Vec<Stage>>;
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    name: &'static str,
    began: SystemTime,
    ended: SystemTime,
}

/// Whether the request of this task is traced.
pub fn is_traced() -> bool {
    ON.load(Ordering::Relaxed) && STAGES.try_with(|_| ()).is_ok()
}

/// Notes a stage that ends now, if the request of this task is traced.
pub fn stage(name: &'static str, began: Instant) {
    if ON.load(Ordering::Relaxed) {
        let ended = SystemTime::now();
        let noted = Stage { name, began: ended - began.elapsed(), ended };
        // Whoever isn't traced has nowhere to note it.
        let _ = STAGES.try_with(|stages| {
            let mut stages = stages.borrow_mut();
            if stages.len() < STAGES_MAX {
                stages.push(noted);
            }
        });
    }
}

/// Where spans go, and which requests have one.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// One request in so many.
    every: u64,
    asked: AtomicU64,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traces(one in {})", self.every)
    }
}

impl Traces {
    /// Sends to the collector at `url`, `/v1/traces` behind it, one request in `every`. Inside a runtime: its tasks do the sending.
    pub fn new(url: &str, every: u64) -> Result<Self, Fault> {
        let wrong = |why: &dyn fmt::Display| Fault::Setting(format!("--otlp: {why}"));
        let client = Collector { outbound: Outbound::new()?, runtime: Handle::current() };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", url.trim_end_matches('/')))
            .with_timeout(COLLECTOR_TIME)
            .build()
            .map_err(|why| wrong(&why))?;
        let about = Resource::builder()
            .with_service_name("plaudit")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        // What is sampled is decided before a span is begun.
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(about)
            .build();
        ON.store(true, Ordering::Relaxed);
        Ok(Self { tracer: provider.tracer("plaudit"), provider, every: every.max(1), asked: AtomicU64::new(0) })
    }

    /// Begins the trace of a request, if it has one: of each that a trusted caller samples, by the header `traceparent`, and of one in
    /// so many others.
    pub fn begin(&self, traceparent: Option<&[u8]>) -> Option<Trace> {
        let parent = traceparent.and_then(parent);
        let turn = || self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every);
        let traced = parent.as_ref().is_some_and(SpanContext::is_sampled) || turn();
        traced.then(|| Trace { parent, began: SystemTime::now() })
    }

    /// Runs a traced request, and gives what it came to with the stages that it noted.
    pub async fn record<T>(&self, request: impl Future<Output = T>) -> (T, Stages) {
        STAGES
            .scope(RefCell::default(), async {
                let done = request.await;
                (done, Stages(STAGES.with(RefCell::take)))
            })
            .await
    }

    /// Ends the trace: `route` is a pattern and no path, for a path may name someone.
    pub fn end(&self, trace: Trace, stages: Stages, method: &Method, route: &str, status: u16) {
        let method = known(method);
        let parent = trace.parent.map_or_else(Context::new, |of| Context::new().with_remote_span_context(of));
        let ended = SystemTime::now();
        let mut span = self
            .tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_start_time(trace.began)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("http.route", route.to_owned()),
                KeyValue::new("http.response.status_code", i64::from(status)),
            ])
            .start_with_context(&self.tracer, &parent);
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        let within = Context::new().with_remote_span_context(span.span_context().clone());
        for Stage { name, began, ended } in stages.0 {
            let builder = self.tracer.span_builder(name).with_start_time(began);
            builder.start_with_context(&self.tracer, &within).end_with_timestamp(ended);
        }
        span.end_with_timestamp(ended);
    }

    /// Sends what waits, and ends. Blocks, up to the collector's time.
    pub fn close(&self) {
        if let Err(why) = self.provider.shutdown_with_timeout(COLLECTOR_TIME) {
            tracing::warn!(%why, "the last traces were not sent");
        }
    }
}

/// A method as the conventions name it: whoever calls can make up as many others as there are letters for.
fn known(method: &Method) -> &str {
    let all = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
    ];
    if all.contains(method) { method.as_str() } else { "_OTHER" }
}

/// A request that is traced.
#[derive(Debug)]
pub struct Trace {
    parent: Option<SpanContext>,
    began: SystemTime,
}

/// The stages of a request.
#[derive(Debug, Default)]
pub struct Stages(Vec<Stage>);

/// `00-<trace id>-<span id>-<flags>`, as W3C's Trace Context has it; anything else is nobody's parent.
fn parent(header: &[u8]) -> Option<SpanContext> {
    let text = std::str::from_utf8(header).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// The one HTTP client, as the exporter's thread asks for it: what waits for the network runs on the server's runtime.
#[derive(Debug)]
struct Collector {
    outbound: Outbound,
    runtime: Handle,
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let outbound = self.outbound.clone();
        let sending = self
            .runtime
            .spawn(async move { outbound.answer(request.map(Full::new), COLLECTOR_TIME, ANSWER_MAX).await });
        Box::pin(async move {
            let (status, body) = sending.await??;
            let mut answer = Response::new(body);
            *answer.status_mut() = status.try_into()?;
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_read_as_the_standard_writes_it() {
        let of = parent(PARENT).unwrap();
        assert_eq!((of.trace_id().to_string().as_str(), of.is_sampled()), ("0af7651916cd43dd8448eb211c80319c", true));
        for bad in [
            &b""[..],
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            b"00-xxf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"\xff",
        ] {
            assert!(parent(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_method_that_nobody_knows_has_no_name_of_its_own() {
        assert_eq!([&Method::POST, &Method::from_bytes(b"BREW").unwrap()].map(known), ["POST", "_OTHER"]);
    }

    #[tokio::test]
    async fn one_request_in_so_many_is_traced_and_each_that_a_parent_samples() {
        let traces = Traces::new("http://127.0.0.1:9", 10).unwrap();
        assert_eq!((0..100).filter(|_| traces.begin(None).is_some()).count(), 10);
        assert!((0..20).all(|_| traces.begin(Some(PARENT)).is_some()));
        assert!(!is_traced(), "outside of a request");
        let (seen, stages) = traces
            .record(async {
                (0..20).for_each(|_| stage("claim", Instant::now()));
                is_traced()
            })
            .await;
        assert!(seen && stages.0.len() == STAGES_MAX);
    }
}
