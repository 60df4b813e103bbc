# applied UNIT: what the kernel's files say: bytes, quota and period in µs, tasks
applied() {
	group=$(show "$1" ControlGroup)
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		group=/sys/fs/cgroup$group
		echo "$(cat "$group/memory.max") $(cat "$group/cpu.max") $(cat "$group/pids.max")"
	else
		cd /sys/fs/cgroup
		echo "$(cat "memory$group/memory.limit_in_bytes") $(cat "cpu$group/cpu.cfs_quota_us") $(cat "cpu$group/cpu.cfs_period_us") $(cat "pids$group/pids.max")"
	fi
}
limits() { same "$2" "$(applied "$1")"; }
claim "the kernel holds the limits of the collector: 64M, 8 %, 64 tasks" limits metrics-collector '67108864 80000 1000000 64'
claim "the kernel holds the limits of the shipper: 88M, 8 %, 64 tasks" limits metrics-shipper '92274688 80000 1000000 64'
claim "the kernel holds the limits of health: 48M, 4 %, 64 tasks" limits metrics-health '50331648 40000 1000000 64'
claim "the kernel holds the limits of all three: 200M, 20 %, 192 tasks" limits belabox-metrics.slice '209715200 200000 1000000 192'
together() {
	for unit in $units; do applied "$unit"; done |
		awk '{m += $1; c += $2} END {if (m > 209715200 || c > 200000) {print m, c; exit 1}}'
}
claim "the limits of the three add up to no more than 200M and 20 %" together

# in_place_of UNIT ARGUMENT...: runs the probe with the unit's settings; its
# output is in /run/probe.out.
cp /payload/probe /usr/lib/belabox-probe
in_place_of() {
	unit=$1
	shift
	rm -f /run/probe.out
	drop_in "$unit" probe <<DROPIN
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/usr/lib/belabox-probe $*
StandardOutput=file:/run/probe.out
TimeoutStartSec=60s
DROPIN
	systemctl daemon-reload
	systemctl stop "$unit"
	systemctl start "$unit" 2>/dev/null
	show "$unit" Result >/run/probe.result
	no_drop_in probe
	systemctl daemon-reload
	systemctl reset-failed "$unit"
	systemctl start "$unit"
}
memory() {
	in_place_of metrics-collector eat
	came=$(tail -n 1 /run/probe.out)
	[ "$(cat /run/probe.result)" != success ] && [ "$came" -gt 20 ] && [ "$came" -le 64 ] || {
		echo "ended with $(cat /run/probe.result) at $came MiB"
		return 1
	}
}
claim "a process that takes too much memory is ended before 64 MiB" memory
processor() {
	in_place_of metrics-collector burn 5s
	awk '{exit !($1 == "used" && $2 > 0 && $2 * 100 <= $4 * 12)}' /run/probe.out || {
		cat /run/probe.out
		return 1
	}
}
claim "a process that spins gets less than 12 % of a processor" processor
