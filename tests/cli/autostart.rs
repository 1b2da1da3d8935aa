//! lxc-autostart without starting anything: lists, plans, wrong command lines. The lists are what
//! Debian's lxc-autostart 5.0.2 prints for the same files.

use crate::harness::Dir;

fn several() -> Dir {
    let dir = Dir::new();
    dir.container("a", "lxc.start.auto = 1\nlxc.start.order = 5\nlxc.start.delay = 3\n")
        .container("b", "lxc.start.auto = 1\nlxc.start.order = -5\n")
        .container("c", "lxc.start.auto = 1\nlxc.group = onboot web\n")
        .container("d", "lxc.start.auto = 1\nlxc.group = web\nlxc.start.order = 1\n")
        .container("e", "")
        .container("z", "lxc.start.auto = 1\nlxc.start.order = 5\n");
    dir
}

#[test]
fn lists_are_lxcs() {
    let dir = several();
    for (args, list) in [
        (&["-L"][..], "b 0\na 3\nz 0\n"),
        (&["-L", "-a"], "b 0\nc 0\nd 0\na 3\nz 0\n"),
        (&["-L", "-a", "-A"], "b 0\nc 0\ne 0\nd 0\na 3\nz 0\n"),
        (&["-L", "-g", "onboot,"], "c 0\nb 0\na 3\nz 0\n"),
        (&["--list", "--groups=web,onboot", "-g", ""], "c 0\nd 0\nb 0\na 3\nz 0\n"),
        (&["-L", "-A"], "b 0\ne 0\na 3\nz 0\n"),
        (&["-L", "-r", "-a"], ""),
        (&["-L", "-s", "-a"], ""),
        (&["-L", "-k"], ""),
        (&["-g", "nosuch"], ""),
        (&["-s"], ""),
    ] {
        dir.tool("lxc-autostart", args).ends(0).silent().prints(list);
    }
}

#[test]
fn a_plan_shows_who_waits_for_whom() {
    let dir = several();
    dir.container("w", "lxc.start.auto = 1\nlxc.start.after = z\nlxc.start.ready = notify\n");
    dir.tool("lxc-autostart", &["--dry-run", "-j", "3", "-t", "9"]).ends(0).silent().prints(
        "start: at most 3 at the same time, 9 seconds for each\n\
         \x20 b\n\
         then\n\
         \x20 a; then 3 seconds of delay\n\
         \x20 z\n\
         \x20 w after z; ready when it says so\n",
    );
}

#[test]
fn what_a_process_has_descriptors_for_is_the_most_at_a_time() {
    let plan = "start: at most 400 at the same time, 60 seconds for each\n";
    Dir::new().tool("lxc-autostart", &["--dry-run", "-j", "9999"]).ends(0).prints(plan);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = several();
    dir.container("x", "lxc.start.auto = 1\nlxc.start.after = x\n")
        .container("y", "lxc.start.auto = 1\nlxc.start.after = nosuch\n")
        .container("broken", "lxc.nonsense = 1\n");
    dir.tool("lxc-autostart", &["-L"])
        .ends(0)
        .says("y: lxc.start.after names \"nosuch\", which does not exist (")
        .says("x: lxc.start.after goes in a circle: x after x")
        .says("broken: ")
        .prints("b 0\ny 0\na 3\nz 0\n");
    dir.tool("lxc-autostart", &["-n", "a"]).ends(1).says("works on all containers of a path");
    dir.tool("lxc-autostart", &["-j", "0"]).ends(1).says("\"0\" is not a number of containers");
    dir.tool("lxc-autostart", &["-t", "-2"]).ends(1).says("invalid timeout");
    dir.tool("lxc-autostart", &["-t", "x"]).ends(1).says("\"x\" is not a number");
    dir.tool("lxc-autostart", &["-L", "-a", "-g", "web"]).ends(0).says("-g has no effect");
    dir.tool("lxc-autostart", &["-L", "-P", "/nonexistent"]).ends(1);
}
