use super::*;
use rustix::fs::XattrFlags;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<Copied> {
    tree(open(from)?.as_fd(), open(to)?.as_fd(), &mut |_| Ok(()))
}

#[test]
fn links_holes_modes_and_times_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("a"), temp.path().join("b"));
    std::fs::create_dir_all(from.join("sub/deep")).unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::write(from.join("file"), "text").unwrap();
    std::fs::hard_link(from.join("file"), from.join("sub/same")).unwrap();
    std::fs::hard_link(from.join("file"), from.join("sub/deep/same")).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    std::fs::set_permissions(from.join("file"), PermissionsExt::from_mode(0o4751)).unwrap();
    let sparse = std::fs::File::create(from.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"x", 8 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    sparse.set_modified(old).unwrap();
    let done = copy(&from, &to).unwrap();
    assert_eq!(done.objects, 7);
    let meta = |name: &str| std::fs::symlink_metadata(to.join(name)).unwrap();
    assert_eq!(meta("file").mode() & 0o7777, 0o4751);
    assert_eq!(meta("file").ino(), meta("sub/same").ino());
    assert_eq!(meta("file").nlink(), 3);
    assert_eq!(meta("sparse").len(), 64 << 20);
    assert!(meta("sparse").blocks() < 1 << 12, "{}", meta("sparse").blocks());
    assert_eq!(meta("sparse").modified().unwrap(), old);
    assert_eq!(std::fs::read_link(to.join("link")).unwrap(), PathBuf::from("/etc/passwd"));
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 4);
}

#[test]
fn attributes_and_nodes_are_kept() {
    // Not in memory: a tmpfs may lack some.
    let temp = tempfile::tempdir_in("/var/tmp").unwrap();
    let (from, to) = (temp.path().join("a"), temp.path().join("b"));
    std::fs::create_dir_all(from.join("dir")).unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::write(from.join("file"), "text").unwrap();
    // Version 2; owner rw, user 7 r, group r, mask r, others none.
    let acl: Vec<u8> = [(1u16, 6u16, u32::MAX), (2, 4, 7), (4, 4, u32::MAX), (16, 4, u32::MAX)]
        .iter()
        .chain([&(32, 0, u32::MAX)])
        .fold(2u32.to_le_bytes().to_vec(), |mut all, (tag, perm, id)| {
            all.extend(tag.to_le_bytes());
            all.extend(perm.to_le_bytes());
            all.extend(id.to_le_bytes());
            all
        });
    let mut given = vec![("user.colour", b"green".to_vec())];
    given.push(("system.posix_acl_access", acl));
    if crate::sys::cred::euid() == 0 {
        given.push(("trusted.overlay.opaque", b"y".to_vec()));
        let kind = FileType::CharacterDevice;
        let rdev = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(rustix::fs::CWD, from.join("null"), kind, 0o620.into(), rdev).unwrap();
    }
    for (name, value) in &given {
        for file in ["file", "dir"] {
            rustix::fs::setxattr(from.join(file), *name, value, XattrFlags::empty()).unwrap();
        }
    }
    copy(&from, &to).unwrap();
    for (name, value) in &given {
        for file in ["file", "dir"] {
            let mut got = vec![0; 256];
            let n = rustix::fs::getxattr(to.join(file), *name, got.as_mut_slice()).unwrap();
            assert_eq!(&got[..n], value, "{name} of {file}");
        }
    }
    if crate::sys::cred::euid() == 0 {
        let nodes = [&from, &to].map(|dir| std::fs::metadata(dir.join("null")).unwrap());
        let facts = nodes.map(|node| (node.rdev(), node.mode()));
        assert_eq!(facts[0], facts[1]);
    }
}

#[test]
fn deep_trees_need_few_descriptors() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::create_dir(temp.path().join(name)).unwrap();
    }
    let mut at = open(&temp.path().join("a")).unwrap();
    for _ in 0..2000 {
        rustix::fs::mkdirat(&at, "d", 0o755.into()).unwrap();
        at = open_dir(at.as_fd(), OsStr::new("d")).unwrap();
    }
    let done = copy(&temp.path().join("a"), &temp.path().join("b")).unwrap();
    assert_eq!(done.objects, 2000);
    let top = open(temp.path()).unwrap();
    for name in ["a", "b"] {
        crate::sys::tree::remove(top.as_fd(), OsStr::new(name)).unwrap();
    }
}

#[test]
fn an_interruption_ends_it() {
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("a"), temp.path().join("b"));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    for n in 0..200 {
        std::fs::write(from.join(n.to_string()), "").unwrap();
    }
    let stop = SysError::new("copy", "stop", libc::EINTR);
    let told = stop.clone();
    let mut tick = |_: &Copied| Err(told.clone());
    let (from, to) = (open(&from).unwrap(), open(&to).unwrap());
    assert_eq!(tree(from.as_fd(), to.as_fd(), &mut tick).unwrap_err(), stop);
}
