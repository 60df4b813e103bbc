#!/bin/sh
# clean-root.sh: builds and tests a clone, as a user without rights, in a Debian that
# has ca-certificates, gcc, make, git and this machine's Go, and nothing else. The
# tests run without the race detector and the slow ones; TESTFLAGS= has them all.
#
# It needs root and Debian's mmdebstrap. Modules that this machine has are not fetched
# again (go.sum is checked all the same); everything is compiled.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "clean-root.sh: another root directory needs root" >&2; exit 1; }
sh tests/need.sh mmdebstrap
GO=${GO:-go}
work=$(mktemp -d "${TMPDIR:-/tmp}/clean-root.XXXXXX")
root=$work/root
clean() {
	trap - EXIT INT TERM
	for at in proc dev usr/local/go downloads; do
		! mountpoint -q "$root/$at" || umount -l "$root/$at"
	done
	rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,libc6-dev,make,git bookworm "$root" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mkdir -p "$root/usr/local/go" "$root/downloads" "$root/home/user"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
mount --bind "$($GO env GOROOT)" "$root/usr/local/go"
$GO mod download
mount --bind "$($GO env GOMODCACHE)/cache/download" "$root/downloads"
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
git clone -q --no-hardlinks . "$root/home/user/checkout"
chown -R 1000:1000 "$root/home/user"
echo 'user:x:1000:1000::/home/user:/bin/sh' >>"$root/etc/passwd"

# No tool of this machine's, and no word that this is CI, where a missing tool is a failure.
env -i PATH=/usr/local/go/bin:/usr/bin:/bin HOME=/home/user LANG=C.UTF-8 \
	GOPROXY="file:///downloads,$($GO env GOPROXY)" GOSUMDB=off \
	GOFLAGS="$($GO env GOFLAGS)" GOTOOLCHAIN=local \
	"$(command -v chroot)" --userspec=1000:1000 "$root" sh -c "cd /home/user/checkout && make build test TESTFLAGS='${TESTFLAGS--short}'"
echo "ok      make build test on a machine with nothing but ca-certificates, gcc, make, git and Go"
