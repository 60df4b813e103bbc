#!/bin/sh
# tools.sh install: installs what the tests use besides gcc, make, git and Go, if it
# can; tools.sh missing: names what is not there, and what was skipped for it.
set -u
cd "$(dirname "$0")"

# package (-: not installed from here), a program of it, and what cannot be tested without it
tools='victoria-metrics victoria-metrics every comparison with a real server
chromium chromium the status page in a browser
docker-compose docker-compose the containers file
curl curl the commands in the pages that ask servers
modemmanager ModemManager modems over D-Bus
dbus dbus-daemon modems over D-Bus
systemd-journal-remote systemd-journal-remote real journal files
strace strace errors of reading and writing the disk
- promtool the names at /metrics, judged by Prometheus (Debian package prometheus)
- npm the accessibility of the page, and the schema of the dashboards'

there() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/lib/systemd/$1" ]; }

case ${1:-} in
install)
	missing=$(echo "$tools" | while read -r package program _; do [ "$package" = - ] || there "$program" || echo "$package"; done | sort -u)
	[ -z "$missing" ] || sh need.sh $missing || echo "continuing without them; tests that need them are skipped" >&2
	;;
missing)
	echo "$tools" | while read -r package program what; do
		there "$program" || echo "SKIPPED without $program: $what" >&2
	done
	[ -n "${METRICS_FIXTURES:-}" ] || echo "SKIPPED without METRICS_FIXTURES: captured files of other boards" >&2
	[ "$(id -u)" = 0 ] || echo "SKIPPED without root: full and failing disks, other users" >&2
	;;
*) echo "usage: tools.sh install|missing" >&2 && exit 2 ;;
esac
