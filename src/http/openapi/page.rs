//! `/docs`: the document for people. Written from the document itself, so it can't say anything else; one file without a script,
//! whose style its policy names by hash.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::Value;

const STYLE: &str = include_str!("docs.css");

/// The page and the policy that it is to be sent with.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) policy: HeaderValue,
}

/// The page of a document.
pub(super) fn html(document: &Value) -> Page {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut text = String::with_capacity(1 << 17);
    let info = &document["info"];
    let title = format!("{} {}", plain(&info["title"]), plain(&info["version"]));
    write!(
        text,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}: the HTTP interface</title><style>{STYLE}</style></head><body>\
         <header><h1>{title}</h1><p>{}</p><p>For machines: <a href=\"/openapi.json\">/openapi.json</a> (OpenAPI 3.1).</p></header>",
        prose(&info["description"])
    )
    .expect(WRITES);
    let groups: Vec<&str> = list(&document["tags"]).filter_map(|tag| tag["name"].as_str()).collect();
    text.push_str("<nav aria-label=\"Groups\"><ul>");
    for group in &groups {
        write!(text, "<li><a href=\"#{}\">{}</a></li>", anchor(group), escape(group)).expect(WRITES);
    }
    text.push_str("<li><a href=\"#types\">Types</a></li><li><a href=\"#errors\">Errors</a></li></ul></nav><main>");
    for group in &groups {
        write!(text, "<section><h2 id=\"{}\">{}</h2>", anchor(group), escape(group)).expect(WRITES);
        for (path, item) in fields(&document["paths"]) {
            for (method, operation) in fields(item) {
                if list(&operation["tags"]).any(|tag| tag == group) {
                    operation_html(&mut text, path, method, operation);
                }
            }
        }
        text.push_str("</section>");
    }
    types(&mut text, &document["components"]["schemas"]);
    text.push_str("</main></body></html>\n");
    Page { text, policy: HeaderValue::try_from(policy).expect("visible ASCII") }
}

const WRITES: &str = "writing to a string";

fn operation_html(text: &mut String, path: &str, method: &str, operation: &Value) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let verb = method.to_ascii_uppercase();
    write!(
        text,
        "<details id=\"{id}\"><summary><b>{verb}</b> <code>{}</code> <span>{}</span></summary>",
        escape(path),
        plain(&operation["summary"])
    )
    .expect(WRITES);
    if operation["description"].is_string() {
        write!(text, "<p>{}</p>", prose(&operation["description"])).expect(WRITES);
    }
    let by: Vec<String> = list(&operation["security"])
        .map(|one| fields(one).map(|(name, _)| format!("<code>{}</code>", escape(name))).next())
        .map(|name| name.unwrap_or_else(|| "nothing".into()))
        .collect();
    if !by.is_empty() {
        write!(text, "<p>Asks for {}.</p>", by.join(" or ")).expect(WRITES);
    }
    text.push_str("<table><caption>Takes</caption><tbody>");
    for param in list(&operation["parameters"]) {
        let must = if param["required"] == true { "" } else { " (optional)" };
        write!(
            text,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}{must}</td><td>{}</td><td>{}</td></tr>",
            plain(&param["name"]),
            plain(&param["in"]),
            kind(&param["schema"]),
            prose(&param["description"])
        )
        .expect(WRITES);
    }
    if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
        let must = if operation["requestBody"]["required"] == true { "" } else { " (optional)" };
        write!(text, "<tr><th scope=\"row\">body</th><td>JSON{must}</td><td>{}</td><td></td></tr>", kind(schema))
            .expect(WRITES);
    }
    text.push_str("</tbody></table><table><caption>Answers</caption><tbody>");
    for (status, response) in fields(&operation["responses"]) {
        let bodies = response["content"].as_object().into_iter().flatten();
        // The same errors in their other form.
        let bodies: Vec<String> = bodies
            .filter(|(name, _)| *name != "application/problem+json")
            .map(|(name, content)| match name.as_str() {
                "application/json" => kind(&content["schema"]),
                other => format!("<code>{}</code>", escape(other)),
            })
            .collect();
        let headers: Vec<String> = fields(&response["headers"])
            .filter(|(name, _)| *name != "X-Request-Id")
            .map(|(name, _)| format!("<code>{}</code>", escape(name)))
            .collect();
        write!(
            text,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(status),
            if status.starts_with(['4', '5']) && !bodies.is_empty() {
                String::new()
            } else {
                prose(&response["description"])
            },
            bodies.join(", "),
            headers.join(" ")
        )
        .expect(WRITES);
    }
    text.push_str("</tbody></table></details>");
}

/// What bodies are made of: our own types, then errors.
fn types(text: &mut String, schemas: &Value) {
    let is_error = |name: &str| name.starts_with("Error.");
    let shown = |name: &str| !name.starts_with("Problem.");
    for (title, id, errors) in [("Types", "types", false), ("Errors", "errors", true)] {
        write!(text, "<section><h2 id=\"{id}\">{title}</h2>").expect(WRITES);
        for (name, schema) in fields(schemas).filter(|(name, _)| shown(name) && is_error(name) == errors) {
            let plain_name = escape(name.trim_start_matches("Error."));
            write!(text, "<details id=\"type-{}\"><summary><code>{plain_name}</code></summary>", anchor(name))
                .expect(WRITES);
            if schema["description"].is_string() {
                write!(text, "<p>{}</p>", prose(&schema["description"])).expect(WRITES);
            }
            if schema["properties"].is_object() {
                text.push_str("<table><tbody>");
                for (field, of) in fields(&schema["properties"]) {
                    let must = list(&schema["required"]).any(|one| one == field);
                    write!(
                        text,
                        "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td></tr>",
                        escape(field),
                        if must { "" } else { "optional" },
                        kind(of),
                        prose(&of["description"])
                    )
                    .expect(WRITES);
                }
                text.push_str("</tbody></table>");
            } else {
                write!(text, "<p>{}</p>", kind(schema)).expect(WRITES);
            }
            text.push_str("</details>");
        }
        text.push_str("</section>");
    }
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let shown = name.trim_start_matches("Error.");
        return format!("<a href=\"#type-{}\">{}</a>", anchor(name), escape(shown));
    }
    for (name, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if schema[name].is_array() {
            return list(&schema[name]).map(kind).collect::<Vec<_>>().join(between);
        }
    }
    if !schema["const"].is_null() {
        return format!("<code>{}</code>", plain(&schema["const"]));
    }
    if schema["enum"].is_array() {
        let values = list(&schema["enum"]).map(|value| format!("<code>{}</code>", plain(value)));
        return values.collect::<Vec<_>>().join(", ");
    }
    if schema["items"].is_object() {
        return format!("list of {}", kind(&schema["items"]));
    }
    if schema["additionalProperties"].is_object() {
        return format!("map to {}", kind(&schema["additionalProperties"]));
    }
    match &schema["type"] {
        Value::String(one) => escape(one),
        Value::Array(types) => types.iter().map(plain).collect::<Vec<_>>().join(" or "),
        _ => "anything".into(),
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn anchor(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| escape(&value.to_string()), escape)
}

/// Text whose backticks set code.
fn prose(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let part = |(at, part): (usize, &str)| {
        if at % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }
    };
    text.split('`').enumerate().map(part).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_escaped_and_backticks_set_code() {
        assert_eq!(prose(&json!("a `b<c>` & d")), "a <code>b&lt;c&gt;</code> &amp; d");
        assert_eq!(kind(&json!({ "type": ["string", "null"] })), "string or null");
        assert_eq!(kind(&json!({ "$ref": "#/components/schemas/Clip" })), "<a href=\"#type-clip\">Clip</a>");
    }
}
