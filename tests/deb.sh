#!/bin/sh
# deb.sh PACKAGE.deb [LINTIAN-ONLY]: lintian's opinion of the package, then its life in a fresh
# Debian: installed, used, upgraded, removed, purged, and put in the place of Debian's lxc. The Debian is a
# directory of debootstrap's with a mount and network namespace of its own; root is needed.
set -eu
package=$(realpath "$1")
if [ "${LXCBOX_DEB_INSIDE-}" != 1 ]; then
	echo "# lintian"
	# Static on purpose: one file for every system, old and new. lxc-user-nic is setuid. The scripts in /etc/init.d need no
	# functions of others.
	lintian --fail-on error,warning --allow-root --no-cfg \
		--suppress-tags statically-linked-binary,init.d-script-does-not-source-init-functions,elevated-privileges,initial-upload-closes-no-bugs "$package"
	[ "${2-}" != lintian-only ] || exit 0
	LXCBOX_DEB_INSIDE=1 exec unshare -n -m --propagation private "$0" "$package"
fi

work=$(mktemp -d /var/tmp/lxcbox-deb.XXXXXX)
root=$work/root
cleanup() {
	[ ! -x "$root/usr/bin/lxc-destroy" ] || chroot "$root" lxc-destroy -n deb -f >/dev/null 2>&1 || true
	for dir in sys/fs/cgroup sys proc dev; do umount -l "$root/$dir" 2>/dev/null || true; done
	umount -l "$root" "$work/root" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
say() { printf '# %s\n' "$1"; }
fail() { echo "deb.sh: $1" >&2; exit 1; }

say "a fresh Debian"
mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\).* main.*/\2/p; s/^URIs: \([^ ]*\).*/\1/p' \
	/etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1)
# The namespace has no network: the packages come before, through the parent's.
nsenter -t "$PPID" -n debootstrap --variant=minbase --include=busybox-static bookworm "$root" \
	"${mirror:-http://deb.debian.org/debian}" >"$work/log" 2>&1 || { tail "$work/log" >&2; fail debootstrap; }
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
ip link set lo up
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
cp "$package" "$root/root/lxcbox.deb"

say "install"
inside dpkg -i /root/lxcbox.deb
inside dpkg --verify lxcbox | grep . && fail "files differ from the package"
[ "$(stat -c '%a %u' "$root/usr/libexec/lxcbox/lxc/lxc-user-nic")" = '4755 0' ] || fail "lxc-user-nic is not setuid"
[ -e "$root/etc/lxc/default.conf" ] || fail "no /etc/lxc/default.conf"
for tool in $(inside lxcbox --list); do
	inside "$tool" --help >/dev/null 2>&1 || fail "$tool --help"
	[ -e "$root/usr/share/man/man1/$tool.1.gz" ] || fail "no manual page of $tool"
	[ -e "$root/usr/share/bash-completion/completions/$tool" ] || fail "no completion of $tool"
done
inside sh -c 'dpkg-query -W -f "\${Provides}\n" lxcbox' | grep -q '^lxc ' || fail "it does not provide lxc"

say "use: create, start, enter, stop"
printf 'lxc.net.0.type = empty\n' >"$root/root/deb.conf"
inside lxc-create -n deb -t busybox -f /root/deb.conf >/dev/null
inside lxc-start -n deb
[ "$(inside lxc-attach -n deb -- hostname)" = deb ] || fail "the container does not answer"

say "an upgrade leaves it running"
inside dpkg -i /root/lxcbox.deb >/dev/null
[ "$(inside lxc-attach -n deb -- hostname)" = deb ] || fail "the container does not answer"
inside lxc-stop -n deb -k

say "remove and purge: containers stay"
echo '# mine' >>"$root/etc/lxc/default.conf"
inside dpkg -r lxcbox >/dev/null
# The scripts are configuration, stay, and do nothing.
for script in lxc lxc-net; do
	[ -z "$(inside "/etc/init.d/$script" start 2>&1)" ] || fail "$script says something after a removal"
	inside "/etc/init.d/$script" stop || fail "$script fails after a removal"
	! inside "/etc/init.d/$script" status || fail "$script has a good status after a removal"
done
grep -q '# mine' "$root/etc/lxc/default.conf" || fail "a removal took the configuration away"
[ ! -e "$root/usr/bin/lxc-start" ] || fail "lxc-start is still there"
inside dpkg -i /root/lxcbox.deb >/dev/null
grep -q '# mine' "$root/etc/lxc/default.conf" || fail "a second installation changed the configuration"
inside dpkg -P lxcbox >/dev/null
[ -e "$root/var/lib/lxc/deb/config" ] || fail "a purge took the container away"
[ ! -e "$root/etc/lxc/default.conf" ] || fail "a purge left the configuration"
inside dpkg -i /root/lxcbox.deb >/dev/null
inside lxc-destroy -n deb
inside dpkg -P lxcbox >/dev/null
[ ! -e "$root/var/lib/lxc" ] || fail "a purge left /var/lib/lxc"
say "over Debian's lxc, one of whose containers runs"
nsenter -t "$PPID" -n chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends lxc \
	>"$work/log" 2>&1 || { tail "$work/log" >&2; fail "apt-get install lxc"; }
inside lxc-create -n deb -t busybox -f /root/deb.conf >/dev/null
inside lxc-start -n deb
inside dpkg -i /root/lxcbox.deb >/dev/null
inside dpkg -s lxc 2>/dev/null | grep -q ' installed$' && fail "Debian's lxc is still there"
[ "$(inside readlink /usr/bin/lxc-start)" = lxcbox ] || fail "lxc-start is not ours"
for script in lxc lxc-net; do
	[ -x "$root/etc/init.d/$script" ] || fail "$script does not start at boot"
	grep -q 'Removed, but not purged' "$root/etc/init.d/$script" || fail "$script is not ours"
done
[ "$(inside lxc-attach -n deb -- hostname)" = deb ] || fail "Debian's container does not answer"
inside lxc-stop -n deb -k
inside lxc-start -n deb
inside lxc-stop -n deb -k
inside lxc-destroy -n deb

say "back to Debian's: a purge of ours leaves what is its"
inside dpkg -r lxcbox >/dev/null
inside sh -c 'dpkg --force-confold -i /var/cache/apt/archives/lxc_*.deb' >/dev/null
inside dpkg -P lxcbox >/dev/null
[ -e "$root/etc/lxc/default.conf" ] || fail "the purge took /etc/lxc/default.conf away"
[ -h "$root/etc/systemd/system/multi-user.target.wants/lxc.service" ] || fail "the purge disabled lxc.service"
[ -h "$root/etc/rc2.d/S01lxc" ] || fail "the purge disabled the script"

say "over the lxc of Debian 13"
root=$work/trixie
nsenter -t "$PPID" -n debootstrap --variant=minbase --include=lxc trixie "$root" \
	"${mirror:-http://deb.debian.org/debian}" >"$work/log" 2>&1 || { tail "$work/log" >&2; fail "debootstrap trixie"; }
mount -t proc proc "$root/proc"
cp "$package" "$root/root/lxcbox.deb"
inside dpkg -i /root/lxcbox.deb >/dev/null
inside dpkg --verify lxcbox | grep . && fail "files are gone or differ"
for unit in lxc lxc-net; do
	[ -e "$root/etc/systemd/system/multi-user.target.wants/$unit.service" ] || fail "$unit.service is not enabled"
done
inside dpkg -P lxcbox >/dev/null
[ ! -e "$root/lib/systemd/system/lxc.service" ] || fail "a purge left lxc.service"
umount "$root/proc"
say "done"
