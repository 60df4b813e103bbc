#!/bin/sh
# need.sh PACKAGE...: installs Debian packages that the tests use, if they are
# not there and it can, and says what to do if it cannot.
set -u
missing=
for package; do
	dpkg -s "$package" >/dev/null 2>&1 || command -v "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing"
	# One after the other: apt-get waits for the lock of dpkg, and fails at that of the lists.
	exec 9</var/lib/dpkg
	! command -v flock >/dev/null 2>&1 || flock -w 600 9
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends $missing; } >/tmp/need.$$ 2>&1 9<&- && { rm -f /tmp/need.$$; exit 0; }
	tail -n 5 /tmp/need.$$
	rm -f /tmp/need.$$
fi
echo "The tests need$missing and could not install it: as root, run  apt-get install$missing  and try again." >&2
exit 1
