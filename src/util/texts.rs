//! The texts in the binary: `share/config`, `share/default.conf` and `templates`. `build.rs` packs
//! them.

use std::sync::OnceLock;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts"));

/// No more than this is unpacked, bytes.
const MAX: usize = 1 << 20;

/// Each file's path in the source, and its text. They are unpacked when the first is asked for.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    static PLAIN: OnceLock<String> = OnceLock::new();
    let plain = PLAIN.get_or_init(|| {
        let plain = miniz_oxide::inflate::decompress_to_vec_with_limit(PACKED, MAX);
        String::from_utf8(plain.unwrap_or_default()).unwrap_or_default()
    });
    let mut parts = plain.split('\0');
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
}

/// The text of the file in `dir`.
pub fn find(dir: &str, name: &str) -> Option<&'static str> {
    let name_in = |path: &'static str| path.strip_prefix(dir)?.strip_prefix('/');
    all().find(|(path, _)| name_in(path) == Some(name)).map(|(_, text)| text)
}
