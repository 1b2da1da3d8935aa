"""python3-lxc with containers of lxcbox: NAME LXCPATH PHASE. Prints what it found, fails loudly."""
import sys
import time
import lxc

name, path, phase = sys.argv[1:4]
c = lxc.Container(name, path)

if phase == "running":
    # Another program has started it.
    assert name in lxc.list_containers(config_path=path), "listed"
    assert name in lxc.list_containers(active=True, defined=False, config_path=path), "active"
    assert c.defined and c.running and c.controllable and c.state == "RUNNING", c.state
    assert c.wait("RUNNING", 5)
    assert "eth0" in c.get_interfaces(), c.get_interfaces()
    assert c.get_ips(timeout=10) == ("10.79.0.2",), c.get_ips()
    assert c.get_ips(family="inet", interface="eth0") == ("10.79.0.2",)
    assert c.get_config_item("lxc.uts.name") == c.get_running_config_item("lxc.uts.name")
    assert c.get_running_config_item("lxc.net.0.link") == "br0"
    assert c.attach_wait(lxc.attach_run_command, ["sh", "-c", "exit 7"]) >> 8 == 7
    out = open(sys.argv[4], "w+")
    assert c.attach_wait(lxc.attach_run_command, ["hostname"], stdout=out.fileno()) == 0
    out.seek(0)
    print(c.init_pid, out.read().strip())
    assert c.set_cgroup_item("pids.max", "123")
    assert c.get_cgroup_item("pids.max").strip() == "123"
    assert c.freeze() and c.state == "FROZEN"
    assert c.unfreeze() and c.state == "RUNNING"
    fd = c.console_getfd(1)
    assert fd >= 0, fd
    before = c.init_pid
    assert c.reboot()
    for _ in range(150):
        if c.state == "RUNNING" and c.init_pid not in (before, -1):
            break
        time.sleep(0.1)
    assert c.state == "RUNNING" and c.init_pid != before, c.state
    assert c.shutdown(30) and c.wait("STOPPED", 10), c.state
elif phase == "config":
    assert not c.running and c.state == "STOPPED"
    assert c.set_config_item("lxc.start.order", "7")
    assert c.append_config_item("lxc.environment", "FROM=python")
    assert c.save_config()
    # Starts it by liblxc: LXC's own monitor.
    assert c.start() and c.wait("RUNNING", 20), c.state
    print(c.init_pid)
elif phase == "create":
    assert c.create("busybox", 0) and c.defined
elif phase == "destroy":
    assert c.stop() and c.wait("STOPPED", 10)
    assert c.destroy() and not c.defined
else:
    sys.exit("which phase?")
