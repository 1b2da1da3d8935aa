#!/bin/sh
# A container's whole life, in a mount and network namespace of its own: nothing of the host's
# network is touched, nothing is downloaded, nothing stays behind.
# demo.sh BINARY [TEMPLATE]
set -eu
binary=$(realpath "$1")
template=${2:-host}
if [ "${LXCBOX_DEMO_INSIDE-}" != 1 ]; then
	LXCBOX_DEMO_INSIDE=1 exec unshare -n -m --propagation private "$0" "$binary" "$template"
fi

work=$(mktemp -d /var/tmp/lxcbox-demo.XXXXXX)
path=$work/lxc
tools=$work/bin
name=demo
cleanup() {
	"$tools/lxc-destroy" -P "$path" -n $name -f >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# A sysfs that shows this network namespace, with the host's cgroups where they belong.
mkdir -p "$work/cgroup" "$tools" "$path"
mount --rbind /sys/fs/cgroup "$work/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$work/cgroup" /sys/fs/cgroup
umount -l "$work/cgroup"
ip link set lo up
ip link add lxcbr0 type bridge
ip addr add 10.0.3.1/24 dev lxcbr0
ip -6 addr add fd42:c0de::1/64 dev lxcbr0 nodad
ip link set lxcbr0 up

"$binary" --install "$tools" >/dev/null
PATH=$tools:$PATH
say() { printf '\n\033[1m# %s\033[0m\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

cat >"$work/demo.conf" <<EOF
lxc.net.0.type = veth
lxc.net.0.link = lxcbr0
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.hwaddr = 10:66:6a:xx:xx:xx
lxc.net.0.ipv4.address = 10.0.3.10/24
lxc.net.0.ipv4.gateway = 10.0.3.1
lxc.net.0.ipv6.address = fd42:c0de::10/64
EOF

case $template in
host) say "Create: a root file system made of this machine's own /usr, read-only; no download" ;;
*) say "Create: a root file system out of the template $template" ;;
esac
run lxc-create -P "$path" -n $name -f "$work/demo.conf" -t "$template"
say "Start: every namespace of its own, a veth pair on the bridge lxcbr0"
run lxc-start -P "$path" -n $name
run lxc-wait -P "$path" -n $name -s RUNNING -t 10
say "List"
run lxc-ls -P "$path" -f
run lxc-info -P "$path" -n $name
say "Enter: another hostname, other processes, another network"
run lxc-attach -P "$path" -n $name -- /bin/sh -c 'hostname; ps ax 2>/dev/null | head -8; ip -br addr 2>/dev/null || cat /proc/net/dev'
run ping -c 1 -W 2 10.0.3.10 2>/dev/null || true
say "Freeze and unfreeze"
run lxc-freeze -P "$path" -n $name
run lxc-info -P "$path" -n $name -s
run lxc-unfreeze -P "$path" -n $name
say "A limit that cannot be had is an error before anything runs"
printf '$ lxc-start ... -s lxc.net.0.link=nosuchbr0\n'
lxc-stop -P "$path" -n $name
lxc-start -P "$path" -n $name -s lxc.net.0.link=nosuchbr0 || printf '(exit status %s)\n' $?
say "Start again, stop cleanly"
run lxc-start -P "$path" -n $name
run lxc-stop -P "$path" -n $name
run lxc-ls -P "$path" -f
say "Destroy"
run lxc-destroy -P "$path" -n $name
run lxc-ls -P "$path" -f
say "Done: nothing is left of it"
