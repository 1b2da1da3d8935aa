//! Packs the texts that the binary carries, which are as much as a tenth of its machine code.

use std::path::Path;

fn main() {
    let mut plain = Vec::new();
    for dir in ["share/config", "templates"] {
        println!("cargo:rerun-if-changed={dir}");
        let entries = std::fs::read_dir(dir).expect("reading a directory of texts");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("reading").path()).collect();
        files.sort();
        files.iter().for_each(|file| add(file, &mut plain));
    }
    println!("cargo:rerun-if-changed=share/default.conf");
    add(Path::new("share/default.conf"), &mut plain);
    let out = std::env::var("OUT_DIR").expect("OUT_DIR");
    let packed = miniz_oxide::deflate::compress_to_vec(&plain, 10);
    std::fs::write(Path::new(&out).join("texts"), packed).expect("writing the texts");
}

/// Name and text, each with a NUL behind.
fn add(file: &Path, plain: &mut Vec<u8>) {
    let text = std::fs::read(file).expect("reading a text");
    assert!(!text.contains(&0), "{} is no text", file.display());
    plain.extend(file.to_str().expect("a name").bytes().chain([0]));
    plain.extend(text.into_iter().chain([0]));
}
