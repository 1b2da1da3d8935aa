#!/bin/sh
# Runs fuzz targets that `make fuzz` has built, one after the other, and prints a line for each.
# usage: run.sh DIRECTORY TARGET-TRIPLE SECONDS NAME...
set -eu
out=$1 triple=$2 seconds=$3
shift 3

# In memory where it can be: a target writes its files for each input.
scratch=$(mktemp -d -p /dev/shm lxcbox-fuzz-XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

status=0
printf '%-16s %10s %8s %7s %7s\n' target runs runs/s cov inputs
for name; do
	found=$out/found/$name seeds=$out/seeds/$name log=$out/$name.log
	rm -rf "$seeds"
	mkdir -p "$found" "$seeds"
	# The program writes its own seeds before it reads them.
	FUZZ_SEEDS=$seeds FUZZ_SCRATCH=$scratch "$out/$triple/release/$name" -max_total_time="$seconds" -timeout=10 \
		-rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$out/$name-" \
		"$found" "$seeds" >"$log" 2>&1 && failed= || failed=yes
	stat() { sed -n "s/^stat::$1: *//p" "$log"; }
	cov=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	printf '%-16s %10s %8s %7s %7s%s\n' "$name" "$(stat number_of_executed_units)" \
		"$(stat average_exec_per_sec)" "$cov" "$(ls "$found" | wc -l)" "${failed:+   FAILED}"
	if [ -n "$failed" ]; then
		status=1
		tail -n 25 "$log"
	fi
done
exit $status
