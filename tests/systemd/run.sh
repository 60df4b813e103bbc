#!/bin/sh
# run.sh [PART...]: the package under a real systemd. Builds it, boots a clean
# Debian, installs it there and looks whether it does what it promises; then cuts
# the power under a running collector. One line a claim, and a count at the end.
# PART: container, powercut; both without. hdmi, which takes ten minutes, plays an
# HDMI input to the collector.
#
# It needs root, and from Debian: systemd-container mmdebstrap qemu-system-x86
# e2fsprogs cpio lintian victoria-metrics. The trees (about 2 GB) are kept in
# METRICS_LAB, /var/tmp/belabox-metrics-lab without. SUITE=trixie takes Debian 13.
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/tests/systemd
[ "$(id -u)" = 0 ] || { echo "run.sh: containers and mounts need root" >&2; exit 1; }
[ $# -gt 0 ] || set -- container powercut
sh tests/need.sh systemd-container mmdebstrap qemu-system-x86 e2fsprogs cpio lintian victoria-metrics

work=$(mktemp -d "${TMPDIR:-/tmp}/systemd-test.XXXXXX")
child=
reader=
clean() {
	trap - EXIT INT TERM
	if [ -n "$child" ] && kill -TERM "$child" 2>/dev/null; then wait "$child" || true; fi
	[ -z "$reader" ] || kill "$reader" 2>/dev/null || true
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# during FILE COMMAND...: runs the command so that a signal to this script ends it
# as well. What it says goes to FILE, and is shown as it comes.
during() {
	file=$1
	shift
	: >"$file"
	tail -n +1 -f "$file" 2>/dev/null &
	reader=$!
	"$@" >>"$file" 2>&1 &
	child=$!
	wait "$child" && rc=0 || rc=$?
	child=
	sleep 1 # for the reader
	kill "$reader"
	reader=
	cat "$file" >>"$work/lines"
	return "$rc"
}
started=$(date +%s)
say() { tee -a "$work/lines"; }

echo "-- package"
arch=$(dpkg --print-architecture)
first=$(RELEASE=1 sh systemd/package/build.sh "$arch" 2>"$work/build") || { cat "$work/build"; exit 1; }
# The next release: another default in the example and a key that was not there.
second=$work/second.deb
dpkg-deb -R "$first" "$work/second"
example=$work/second/etc/belabox-metrics/config.yaml
sed -i -e 's/^  upload_interval: .*/  upload_interval: 77s/' -e '1i # An example of the next release.' "$example"
grep -q '^  upload_interval: 77s$' "$example"
sed -i 's/^Version: .*/&.2/' "$work/second/DEBIAN/control"
(cd "$work/second" && find etc usr -type f -exec md5sum {} + >DEBIAN/md5sums)
dpkg-deb --root-owner-group -b "$work/second" "$second" >"$work/build" || { cat "$work/build"; exit 1; }
if lintian --allow-root --fail-on error "$first" >"$work/lintian" 2>&1; then
	echo "ok      lintian finds no error"
else
	echo "FAILED  lintian finds no error"
	sed 's/^/        | /' "$work/lintian"
fi | say
CGO_ENABLED=0 ${GO:-go} build -o "$work/" ./tests/systemd/probe ./tests/systemd/atmodem

for part; do
	case $part in
	container)
		cp -r "$here/payload" "$work/payload"
		cp "$PWD/docs/operations.md" "$work/payload/"
		cp "$first" "$work/payload/first.deb"
		cp "$second" "$work/payload/second.deb"
		cp "$work/probe" "$work/atmodem" "$(command -v victoria-metrics)" "$work/payload/"
		mkdir "$work/output"
		during "$work/output/out" "$here/container.sh" "$work/payload" "$work/output" || echo "FAILED  the container ran its payload to the end" | say
		;;
	powercut)
		during "$work/powercut" "$here/powercut.sh" "$first" "$work" || echo "FAILED  the power was cut three times" | say
		;;
	hdmi)
		during "$work/hdmi.out" "$here/hdmi.sh" "$first" "$work" || echo "FAILED  the machine with an HDMI input ran its payload to the end" | say
		;;
	*) echo "run.sh: want container, powercut or hdmi, got $part" >&2 && exit 2 ;;
	esac
done

passed=$(grep -c '^ok ' "$work/lines" || true)
failed=$(grep -c '^FAILED ' "$work/lines" || true)
echo "$passed passed, $failed failed, in $(($(date +%s) - started)) s"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
