#!/bin/sh
# powercut.sh PACKAGE WORK: boots Debian in a virtual machine whose data disk has
# a volatile write cache, lets the collector commit for a while, cuts the power,
# and looks whether every row that could be read before is there after, whatever
# part of the cache the disk still wrote. WORK is a directory to write to.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$(realpath -e "$1")
work=$(realpath "$2")
rootfs=$("$here/rootfs.sh")
rounds=${ROUNDS:-10}
sh "$here/../need.sh" qemu-system-x86 e2fsprogs sqlite3
programs=$here/../../dist/stage/$(dpkg --print-architecture)/bin
CGO_ENABLED=0 "${GO:-go}" build -o "$work/flakydisk" "$here/flakydisk"

machine='' disk='' mounted=''
clean() {
	trap - EXIT INT TERM
	[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true
	[ -z "$disk" ] || kill -KILL "$disk" 2>/dev/null || true
	[ -z "$mounted" ] || umount "$mounted" || true
	wait
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# cut SYNCHRONOUS HALVES: one power cut; the disk as it may then be is in
# $work/$1/disk.lost, disk.half1 and so on, and what could be read in rows.
cut() {
	dir=$work/$1
	mkdir -p "$dir/payload/tree" "$dir/mnt"
	truncate -s 64M "$dir/disk"
	mke2fs -q -t ext4 -b 4096 "$dir/disk"
	cp "$here/guest/run" "$here/payload/claims.sh" "$dir/payload/"
	dpkg-deb -x "$package" "$dir/payload/tree"
	sed -e '/^metrics:/,$ s/^    interval: .*/    interval: 1s/' -e "s/^  synchronous: .*/  synchronous: $1/" -e 's/^  min_free_mb: .*/  min_free_mb: 0/' \
		"$here/../../configs/config.yaml" >"$dir/payload/config.yaml"
	tar cf "$dir/payload.tar" -C "$dir/payload" .
	: >"$dir/out"

	mkfifo "$dir/switch"
	"$work/flakydisk" "$dir/disk" "$dir/nbd" <"$dir/switch" >"$dir/cache" 2>"$dir/disk.log" &
	disk=$!
	exec 3>"$dir/switch"
	until [ -S "$dir/nbd" ]; do sleep 0.05; done
	qemu-system-x86_64 -M q35 -accel "${QEMU_ACCEL:-tcg,thread=multi}" -cpu max -smp 2 -m 1024 -nodefaults -display none -no-reboot \
		-kernel "$rootfs/vmlinuz" -initrd "$rootfs/initrd" \
		-append "console=ttyS0 quiet panic=1 loglevel=4 mitigations=off systemd.unit=multi-user.target systemd.show_status=0 systemd.firstboot=off tsc=reliable" \
		-serial "file:$dir/console" -serial "file:$dir/out" \
		-drive "if=virtio,format=raw,file=$rootfs/root.ext4,snapshot=on,cache=unsafe" \
		-drive "if=virtio,format=raw,readonly=on,file=$dir/payload.tar" \
		-drive "if=virtio,format=raw,file=nbd+unix:///?socket=$dir/nbd,cache=writeback,aio=threads" \
		</dev/null >"$dir/qemu.log" 2>&1 3>&- &
	machine=$!

	end=$(($(date +%s) + 600)) # without KVM and on busy processors, 60 s are usual
	while [ "$(tr -d '\r' <"$dir/out" | awk '$1 == "row" {print $2}' | uniq | wc -l)" -lt "$rounds" ]; do
		if [ "$(date +%s)" -gt "$end" ] || grep -q ') Z ' "/proc/$machine/stat"; then
			echo "FAILED  the machine committed $rounds rounds ($1)"
			tail -n 25 "$dir/out" "$dir/console" "$dir/qemu.log" | cut -c1-300 | sed 's/^/        | /'
			return 1
		fi
		sleep 0.2
	done
	# The disk's power goes first, so that no late flush gets in.
	echo "cut $2" >&3
	wait "$disk" || true
	disk=
	exec 3>&-
	kill -KILL "$machine"
	wait "$machine" 2>/dev/null || true
	machine=
	if [ ! -s "$dir/cache" ]; then
		echo "FAILED  the power of the disk was cut ($1)"
		sed 's/^/        | /' "$dir/disk.log"
		return 1
	fi
	# The last line may have been cut off.
	tr -d '\r' <"$dir/out" | sed '$d' | sed -n 's/^row //p' >"$dir/rows"
}

# look DISK: mounts it, which replays the filesystem's own log, and copies the
# database to DISK.data.
look() {
	mount -o loop "$1" "$dir/mnt"
	mounted=$dir/mnt
	mkdir -p "$1.data" && cp -a "$dir/mnt/." "$1.data/"
	umount "$dir/mnt"
	mounted=
}

# missing DISK: how many of the rows that were read are not in its database.
missing() {
	sqlite3 -separator ' ' "$1.data/metrics.db" "CREATE TEMP TABLE named (timestamp_ms INTEGER, series_id INTEGER, value REAL)" \
		".import $dir/rows named" "SELECT count(*) FROM (SELECT * FROM named EXCEPT SELECT timestamp_ms, series_id, value FROM samples)"
}

# goes_on DISK: a collector opens its database and stores more.
goes_on() {
	sed "s|^  path: .*|  path: $1.data/metrics.db|" "$dir/payload/config.yaml" >"$1.config"
	"$programs/metrics-collector" -config "$1.config" -once >"$1.once" 2>&1
}

# survived DISK: what look copied from it is whole.
survived() {
	cp -r "$1.data" "$1.copy"
	lost=$(missing "$1") && [ "$lost" = 0 ] || { echo "$lost rows are missing"; return 1; }
	sound=$(sqlite3 "$1.data/metrics.db" 'PRAGMA integrity_check') && [ "$sound" = ok ] || { echo "$sound"; return 1; }
	rm -rf "$1.data"
	mv "$1.copy" "$1.data"
	goes_on "$1" || { cat "$1.once"; return 1; }
}

. "$here/payload/claims.sh"
if cut full 4; then
	grep -E '^(ok|FAILED|  )' "$dir/out" | tr -d '\r'
	read=$(wc -l <"$dir/rows")
	claim "the power went in the middle of a commit: $(cat "$dir/cache")" test "$read" -gt 200
	for as in lost half1 half2 half3 half4; do
		look "$dir/disk.$as" || true
		claim "full, cache $as: all $read rows are there, the database is sound, a collector goes on with it" survived "$dir/disk.$as"
	done
fi
# Were the cache not volatile, or the cut no cut, this would lose nothing either.
if cut normal 0; then
	look "$dir/disk.lost"
	lost=$(missing "$dir/disk.lost" || echo all)
	claim "normal, the same cut: rows are lost, so it is one ($lost of $(wc -l <"$dir/rows"))" test "$lost" != 0
fi
