//! The layers of the source, as data: who may import whom, and which crate has its home where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module's layer. A module may import from layers below its own.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["util"]),
    (1, &["sys"]),
    (2, &["logging"]),
    (3, &["config"]),
    (
        4,
        &[
            "ns", "idmap", "cgroup", "mount", "storage", "net", "tty", "caps", "seccomp", "lsm",
            "hook", "limits",
        ],
    ),
    (5, &["control", "hostnet", "usernic"]),
    (6, &["runtime", "check"]),
    (7, &["container"]),
    (8, &["ui"]),
    (9, &["applets"]),
    (10, &["cli"]),
];

/// What siblings may import of each other: shifted mounts need id maps, a root file system mounts.
const SIDEWAYS: &[(&str, &str)] = &[("storage", "mount"), ("storage", "idmap"), ("mount", "idmap")];

/// Crates that only some modules name.
const HOMES: &[(&str, &[&str])] = &[
    ("rustix", &["sys"]),
    ("libc", &["sys"]),
    ("seccompiler", &["seccomp"]),
    ("syscalls", &["seccomp"]),
    ("miniz_oxide", &["check", "util"]),
];

/// The code of a file, without its tests and comments.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The top modules named after `crate::`, also in `use crate::{a, b::c}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        // `$crate::` and `some_crate::` are not ours.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + word.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => top_names(group),
            None => vec![identifier(rest)],
        };
        found.extend(names.into_iter().filter(|name| !name.is_empty()));
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names of the members of a `{…}` group, whose brace was read.
fn top_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut expects) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects = true,
            c if expects && (c.is_alphabetic() || c == '_') => {
                names.push(identifier(&group[at..]));
                expects = false;
            }
            _ => {}
        }
    }
    names
}

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|ext| ext == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let with_module = files.into_iter().map(|path| {
        let below = path.strip_prefix(&root).unwrap();
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        (module, path, text)
    });
    // A file of tests alone is no part of a layer.
    with_module.filter(|(_, path, _)| !path.ends_with("tests.rs")).collect()
}

#[test]
fn imports_go_down() {
    let layer: BTreeMap<&str, u8> =
        LAYERS.iter().flat_map(|(n, names)| names.iter().map(|name| (*name, *n))).collect();
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        if matches!(module.as_str(), "main" | "lib" | "bin") {
            continue;
        }
        let own = *layer.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no layer"));
        for import in imports(&code(&text)) {
            let Some(other) = layer.get(import.as_str()) else { continue };
            let allowed = import == module
                || *other < own
                || SIDEWAYS.contains(&(module.as_str(), import.as_str()));
            if !allowed {
                wrong.push(format!("{}: {module} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_and_unsafe_stay_at_home() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let code = code(&text);
        for (name, homes) in HOMES {
            let named = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if named && !homes.contains(&module.as_str()) {
                wrong.push(format!("{}: names {name}", path.display()));
            }
        }
        let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if module != "sys" && words.into_iter().any(|word| word == "unsafe") {
            wrong.push(format!("{}: unsafe", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `if let … && …` and `… && let …` need Rust 1.88, which this compiler does not say. Debian's, with
/// which other machines' binaries are built, is older.
fn chains(code: &str) -> bool {
    let tied = |rest: &str| {
        let mut depth = 0;
        for (at, c) in rest.char_indices() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                '{' if depth == 0 => return false,
                '{' => depth += 1,
                '}' => depth -= 1,
                '&' if depth == 0 && rest[at..].starts_with("&& ") => return true,
                _ => {}
            }
        }
        false
    };
    let lets = ["if let ", "while let "];
    code.contains("&& let ")
        || lets.iter().any(|word| code.match_indices(word).any(|(at, _)| tied(&code[at..])))
}

#[test]
fn the_oldest_compiler_is_enough() {
    let chained = sources().into_iter().filter(|(_, _, text)| chains(&code(text)));
    let chained: Vec<_> = chained.map(|(_, path, _)| path).collect();
    assert!(chained.is_empty(), "let chains need Rust 1.88: {chained:?}");
    // A name for it borrows what is gone until 1.89.
    let named = sources().into_iter().filter(|(_, _, text)| text.contains("= format_args!"));
    let named: Vec<_> = named.map(|(_, path, _)| path).collect();
    assert!(named.is_empty(), "a name for format_args needs Rust 1.89: {named:?}");
    assert!(chains("if let Some(x) = y\n && z {") && chains("if a && let Some(b) = c {"));
    assert!(!chains("if let Some(x) = y.filter(|x| a && b) { c && d }"));
}

#[test]
fn the_reader_of_imports_reads_all_shapes() {
    let text = "use crate::a::b;\nuse crate::{c::{d, e}, f, g::h as i};\nlet x = crate::j::k();\n\
                // crate::no\npub(crate) fn f() {}\n#[cfg(test)]\nmod tests { use crate::no; }";
    assert_eq!(imports(&code(text)), ["a", "c", "f", "g", "j"]);
}
