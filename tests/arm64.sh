#!/bin/sh
# arm64.sh: builds the programs for arm64 with Debian's cross compiler and runs
# them under qemu-user, on the captured files of an arm64 board: samples are
# collected and sent, and health reads them. One line a claim; exits 1 if one failed.
set -eu
cd "$(dirname "$0")/.."
sh tests/need.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static sqlite3 curl
work=$(mktemp -d "${TMPDIR:-/tmp}/arm64-test.XXXXXX")
receiver=
clean() {
	trap - EXIT INT TERM
	[ -z "$receiver" ] || kill "$receiver" 2>/dev/null || true
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
. tests/systemd/payload/claims.sh

GOOS=linux GOARCH=arm64 CC=aarch64-linux-gnu-gcc make --no-print-directory build BIN="$work"

# The files of a txtar archive (golang.org/x/tools/txtar), under $work/board.
awk -v root="$work/board" '
	/^-- .* --$/ {
		if (file) close(file)
		file = root "/" substr($0, 4, length($0) - 6)
		dir = file
		sub(/\/[^\/]*$/, "", dir)
		system("mkdir -p '\''" dir "'\''")
		printf "" >file
		next
	}
	file {print >file}' tests/fixtures/orangepi5plus.txtar
board=$work/board/t0 # the first of its two moments
: >"$board/proc/mounts"

arm() { program=$1; shift; qemu-aarch64-static -L /usr/aarch64-linux-gnu "$work/$program" "$@"; }
PORT=0 qemu-aarch64-static "$work/metrics-receiver" >"$work/receiver" 2>&1 &
receiver=$!
listening() { sed -n 's|.*listening on http://||p' "$work/receiver" | grep .; }
claim "the receiver listens" within 20 listening
address=$(listening)
cat >"$work/config.yaml" <<CONFIG
device: {id: board}
host: {procfs: $board/proc, sysfs: $board/sys}
time: {untrusted: ship}
storage: {path: $work/data/metrics.db}
remote: {url: "http://$address/api/v1/import"}
monitoring: {clock_skew_url: "http://$address/health"}
CONFIG

is_arm64() { for program in metrics-collector metrics-shipper metrics-health metrics-receiver; do same aarch64 "$(readelf -h "$work/$program" | awk '/Machine:/ {print tolower($2)}')" || return 1; done; }
claim "the programs are for arm64" is_arm64
claim "they are built like those of the packages" sh tests/built.sh "$work/metrics-collector" "$work/metrics-shipper" "$work/metrics-health" "$work/metrics-receiver"
claim "the collector stores what the board shows" arm metrics-collector -config "$work/config.yaml" -once
query() { sqlite3 -readonly "$work/data/metrics.db" "$1"; }
golden() { # every sample of the first moment, as the collectors' own tests have it
	# board.info names the program's version.
	sed '/^# t1/,$d; /^[#!]/d; /^board\.info/d' tests/fixtures/orangepi5plus.golden >"$work/want"
	query "SELECT metric_name || tags || ' ' || printf('%.15g', metric_value) FROM metrics" >"$work/got"
	more 60 "$(wc -l <"$work/want")" && same '' "$(grep -vxFf "$work/got" "$work/want")"
}
claim "all samples have the values that they have on other machines" golden
claim "the shipper sends it" arm metrics-shipper -config "$work/config.yaml" -once
claim "and marks it" eval 'same 0 "$(query "SELECT count(*) FROM samples WHERE uploaded = 0")" && more 10 "$(query "SELECT count(*) FROM samples WHERE uploaded = 1")"'
told() { # 0 ok, 1 degraded, 2 error: no daemon runs here, so it is not well; but it is read
	arm metrics-health -config "$work/config.yaml" -once >"$work/health" 2>"$work/health.log" && rc=0 || rc=$?
	[ "$rc" -le 2 ] && grep -q "\"captured\": $(query 'SELECT captured FROM ledger')" "$work/health" || { cat "$work/health" "$work/health.log"; return 1; }
}
claim "health reads it" told
[ "$failed" = 0 ]
