//! Hostile trees, each tried with openat2 and with the walk.

use super::*;
use std::os::unix::fs::symlink;

type Lookups = fn(BorrowedFd<'_>, &Path, OFlags, Mode, Lookup) -> rustix::io::Result<OwnedFd>;

fn by_walk(
    root: BorrowedFd<'_>,
    rel: &Path,
    flags: OFlags,
    mode: Mode,
    lookup: Lookup,
) -> rustix::io::Result<OwnedFd> {
    walk::open(root, rel, flags, mode.as_raw_mode(), lookup)
}

/// Both resolvers, or the walk alone on a kernel without openat2.
fn resolvers(root: &Root) -> Vec<(&'static str, Lookups)> {
    let mut all: Vec<(&'static str, Lookups)> = vec![("walk", by_walk)];
    if !openat2_is_filtered(root.fd()) {
        all.push(("openat2", openat2));
    }
    all
}

struct Tree {
    _outer: tempfile::TempDir,
    root: Root,
    path: PathBuf,
    outside: PathBuf,
}

/// outer/secret, outer/root/{dir/sub/file, abs -> /dir, up -> ../.., ...}
fn tree() -> Tree {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("root");
    std::fs::create_dir_all(path.join("dir/sub")).unwrap();
    std::fs::write(path.join("dir/sub/file"), "inside").unwrap();
    std::fs::write(outer.path().join("secret"), "outside").unwrap();
    std::fs::write(path.join("secret"), "decoy").unwrap();
    symlink("/dir", path.join("abs")).unwrap();
    symlink("../../../secret", path.join("dir/up")).unwrap();
    symlink("sub/file", path.join("dir/rel")).unwrap();
    symlink(outer.path().join("secret"), path.join("hostabs")).unwrap();
    symlink("loop2", path.join("loop1")).unwrap();
    symlink("loop1", path.join("loop2")).unwrap();
    symlink("nowhere", path.join("dangling")).unwrap();
    symlink("/proc/self/fd/0", path.join("magic")).unwrap();
    symlink("/", path.join("slash")).unwrap();
    let outside = outer.path().join("secret");
    Tree { root: Root::open(&path).unwrap(), path, outside, _outer: outer }
}

fn errno(result: rustix::io::Result<OwnedFd>) -> i32 {
    result.expect_err("must be refused").raw_os_error()
}

#[test]
fn links_are_resolved_inside_the_root() {
    let t = tree();
    for (name, open) in resolvers(&t.root) {
        let read = |rel: &str| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let fd = open(t.root.fd(), Path::new(rel), flags, Mode::empty(), Lookup::InRoot);
            let fd = fd.unwrap_or_else(|e| panic!("{name}: {rel}: {e}"));
            String::from_utf8(fd::read_fd(fd.as_fd(), 100).unwrap()).unwrap()
        };
        for inside in [
            "dir/sub/file",
            "/dir//sub/./file",
            "abs/sub/file",
            "dir/rel",
            "../../dir/rel",
            "slash/slash/abs/../dir/sub/file",
            "dir/sub/../sub/file",
        ] {
            assert_eq!(read(inside), "inside", "{name}: {inside}");
        }
        assert_eq!(read("dir/up"), "decoy", "{name}");
        assert_eq!(read("../secret"), "decoy", "{name}");
        for (rel, want) in [
            ("hostabs", libc::ENOENT),
            ("loop1", libc::ELOOP),
            ("loop1/x", libc::ELOOP),
            ("dangling", libc::ENOENT),
            ("dir/sub/file/x", libc::ENOTDIR),
            ("dir/sub/file/..", libc::ENOTDIR),
            ("nothing/x", libc::ENOENT),
        ] {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let got = open(t.root.fd(), Path::new(rel), flags, Mode::empty(), Lookup::InRoot);
            assert_eq!(errno(got), want, "{name}: {rel}");
        }
    }
}

#[test]
fn no_symlinks_refuses_each_position() {
    let t = tree();
    for (name, open) in resolvers(&t.root) {
        let path = |rel: &str, flags: OFlags| {
            open(
                t.root.fd(),
                Path::new(rel),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                Lookup::NoSymlinks,
            )
        };
        for flags in [OFlags::PATH, OFlags::RDONLY, OFlags::PATH | OFlags::DIRECTORY] {
            for link in ["abs", "abs/sub", "dir/rel", "slash", "loop1", "magic", "dangling"] {
                assert_eq!(errno(path(link, flags)), libc::ELOOP, "{name}: {link} {flags:?}");
            }
        }
        assert_eq!(errno(path("../secret", OFlags::PATH)), libc::EXDEV, "{name}");
        assert_eq!(errno(path("dir/../../secret", OFlags::PATH)), libc::EXDEV, "{name}");
        path("dir/sub/file", OFlags::PATH).unwrap();
        path("/dir/sub", OFlags::PATH).unwrap();
        path("", OFlags::PATH).unwrap();
        path("/", OFlags::PATH | OFlags::DIRECTORY).unwrap();
        path("dir/..", OFlags::PATH | OFlags::DIRECTORY).unwrap();
    }
}

#[test]
fn things_are_made_without_following_links() {
    let t = tree();
    let dir = t.root.mkdir_all(Path::new("a/b/c"), 0o755).unwrap();
    assert_eq!(facts(dir.as_fd()).unwrap().kind, FileType::Directory);
    for under_link in ["abs/new/x", "hostabs/x", "slash/x"] {
        let e = t.root.mkdir_all(Path::new(under_link), 0o755).unwrap_err();
        assert!(e.is(libc::ELOOP), "{under_link}: {e}");
    }
    assert!(t.root.mkdir_all(Path::new("n/../../x"), 0o755).unwrap_err().errno != 0);
    t.root.create_file(Path::new("p/q/file"), 0).unwrap();
    t.root.create_file(Path::new("p/q/file"), 0).unwrap();
    for link in ["dangling", "hostabs", "abs/new"] {
        let e = t.root.create_file(Path::new(link), 0o644).unwrap_err();
        assert!(e.is(libc::ELOOP), "{link}: {e}");
    }
    assert!(!t.path.join("nowhere").exists());
    t.root.symlink(Path::new("/etc/x"), Path::new("a/link")).unwrap();
    assert_eq!(t.root.readlink(Path::new("a/link")).unwrap(), Path::new("/etc/x"));
    t.root.rename(Path::new("a/link"), Path::new("a/b/moved")).unwrap();
    t.root.unlink(Path::new("a/b/moved")).unwrap();
    t.root.rmdir(Path::new("a/b/c")).unwrap();
    assert!(t.root.unlink(Path::new("abs/sub/file")).unwrap_err().is(libc::ELOOP));
    assert!(t.root.unlink(Path::new("dir/..")).unwrap_err().is(libc::EINVAL));
    assert!(
        t.root
            .mknod(Path::new("slash/node"), NodeKind::Regular, 0o600, 0)
            .unwrap_err()
            .is(libc::ELOOP)
    );
    t.root.mknod(Path::new("a/fifo"), NodeKind::Fifo, 0o600, 0).unwrap();
}

#[test]
fn read_and_write_stay_inside_and_open_only_files() {
    let t = tree();
    assert_eq!(t.root.read(Path::new("dir/rel"), 100).unwrap(), b"inside");
    assert!(t.root.read(Path::new("dir/rel"), 3).unwrap_err().is(libc::EFBIG));
    t.root.mknod(Path::new("fifo"), NodeKind::Fifo, 0o600, 0).unwrap();
    // A blocking open of the pipe would hang here.
    assert!(t.root.read(Path::new("fifo"), 10).unwrap_err().is(libc::EINVAL));
    assert!(t.root.write(Path::new("fifo"), b"x", 0o600).unwrap_err().is(libc::EINVAL));
    t.root.write(Path::new("dir/up"), b"changed", 0o644).unwrap();
    assert_eq!(std::fs::read(&t.outside).unwrap(), b"outside");
    assert_eq!(std::fs::read(t.path.join("secret")).unwrap(), b"changed");
    t.root.write(Path::new("fresh"), b"new", 0o644).unwrap();
    assert_eq!(std::fs::read(t.path.join("fresh")).unwrap(), b"new");
    assert!(t.root.write(Path::new("dangling"), b"x", 0o644).is_err());
}

#[test]
fn a_racing_renamer_never_gets_a_lookup_outside() {
    let t = tree();
    // A second program swaps root/swap between a directory and links that point out.
    let script = "cd \"$1\" && mkdir -p real/sub && echo in >real/sub/secret && \
        while [ -e go ]; do mv -T real swap; mv -T swap real; ln -sfn ../.. swap 2>/dev/null; \
        rm -f swap; done";
    std::fs::write(t.path.join("go"), "").unwrap();
    let mut child =
        std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&t.path).spawn().unwrap();
    let outside = facts(fd::open(&t.outside, OFlags::PATH, 0).unwrap().as_fd()).unwrap().ino;
    for _ in 0..3000 {
        for (name, open) in resolvers(&t.root) {
            for rel in ["swap/secret", "swap/sub/../../secret", "real/sub/../../../secret"] {
                for lookup in [Lookup::InRoot, Lookup::NoSymlinks] {
                    let flags = OFlags::PATH | OFlags::CLOEXEC;
                    if let Ok(fd) = open(t.root.fd(), Path::new(rel), flags, Mode::empty(), lookup)
                    {
                        let found = facts(fd.as_fd()).unwrap().ino;
                        assert_ne!(found, outside, "{name}: {rel}");
                    }
                }
            }
        }
    }
    std::fs::remove_file(t.path.join("go")).unwrap();
    child.wait().unwrap();
}
