#!/bin/sh
# clean-root.sh: builds and tests a clone, as a user without rights, in a Debian that
# has ca-certificates, gcc, make, git and this machine's Go, and nothing else. The
# tests run without the race detector and the slow ones; TESTFLAGS= has them all.
#
# It needs root and Debian's mmdebstrap. Modules that this machine has are not fetched
# again (go.sum is checked all the same). The Debian and what its gcc made are kept in
# METRICS_LAB, as tests/systemd/rootfs.sh keeps its trees; the clone is new each time.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "clean-root.sh: another root directory needs root" >&2; exit 1; }
sh tests/need.sh mmdebstrap
GO=${GO:-go}
suite=bookworm
packages=ca-certificates,gcc,libc6-dev,make,git
lab=${METRICS_LAB:-/var/tmp/belabox-metrics-lab}/clean-root
mkdir -p "$lab/cache"
exec 9>"$lab/lock"
flock 9 # one at a time: they share the cache
tar=$lab/$suite-$packages.tar
if [ ! -e "$tar" ]; then
	mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$tar.part.tar" >&2
	mv "$tar.part.tar" "$tar"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/clean-root.XXXXXX")
root=$work/root
clean() {
	trap - EXIT INT TERM
	for at in proc dev usr/local/go downloads cache; do
		! mountpoint -q "$root/$at" || umount -l "$root/$at"
	done
	! mountpoint -q "$root" || umount -l "$root"
	rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$root"
mount --bind "$root" "$root" # so that it is a filesystem in there, as / is on every machine
tar xpf "$tar" -C "$root" --exclude='./dev/*'
mkdir -p "$root/usr/local/go" "$root/downloads" "$root/cache" "$root/home/user"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
mount --bind "$($GO env GOROOT)" "$root/usr/local/go"
$GO mod download
mount --bind "$($GO env GOMODCACHE)/cache/download" "$root/downloads"
mount --bind "$lab/cache" "$root/cache"
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
git clone -q --no-hardlinks . "$root/home/user/checkout"
chown -R 1000:1000 "$root/home/user" "$root/cache"
echo 'user:x:1000:1000::/home/user:/bin/sh' >>"$root/etc/passwd"

# No tool of this machine's, and no word that this is CI, where a missing tool is a failure.
env -i PATH=/usr/local/go/bin:/usr/bin:/bin HOME=/home/user LANG=C.UTF-8 GOCACHE=/cache \
	GOPROXY="file:///downloads,$($GO env GOPROXY)" GOSUMDB=off \
	GOFLAGS="$($GO env GOFLAGS)" GOTOOLCHAIN=local \
	"$(command -v chroot)" --userspec=1000:1000 "$root" sh -c "cd /home/user/checkout && make build test TESTFLAGS='${TESTFLAGS--short -vet=off}'"
echo "ok      make build test on a machine with nothing but ca-certificates, gcc, make, git and Go"
