# What an operator reads in the journal, and what a bundle takes along of it.
systemctl stop metrics-shipper
warnings() { journalctl --no-pager -q -o cat -p warning -u 'metrics-*'; }
changed='status changed status=(degraded|error) was=.* reasons=[0-9]+ first_reason='
warned() {
	warnings | grep -Eq "^$changed" || {
		journalctl --no-pager -q -o cat -n 5 -u metrics-health
		return 1
	}
}
claim "journalctl -p warning -u 'metrics-*' has the daemons' warnings, in words and fields" within 60 warned
lesser() {
	journalctl --no-pager -q -o cat -u metrics-health | grep -q '^listening address=' || return 1
	same '' "$(warnings | grep -E '^(listening|starting|stopped|\{)' | head -n 3)"
}
claim "and neither what is less than a warning nor JSON" lesser
systemctl start metrics-shipper

mkdir -p /run/bundles/root /run/bundles/nobody
chown nobody /run/bundles/nobody
journalctl --rotate # what the daemons said before is in another file then
bundled() {
	metrics-health -bundle /run/bundles/root/b.tgz && tar xzf /run/bundles/root/b.tgz -C /run/bundles/root || return 1
	same '' "$(grep missing /run/bundles/root/metrics-bundle/LIST.txt)" || return 1
	for unit in $units; do
		grep -q "^[-0-9]*T[:0-9]*Z $unit <6> starting version=" /run/bundles/root/metrics-bundle/log.txt || {
			echo "no line of $unit"
			tail -n 5 /run/bundles/root/metrics-bundle/log.txt
			return 1
		}
	done
	for line in " metrics-health <4> $changed" ' systemd <6> Stopped metrics-shipper.service'; do
		grep -Eq "$line" /run/bundles/root/metrics-bundle/log.txt || {
			echo "not there: $line"
			tail -n 10 /run/bundles/root/metrics-bundle/log.txt
			return 1
		}
	done
}
claim "a bundle has what the real journal has of the daemons, and of systemd about them" bundled
unlogged() { # a member of group metrics may read the database, and not the journal
	runuser -u nobody -g metrics -- metrics-health -bundle /run/bundles/nobody/b.tgz && tar xzf /run/bundles/nobody/b.tgz -C /run/bundles/nobody || return 1
	same 'log.txt' "$(awk '/missing:/ {print $1}' /run/bundles/nobody/metrics-bundle/LIST.txt)" &&
		grep -q 'log.txt .*root and the group systemd-journal may' /run/bundles/nobody/metrics-bundle/LIST.txt &&
		metrics-collector -inspect -database /run/bundles/nobody/metrics-bundle/metrics.db >/dev/null
}
claim "a member of group metrics gets one without log lines, which says why" unlogged
stranger() {
	why=$(runuser -u nobody -- metrics-health -bundle /run/bundles/nobody/c.tgz 2>&1) && return 1
	case $why in *'run as root or as a member of group metrics'*) [ ! -e /run/bundles/nobody/c.tgz ] ;; *) echo "$why" && return 1 ;; esac
}
claim "anybody else gets none, and is told who may" stranger
rm -rf /run/bundles
claim "the shipper is active" within 30 is metrics-shipper ActiveState active
