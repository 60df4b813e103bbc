#!/bin/sh
# bench-check.sh COMMAND...: runs each command, prints what it prints, and then the
# table of what the daemons must cost. Fails when one of them does.
set -u
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
for command; do
	{ sh -c "$command" 2>&1 || echo "$command" >>"$out/failed"; } | tee -a "$out/all"
done
echo
{
	echo 'what | is | must | verdict'
	sed -n 's/^.*must: //p' "$out/all"
} | awk -F ' [|] ' '{printf "%-84s %8s %6s  %s\n", $1, $2, $3, $4}'
[ ! -s "$out/failed" ] || {
	echo
	sed 's/^/failed: /' "$out/failed"
	exit 1
}
