//! Packs the texts that the binary carries, which are as much as a tenth of its machine code.

use std::path::Path;

fn main() {
    let mut plain = Vec::new();
    for dir in ["share/config", "share/options", "templates"] {
        println!("cargo:rerun-if-changed={dir}");
        files(dir).iter().for_each(|file| add(file, &text(file), &mut plain));
    }
    println!("cargo:rerun-if-changed=share/default.conf");
    let default = Path::new("share/default.conf");
    add(default, &text(default), &mut plain);
    write("texts", &miniz_oxide::deflate::compress_to_vec(&plain, 10));
    // Every start of a tool needs its options, and only a call for help what they mean.
    let mut options = Vec::new();
    for file in files("share/options") {
        add(&file, &spellings(&text(&file)), &mut options);
    }
    write("options", &options);
}

fn files(dir: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("reading a directory of texts");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("reading").path()).collect();
    files.sort();
    files
}

fn text(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("reading a text");
    assert!(!text.contains('\0'), "{} is no text", file.display());
    text
}

/// The options of a file without their meaning, which two blanks begin, and without the notes.
fn spellings(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.is_empty());
    lines
        .flat_map(|line| [line.trim_start().split("  ").next().unwrap_or_default(), "\n"])
        .collect()
}

/// Name and text, each with a NUL behind.
fn add(file: &Path, text: &str, plain: &mut Vec<u8>) {
    plain.extend(file.to_str().expect("a name").bytes().chain([0]));
    plain.extend(text.bytes().chain([0]));
}

fn write(name: &str, bytes: &[u8]) {
    let out = std::env::var("OUT_DIR").expect("OUT_DIR");
    std::fs::write(Path::new(&out).join(name), bytes).expect("writing the texts");
}
