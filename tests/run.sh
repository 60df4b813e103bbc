#!/bin/sh
# run.sh: runs the three daemons in the foreground with their data in ./run,
# against VictoriaMetrics if it is installed and metrics-receiver otherwise.
# Ctrl-C stops everything. Other places can be chosen: RUN_DIR, VM_PORT,
# RECEIVER_PORT, HEALTH_PORT. If a port is in use, as 8428 is by the service of
# Debian's victoria-metrics, the next free one is used.
set -eu
cd "$(dirname "$0")/.."
# listened PORT: something on this machine listens there (state 0A).
listened() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":$(printf %04X "$1") [0-9A-F]*:0000 0A "; }
free() {
	port=$1
	while listened "$port"; do port=$((port + 1)); done
	echo "$port"
}
vm_port=$(free "${VM_PORT:-8428}") receiver_port=$(free "${RECEIVER_PORT:-9090}") health_port=$(free "${HEALTH_PORT:-9100}")
run=${RUN_DIR:-run}
mkdir -p "$run"
server= pids=
# end PID...: asks programs to stop and waits; after ten seconds it kills them.
end() {
	kill -TERM "$@" 2>/dev/null || true
	{ sleep 10; kill -KILL "$@"; } >/dev/null 2>&1 &
	insist=$!
	for pid; do wait "$pid" 2>/dev/null || true; done
	kill -KILL "$insist" 2>/dev/null || true
	wait "$insist" 2>/dev/null || true
}
# From here on signals are ignored: a second Ctrl-C, or TERM to the whole group,
# must leave no program behind.
stop() {
	trap '' HUP INT TERM
	trap - EXIT
	last=${!:-} # started, and perhaps not noted yet
	# The daemons first, so that what they still write finds a server.
	end $pids $last
	[ -z "$server" ] || end "$server"
	echo "stopped; the data is in $run"
}
trap 'trap "" HUP INT TERM; exit 129' HUP
trap 'trap "" HUP INT TERM; exit 130' INT
trap 'trap "" HUP INT TERM; exit 143' TERM
trap stop EXIT

# Each program runs in a session of its own, so that Ctrl-C reaches only this
# script, which stops them in order.
start() { log=$1; shift; setsid "$@" >"$run/$log" 2>&1 & }

if command -v victoria-metrics >/dev/null 2>&1; then
	start victoria-metrics.log victoria-metrics -storageDataPath="$run/victoria-metrics" -httpListenAddr="127.0.0.1:$vm_port" \
		-dedup.minScrapeInterval=1ms -retentionPeriod=100y
	server=$! url="http://127.0.0.1:$vm_port" look="$url/vmui/ (try the query cpu_usage_percent)"
else
	PORT=$receiver_port start metrics-receiver.log bin/metrics-receiver
	server=$! url="http://127.0.0.1:$receiver_port" look="$url/ (install Debian's victoria-metrics to get queries and graphs)"
fi
sed -e "s|^\( *url:\).*|\1 $url/api/v1/import|" -e "s|^\( *clock_skew_url:\).*|\1 $url/health|" \
	-e "s|^\( *port:\).*|\1 $health_port|" -e "s|^\( *path:\).*|\1 $run/metrics.db|" configs/config.dev.yaml >"$run/config.yaml"

for daemon in metrics-collector metrics-shipper metrics-health; do
	start "$daemon.log" "bin/$daemon" -config "$run/config.yaml"
	pids="$pids $!"
done

cat <<EOF
samples  $look
status   http://127.0.0.1:$health_port/ (as JSON: /health)
logs     $run/*.log
Ctrl-C stops everything.
EOF

# When one program ends by itself, this script ends too: that is a fault to find.
while :; do
	for pid in $server $pids; do
		kill -0 "$pid" 2>/dev/null || { echo "a program ended by itself; its last log lines:"; tail -n 2 "$run"/*.log; exit 1; }
	done
	sleep 1 &
	wait $!
done
