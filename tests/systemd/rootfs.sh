#!/bin/sh
# rootfs.sh: builds once, and prints, a directory that holds a clean Debian:
#   root         its tree, with systemd as init and a payload unit
#   root.ext4    the same as a disk
#   vmlinuz, initrd   Debian's kernel and what it needs to find that disk
# The kernel is the full one, which has a video device that plays an HDMI input.
# ModemManager is masked: a board without it is what most parts are about.
# SUITE=bookworm (systemd 252) or trixie (257). METRICS_LAB is where it is kept.
set -eu
self=$(realpath "$0")
suite=${SUITE:-bookworm}
dir=${METRICS_LAB:-/var/tmp/belabox-metrics-lab}/$suite-full
mkdir -p "$dir"
cd "$dir"
exec 9>lock
flock 9 # one build at a time
stamp=$(cksum <"$self")

packages=systemd,systemd-sysv,dbus,udev,kmod,iproute2,procps,sqlite3,curl,linux-image-amd64,busybox-static,v4l-utils,modemmanager,polkitd
if [ "$(cat packages 2>/dev/null)" != "$packages" ]; then
	rm -f packages root.done
	mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" "$suite" rootfs.tar.part >&2
	mv rootfs.tar.part rootfs.tar
	echo "$packages" >packages
fi

if [ "$(cat root.done 2>/dev/null)" != "$stamp" ]; then
	rm -rf root root.done disk.done
	mkdir root
	tar xpf rootfs.tar -C root --exclude='./dev/*'
	# The payload is bound at /payload by nspawn, and a tar on the second disk
	# under qemu; its output goes to a file, or to the second serial port.
	cat >root/etc/systemd/system/payload.service <<'UNIT'
[Unit]
Description=Payload of the test
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=exec
StandardOutput=null
ExecStart=/bin/sh -c 'if [ -b /dev/vdb ]; then mkdir -p /payload; tar xf /dev/vdb -C /payload; exec >/dev/ttyS1 2>&1; else exec >/output/out 2>&1; fi; cd /payload; sh ./run; echo "payload-exit $?"; sync'
UNIT
	mkdir -p root/etc/systemd/system/multi-user.target.wants
	ln -s ../payload.service root/etc/systemd/system/multi-user.target.wants/
	for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
		getty@tty1.service systemd-timesyncd.service ModemManager.service; do
		ln -sf /dev/null "root/etc/systemd/system/$unit"
	done
	echo board >root/etc/hostname
	: >root/etc/machine-id
	: >root/etc/fstab
	printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >root/etc/hosts
	echo "$stamp" >root.done
fi

if [ ! -e disk.done ]; then
	kernel=$(ls root/lib/modules | head -n 1)
	cp "root/boot/vmlinuz-$kernel" vmlinuz
	rm -rf initrd.d
	mkdir -p initrd.d/bin initrd.d/dev initrd.d/root initrd.d/modules
	cp root/bin/busybox initrd.d/bin/
	n=10
	for module in crc16 mbcache jbd2 crc32c_generic crc32c-cryptoapi ext4 virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
		file=$(find "root/lib/modules/$kernel" -name "$module.ko*" | head -n 1)
		n=$((n + 1))
		case $file in
		'') ;; # built in
		*.xz) xz -dc "$file" >"initrd.d/modules/$n-$module.ko" ;;
		*) cp "$file" "initrd.d/modules/$n-$module.ko" ;;
		esac
	done
	cat >initrd.d/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod $module; done
i=0
while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do /bin/busybox usleep 100000; i=$((i + 1)); done
/bin/busybox mount -t ext4 /dev/vda /root && exec /bin/busybox switch_root /root /lib/systemd/systemd
/bin/busybox poweroff -f
INIT
	chmod +x initrd.d/init
	(cd initrd.d && find . | cpio --quiet -o -H newc | gzip -1) >initrd
	rm -rf initrd.d
	rm -f root.ext4
	mke2fs -q -t ext4 -d root -L root root.ext4 3G >&2
	touch disk.done
fi
echo "$dir"
