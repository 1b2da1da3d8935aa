//! A directory of its own for a test, and the binary run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_lxcbox");

/// A fresh directory with an empty container path in it.
pub struct Dir {
    temp: TempDir,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Dir {
    pub fn new() -> Self {
        let dir = Self { temp: tempfile::tempdir().unwrap() };
        fs::create_dir(dir.lxcpath()).unwrap();
        dir
    }

    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    pub fn lxcpath(&self) -> PathBuf {
        self.path().join("lxc")
    }

    /// A container that consists of a config.
    pub fn container(&self, name: &str, config: &str) -> &Self {
        let dir = self.lxcpath().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config"), config).unwrap();
        self
    }

    /// A file with this text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a tool by its name, with `-P`.
    pub fn tool(&self, tool: &str, args: &[&str]) -> Ran {
        let lxcpath = self.lxcpath();
        let mut all = vec![tool, "-P", lxcpath.to_str().unwrap()];
        all.extend(args);
        self.run(&all)
    }

    /// Runs the binary with these words.
    pub fn run(&self, args: &[&str]) -> Ran {
        run(self.command().args(args))
    }

    /// The binary, to be given words. Locks and logs of an ordinary user go to the directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env_remove("POSIXLY_CORRECT")
            .stdin(Stdio::null());
        command
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// Asserts the status; shows everything when it is another.
    #[track_caller]
    pub fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Asserts that nothing was said on standard error.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert_eq!(self.stderr, "", "{self:#?}");
        self
    }

    /// Asserts what standard output is.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(self.stdout, text, "{self:#?}");
        self
    }

    /// Asserts that standard error has this text in one of its lines.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.lines().any(|line| line.contains(text)), "no {text:?} in {self:#?}");
        self
    }
}

/// The names of all tools.
pub fn tools() -> Vec<String> {
    let listed = Dir::new().run(&["--list"]).ends(0).silent();
    listed.stdout.lines().map(str::to_owned).collect()
}
