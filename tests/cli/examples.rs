//! Every file of config-examples and share/config can be read.

use crate::harness::Dir;
use std::fs;
use std::path::{Path, PathBuf};

fn files(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_example_and_shared_file_parses() {
    let dir = Dir::new();
    let mut count = 0;
    for file in files("config-examples").into_iter().chain(files("share/config")) {
        // lxc.conf is the host's, not a container's.
        if file.extension().is_none_or(|ext| ext != "conf") || file.ends_with("lxc.conf") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&file).unwrap();
        dir.container("c1", &text);
        let ran = dir.tool("lxc-info", &["c1", "-c", "lxc.uts.name"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", file.display());
    }
    assert!(count > 20, "only {count} files found");
}
