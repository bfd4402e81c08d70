//! What every file owes its reader: a first sentence, a bearable length, no banned words, no machine's paths.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]
use std::{
    fs,
    path::{Path, PathBuf},
};

const LONGEST_FILE: usize = 800;
const BANNED_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in rust_files() {
        assert!(
            text.starts_with("//! "),
            "{}: begin with a `//!` sentence",
            path.display()
        );
        assert!(
            !text.starts_with("//! (skeleton)"),
            "{}: still a skeleton",
            path.display()
        );
    }
}

#[test]
fn no_file_is_too_long() {
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{}: {lines} lines; split it by what it is for",
            path.display()
        );
    }
}

#[test]
fn no_room_is_called_after_nothing() {
    for (path, _) in rust_files() {
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy();
            let name = name.trim_end_matches(".rs");
            assert!(
                !BANNED_NAMES.contains(&name),
                "{}: name it after what it holds",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_is_re_exported_by_star_across_crates() {
    for (path, text) in rust_files() {
        for line in text.lines().map(str::trim_start) {
            let star = line.starts_with("pub use ") && line.ends_with("::*;");
            // A module's own children may be lifted to the crate's root.
            let own_child = line.matches("::").count() == 1 && !line.contains("::{");
            assert!(!star || own_child, "{}: {line}", path.display());
        }
    }
}

#[test]
fn only_the_command_line_reads_the_environment() {
    for (path, text) in rust_files() {
        let shown = path.to_string_lossy().replace('\\', "/");
        let is_production = shown.contains("/src/");
        if !is_production || shown.contains("crates/pejl/") {
            continue;
        }
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(
            !production.contains("env::var"),
            "{}: take it as a setting; only `pejl` reads the environment",
            path.display()
        );
    }
}

#[test]
fn unsafe_code_has_its_rooms() {
    const ROOMS: &[&str] = &[
        "bus/src/kafka/native.rs",
        "bus/tests/conformance/foreign.rs",
        "pejl/src/allocator.rs",
    ];
    for (path, text) in rust_files() {
        let shown = path.to_string_lossy().replace('\\', "/");
        let is_room = ROOMS.iter().any(|it| shown.ends_with(it));
        let lifts = text.contains("unsafe_code,") || text.contains("(unsafe_code");
        assert!(
            is_room || !lifts || shown.ends_with("architecture/tests/files.rs"),
            "{shown}: no unsafe code here"
        );
    }
}

#[test]
fn no_machine_leaves_its_paths_behind() {
    // Put together here so that this file passes its own test.
    let homes: Vec<String> = ["work", "root", "home", "Users"]
        .iter()
        .map(|it| format!("/{it}/"))
        .collect();
    for (path, text) in text_files() {
        for (number, line) in text.lines().enumerate() {
            for home in &homes {
                let absolute = line
                    .match_indices(home.as_str())
                    .any(|(at, _)| at == 0 || !is_path_character(line.as_bytes()[at - 1]));
                assert!(!absolute, "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}

fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"./_-$}~".contains(&byte)
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let files = files_with(&["rs"]);
    assert!(files.len() > 50, "found only {} files", files.len());
    files
}

fn text_files() -> Vec<(PathBuf, String)> {
    files_with(&[
        "rs", "toml", "md", "sql", "slt", "yaml", "yml", "sh", "py", "avsc", "xml",
    ])
}

fn files_with(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for folder in ["crates", "tests", "pipelines", "schemas", "deploy", "docs"] {
        collect(&root.join(folder), extensions, &mut found);
    }
    found
}

fn collect(folder: &Path, extensions: &[&str], found: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.map(|it| it.unwrap().path()) {
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if extensions
            .iter()
            .any(|it| path.extension().is_some_and(|ext| ext == *it))
        {
            // A file in another encoding is a test fixture.
            if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
}
