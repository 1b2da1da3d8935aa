//! fstab lines: `lxc.mount.entry` values and the file of `lxc.mount.fstab`.
//!
//! Text in, [`Entry`] out; nothing is opened but by [`load`]. The options table is at the end.

use super::{Fault, MountError};
use crate::sys::error::SysError;
use crate::sys::mount::{self as sysmount, AttrChange, Propagation, Reach};
use crate::util::blame::{Origin, Sourced};
use std::path::{Path, PathBuf};

/// One mount that the configuration asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// First field, unescaped: a path of the host, of the root file system (`relative`), or
    /// whatever the file system takes for a source.
    pub source: PathBuf,
    /// Second field, unescaped, as written.
    pub target: PathBuf,
    /// Third field.
    pub fs_type: String,
    /// Fourth field.
    pub options: Options,
    /// The line to blame.
    pub origin: Origin,
}

/// The fourth field of a line, and `lxc.rootfs.options`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `bind` (one mount) or `rbind` (a tree).
    pub bind: Option<Reach>,
    /// `move`.
    pub moved: bool,
    /// Attributes of the mount to set and to clear.
    pub attrs: AttrChange,
    /// How far the propagation in `attrs` reaches.
    pub propagation_reach: Option<Reach>,
    /// `sync`, `dirsync`, `mand`, `lazytime` and `ro` as `MS_*`: for a file system, not a bind.
    pub fs_flags: u64,
    /// Everything else, for the file system, joined by commas.
    pub data: String,
    /// `create=dir` or `create=file`.
    pub create: Option<Create>,
    /// `optional`: a failure is no failure.
    pub optional: bool,
    /// `relative`: the source is below the root file system.
    pub relative: bool,
    /// `idmap=`.
    pub idmap: Option<IdMapFrom>,
}

/// What to make when the target is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// A directory and its parents, 0755.
    Dir,
    /// An empty file.
    File,
}

/// Whose id map an idmapped mount takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdMapFrom {
    /// `idmap=container`: the container's own.
    Container,
    /// `idmap=PATH`: that user namespace's.
    Path(PathBuf),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FstabProblem {
    /// Fewer than three fields.
    #[error("has no mount target or no file system type")]
    TooFewFields,
    /// More than six fields, or text where a number belongs.
    #[error("has \"{0}\" where the fstab format has a number or nothing")]
    ExtraField(String),
    /// A NUL byte.
    #[error("holds a NUL byte")]
    Nul,
    /// `create=` with another word.
    #[error("has create={0}, which is neither create=dir nor create=file")]
    BadCreate(String),
    /// `idmap=` without a value.
    #[error("has idmap= without a value")]
    EmptyIdMap,
    /// `idmap=` on something that is not a bind mount.
    #[error("has idmap= but is not a bind mount")]
    IdMapNotBind,
    /// File-system options on a bind mount.
    #[error("has the option \"{0}\", which a bind mount cannot have")]
    BindData(String),
    /// bind and move together.
    #[error("has both bind and move")]
    BindAndMove,
    /// A target with `..` that leads out.
    #[error("has a target that leads out of the root file system")]
    TargetEscapes,
    /// The target is the root itself.
    #[error("would cover the root file system itself")]
    TargetIsRoot,
    /// An absolute target that is not below the rootfs.
    #[error("has the absolute target \"{0}\", which is not below the container's rootfs")]
    TargetElsewhere(PathBuf),
    /// A relative source that leads out.
    #[error("has a relative source that leads out of the root file system")]
    SourceEscapes,
    /// A word that makes no sense in lxc.rootfs.options.
    #[error("has \"{0}\", which only a mount entry can have")]
    NotForRootfs(&'static str),
}

/// Reads and parses a file of lines; origins name the file.
pub fn load(path: &Path) -> Result<Vec<Entry>, MountError> {
    let text = crate::sys::fd::read(path)
        .map_err(|source: SysError| Fault::FstabFile { path: path.to_owned(), source })?;
    let file = path.into();
    let mut entries = Vec::new();
    for (index, line) in text.split(|&b| b == b'\n').enumerate() {
        let line_no = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let origin = Origin { file: std::rc::Rc::clone(&file), line: line_no };
        entries.extend(parse_line(&String::from_utf8_lossy(line), &origin)?);
    }
    Ok(entries)
}

/// Parses the values of `lxc.mount.entry`, in order. A value may hold several lines.
pub fn parse_entries(values: &[Sourced<String>]) -> Result<Vec<Entry>, MountError> {
    let mut entries = Vec::new();
    for value in values {
        for line in value.value.lines() {
            entries.extend(parse_line(line, &value.origin)?);
        }
    }
    Ok(entries)
}

/// Parses one line; `None` for an empty one and a comment.
pub fn parse_line(line: &str, origin: &Origin) -> Result<Option<Entry>, MountError> {
    let problem = |problem| {
        Box::new(Fault::Line { text: line.trim().to_owned(), origin: origin.clone(), problem })
    };
    parse(line, origin).map_err(problem)
}

fn parse(line: &str, origin: &Origin) -> Result<Option<Entry>, FstabProblem> {
    let mut fields = line.split_ascii_whitespace();
    let Some(source) = fields.next().filter(|first| !first.starts_with('#')) else {
        return Ok(None);
    };
    let (Some(target), Some(fs_type)) = (fields.next(), fields.next()) else {
        return Err(FstabProblem::TooFewFields);
    };
    let options = fields.next().filter(|field| !field.starts_with('#'));
    for (index, field) in fields.enumerate() {
        if field.starts_with('#') {
            break;
        }
        if index > 1 || field.parse::<u32>().is_err() {
            return Err(FstabProblem::ExtraField(field.to_owned()));
        }
    }
    let options = Options::parse(&unescape(options.unwrap_or("defaults")))?;
    if options.idmap.is_some() && options.bind.is_none() {
        return Err(FstabProblem::IdMapNotBind);
    }
    Ok(Some(Entry {
        source: path(source)?,
        target: path(target)?,
        fs_type: unescape(fs_type),
        options,
        origin: origin.clone(),
    }))
}

fn path(field: &str) -> Result<PathBuf, FstabProblem> {
    let text = unescape(field);
    if text.contains('\0') { Err(FstabProblem::Nul) } else { Ok(PathBuf::from(text)) }
}

/// Undoes the escapes of fstab(5): `\040 \011 \012 \134`, and `\\`.
fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known =
            [("\\040", ' '), ("\\011", '\t'), ("\\012", '\n'), ("\\134", '\\'), ("\\\\", '\\')];
        match known.iter().find(|(escape, _)| rest.starts_with(escape)) {
            Some((escape, c)) => {
                out.push(*c);
                rest = &rest[escape.len()..];
            }
            None => {
                out.push('\\');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

impl Options {
    /// Parses a comma list of options.
    pub fn parse(list: &str) -> Result<Self, FstabProblem> {
        let mut options = Self::default();
        if list.contains('\0') {
            return Err(FstabProblem::Nul);
        }
        for word in split_list(list) {
            options.add(word)?;
        }
        if options.bind.is_some() {
            if options.moved {
                return Err(FstabProblem::BindAndMove);
            }
            if !options.data.is_empty() {
                return Err(FstabProblem::BindData(options.data));
            }
        }
        Ok(options)
    }

    fn add(&mut self, word: &str) -> Result<(), FstabProblem> {
        if let Some(what) = word.strip_prefix("create=") {
            self.create = Some(match what {
                "dir" => Create::Dir,
                "file" => Create::File,
                other => return Err(FstabProblem::BadCreate(other.to_owned())),
            });
            return Ok(());
        }
        if let Some(from) = word.strip_prefix("idmap=") {
            self.idmap = Some(match from {
                "" => return Err(FstabProblem::EmptyIdMap),
                "container" => IdMapFrom::Container,
                path => IdMapFrom::Path(PathBuf::from(path)),
            });
            return Ok(());
        }
        match WORDS.iter().find(|(name, _)| *name == word) {
            Some((_, meaning)) => self.apply(*meaning),
            None if is_for_mount_8(word) => {}
            None => {
                if !self.data.is_empty() {
                    self.data.push(',');
                }
                self.data.push_str(word);
            }
        }
        Ok(())
    }

    fn apply(&mut self, meaning: Word) {
        match meaning {
            Word::Set(attr) => {
                self.attrs.set |= attr;
                self.attrs.clear &= !attr;
                if attr == sysmount::ATTR_RDONLY {
                    self.fs_flags |= sysmount::MS_RDONLY;
                }
            }
            Word::Clear(attr) => {
                self.attrs.set &= !attr;
                self.attrs.clear |= attr;
                if attr == sysmount::ATTR_RDONLY {
                    self.fs_flags &= !sysmount::MS_RDONLY;
                }
            }
            Word::Atime(attr) => {
                self.attrs.set = self.attrs.set & !sysmount::ATTR_ATIME | attr;
                self.attrs.clear |= sysmount::ATTR_ATIME;
            }
            Word::Fs(flag) => self.fs_flags |= flag,
            Word::NotFs(flag) => self.fs_flags &= !flag,
            Word::Propagate(propagation, reach) => {
                self.attrs.propagation = Some(propagation);
                self.propagation_reach = Some(reach);
            }
            Word::Bind(reach) => self.bind = Some(reach),
            Word::Move => self.moved = true,
            Word::Optional => self.optional = true,
            Word::Relative => self.relative = true,
            Word::Nothing => {}
        }
    }
}

/// Splits at commas that no backslash precedes (overlay's lowerdir may escape them).
fn split_list(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        let end = (0..bytes.len()).find(|&i| bytes[i] == b',' && (i == 0 || bytes[i - 1] != b'\\'));
        let (word, after) = end.map_or((text, None), |i| (&text[..i], Some(&text[i + 1..])));
        rest = after;
        Some(word)
    })
    .filter(|word| !word.is_empty())
}

/// Words of mount(8) and of init systems that the kernel never sees.
fn is_for_mount_8(word: &str) -> bool {
    matches!(
        word,
        "auto" | "noauto" | "user" | "nouser" | "users" | "owner" | "group" | "nofail" | "_netdev"
    ) || word.starts_with("x-")
        || word.starts_with("X-")
        || word.starts_with("comment=")
}

/// What a word of the options does.
#[derive(Clone, Copy)]
enum Word {
    Set(u64),
    Clear(u64),
    Atime(u64),
    Fs(u64),
    NotFs(u64),
    Propagate(Propagation, Reach),
    Bind(Reach),
    Move,
    Optional,
    Relative,
    Nothing,
}

/// Every option that is not for the file system itself.
const WORDS: &[(&str, Word)] = &[
    ("async", Word::NotFs(sysmount::MS_SYNCHRONOUS)),
    ("atime", Word::Atime(0)),
    ("bind", Word::Bind(Reach::One)),
    ("defaults", Word::Nothing),
    ("dev", Word::Clear(sysmount::ATTR_NODEV)),
    ("diratime", Word::Clear(sysmount::ATTR_NODIRATIME)),
    ("dirsync", Word::Fs(sysmount::MS_DIRSYNC)),
    ("exec", Word::Clear(sysmount::ATTR_NOEXEC)),
    ("lazytime", Word::Fs(sysmount::MS_LAZYTIME)),
    ("loud", Word::Nothing),
    ("mand", Word::Fs(sysmount::MS_MANDLOCK)),
    ("move", Word::Move),
    ("noatime", Word::Atime(sysmount::ATTR_NOATIME)),
    ("nodev", Word::Set(sysmount::ATTR_NODEV)),
    ("nodiratime", Word::Set(sysmount::ATTR_NODIRATIME)),
    ("noexec", Word::Set(sysmount::ATTR_NOEXEC)),
    ("nolazytime", Word::NotFs(sysmount::MS_LAZYTIME)),
    ("nomand", Word::NotFs(sysmount::MS_MANDLOCK)),
    ("norelatime", Word::Atime(sysmount::ATTR_STRICTATIME)),
    ("nostrictatime", Word::Atime(0)),
    ("nosuid", Word::Set(sysmount::ATTR_NOSUID)),
    ("nosymfollow", Word::Set(sysmount::ATTR_NOSYMFOLLOW)),
    ("optional", Word::Optional),
    ("private", Word::Propagate(Propagation::Private, Reach::One)),
    ("rbind", Word::Bind(Reach::Tree)),
    ("relatime", Word::Atime(0)),
    ("relative", Word::Relative),
    // LXC mounts anew where a remount is asked for.
    ("remount", Word::Nothing),
    ("ro", Word::Set(sysmount::ATTR_RDONLY)),
    ("rprivate", Word::Propagate(Propagation::Private, Reach::Tree)),
    ("rshared", Word::Propagate(Propagation::Shared, Reach::Tree)),
    ("rslave", Word::Propagate(Propagation::Slave, Reach::Tree)),
    ("runbindable", Word::Propagate(Propagation::Unbindable, Reach::Tree)),
    ("rw", Word::Clear(sysmount::ATTR_RDONLY)),
    ("shared", Word::Propagate(Propagation::Shared, Reach::One)),
    ("slave", Word::Propagate(Propagation::Slave, Reach::One)),
    ("strictatime", Word::Atime(sysmount::ATTR_STRICTATIME)),
    ("suid", Word::Clear(sysmount::ATTR_NOSUID)),
    ("symfollow", Word::Clear(sysmount::ATTR_NOSYMFOLLOW)),
    ("sync", Word::Fs(sysmount::MS_SYNCHRONOUS)),
    ("unbindable", Word::Propagate(Propagation::Unbindable, Reach::One)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mount as m;

    fn one(line: &str) -> Entry {
        parse_line(line, &Origin::label("test")).unwrap().unwrap()
    }

    fn problem(line: &str) -> FstabProblem {
        match *parse_line(line, &Origin::label("test")).unwrap_err() {
            Fault::Line { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_and_escapes() {
        let e = one("  /a\\040b\tmnt\\134x none\tbind,ro,create=dir 0 0");
        assert_eq!(
            (e.source.as_path(), e.target.as_path()),
            (Path::new("/a b"), Path::new("mnt\\x"))
        );
        assert_eq!(e.options.bind, Some(Reach::One));
        assert_eq!(e.options.attrs.set, m::ATTR_RDONLY);
        assert_eq!(e.options.create, Some(Create::Dir));
        assert_eq!(one("proc proc proc").options, Options::default());
        assert_eq!(one("a\\011b c\\012d t").source, Path::new("a\tb"));
        assert_eq!(one("a\\z b\\ c").source, Path::new("a\\z"));
        assert_eq!(one("a b c ro 0 # say").options.fs_flags, m::MS_RDONLY);
        for nothing in ["", "   ", "# a b c", "#"] {
            assert_eq!(parse_line(nothing, &Origin::label("t")).unwrap(), None);
        }
    }

    #[test]
    fn bad_lines() {
        assert_eq!(problem("a b"), FstabProblem::TooFewFields);
        assert_eq!(problem("a b c ro x"), FstabProblem::ExtraField("x".into()));
        assert_eq!(problem("a b c ro 0 0 0"), FstabProblem::ExtraField("0".into()));
        assert_eq!(problem("a b c create=node"), FstabProblem::BadCreate("node".into()));
        assert_eq!(problem("a b c bind,idmap="), FstabProblem::EmptyIdMap);
        assert_eq!(problem("a b c idmap=container"), FstabProblem::IdMapNotBind);
        assert_eq!(problem("a b c bind,size=5"), FstabProblem::BindData("size=5".into()));
        assert_eq!(problem("a b c bind,move"), FstabProblem::BindAndMove);
        assert_eq!(problem("a\0 b c"), FstabProblem::Nul);
    }

    #[test]
    fn every_option() {
        let parse = |text: &str| Options::parse(text).unwrap();
        let attrs = |text: &str| (parse(text).attrs.set, parse(text).attrs.clear);
        for (set, clear, attr) in [
            ("ro", "rw", m::ATTR_RDONLY),
            ("nosuid", "suid", m::ATTR_NOSUID),
            ("nodev", "dev", m::ATTR_NODEV),
            ("noexec", "exec", m::ATTR_NOEXEC),
            ("nodiratime", "diratime", m::ATTR_NODIRATIME),
            ("nosymfollow", "symfollow", m::ATTR_NOSYMFOLLOW),
        ] {
            assert_eq!(attrs(set), (attr, 0), "{set}");
            assert_eq!(attrs(clear), (0, attr), "{clear}");
            // The last word wins.
            assert_eq!(attrs(&format!("{set},{clear}")), (0, attr));
            assert_eq!(attrs(&format!("{clear},{set}")), (attr, 0));
        }
        for (word, attr) in [
            ("noatime", m::ATTR_NOATIME),
            ("strictatime", m::ATTR_STRICTATIME),
            ("norelatime", m::ATTR_STRICTATIME),
            ("relatime", 0),
            ("atime", 0),
            ("nostrictatime", 0),
        ] {
            assert_eq!(attrs(word), (attr, m::ATTR_ATIME), "{word}");
            assert_eq!(attrs(&format!("noatime,{word}")).0, attr, "{word}");
        }
        for (word, flag) in [
            ("sync", m::MS_SYNCHRONOUS),
            ("dirsync", m::MS_DIRSYNC),
            ("mand", m::MS_MANDLOCK),
            ("lazytime", m::MS_LAZYTIME),
            ("ro", m::MS_RDONLY),
        ] {
            assert_eq!(parse(word).fs_flags, flag, "{word}");
        }
        assert_eq!(parse("sync,async,mand,nomand,lazytime,nolazytime,ro,rw").fs_flags, 0);
        for (word, p) in [
            ("private", Propagation::Private),
            ("shared", Propagation::Shared),
            ("slave", Propagation::Slave),
            ("unbindable", Propagation::Unbindable),
        ] {
            assert_eq!(parse(word).attrs.propagation, Some(p));
            assert_eq!(parse(word).propagation_reach, Some(Reach::One));
            assert_eq!(parse(&format!("r{word}")).attrs.propagation, Some(p));
            assert_eq!(parse(&format!("r{word}")).propagation_reach, Some(Reach::Tree));
        }
        assert_eq!(parse("rbind").bind, Some(Reach::Tree));
        assert!(parse("move").moved && parse("optional").optional && parse("relative").relative);
        assert_eq!(parse("create=file").create, Some(Create::File));
        assert_eq!(parse("bind,idmap=container").idmap, Some(IdMapFrom::Container));
        assert_eq!(
            parse("bind,idmap=/proc/1/ns/user").idmap,
            Some(IdMapFrom::Path("/proc/1/ns/user".into()))
        );
        assert_eq!(
            parse("defaults,remount,loud,nofail,x-systemd.automount,_netdev"),
            Options::default()
        );
        // Words that only look like ours belong to the file system.
        assert_eq!(parse("size=5,ROX,rox,bindx,mode=755,ro").data, "size=5,ROX,rox,bindx,mode=755");
        assert_eq!(parse("lowerdir=/a\\,b,upperdir=/c").data, "lowerdir=/a\\,b,upperdir=/c");
        assert_eq!(parse(",,ro,,").fs_flags, m::MS_RDONLY);
    }

    #[test]
    fn words_are_sorted_and_unique() {
        assert!(WORDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_an_entry_or_an_error(line in "\\PC{0,80}") {
            let _ = parse_line(&line, &Origin::label("t"));
        }
    }
}
