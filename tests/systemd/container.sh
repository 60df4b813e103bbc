#!/bin/sh
# container.sh PAYLOAD OUTPUT: boots the clean Debian of rootfs.sh in a container
# with systemd as init, runs PAYLOAD/run in it and leaves what that prints in
# OUTPUT/out. Nothing of a run stays in the tree. Exits with what the payload
# exits with. SUITE and METRICS_LAB as in rootfs.sh.
#
# Limits apply, on cgroup v1 as well: there nspawn mounts the controllers
# read-only, systemd inside then sets no limit and does not say so. So the
# container gets a cgroup of its own in each hierarchy, sees it as the root, and
# an init before systemd makes those mounts writable. The host's stay as they are.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
payload=$(cd "$1" && pwd)
output=$(mkdir -p "$2" && cd "$2" && pwd)
root=$("$here/rootfs.sh")/root
name=belabox-test-$$
cgroups=/sys/fs/cgroup
machine=

clean() {
	trap - EXIT INT TERM
	if [ -n "$machine" ] && kill -TERM "$machine" 2>/dev/null; then wait "$machine" || true; fi
	for c in "$cgroups/$name" "$cgroups"/*/"$name"; do
		[ -d "$c" ] && find "$c" -depth -type d -exec rmdir {} \; 2>/dev/null
	done
	return 0
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cat >"$output/init" <<'INIT'
#!/bin/sh
for c in cpu cpuacct memory pids blkio devices; do mount -o remount,bind,rw /sys/fs/cgroup/$c 2>/dev/null; done
exec /lib/systemd/systemd --show-status=no systemd.unit=multi-user.target
INIT
chmod +x "$output/init"

if [ -e "$cgroups/cgroup.procs" ]; then
	mkdir "$cgroups/$name"
else
	for c in cpu cpuacct memory pids blkio devices systemd unified; do
		[ -w "$cgroups/$c/cgroup.procs" ] && mkdir "$cgroups/$c/$name"
	done
fi

sh -c '
	for c in '"$cgroups/$name $cgroups/*/$name"'; do [ ! -d "$c" ] || echo $$ >"$c/cgroup.procs"; done
	exec "$@"' sh \
	timeout --kill-after=10 "${TIMEOUT:-900}" \
	systemd-nspawn --quiet --directory="$root" --volatile=overlay --machine="$name" --register=no --keep-unit \
	--private-network --resolv-conf=off --timezone=off \
	--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_RESOURCE --system-call-filter='bpf @keyring adjtimex clock_adjtime' \
	--bind-ro="$payload:/payload" --bind="$output:/output" /output/init </dev/null >"$output/console" 2>&1 &
machine=$!
wait "$machine" || true
machine=

exit=$(sed -n 's/^payload-exit //p' "$output/out" 2>/dev/null)
if [ -z "$exit" ]; then
	echo "the container did not run its payload to the end; its console:" >&2
	tail -n 20 "$output/console" >&2
	exit 1
fi
exit "$exit"
