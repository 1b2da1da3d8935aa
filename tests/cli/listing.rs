//! lxc-ls and lxc-info on containers that do not run.

use crate::harness::Dir;

fn three() -> Dir {
    let dir = Dir::new();
    dir.container("web", "lxc.start.auto = 1\nlxc.group = onboot\nlxc.group = front\n")
        .container("db1", "lxc.group = onboot\nlxc.idmap = u 0 1000 1\nlxc.idmap = g 0 1000 1\n")
        .container("a-rather-long-name", "");
    std::fs::create_dir(dir.lxcpath().join("no-config")).unwrap();
    std::fs::create_dir(dir.lxcpath().join(".hidden")).unwrap();
    std::fs::write(dir.lxcpath().join(".hidden/config"), "").unwrap();
    dir
}

#[test]
fn names_are_sorted_and_padded_or_bare() {
    let dir = three();
    dir.tool("lxc-ls", &["-1"]).ends(0).silent().prints("a-rather-long-name\ndb1\nweb\n");
    dir.tool("lxc-ls", &[])
        .ends(0)
        .silent()
        .prints("a-rather-long-name\ndb1               \nweb               \n");
}

#[test]
fn the_table_is_lxcs() {
    let dir = three();
    dir.tool("lxc-ls", &["-f"]).ends(0).silent().prints(
        "NAME               STATE   AUTOSTART GROUPS        IPV4 IPV6 UNPRIVILEGED \n\
         a-rather-long-name STOPPED 0         -             -    -    false        \n\
         db1                STOPPED 0         onboot        -    -    true         \n\
         web                STOPPED 1         onboot, front -    -    false        \n",
    );
    dir.tool("lxc-ls", &["-f", "-F", "name,ram,Pid,swap", "web"]).ends(0).silent().prints(
        "NAME RAM    PID SWAP   \n\
         web  -      -   -      \n",
    );
    dir.tool("lxc-ls", &["-f", "-F", "name,colour"]).ends(0).prints("").says("Invalid key: colour");
    dir.tool("lxc-ls", &["-F", "colour", "-1"])
        .ends(0)
        .silent()
        .prints("a-rather-long-name\ndb1\nweb\n");
}

#[test]
fn filters_narrow_the_list() {
    let dir = three();
    for (args, names) in [
        (&["^d"][..], "db1\n"),
        (&["--filter", "b.?$"], "db1\nweb\n"),
        (&["--filter=web", "^d"], "web\n"),
        (&["-g", "onboot"], "db1\nweb\n"),
        (&["-g", "onboot,front"], "web\n"),
        (&["-g", "nobody"], ""),
        (&["--stopped"], "a-rather-long-name\ndb1\nweb\n"),
        (&["--defined"], "a-rather-long-name\ndb1\nweb\n"),
        (&["--running"], ""),
        (&["--active"], ""),
        (&["--frozen"], ""),
    ] {
        let args = [&["-1"], args].concat();
        dir.tool("lxc-ls", &args).ends(0).silent().prints(names);
    }
    dir.tool("lxc-ls", &["-1", "["]).ends(0).prints("").says("matches nothing");
}

#[test]
fn an_empty_or_missing_path_lists_nothing() {
    let dir = Dir::new();
    dir.tool("lxc-ls", &["-f"]).ends(0).silent().prints("");
    let nowhere = dir.path().join("nowhere");
    dir.run(&["lxc-ls", "-P", nowhere.to_str().unwrap()]).ends(0).silent().prints("");
}

#[test]
fn a_broken_config_stays_in_the_list_and_says_why() {
    let dir = three();
    dir.container("broken", "lxc.uts.name = x\nlxc.tty.maks = 4\n");
    let ran = dir.tool("lxc-ls", &["-f"]).ends(0);
    assert!(ran.stdout.contains("\nbroken             BROKEN  -  "), "{ran:?}");
    let ran = ran.says("lxc-ls: broken: ").says("config:2: unknown key 'lxc.tty.maks'");
    assert_eq!(ran.stdout.lines().count(), 5);
    let reason = "config:2: unknown key 'lxc.tty.maks'";
    for columns in [&["-f", "-F", "STATE"][..], &["-f", "-F", "NAME"], &["-1"], &[]] {
        let ran = dir.tool("lxc-ls", columns).ends(0).says(reason);
        let mark = if columns.contains(&"STATE") { "BROKEN" } else { "broken" };
        assert!(ran.stdout.contains(mark), "{ran:?}");
    }
    dir.tool("lxc-info", &["broken"]).ends(1).prints("").says(reason);
    dir.tool("lxc-info", &["broken", "-c", "lxc.tty.max"]).ends(1).says("config:2: unknown key");
}

#[test]
fn json_has_exact_members() {
    let dir = Dir::new();
    dir.container("web", "lxc.start.auto = 1\nlxc.group = a\"b\n");
    let ran = dir.tool("lxc-ls", &["--format", "json"]).ends(0).silent();
    let path = "[\n  {\n    \"name\": \"web\",\n    \"path\": \"web\",\n    \"state\": \"STOPPED\",\n    \
                \"pid\": null,\n    \"memory_bytes\": null,\n    \"swap_bytes\": null,\n    \
                \"autostart\": true,\n    \"groups\": [\n      \"a\\\"b\"\n    ],\n    \
                \"interfaces\": [],\n    \"ipv4\": [],\n    \"ipv6\": [],\n    \
                \"unprivileged\": false,\n    \"error\": null\n  }\n]\n";
    ran.prints(path);
    dir.tool("lxc-info", &["web", "--format", "json", "-s", "-c", "lxc.group"]).ends(0).prints(
        "{\n  \"name\": \"web\",\n  \"state\": \"STOPPED\",\n  \"config\": {\n    \
         \"lxc.group\": \"a\\\"b\"\n  }\n}\n",
    );
    dir.tool("lxc-ls", &["--format", "yaml"]).ends(1).says("unknown format \"yaml\"");
}

#[test]
fn values_of_keys_are_printed_as_lxc_prints_them() {
    let dir = Dir::new();
    dir.container("c1", "lxc.uts.name = host1\nlxc.cap.drop = sys_time mac_admin\n");
    for (args, text) in [
        (&["-c", "lxc.uts.name"][..], "lxc.uts.name = host1\n"),
        (&["-c", "lxc.uts.name", "-H"], "host1\n"),
        (&["-c", "lxc.cap.drop"], "lxc.cap.drop = sys_time\nmac_admin\n\n"),
        (&["-c", "lxc.group"], "lxc.group =\n"),
        (&["-c", "lxc.uts.name", "-c", "lxc.group", "-H"], "lxc.uts.name = host1\nlxc.group =\n"),
        (&["-s", "-c", "lxc.uts.name"], "State:          STOPPED\nlxc.uts.name = host1\n"),
        (&["-p"], ""),
        (&["-S"], ""),
    ] {
        let args = [&["c1"], args].concat();
        dir.tool("lxc-info", &args).ends(0).silent().prints(text);
    }
    dir.tool("lxc-info", &["c1", "-c", "lxc.foo"]).ends(0).prints("").says("lxc.foo invalid");
    dir.tool("lxc-info", &["c2"]).ends(1).prints("").says("container doesn't exist");
}
