//! Create, start, look, enter, freeze, stop, destroy.

use crate::machine::Machine;

#[test]
fn a_busybox_container_lives_and_dies() {
    let m = Machine::new();
    let c = m.container("life", "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:ro\n");
    m.start(&c);
    assert_eq!(m.state(&c), "RUNNING");
    assert_eq!(m.inside(&c, "hostname").ok(), "life\n");
    assert!(m.lxc("ls", &["--running", "-1"]).ok().contains(&c));
    m.lxc("freeze", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "FROZEN");
    m.lxc("unfreeze", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "STOPPED");
    assert_eq!(m.settle(), Vec::<String>::new());
}
