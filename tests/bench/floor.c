/* The floor of a start and a stop: only the system calls that a classic container cannot do
 * without, in the cheapest way that this kernel has, with nothing parsed or checked.
 *
 *   floor start NAME ROOT BRIDGE|- CGROUPS INIT...
 *   floor stop NAME
 *   floor run NAME ROOT BRIDGE|- CGROUPS INIT...
 *
 * `start` ends when INIT is executed; the supervisor that it leaves behind listens on the abstract
 * socket @floor.NAME, on which `stop` has it kill INIT, and ends when all is cleaned up. `run` is
 * one process for all of it: nobody supervises, nothing is killed, INIT ends by itself.
 *
 * ROOT has dev, proc and sys; BRIDGE takes one end of a veth pair, `-` means no network; CGROUPS
 * is 1 to make a monitor and a payload group in every hierarchy and enter them. */
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
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
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
static const char *name;
static int grouped;

static void group_path(char *out, const char *hierarchy, int payload, const char *file)
{
	snprintf(out, 160, "/sys/fs/cgroup/%s/floor.%c.%s%s%s", hierarchy, payload ? 'p' : 'm', name,
		 *file ? "/" : "", file);
}

static void put(const char *hierarchy, int payload, const char *file, const char *text)
{
	char path[160];
	group_path(path, hierarchy, payload, file);
	int fd = must(open(path, O_WRONLY | O_CLOEXEC), path);
	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static void make_groups(int payload)
{
	char path[160], range[32];
	snprintf(range, sizeof range, "0-%ld", sysconf(_SC_NPROCESSORS_ONLN) - 1);
	for (int i = 0; grouped && hierarchies[i]; i++) {
		group_path(path, hierarchies[i], payload, "");
		must(mkdir(path, 0755), path);
		if (!strcmp(hierarchies[i], "cpuset")) {
			put("cpuset", payload, "cpuset.cpus", range);
			put("cpuset", payload, "cpuset.mems", "0");
		}
	}
}

static void remove_groups(int payload)
{
	char path[160];
	for (int i = 0; grouped && hierarchies[i]; i++) {
		group_path(path, hierarchies[i], payload, "");
		rmdir(path);
	}
}

/* By itself: to move another process costs the kernel a grace period. The unified hierarchy is
 * left out: the process was cloned into it. */
static void enter_groups(int payload)
{
	for (int i = 0; grouped && hierarchies[i]; i++)
		if (strcmp(hierarchies[i], "unified"))
			put(hierarchies[i], payload, "tasks", "0");
}

static long clone_into(int payload, uint64_t namespaces, int *pidfd)
{
	char path[160];
	struct clone_args args = {
		.flags = CLONE_PIDFD | namespaces,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};
	int dir = -1;
	if (grouped) {
		group_path(path, "unified", payload, "");
		dir = must(open(path, O_PATH | O_CLOEXEC), path);
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = dir;
	}
	long pid = must(syscall(SYS_clone3, &args, sizeof args), "clone3");
	if (pid && dir >= 0)
		close(dir);
	return pid;
}

static void inside(const char *root, int network, int go, char **init)
{
	static const struct { const char *name; int major, minor; } nodes[] = {
		{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	enter_groups(1);
	must(unshare(CLONE_NEWCGROUP), "unshare");
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

/* Makes the container; gives back its pid. Ends when INIT is executed. */
static long make(const char *root, const char *bridge, char **init, int *pidfd)
{
	int network = bridge[0] != '-', go[2];
	char byte;
	make_groups(1);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, go), "socketpair");
	long pid = clone_into(1, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
			      pidfd);
	if (!pid)
		inside(root, network, go[1], init);
	close(go[1]);
	if (network)
		make_veth(bridge, pid);
	must(send(go[0], "g", 1, 0), "go");
	/* The end of the other side: exec has closed it. */
	must(recv(go[0], &byte, 1, 0), "exec");
	close(go[0]);
	return pid;
}

static int open_socket(struct sockaddr_un *address, socklen_t *length)
{
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	*length = offsetof(struct sockaddr_un, sun_path) + 1 +
		  snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "floor.%s", name);
	return must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

/* The process that outlives `start`: it has the container, and ends it when somebody asks. */
static void supervise(int listener, int report, char **argv)
{
	int pidfd = -1;
	setsid();
	must(chdir("/"), "chdir");
	enter_groups(0);
	long pid = make(argv[0], argv[1], argv + 3, &pidfd);
	must(send(report, "r", 1, 0), "report");
	close(report);
	int client = must(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
	must(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0), "kill");
	must(waitpid(pid, NULL, 0), "wait");
	remove_groups(1);
	close(listener);
	/* A process outside of the monitor's group has to remove that: it waits for our end. */
	int gone[2];
	must(pipe2(gone, O_CLOEXEC), "pipe");
	struct clone_args args = { .flags = grouped ? CLONE_INTO_CGROUP : 0, .exit_signal = SIGCHLD };
	if (grouped)
		args.cgroup = must(open("/sys/fs/cgroup/unified", O_PATH | O_CLOEXEC), "unified");
	for (int i = 0; grouped && hierarchies[i]; i++) {
		char path[160];
		if (!strcmp(hierarchies[i], "unified"))
			continue;
		snprintf(path, sizeof path, "/sys/fs/cgroup/%s/tasks", hierarchies[i]);
		int fd = must(open(path, O_WRONLY | O_CLOEXEC), path);
		must(write(fd, "0", 1), path);
		close(fd);
	}
	if (must(syscall(SYS_clone3, &args, sizeof args), "clone3"))
		_exit(0);
	char byte;
	close(gone[1]);
	must(read(gone[0], &byte, 1), "gone");
	remove_groups(0);
	close(client);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address;
	socklen_t length;
	char byte;
	if (argc < 3)
		return 2;
	name = argv[2];
	if (!strcmp(argv[1], "stop")) {
		int sock = open_socket(&address, &length);
		must(connect(sock, (void *)&address, length), "connect");
		must(read(sock, &byte, 1), "stop");
		return 0;
	}
	if (argc < 7)
		return 2;
	grouped = atoi(argv[5]);
	if (!strcmp(argv[1], "run")) {
		int pidfd = -1, status;
		make_groups(0);
		long pid = make(argv[3], argv[4], argv + 6, &pidfd);
		must(waitpid(pid, &status, 0), "wait");
		remove_groups(1);
		remove_groups(0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
	}
	int report[2], pidfd = -1;
	int listener = open_socket(&address, &length);
	must(bind(listener, (void *)&address, length), "bind");
	must(listen(listener, 8), "listen");
	make_groups(0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report), "socketpair");
	if (!clone_into(0, 0, &pidfd)) {
		close(report[0]);
		supervise(listener, report[1], argv + 3);
	}
	close(report[1]);
	return recv(report[0], &byte, 1, 0) == 1 ? 0 : 99;
}
