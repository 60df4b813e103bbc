package collect

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reported returns the place at which each filesystem of a table is queried, the best
// first.
func reported(t *testing.T, table string) [][]string {
	t.Helper()
	parse, tree := parseMountinfo, true
	if !strings.Contains(table, " - ") {
		parse, tree = parseMounts, false
	}
	mounts, err := parse([]byte(table))
	if err != nil {
		t.Fatal(err)
	}
	var points [][]string
	for _, f := range newMountTable(mounts, tree).filesystems() {
		points = append(points, f.points)
	}
	return points
}

func TestEachFilesystemOfADeviceIsReportedOnceAndOnlyWhereItCanBeSeen(t *testing.T) {
	for name, tt := range map[string]struct {
		table string
		want  [][]string
	}{
		"a Debian board": {`22 28 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
23 28 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
24 28 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=8003232k
25 24 0:23 / /dev/pts rw,nosuid,noexec,relatime shared:3 - devpts devpts rw,gid=5
26 28 0:24 / /run rw,nosuid,nodev,noexec,relatime shared:5 - tmpfs tmpfs rw
28 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk1p2 rw
31 28 0:28 / /boot/auto rw shared:11 - autofs systemd-1 rw,fd=33
40 28 179:1 / /boot rw shared:30 master:2 propagate_from:1 unbindable - vfat /dev/mmcblk1p1 rw
41 28 254:0 / /data rw - ext4 /dev/mapper/data rw
42 28 7:1 / /snap/core ro - squashfs /dev/loop1 ro
43 28 252:0 / /var/log rw - ext4 /dev/zram0 rw
`, [][]string{{"/"}, {"/boot"}, {"/data"}}},
		"a service's own view of the root's folders": {`100 1 179:2 / / ro - ext4 /dev/root rw
101 100 179:2 /var/lib/service /var/lib/service rw - ext4 /dev/root rw
102 100 179:2 /etc/hosts /etc/hosts rw - ext4 /dev/root rw
`, [][]string{{"/"}}},
		"ZFS": {`30 1 0:25 / / rw - zfs rpool/ROOT/debian rw
31 30 259:1 / /boot rw - vfat /dev/nvme0n1p1 rw
`, [][]string{{"/"}, {"/boot"}}},
		"NFS with a card for booting": {`30 1 0:20 / / rw - nfs 10.0.0.1:/srv/board rw
31 30 179:1 / /boot/firmware rw - vfat /dev/mmcblk0p1 rw
`, [][]string{{"/"}, {"/boot/firmware"}}},
		"overlayroot": {`30 1 0:26 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro
31 30 179:2 / /media/root-ro ro - ext4 /dev/mmcblk0p2 ro
32 30 0:27 / /media/root-rw rw - tmpfs tmpfs-root rw
`, [][]string{{"/"}, {"/media/root-ro"}}},
		"btrfs with subvolumes": {`30 1 0:31 /@ / rw - btrfs /dev/sda2 rw,subvol=/@
31 30 0:31 /@home /home rw - btrfs /dev/sda2 rw,subvol=/@home
32 30 0:40 /@a /srv/a rw - btrfs /dev/sdb1 rw
33 30 0:40 /@b /b rw - btrfs /dev/sdb1 rw
34 30 0:40 /@a/folder /c rw - btrfs /dev/sdb1 rw
`, [][]string{{"/"}, {"/srv/a", "/b"}}},
		"a folder bound to a shorter path": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:17 / /media/card rw - ext4 /dev/sdb1 rw
32 30 8:17 /video /v rw - ext4 /dev/sdb1 rw
33 30 8:17 / /w rw - ext4 /dev/sdb1 rw
`, [][]string{{"/"}, {"/media/card", "/w"}}},
		"only folders are bound, as in a container": {`500 400 0:50 / / rw - overlay overlay rw
501 500 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/sda1 rw
502 500 8:1 /var/lib/docker/volumes/v/_data /data rw - ext4 /dev/sda1 rw
503 500 8:1 /var/lib/docker/volumes/v/_data/sub /sub rw - ext4 /dev/sda1 rw
`, [][]string{{"/"}, {"/etc/hosts", "/data"}}},
		"hidden by a later mount above it": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:33 / /var/cam rw - ext4 /dev/sdc1 rw
32 30 8:49 / /var rw - ext4 /dev/sdd1 rw
33 32 8:65 / /var/seen rw - ext4 /dev/sde1 rw
`, [][]string{{"/"}, {"/var"}, {"/var/seen"}}},
		"hidden by a later mount at its place": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:33 / /media rw - ext4 /dev/sdc1 rw
32 31 0:33 / /media rw - tmpfs tmpfs rw
33 30 8:49 / /mnt rw - ext4 /dev/sdd1 rw
34 33 8:50 / /mnt rw - ext4 /dev/sde1 rw
35 34 8:51 / /mnt rw - ext4 /dev/sdf1 rw
`, [][]string{{"/"}, {"/mnt"}}},
		"the whole root hidden by another": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:33 / /gone rw - ext4 /dev/sdc1 rw
32 30 0:40 / / rw - overlay overlay rw
33 32 8:49 / /here rw - ext4 /dev/sdd1 rw
`, [][]string{{"/"}, {"/here"}}},
		"seen elsewhere though hidden here": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:33 / /a/b rw - ext4 /dev/sdc1 rw
32 30 8:33 / /c rw - ext4 /dev/sdc1 rw
33 30 8:49 / /a rw - ext4 /dev/sdd1 rw
`, [][]string{{"/"}, {"/a"}, {"/c"}}},
		"moved below a newer mount": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 33 8:33 / /a/b rw - ext4 /dev/sdc1 rw
33 30 8:49 / /a rw - ext4 /dev/sdd1 rw
`, [][]string{{"/"}, {"/a"}, {"/a/b"}}},
		"a chroot, whose own root is no mountpoint": {`31 30 8:33 / /data rw - ext4 /dev/sdc1 rw
32 31 8:49 / /data/more rw - ext4 /dev/sdd1 rw
`, [][]string{{"/"}, {"/data"}, {"/data/more"}}},
		"a root that is its own parent, and a mount of a parent that is not listed": {`1 1 0:1 / / rw - rootfs rootfs rw
7 99 8:33 / /data rw - ext4 /dev/sdc1 rw
`, [][]string{{"/"}, {"/data"}}},
		"parents in a circle": {`30 31 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:33 / / rw - ext4 /dev/sdc1 rw
`, [][]string{{"/"}}},
		"what is no device, and has an empty source": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 0:44 / /run/user/1000/doc rw - fuse.portal /dev/fuse rw
32 30 0:45 / /empty rw - tmpfs  rw,size=4k
33 30 0:46 / /sshfs rw - fuse.sshfs host:/dev/sda1 rw
34 30 8:65 / /ntfs rw - fuseblk /dev/sde1 rw
`, [][]string{{"/"}, {"/ntfs"}}},
		"names with every escape": {`30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:17 /a\040-\040b /mnt/SD\040-\040card\134x\011\012\043 rw - ext4 /dev/sdb1 rw
`, [][]string{{"/"}, {"/mnt/SD - card\\x\t\n#"}}},
		"the older table": {`proc /proc proc rw 0 0
/dev/mmcblk1p2 /var/lib/service ext4 rw 0 0
/dev/mmcblk1p2 / ext4 rw 0 0
/dev/mmcblk1p1 /boot vfat rw 0 0
/dev/mmcblk1p1 /efi vfat rw 0 0
/dev/loop3 /snap/core squashfs ro 0 0
/dev/sr0 /cd squashfs ro 0 0
/dev/ram0 /ram ext2 rw 0 0
/dev/sda1 /mnt/SD\040card\134x\011\043 exfat rw 0 0
/dev/sdb1 /media ext4 rw 0 0
tmpfs /media tmpfs rw 0 0
/dev/sdc1 /deep/below ext4 rw 0 0
/dev/sdd1 /deep ext4 rw 0 0
/dev/sde1 /deep/seen ext4 rw 0 0
`, [][]string{{"/"}, {"/boot", "/efi"}, {"/deep"}, {"/deep/seen"}, {"/mnt/SD card\\x\t#"}}},
		"nothing at all": {"", [][]string{{"/"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, reported(t, tt.table)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestABadLineOfTheMountTableIsSkippedAlone(t *testing.T) {
	mounts, err := parseMountinfo([]byte(`garbage
30 1 8:1 / / rw - ext4 /dev/sda1 rw
31 30 8:17 / relative rw - ext4 /dev/sdb1 rw
x 30 8:17 / /a rw - ext4 /dev/sdb1 rw
31 30 8:17 / - ext4 /dev/sdb1 rw
32 30 8:17 / /b rw - ext4 /dev/sdb1 rw`))
	if len(mounts) != 2 || Failed(err) != 4 {
		t.Errorf("%d mounts, %v", len(mounts), err)
	}
}

func TestUnescapeReadsOctalOnly(t *testing.T) {
	for in, want := range map[string]string{
		`/a\040b`: "/a b", `/a\0`: `/a\0`, `/a\04`: `/a\04`, `/a\`: `/a\`, `/\089`: `/\089`, `/\134040`: `/\040`, `/\400`: `/\400`, `/\377`: "/\xff",
	} {
		if got := unescape([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNamesThatDifferStayDifferent(t *testing.T) {
	names := []string{"plain", "żółw", "\xd6\xd0", "\xb2\xe2", `\xd6\xd0`, `\x5cxd6`, `\xd6`, `\`, `\x`, `\xd`, "\\x\xd6", "\\xd\xff", "\ufffd", "\xff\xff", "\xff", `\\xff`, "a\xffb", `a\xFFb`, `a\x`}
	single := slices.Clone(names)
	for _, prefix := range single {
		for _, suffix := range single {
			names = append(names, prefix+"/"+suffix)
		}
	}
	seen := map[string]string{}
	for _, name := range names {
		text := distinct(name)
		if before, twice := seen[text]; twice && before != name {
			t.Errorf("%q and %q are both %q", before, name, text)
		}
		seen[text] = name
		if strings.ToValidUTF8(text, "") != text {
			t.Errorf("%q became %q", name, text)
		}
	}
	for in, want := range map[string]string{"/m/\xd6\xd0": `/m/\xd6\xd0`, `/a\b`: `/a\b`, "/ü": "/ü", `/\xd6`: `/\x5cxd6`} {
		if got := distinct(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
