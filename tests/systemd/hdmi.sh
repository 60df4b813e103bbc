#!/bin/sh
# hdmi.sh PACKAGE WORK: boots Debian in a virtual machine whose kernel plays an HDMI
# input (vivid), installs the package there and looks whether the collector, in its
# unit, tells what is plugged in, without a frame less for whom it is captured by.
# WORK is a directory to write to; the machine's claims go to standard output.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$(realpath -e "$1")
dir=$(realpath "$2")/hdmi
rootfs=$("$here/rootfs.sh")
sh "$here/../need.sh" qemu-system-x86
mkdir -p "$dir/payload"
cp "$here/payload/claims.sh" "$dir/payload/"
cp "$here/guest/hdmi" "$dir/payload/run"
cp "$package" "$dir/payload/first.deb"
tar cf "$dir/payload.tar" -C "$dir/payload" .
: >"$dir/out"

machine='' reader=''
clean() {
	trap - EXIT INT TERM
	[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true
	[ -z "$reader" ] || kill "$reader" 2>/dev/null || true
	wait
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The machine's clock counts its instructions, 8 ns each, and skips what it would sleep:
# it is a slow board whose time does not depend on what else this host does. With the
# host's clock an emulated processor that has to wait misses frames by itself.
timeout --kill-after=5 "${TIMEOUT:-1800}" qemu-system-x86_64 -M q35 -accel tcg,thread=single -icount shift=3,sleep=off -cpu max -smp 1 -m 1024 -nodefaults -display none -no-reboot \
	-kernel "$rootfs/vmlinuz" -initrd "$rootfs/initrd" \
	-append "console=ttyS0 quiet panic=1 loglevel=4 mitigations=off systemd.unit=multi-user.target systemd.show_status=0 systemd.firstboot=off tsc=reliable" \
	-serial "file:$dir/console" -serial "file:$dir/out" \
	-drive "if=virtio,format=raw,file=$rootfs/root.ext4,snapshot=on,cache=unsafe" \
	-drive "if=virtio,format=raw,readonly=on,file=$dir/payload.tar" \
	</dev/null >"$dir/qemu.log" 2>&1 &
machine=$!
tail -n +1 -f --pid="$machine" "$dir/out" 2>/dev/null | sed -u 's/\r$//' &
reader=$!
wait "$machine" || true
machine=
wait "$reader" || true
reader=
exit=$(tr -d '\r' <"$dir/out" | sed -n 's/^payload-exit //p')
if [ -z "$exit" ]; then
	echo "the machine did not run its payload to the end:" >&2
	tail -n 25 "$dir/console" "$dir/qemu.log" | cut -c1-300 >&2
	exit 1
fi
exit "$exit"
