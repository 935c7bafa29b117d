//! Holds the code to the map in `lib.rs`: a module imports from lower levels only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The levels of the table in `lib.rs`.
fn levels() -> BTreeMap<String, u32> {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    let mut levels = BTreeMap::new();
    for row in map.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = row.split(" | ");
        let Some(level) = cells.next().and_then(|level| level.parse().ok()) else { continue };
        for name in cells.next().unwrap().split(", ") {
            levels.insert(name.trim_matches(['[', ']', '`']).to_owned(), level);
        }
    }
    levels
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names behind `crate::`, a group in braces included; comments aside.
fn named(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            for part in group.split_inclusive([',', '{', '}']) {
                if depth == 0 {
                    names.push(word(part.trim_start()));
                }
                depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
                if depth < 0 {
                    break;
                }
            }
        } else {
            names.push(word(rest));
        }
    }
    names
}

#[test]
fn a_module_imports_downwards_only() {
    let levels = levels();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let inside = file.strip_prefix("src").unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(own) = levels.get(&module) else {
            wrong.push(format!("{module} is not in the code map"));
            continue;
        };
        for name in named(&fs::read_to_string(file).unwrap()) {
            if name != module && levels.get(&name).is_some_and(|level| level >= own) {
                wrong.push(format!("{} (level {own}) names {name} (level {})", file.display(), levels[&name]));
            }
        }
    }
    assert!(levels.len() >= 15 && files.len() >= 40, "the table and the tree were found");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn sled_and_bincode_are_named_in_one_place_each() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let names = |what: &str| text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(what));
        assert!(file.starts_with("src/store") || !names("sled::"), "{}", file.display());
        let derives = file.starts_with("src/domain") || file.starts_with("src/fold") || file.starts_with("src/log");
        let beyond = text.replace("use bincode::{Decode, Encode};", "");
        assert!(file.ends_with("codec.rs") || !beyond.contains("bincode::"), "{}", file.display());
        assert!(file.ends_with("codec.rs") || derives || beyond == text, "{}", file.display());
    }
}
