//! That the document is whole in itself. That it is true, the tests over HTTP say, all of which run against its promises.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::http::routes::{allow, table};

fn made() -> Value {
    document(&table(true))
}

/// Everything that a value refers to.
fn refs(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(path)) = fields.get("$ref") {
                found.insert(path.trim_start_matches('#').to_owned());
            }
            fields.values().for_each(|value| refs(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| refs(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = made();
    let mut found = BTreeSet::new();
    refs(&document, &mut found);
    assert!(found.len() > 80, "{}", found.len());
    for path in found {
        assert!(document.pointer(&path).is_some(), "{path}");
    }
}

#[test]
fn names_are_given_once_and_every_operation_answers_something() {
    let mut ids = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for route in table(true) {
        assert!(paths.insert(route.path), "{} stands there twice", route.path);
        assert!(allow(&route.operations).ends_with("OPTIONS"));
        for operation in &route.operations {
            let about = &operation.about;
            assert!(ids.insert(about.id), "{} stands there twice", about.id);
            assert!(about.given.iter().any(|given| given.status < 300), "{}", about.id);
            assert!(!about.summary.is_empty() && !about.summary.ends_with('.'), "{}", about.id);
        }
    }
}

#[test]
fn every_error_of_the_program_belongs_to_some_operation() {
    let named: BTreeSet<&str> =
        table(true).iter().flat_map(|route| &route.operations).flat_map(|op| op.about.codes.clone()).collect();
    let missing: Vec<_> = errors::all().map(|(code, _)| code).filter(|code| !named.contains(code)).collect();
    // It is what a path answers to a method that is no operation of it.
    assert_eq!(missing, ["METHOD_NOT_ALLOWED"]);
}

/// Routes are made in the table alone: nothing else in `http/` has a router or a path of its own.
#[test]
fn no_route_is_made_beside_the_table() {
    fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.file_name().is_some_and(|name| name == "tests.rs") {
                // As what is behind `cfg(test)` in a file: no server has it.
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((path.file_name().unwrap().to_string_lossy().into_owned(), code));
            }
        }
    }
    let mut files = Vec::new();
    sources(Path::new("src/http"), &mut files);
    let makes = |code: &str| code.contains("Router::new(") || code.contains(".nest(");
    let makers: Vec<&str> = files.iter().filter(|(_, code)| makes(code)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(makers, ["routes.rs"]);
}

#[test]
fn the_page_shows_every_operation_and_has_no_script() {
    let page = page::html(&made());
    for operation in table(true).iter().flat_map(|route| &route.operations) {
        assert!(page.text.contains(&format!("<details id=\"{}\">", operation.about.id)), "{}", operation.about.id);
    }
    assert!(!page.text.contains("<script") && !page.text.contains("style=") && !page.text.contains("http://"));
    assert!(page.policy.to_str().unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
}
