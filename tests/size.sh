#!/bin/sh
# size.sh BINARY yes|no: holds the binary and its crates against the budgets: 1.5 MB static, 45
# crates. The second word tells if the standard library was built for size (rust-src); without it
# the same program is larger, which is said and not held against it.
set -eu
binary=$1
bytes=$(stat -c %s "$binary")
crates=$(cargo tree --edges normal,build --prefix none --no-dedupe | awk '{print $1}' | sort -u | grep -vc '^lxcbox$')
echo "binary: $bytes bytes of 1500000"
echo "crates: $crates of 45"
if ldd "$binary" >/dev/null 2>&1 && ! ldd "$binary" 2>&1 | grep -q 'statically linked\|not a dynamic'; then
	echo "the binary is not static" >&2
	exit 1
fi
[ "$crates" -le 45 ]
if [ "${2:-yes}" != yes ]; then
	echo "size: skipped: the standard library's source is missing (rustup component add rust-src)"
	exit 0
fi
[ "$bytes" -le 1500000 ]
