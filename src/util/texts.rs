//! The texts in the binary: `share/config`, `share/options`, `share/default.conf` and `templates`.
//! `build.rs` packs them.

use std::sync::OnceLock;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts"));

/// `share/options` once more, without what explains them: too often needed to be packed.
static OPTIONS: &str = include_str!(concat!(env!("OUT_DIR"), "/options"));

/// No more than this is unpacked, bytes.
const MAX: usize = 1 << 20;

/// Each file's path in the source, and its text. They are unpacked when the first is asked for.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    static PLAIN: OnceLock<String> = OnceLock::new();
    let plain = PLAIN.get_or_init(|| {
        let plain = miniz_oxide::inflate::decompress_to_vec_with_limit(PACKED, MAX);
        String::from_utf8(plain.unwrap_or_default()).unwrap_or_default()
    });
    files(plain)
}

fn files(plain: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut parts = plain.split('\0');
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
}

/// The text of the file in `dir`.
pub fn find(dir: &str, name: &str) -> Option<&'static str> {
    find_in(all(), dir, name)
}

/// The options of a tool, or those in `common`, by their spelling alone.
pub fn options(tool: &str) -> Option<&'static str> {
    find_in(files(OPTIONS), OPTIONS_DIR, tool)
}

/// Where the options of the tools are declared: see [`crate::ui::command`].
pub const OPTIONS_DIR: &str = "share/options";

fn find_in(
    mut files: impl Iterator<Item = (&'static str, &'static str)>,
    dir: &str,
    name: &str,
) -> Option<&'static str> {
    let name_in = |path: &'static str| path.strip_prefix(dir)?.strip_prefix('/');
    files.find_map(|(path, text)| (name_in(path) == Some(name)).then_some(text))
}
