#!/bin/sh
# Holds the binary and its crates against the budgets: 1.5 MB static, 45 crates.
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
[ "$bytes" -le 1500000 ] && [ "$crates" -le 45 ]
