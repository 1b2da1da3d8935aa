//! The environment of an attached process (`lxc_attach_set_environment`), and where its program is
//! looked for. Pure.

use super::options::EnvRules;
use crate::config::Environment;
use crate::sys::passwd::User;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// PATH of a cleared environment, and where programs are looked for when there is none.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in order; a name occurs once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    /// Sets `name`, in place if it is there already.
    fn set(&mut self, name: &OsStr, value: &OsStr) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value.to_os_string(),
            None => self.0.push((name.to_os_string(), value.to_os_string())),
        }
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str())
    }

    /// `NAME=VALUE` strings for exec.
    pub(super) fn strings(&self) -> impl Iterator<Item = OsString> {
        self.0.iter().map(|(name, value)| {
            let mut text = OsString::with_capacity(name.len() + value.len() + 1);
            text.push(name);
            text.push("=");
            text.push(value);
            text
        })
    }
}

/// The variables of the attached process. `login` is the user whose login shell is run, when no
/// command was given: such a shell gets what login(1) sets.
pub(super) fn variables(
    rules: &EnvRules,
    caller: impl Iterator<Item = (OsString, OsString)>,
    configured: &Environment,
    login: Option<&User>,
) -> Variables {
    let mut out = Variables::default();
    if rules.clear {
        for (name, value) in caller.filter(|(name, _)| rules.keep.contains(name)) {
            out.set(&name, &value);
        }
        if out.get("PATH").is_none() {
            out.set("PATH".as_ref(), DEFAULT_PATH.as_ref());
        }
    } else {
        // The caller's names are unique already; `set` would make this quadratic.
        out.0.extend(caller);
    }
    if let Some(user) = login {
        for (name, value) in [
            ("HOME", &user.home),
            ("SHELL", &user.shell),
            ("USER", &user.name),
            ("LOGNAME", &user.name),
        ] {
            out.set(name.as_ref(), value.as_ref());
        }
    }
    out.set("container".as_ref(), "lxc".as_ref());
    for (name, value) in configured.both.iter().chain(&configured.runtime) {
        out.set(name.as_ref(), value.as_ref());
    }
    for (name, value) in &rules.set {
        out.set(name, value);
    }
    out
}

/// The files to try in turn for `program` (execvp(3)): itself if it holds a slash, else one in
/// each directory of `path`.
pub(super) fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if program.is_empty() || program.as_bytes().contains(&b'/') {
        return vec![program.to_os_string()];
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let in_dir = |dir: &[u8]| {
        // An empty element is the working directory.
        let mut file = OsStr::from_bytes(if dir.is_empty() { b"." } else { dir }).to_os_string();
        file.push("/");
        file.push(program);
        file
    };
    path.as_bytes().split(|&b| b == b':').map(in_dir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        list.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    fn shown(vars: &Variables) -> Vec<String> {
        vars.strings().map(|s| s.into_string().unwrap()).collect()
    }

    fn configured() -> Environment {
        let one = |n: &str, v: &str| vec![(n.to_string(), v.to_string())];
        Environment {
            both: one("A", "config"),
            runtime: one("B", "runtime"),
            hooks: one("C", "no"),
        }
    }

    #[test]
    fn kept_then_container_then_config_then_command_line() {
        let caller = pairs(&[("HOME", "/h"), ("A", "caller"), ("container", "x")]);
        let rules = EnvRules { set: pairs(&[("B", "last"), ("D", "new")]), ..EnvRules::default() };
        let vars = variables(&rules, caller.into_iter(), &configured(), None);
        assert_eq!(shown(&vars), ["HOME=/h", "A=config", "container=lxc", "B=last", "D=new"]);
    }

    #[test]
    fn cleared() {
        let caller = || pairs(&[("HOME", "/h"), ("TERM", "xterm"), ("PATH", "/p")]).into_iter();
        let mut rules = EnvRules { clear: true, ..EnvRules::default() };
        let vars = variables(&rules, caller(), &Environment::default(), None);
        assert_eq!(shown(&vars), [format!("PATH={DEFAULT_PATH}"), "container=lxc".into()]);
        rules.keep = vec!["PATH".into(), "TERM".into(), "NONE".into()];
        let vars = variables(&rules, caller(), &Environment::default(), None);
        assert_eq!(shown(&vars), ["TERM=xterm", "PATH=/p", "container=lxc"]);
    }

    #[test]
    fn a_login_shell_knows_its_user() {
        let user = User {
            name: "web".into(),
            uid: 7,
            gid: 7,
            home: "/srv".into(),
            shell: "/bin/ash".into(),
        };
        let caller = pairs(&[("HOME", "/root")]);
        let none = Environment::default();
        let vars = variables(&EnvRules::default(), caller.into_iter(), &none, Some(&user));
        let want = ["HOME=/srv", "SHELL=/bin/ash", "USER=web", "LOGNAME=web", "container=lxc"];
        assert_eq!(shown(&vars), want);
    }

    #[test]
    fn programs_are_looked_for_as_execvp_does() {
        let path = Some(OsStr::new("/a::/b"));
        assert_eq!(candidates("x".as_ref(), path), ["/a/x", "./x", "/b/x"]);
        assert_eq!(candidates("./x".as_ref(), path), ["./x"]);
        assert_eq!(candidates("".as_ref(), path), [""]);
        assert_eq!(candidates("x".as_ref(), None).len(), 6);
    }
}
