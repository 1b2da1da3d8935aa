/* The floor of a start: only the system calls that a classic container cannot do without, with
 * nothing parsed, checked or supervised, and one process for all of it.
 *
 *   floor ROOT BRIDGE|- CGROUPS INIT...
 *
 * ROOT has dev, proc and sys; BRIDGE takes one end of a veth pair, `-` means no network; CGROUPS
 * is 1 to make a monitor and a payload group in every hierarchy and enter the second. Ends when
 * INIT ends, with its status. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static long must(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		_exit(99);
	}
	return result;
}

/* One rtnetlink request under construction. */
struct request {
	struct nlmsghdr head;
	struct ifinfomsg link;
	char rest[1024];
};

static void begin(struct request *r, int flags, int index, int up)
{
	memset(r, 0, sizeof *r);
	r->head.nlmsg_len = NLMSG_LENGTH(sizeof r->link);
	r->head.nlmsg_type = RTM_NEWLINK;
	r->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	r->link.ifi_index = index;
	r->link.ifi_flags = r->link.ifi_change = up ? IFF_UP : 0;
}

static struct rtattr *add(struct request *r, int type, const void *data, size_t size)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(size);
	if (size)
		memcpy(RTA_DATA(a), data, size);
	r->head.nlmsg_len = (char *)a + RTA_ALIGN(a->rta_len) - (char *)r;
	return a;
}

static void close_nest(struct request *r, struct rtattr *a)
{
	a->rta_len = (char *)r + r->head.nlmsg_len - (char *)a;
}

static void exchange(int sock, struct request *r)
{
	char reply[4096];
	must(send(sock, r, r->head.nlmsg_len, 0), "send");
	must(recv(sock, reply, sizeof reply, 0), "recv");
	struct nlmsghdr *h = (void *)reply;
	if (h->nlmsg_type == NLMSG_ERROR && ((struct nlmsgerr *)NLMSG_DATA(h))->error) {
		errno = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
		must(-1, "rtnetlink");
	}
}

static const char *hierarchies[] = { "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer",
				     "blkio", "pids", "systemd", "unified", NULL };
static char member[32];

static void group_path(char *out, const char *hierarchy, int payload, const char *file)
{
	snprintf(out, 160, "/sys/fs/cgroup/%s/floor.%c.%d%s%s", hierarchy, payload ? 'p' : 'm',
		 getpid(), *file ? "/" : "", file);
}

static void put(const char *hierarchy, const char *file, const char *text)
{
	char path[160];
	group_path(path, hierarchy, 1, file);
	int fd = must(open(path, O_WRONLY | O_CLOEXEC), path);
	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static void each_group(int make)
{
	char path[160];
	for (int i = 0; hierarchies[i]; i++)
		for (int payload = 0; payload < 2; payload++) {
			group_path(path, hierarchies[i], payload, "");
			if (make)
				must(mkdir(path, 0755), path);
			else
				rmdir(path);
		}
}

static void enter_groups(void)
{
	char range[32];
	snprintf(range, sizeof range, "0-%ld", sysconf(_SC_NPROCESSORS_ONLN) - 1);
	for (int i = 0; hierarchies[i]; i++) {
		if (!strcmp(hierarchies[i], "cpuset")) {
			put("cpuset", "cpuset.cpus", range);
			put("cpuset", "cpuset.mems", "0");
		}
		put(hierarchies[i], "cgroup.procs", member);
	}
}

static void inside(const char *root, int network, int go, char **init)
{
	static const struct { const char *name; int major, minor; } nodes[] = {
		{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private /");
	must(mount(root, root, NULL, MS_BIND, NULL), "bind");
	must(chdir(root), "chdir");
	must(mount("proc", "proc", "proc", quiet, NULL), "proc");
	must(mount("proc/sys", "proc/sys", NULL, MS_BIND, NULL), "proc/sys");
	must(mount(NULL, "proc/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), "proc/sys ro");
	must(mount("dev", "dev", "tmpfs", 0, "size=500000,mode=755"), "dev");
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
		must(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), "mknod");
	must(mkdir("dev/pts", 0755), "dev/pts");
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		   "newinstance,ptmxmode=0666,mode=0620,gid=5"), "devpts");
	must(symlink("pts/ptmx", "dev/ptmx"), "ptmx");
	char byte;
	must(recv(go, &byte, 1, 0), "go");
	must(mount("sysfs", "sys", "sysfs", quiet | MS_RDONLY, NULL), "sys");
	if (network) {
		struct request r;
		int sock = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "netlink");
		begin(&r, 0, if_nametoindex("eth0"), 1);
		exchange(sock, &r);
		begin(&r, 0, 1, 1);
		exchange(sock, &r);
	}
	must(sethostname("floor", 5), "sethostname");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "chdir /");
	must(setsid(), "setsid");
	execv(init[0], init);
	_exit(98);
}

static void make_veth(const char *bridge, uint32_t owner)
{
	uint32_t master = if_nametoindex(bridge);
	char name[16];
	struct request r;
	int sock = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "netlink");
	snprintf(name, sizeof name, "fl%d", getpid());
	begin(&r, NLM_F_CREATE | NLM_F_EXCL, 0, 1);
	add(&r, IFLA_IFNAME, name, strlen(name) + 1);
	add(&r, IFLA_MASTER, &master, sizeof master);
	struct rtattr *info = add(&r, IFLA_LINKINFO, NULL, 0);
	add(&r, IFLA_INFO_KIND, "veth", 5);
	struct rtattr *data = add(&r, IFLA_INFO_DATA, NULL, 0);
	struct rtattr *peer = add(&r, VETH_INFO_PEER, NULL, 0);
	r.head.nlmsg_len += sizeof(struct ifinfomsg);
	add(&r, IFLA_IFNAME, "eth0", 5);
	add(&r, IFLA_NET_NS_PID, &owner, sizeof owner);
	close_nest(&r, peer);
	close_nest(&r, data);
	close_nest(&r, info);
	exchange(sock, &r);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	int network = argv[2][0] != '-', groups = atoi(argv[3]), go[2], pidfd = -1, status;
	if (groups)
		each_group(1);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, go), "socketpair");
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
			 CLONE_NEWCGROUP | CLONE_NEWNET,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	long pid = must(syscall(SYS_clone3, &args, sizeof args), "clone3");
	if (!pid)
		inside(argv[1], network, go[1], argv + 4);
	snprintf(member, sizeof member, "%ld", pid);
	if (groups)
		enter_groups();
	if (network)
		make_veth(argv[2], pid);
	must(send(go[0], "g", 1, 0), "go");
	must(waitpid(pid, &status, 0), "wait");
	if (groups)
		each_group(0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}
