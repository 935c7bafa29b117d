//! `GET /openapi.json` and `/docs`: the document of the routes, made of their table, of the types that are read and written,
//! and of the errors that are answered. Static once it is made: it asks no engine and depends on no request.

mod about;
pub(super) mod comments;
mod errors;
pub(super) mod operators;
pub(super) mod own;
mod page;
pub(super) mod pages;
mod promise;
pub(super) mod push;
pub(super) mod testing;
pub(super) mod votes;

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{self, Outcome, Route};
use super::{App, etag};
pub(super) use about::About;
use about::{Access, Content, Given, Param, Place};
pub(super) use promise::{Promise, Promises};

const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The document in both its forms, as bytes.
#[derive(Debug)]
pub(super) struct Documents {
    json: Bytes,
    page: Bytes,
    page_policy: HeaderValue,
}

impl Documents {
    /// The document of these routes.
    pub(super) fn of(routes: &[Route]) -> Self {
        let document = document(routes);
        let page = page::html(&document);
        let text = serde_json::to_vec_pretty(&document).expect("a JSON value always serialises");
        Self { json: text.into(), page: page.text.into(), page_policy: page.policy }
    }
}

/// `GET /openapi.json`
pub(super) async fn json(State(app): State<App>, headers: HeaderMap) -> Outcome {
    let body = &documents(&app).json;
    let mut answer = etag::answer(&headers, body, &etag::of(body));
    answer.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
    Ok(answer)
}

/// `GET /docs`
pub(super) async fn page(State(app): State<App>, headers: HeaderMap) -> Outcome {
    let Documents { page, page_policy, .. } = documents(&app);
    let mut answer = etag::answer(&headers, page, &etag::of(page));
    let headers = answer.headers_mut();
    // A 304 has none.
    if headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HTML);
    }
    headers.insert(CACHE_CONTROL, REVALIDATE);
    headers.insert(CONTENT_SECURITY_POLICY, page_policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    Ok(answer)
}

fn documents(app: &App) -> &Documents {
    app.0.documents.get_or_init(|| Documents::of(&routes::table(app.0.options.testing.is_some())))
}

/// The document, by version 3.1 of `OpenAPI`.
fn document(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes {
        let mut item = Map::new();
        for operation in &route.operations {
            let about = &operation.about;
            check_path(route.path, about);
            item.insert(operation.verb.as_str().into(), describe(about, &mut schemas));
        }
        paths.insert(route.path.into(), item.into());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Plaudit",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INFO,
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": groups(routes),
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "headers": headers(),
            "securitySchemes": security_schemes(),
        },
    })
}

const INFO: &str = "Votes, likes and comments at burst scale. Every path answers OPTIONS with its methods in `Allow`, another \
    method with 405 `METHOD_NOT_ALLOWED`, and HEAD where it answers GET; a path that isn't there is 404 `NOT_FOUND`. Errors are \
    `{error, message, …}`, and as `application/problem+json` (RFC 9457) for who accepts that; `error` is the code to act on. Times are Unix \
    milliseconds. Numbers that may pass 2^53, as ids of events and comments, are decimal strings. Every answer has an \
    `X-Request-Id`: the request's own, where it sent a sane one. Pages of other origins may call where the server \
    lists them (`--cors-origins`); answers then have the headers that browsers ask for. Requests that aren't HTTP or whose headers are too large are \
    closed with 400 or 431 and no body.";

/// A path names what its operation describes, and nothing else.
fn check_path(path: &str, about: &About) {
    let named: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let described: Vec<&str> =
        about.params.iter().filter(|param| param.place == Place::Path).map(|param| param.name).collect();
    assert_eq!(named, described, "{}: what {path} names must be described, in its order", about.id);
}

fn groups(routes: &[Route]) -> Value {
    let mut groups: Vec<&str> = Vec::new();
    for operation in routes.iter().flat_map(|route| &route.operations) {
        if !groups.contains(&operation.about.group) {
            groups.push(operation.about.group);
        }
    }
    groups.into_iter().map(|name| json!({ "name": name })).collect()
}

fn describe(about: &About, schemas: &mut Schemas) -> Value {
    let mut operation = json!({
        "operationId": about.id,
        "tags": [about.group],
        "summary": about.summary,
        "security": security(about.access),
        "parameters": about.params.iter().map(param).chain([request_id()]).collect::<Vec<_>>(),
        "responses": responses(about, schemas),
    });
    if !about.text.is_empty() {
        operation["description"] = about.text.into();
    }
    if let Some(taken) = &about.taken {
        let schema = (taken.schema)(&mut schemas.taken);
        operation["requestBody"] =
            json!({ "required": taken.required, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn param(param: &Param) -> Value {
    let place = match param.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let Param { name, required, schema, text, .. } = param;
    json!({ "name": name, "in": place, "required": required, "schema": schema, "description": text })
}

fn request_id() -> Value {
    let text = "An id of the client's own for this request: it comes back, and stands in the server's log. Another one is made where \
        it is not 1 to 128 of A-Z a-z 0-9 _ . : -.";
    json!({ "name": "X-Request-Id", "in": "header", "required": false, "schema": { "type": "string" }, "description": text })
}

fn responses(about: &About, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in &about.codes {
        by_status.entry(errors::of(code).status).or_default().push(code);
    }
    for (status, codes) in &mut by_status {
        codes.sort_unstable();
        responses.insert(status.to_string(), refusal(codes));
    }
    for given in &about.given {
        let response = answer(given, schemas);
        match responses.get_mut(&given.status.to_string()) {
            // A status that is an answer of its own and an error's.
            Some(known) => join(known, &response),
            None => drop(responses.insert(given.status.to_string(), response)),
        }
    }
    responses.into()
}

fn answer(given: &Given, schemas: &mut Schemas) -> Value {
    let names = given.headers.iter().map(|name| (*name).to_owned());
    let mut response = json!({ "description": given.text, "headers": header_refs(names) });
    match &given.content {
        Content::Nothing => {}
        Content::Json(schema) => {
            response["content"] = json!({ "application/json": { "schema": schema(&mut schemas.given) } });
        }
        Content::Other(kind) => response["content"] = json!({ *kind: { "schema": { "type": "string" } } }),
    }
    response
}

/// One response for all codes of a status.
fn refusal(codes: &[&str]) -> Value {
    let of = |form: &str| {
        let refs: Vec<Value> =
            codes.iter().map(|code| json!({ "$ref": format!("#/components/schemas/{form}.{code}") })).collect();
        if refs.len() == 1 { refs[0].clone() } else { json!({ "oneOf": refs }) }
    };
    let names = codes.iter().flat_map(|code| errors::of(code).headers.iter().cloned());
    let listed: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    json!({
        "description": listed.join(", "),
        "headers": header_refs(names),
        "content": {
            "application/json": { "schema": of("Error") },
            "application/problem+json": { "schema": of("Problem") },
        },
    })
}

fn join(known: &mut Value, other: &Value) {
    let text = format!(
        "{} {}",
        known["description"].as_str().unwrap_or_default(),
        other["description"].as_str().unwrap_or_default()
    );
    known["description"] = text.into();
    for (name, header) in other["headers"].as_object().into_iter().flatten() {
        known["headers"][name] = header.clone();
    }
    for (kind, content) in other["content"].as_object().into_iter().flatten() {
        let both = json!({ "anyOf": [known["content"][kind]["schema"], content["schema"]] });
        known["content"][kind]["schema"] = both;
    }
}

/// Headers that answers have.
const HEADERS: [(&str, &str); 17] = [
    ("Access-Control-Allow-Origin", "`*`: pages of any origin may load it."),
    ("Allow", "The methods that the path takes."),
    ("Cache-Control", "Who may keep the answer, and how long."),
    ("Content-Disposition", "What the file is called."),
    ("Content-Security-Policy", "What the page may load, and who may show it in a frame."),
    ("ETag", "Names the body: the same body has the same tag, after a restart too."),
    ("Idempotency-Replayed", "`true`: the answer that was given under this key before."),
    ("Link", "The next page, as `rel=\"next\"`."),
    ("Referrer-Policy", "What other sites learn of where a reader comes from."),
    ("Retry-After", "Seconds after which it is worth coming again."),
    ("Sec-WebSocket-Accept", "Ends the handshake."),
    ("Set-Cookie", "Pins a device's key, once: later answers have none. An erasure's takes it away."),
    ("Vary", "What the answer depends on."),
    ("WWW-Authenticate", "How to show who one is."),
    ("X-Accel-Buffering", "`no`: proxies pass events on as they come."),
    ("X-Content-Type-Options", "`nosniff`."),
    ("X-Request-Id", "The request's id."),
];

fn headers() -> Value {
    let header =
        |(name, text): (&str, &str)| (name.to_owned(), json!({ "description": text, "schema": { "type": "string" } }));
    Value::Object(HEADERS.into_iter().map(header).collect())
}

/// References to the headers of these names, and to those that every answer has.
fn header_refs(names: impl Iterator<Item = String>) -> Value {
    let mut refs = Map::new();
    for name in names.chain(["X-Request-Id".to_owned()]) {
        let known = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
        let (known, _) = known.unwrap_or_else(|| panic!("the header {name} is not described"));
        refs.insert((*known).to_owned(), json!({ "$ref": format!("#/components/headers/{known}") }));
    }
    refs.into()
}

fn security(access: Access) -> Value {
    match access {
        Access::Anyone | Access::Viewer => json!([]),
        Access::Voter => json!([{}, { "voter": [] }, { "device": [] }]),
        Access::Known => json!([{ "voter": [] }, { "device": [] }]),
        Access::VoterOrAdmin => json!([{ "voter": [] }, { "device": [] }, { "admin": [] }]),
        Access::Admin => json!([{ "admin": [] }]),
        Access::Cron => json!([{ "cron": [] }]),
        Access::App => json!([{ "app": [] }]),
    }
}

fn security_schemes() -> Value {
    json!({
        "voter": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "The site's token of a signed-in voter: HS256 with `sub` and `exp`. A request with an invalid one is \
                refused; one without any is a device.",
        },
        "device": {
            "type": "apiKey", "in": "cookie", "name": crate::identity::DEVICE_COOKIE,
            "description": "Set by the first answer to a vote. Without it a device is known by address and browser.",
        },
        "admin": { "type": "http", "scheme": "bearer", "description": "The operator's secret (`--admin-token`)." },
        "cron": { "type": "http", "scheme": "bearer", "description": "The secret of the job that drains (`--cron-secret`)." },
        "app": {
            "type": "apiKey", "in": "query", "name": "auth_signature",
            "description": "HMAC-SHA256 in hex, with the app's secret, over method, path and sorted query, as Pusher's \
                libraries make it.",
        },
    })
}

/// The schemas of all bodies, each type once.
struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            given: settings().for_serialize().into_generator(),
        }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.given.take_definitions(true);
        for (name, schema) in self.taken.take_definitions(true) {
            let known = all.insert(name.clone(), schema.clone());
            assert!(known.is_none_or(|known| known == schema), "{name} is read otherwise than it is written");
        }
        for (code, error) in errors::all() {
            all.insert(format!("Error.{code}"), error.plain.clone());
            all.insert(format!("Problem.{code}"), error.problem.clone());
        }
        all
    }
}

#[cfg(test)]
mod tests;
