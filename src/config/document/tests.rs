//! Text and meaning together: loading, editing, saving, includes, and files of the old days.

use super::*;
use crate::config::{HookKind, NetKind, embedded};
use crate::util::blame::Explain as _;
use proptest::prelude::*;

fn options() -> Options {
    Options { random: || Ok([0xa5; 17]), env: |_| None }
}

fn read(text: &str) -> Loaded {
    parse(text.into(), Path::new("f"), &options()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refused(text: &str) -> ConfigError {
    parse(text.into(), Path::new("f"), &options()).expect_err(text)
}

fn text(loaded: &Loaded) -> String {
    String::from_utf8(loaded.document.bytes()).unwrap()
}

/// Values and lists, without where they were written.
fn meaning(loaded: &Loaded) -> Vec<(String, String)> {
    let keys = keys::list(&loaded.config, "");
    keys.into_iter().map(|key| (loaded.get(&key).unwrap(), key)).collect()
}

#[test]
fn lines_are_taken_apart_as_lxc_does() {
    let loaded = read(
        "\u{feff}lxc.uts.name=a\r\n# lxc.uts.name = b\n\n  lxc.tty.max\t = 4 \nnonsense\n\
         foo.bar = 1\nlxc.execute.cmd = \"a \" # no comment\nlxc.init.cmd = ' /x 'y\n\
         lxc.seccomp.notify.cookie = \" b \"\nlxc.group=a=b",
    );
    let c = &loaded.config;
    assert_eq!(c.uts_name.as_deref(), Some("a"));
    assert_eq!(c.tty_max, 4);
    assert_eq!(c.execute_cmd.as_deref(), Some("\"a \" # no comment"));
    assert_eq!(c.init.cmd.as_deref(), Some("' /x 'y"));
    assert_eq!(c.seccomp.notify_cookie.as_deref(), Some(" b "));
    assert_eq!(c.groups, ["a=b"]);
    assert_eq!(c.origin("lxc.tty.max").unwrap().to_string(), "f:4");
}

#[test]
fn errors_name_file_line_key_and_neighbour() {
    let error = refused("\nlxc.tty.mx = 4\n");
    assert_eq!(error.to_string(), "f:2: unknown key 'lxc.tty.mx'");
    assert_eq!(error.hint().as_deref(), Some("did you mean 'lxc.tty.max'?"));
    assert_eq!(error.origin().unwrap().line, 2);
    let error = refused("lxc.tty.max = -1");
    assert_eq!(error.to_string(), "f:1: lxc.tty.max: -1 is not between 0 and 4294967295");
    assert_eq!(refused("lxc.foo").to_string(), "f:1: 'lxc.foo' is not of the form 'key = value'");
    assert!(matches!(refused("lxc.uts.name = a\0b"), ConfigError::NotText { .. }));
    let latin1 = parse(b"# caf\xe9\nlxc.uts.name = caf\xe9\n".into(), Path::new("f"), &options());
    assert_eq!(latin1.unwrap_err().origin().unwrap().line, 2);
    let error = refused("lxc.net.0.link = b\nlxc.net.0.vlan.id = 1");
    assert_eq!(error.to_string(), "f:2: lxc.net.0.vlan.id: needs 'lxc.net.0.type = vlan' above it");
}

#[test]
fn the_text_is_kept_byte_for_byte() {
    let bytes = b"# caf\xe9 \r\n\n\tlxc.uts.name=x   \r\nlxc.net.0.type = veth\nno end".to_vec();
    let loaded = parse(bytes.clone(), Path::new("f"), &options()).unwrap();
    assert_eq!(loaded.document.bytes(), bytes);
}

#[test]
fn a_scalar_is_replaced_in_its_place() {
    let mut loaded = read("# name\nlxc.uts.name = a\n# ttys\nlxc.tty.max = 1\n");
    loaded.set("lxc.uts.name", "b", &options()).unwrap();
    loaded.set("lxc.uts.name", "c", &options()).unwrap();
    assert_eq!(text(&loaded), "# name\nlxc.uts.name = c\n# ttys\nlxc.tty.max = 1\n");
    loaded.set("lxc.tty.max", "", &options()).unwrap();
    loaded.set("lxc.pty.max", "7", &options()).unwrap();
    assert_eq!(text(&loaded), "# name\nlxc.uts.name = c\n# ttys\nlxc.pty.max = 7\n");
    assert_eq!((loaded.config.tty_max, loaded.config.pty_max), (0, 7));
}

#[test]
fn an_old_spelling_is_edited_into_the_new_one() {
    let mut loaded = read("lxc.utsname = a\nlxc.rootfs.backend = loop\nlxc.rootfs = /a.img\n");
    assert_eq!(loaded.config.rootfs.backend.as_deref(), Some("loop"));
    loaded.set("lxc.utsname", "b", &options()).unwrap();
    loaded.set("lxc.rootfs", "/b", &options()).unwrap();
    assert_eq!(text(&loaded), "lxc.uts.name = b\nlxc.rootfs.path = /b\n");
    assert_eq!(loaded.config.rootfs.backend, None);
    assert!(loaded.set("lxc.rootfs.backend", "dir", &options()).is_err());
}

#[test]
fn a_list_and_a_network_type_are_added_at_the_end() {
    let mut loaded = read("lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.group = x");
    loaded.set("lxc.group", "y", &options()).unwrap();
    loaded.set("lxc.net.0.type", "phys", &options()).unwrap();
    assert_eq!(
        text(&loaded),
        "lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.group = x\nlxc.group = y\n\
         lxc.net.0.type = phys\n"
    );
    assert_eq!(loaded.config.net[&0].link, None);
    assert_eq!(meaning(&read(&text(&loaded))), meaning(&loaded));
}

#[test]
fn a_value_from_below_an_include_is_overridden_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let included = dir.path().join("i.conf");
    std::fs::write(&included, "lxc.tty.max = 2\nlxc.cap.drop = kill\nlxc.autodev = 0\n").unwrap();
    let mut loaded = read(&format!("lxc.tty.max = 1\nlxc.include = {}\n", included.display()));
    assert_eq!(loaded.config.tty_max, 2);
    loaded.set("lxc.tty.max", "3", &options()).unwrap();
    assert!(text(&loaded).ends_with("\nlxc.tty.max = 3\n"));
    for key in ["lxc.tty.max", "lxc.cap.drop", "lxc.autodev"] {
        loaded.clear(key).unwrap();
    }
    assert!(text(&loaded).ends_with("\nlxc.tty.max = \nlxc.cap.drop = \nlxc.autodev = 1\n"));
    assert_eq!(meaning(&loaded), []);
    assert_eq!(meaning(&read(&text(&loaded))), []);
}

#[test]
fn nothing_that_breaks_a_line_gets_in() {
    let mut loaded = read("lxc.uts.name = a\n");
    for (key, value) in [
        ("lxc.environment", "A=b\nlxc.hook.start-host = /bin/evil"),
        ("lxc.environment", "A=b\0"),
        ("lxc.sysctl.a\nlxc.b", "1"),
        ("lxc.sysctl.a=b", "1"),
    ] {
        let error = loaded.set(key, value, &options()).unwrap_err();
        assert!(matches!(error, ConfigError::Unwritable { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    assert_eq!(text(&loaded), "lxc.uts.name = a\n");
    assert!(loaded.set("lxc.sysctl.a b", "1", &options()).is_err());
}

#[test]
fn values_with_blanks_and_quotes_come_back() {
    for value in [" a ", "\"a\"", "'", "\"", "\"'", "a\r", "\t", " \" ", "# a", "''", "a = b"] {
        let mut loaded = Loaded::new(Path::new("f"));
        loaded.set("lxc.seccomp.notify.cookie", value, &options()).unwrap();
        let again = read(&text(&loaded));
        assert_eq!(again.config.seccomp.notify_cookie.as_deref(), Some(value), "{value:?}");
    }
}

#[test]
fn a_refused_edit_changes_nothing() {
    let mut loaded = read("lxc.tty.max = 1\n");
    let before = loaded.config.clone();
    for (key, value) in [("lxc.tty.max", "x"), ("lxc.foo", "1"), ("lxc.include", "/nonexistent")] {
        assert!(loaded.set(key, value, &options()).is_err());
    }
    assert_eq!((loaded.config.clone(), text(&loaded).as_str()), (before, "lxc.tty.max = 1\n"));
    assert!(loaded.clear("lxc.foo").is_err());
}

#[test]
fn a_definition_from_a_command_line_names_it() {
    let mut loaded = read("lxc.tty.max = 1\n");
    let origin = Origin::label("--define");
    loaded.define(" lxc.tty.max = \"5\" ", &origin, &options()).unwrap();
    assert_eq!(loaded.config.origin("lxc.tty.max").unwrap().to_string(), "--define");
    let error = loaded.define("lxc.tty.max=x", &origin, &options()).unwrap_err();
    assert_eq!(error.to_string(), "--define: lxc.tty.max: 'x' is not a number");
    for bad in ["tty.max=5", "lxc.tty.max", ""] {
        assert!(loaded.define(bad, &origin, &options()).is_err(), "{bad}");
    }
}

#[test]
fn random_addresses_stay_in_the_text_of_this_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let included = dir.path().join("i.conf");
    std::fs::write(&included, "lxc.net.1.hwaddr = 10:66:6a:xx:xx:xx\n").unwrap();
    let loaded = read(&format!(
        "lxc.network.type = veth\n lxc.network.hwaddr = 10:66:6a:xx:XX:xx # \nlxc.include = {}\n",
        included.display()
    )
    .replace(" # ", ""));
    assert_eq!(loaded.config.net[&0].hwaddr, Some([0x10, 0x66, 0x6a, 0x55, 0x55, 0x55]));
    assert!(text(&loaded).contains("\nlxc.network.hwaddr = 10:66:6a:55:55:55\n"));
    assert!(loaded.config.net[&1].hwaddr.is_some());
    assert!(std::fs::read_to_string(&included).unwrap().contains("xx"));
}

#[test]
fn removing_an_old_network_leaves_the_others_what_they_are() {
    let mut loaded = read(
        "lxc.network.type = veth\nlxc.network.link = a\n  lxc.network.type=phys\n\
         lxc.network.link = eth1\nlxc.utsname = x\n",
    );
    loaded.clear("lxc.net.0").unwrap();
    assert_eq!(text(&loaded), "  lxc.net.1.type =phys\nlxc.net.1.link = eth1\nlxc.utsname = x\n");
    assert_eq!(meaning(&read(&text(&loaded))), meaning(&loaded));
    loaded.clear("lxc.network").unwrap();
    assert_eq!(text(&loaded), "lxc.utsname = x\n");
}

#[test]
fn a_file_of_lxc_1_loads_and_tells_the_new_names() {
    let loaded = read(include_str!("old-config-1.conf"));
    let c = &loaded.config;
    assert_eq!(c.uts_name.as_deref(), Some("mail"));
    assert_eq!(c.rootfs.backend.as_deref(), Some("dir"));
    assert_eq!(c.rootfs.path.as_deref(), Some(Path::new("/var/lib/lxc/mail/rootfs")));
    assert_eq!((c.tty_max, c.pty_max, c.tty_dir.as_deref()), (4, 1024, Some("lxc")));
    assert_eq!(c.mount_fstab.as_deref(), Some(Path::new("/var/lib/lxc/mail/fstab")));
    assert_eq!(c.net.len(), 2);
    assert_eq!(c.net[&0].kind, Some(NetKind::Veth));
    assert_eq!(c.net[&0].veth.pair.as_deref(), Some("mail0"));
    assert_eq!(c.net[&1].kind, Some(NetKind::Vlan));
    assert_eq!(c.net[&1].vlan_id, Some(12));
    assert_eq!(c.cgroup.v1[0].0, "devices.deny");
    assert_eq!(c.idmap.len(), 2);
    assert_eq!(c.apparmor.profile.as_deref(), Some("unconfined"));
    assert_eq!(c.prlimits[0].0, "nofile");
    assert_eq!(c.hooks(HookKind::PreStart)[0].value, "/usr/local/bin/check");
    assert_eq!(
        loaded.warnings.first().map(String::as_str),
        Some("f:3: lxc.utsname is an old key; write lxc.uts.name")
    );
    assert!(
        loaded.warnings.contains(&"f:29: lxc.kmsg has no effect any more; remove the line".into())
    );
    assert!(
        loaded
            .warnings
            .contains(&"f:16: lxc.network.link is an old key; write lxc.net.0.link".into())
    );
    // Saved as it is; lines of today's spelling are not complained of.
    assert_eq!(text(&loaded), include_str!("old-config-1.conf"));
    let old =
        text(&loaded).lines().filter(|l| l.contains("# new") || l.starts_with("lxc.")).count();
    assert_eq!(loaded.warnings.len(), old - 6);
}

#[test]
fn includes_loops_and_limits() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let line = |name: &str| format!("lxc.include = {}\n", path(name).display());
    std::fs::create_dir(path("d")).unwrap();
    std::fs::write(path("d/b.conf"), "lxc.group = b\n").unwrap();
    std::fs::write(path("d/a.conf"), "lxc.group = a\n").unwrap();
    std::fs::write(path("d/.conf"), "lxc.foo\n").unwrap();
    std::fs::write(path("d/README"), "lxc.foo\n").unwrap();
    std::fs::write(path("loop"), line("loop2")).unwrap();
    std::fs::write(path("loop2"), line("loop")).unwrap();
    std::fs::write(path("bad"), "\nlxc.tty.max = x\n").unwrap();

    assert_eq!(read(&line("d")).config.groups, ["a", "b"]);
    assert_eq!(read(&line("d/")).config.groups, ["a", "b"]);
    assert_eq!(read(&line("nothing/")).config.groups, [""; 0]);
    let error = refused(&line("nothing"));
    assert!(matches!(error, ConfigError::Include { .. }) && error.errno() == Some(2), "{error}");
    let error = load(&path("loop"), &options()).unwrap_err();
    assert!(matches!(error, ConfigError::Loop { .. }), "{error}");
    let error = refused(&line("bad"));
    assert_eq!(error.origin().unwrap().to_string(), format!("{}:2", path("bad").display()));

    for n in 0..20 {
        std::fs::write(path(&format!("deep{n}")), line(&format!("deep{}", n + 1))).unwrap();
        let twice = line(&format!("wide{}", n + 1)).repeat(2);
        std::fs::write(path(&format!("wide{n}")), if n < 12 { twice } else { String::new() })
            .unwrap();
    }
    for name in ["deep0", "wide0"] {
        let error = load(&path(name), &options()).unwrap_err();
        assert!(matches!(error, ConfigError::TooMany { .. }), "{error}");
    }
    assert!(matches!(load(Path::new("/dev/zero"), &options()), Err(ConfigError::TooLarge { .. })));
    let error = refused("\nlxc.include = /dev/zero\n").to_string();
    assert_eq!(error, "f:2: the configuration /dev/zero is larger than 16 MiB");
}

#[test]
fn all_errors_of_a_file_can_be_had() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c");
    std::fs::write(&file, "lxc.a = 1\nlxc.tty.max = x\nlxc.uts.name = ok\nlxc.b\n").unwrap();
    let lines = |e: &ConfigError| e.origin().map(|o| o.line);
    let errors = check(&file, &options());
    assert_eq!(errors.iter().map(lines).collect::<Vec<_>>(), [Some(1), Some(2), Some(4)]);
    assert_eq!(check(&dir.path().join("none"), &options()).len(), 1);
}

#[test]
fn saving_replaces_the_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("config"), dir.path().join("link"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    // What a crash may have left, and what an attacker may put there.
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("config.new")).unwrap();
    let mut loaded = Loaded::new(&file);
    loaded.set("lxc.uts.name", "a", &options()).unwrap();
    loaded.save(&file).unwrap();
    loaded.set("lxc.uts.name", "b", &options()).unwrap();
    loaded.save(&link).unwrap();
    let again = load(&file, &options()).unwrap();
    assert_eq!(again.config.uts_name.as_deref(), Some("b"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let error = loaded.save(&dir.path().join("none/config")).unwrap_err();
    assert_eq!(error.errno(), Some(2));
}

#[test]
fn the_embedded_files_are_all_of_share_and_load() {
    let share = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/share/config"));
    for file in std::fs::read_dir(share).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let known = embedded::find(&Path::new("/usr/share/lxc/config").join(&name));
        assert_eq!(known, Some(text.as_str()), "{name}");
        if !name.ends_with(".conf") {
            continue;
        }
        let loaded = read(&format!("lxc.include = /no/such/lxc/config/{name}\n"));
        assert_eq!(loaded.warnings, [""; 0], "{name}");
    }
    assert!(!read(embedded::default_conf()).config.net.is_empty());
    for other in
        ["/lxc/config/../config/common.conf", "/no/such/lxc/config/x.conf", "/no/common.conf"]
    {
        assert!(matches!(refused(&format!("lxc.include = {other}x")), ConfigError::Include { .. }));
    }
}

#[test]
fn an_error_in_an_embedded_file_names_it() {
    let loaded = read("lxc.include = /no/such/lxc/config/common.conf\nlxc.tty.max = 1\n");
    let origin = &loaded.config.caps.drop[0].origin;
    assert_eq!(origin.file.as_ref(), Path::new("/no/such/lxc/config/common.conf (built in)"));
    assert_eq!(loaded.config.tty_max, 1);
}

#[test]
fn every_example_file_loads_without_a_warning() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config-examples"));
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("lxc.conf") {
            use crate::config::path::{System, Who};
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(System::parse(Who::Root, &text, &path).unwrap().warnings, [""; 0]);
        } else if path.extension().is_some_and(|e| e == "conf") {
            let loaded = load(&path, &options()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(loaded.warnings, [""; 0], "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}

/// Lines that mean something, lines that do not, and noise.
fn line() -> impl Strategy<Value = String> {
    let examples: Vec<String> = keys::reference().into_iter().map(|row| row.example).collect();
    let examples: Vec<String> =
        examples.into_iter().filter(|line| !line.starts_with("lxc.include")).collect();
    let names: Vec<&str> = keys::names().collect();
    prop_oneof![
        8 => prop::sample::select(examples),
        1 => Just("lxc.network.type = veth".to_owned()),
        1 => Just("lxc.network.ipv4 = 10.0.0.2/24".to_owned()),
        1 => Just("lxc.limit.nofile = 7".to_owned()),
        1 => Just("lxc.rootfs.backend = loop".to_owned()),
        2 => prop::sample::select(names).prop_map(|name| format!("{name} =").replace(".N", ".0")),
        1 => "[ -~]{0,12}",
        1 => "(#|lxc\\.)[ -~]{0,20}",
    ]
}

/// The lines that can stand below the ones before them.
fn acceptable(lines: Vec<String>) -> String {
    let mut text = String::new();
    for line in lines {
        let longer = format!("{text}{line}\n");
        if parse(longer.clone().into(), Path::new("f"), &options()).is_ok() {
            text = longer;
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_load_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(bytes, Path::new("f"), &options());
    }

    #[test]
    fn any_value_of_any_key_loads_or_fails(
        name in prop::sample::select(keys::names().collect::<Vec<_>>()),
        value in "[ -~]{0,24}|[0-9a-fx:./ -]{0,24}|\\PC{0,12}",
    ) {
        let _ = parse(format!("{} = {value}", name.replace(".N", ".0")).into(), Path::new("f"), &options());
        let _ = parse(format!("{name}.{value} = {value}").into(), Path::new("f"), &options());
    }

    #[test]
    fn saved_text_has_the_same_meaning(lines in prop::collection::vec(line(), 0..24)) {
        let text = acceptable(lines);
        let loaded = read(&text);
        prop_assert_eq!(loaded.document.bytes(), text.as_bytes());
        let again = parse(loaded.document.bytes(), Path::new("f"), &options()).unwrap();
        prop_assert_eq!(again.config, loaded.config);
    }

    #[test]
    fn edits_change_text_and_meaning_alike(
        lines in prop::collection::vec(line(), 0..16),
        edits in prop::collection::vec((line(), any::<bool>()), 0..8),
    ) {
        let mut loaded = read(&acceptable(lines));
        for (edit, clear) in edits {
            let Some((key, value)) = edit.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            let _ = if clear { loaded.clear(key) } else { loaded.set(key, value, &options()) };
            let again = read(&text(&loaded));
            prop_assert_eq!(meaning(&again), meaning(&loaded), "after {:?} {}", edit, text(&loaded));
            prop_assert_eq!(&again.config.rootfs, &loaded.config.rootfs);
        }
    }

    #[test]
    fn any_text_value_survives(value in "[^\\x00\\n]{1,16}") {
        let mut loaded = Loaded::new(Path::new("f"));
        if loaded.set("lxc.seccomp.notify.cookie", &value, &options()).is_ok() {
            let again = read(&text(&loaded));
            prop_assert_eq!(again.config.seccomp.notify_cookie.as_deref(), Some(value.as_str()));
        }
    }
}
