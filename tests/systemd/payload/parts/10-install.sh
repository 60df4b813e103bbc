systemd-run --quiet --unit=victoria /payload/victoria-metrics -storageDataPath=/run/victoria -httpListenAddr=127.0.0.1:8428 \
	-dedup.minScrapeInterval=1ms -retentionPeriod=100y
install_first() { apt-get install -y -q /payload/first.deb; }
claim "apt installs the package on a clean system" install_first
claim "all three daemons are active, so each has notified" within 60 all_active

enabled() { for unit in belabox-metrics.target metrics-collector metrics-shipper metrics-health; do same enabled "$(systemctl is-enabled "$unit")" || return 1; done; }
claim "the target and the three units are enabled" enabled
asleep() { same 'disabled inactive' "$(systemctl is-enabled belabox-modem-signal.timer) $(show belabox-modem-signal.timer ActiveState)"; }
claim "the timer that has modems measure their signals is off" asleep

modes() {
	same 'metrics:metrics 750' "$(stat -c '%U:%G %a' "$data")" &&
		same '' "$(find "$data" -type f \( ! -user metrics -o ! -group metrics -o -perm /0137 \))" &&
		same 'root:root 644' "$(stat -c '%U:%G %a' "$config")" &&
		same 'metrics metrics metrics-health' "$(for u in $units; do show "$u" User; done | tr '\n' ' ' | sed 's/ $//')" &&
		same 'metrics-health metrics' "$(id -nG metrics-health)" &&
		same '/usr/sbin/nologin /usr/sbin/nologin' "$(getent passwd metrics metrics-health | cut -d: -f7 | tr '\n' ' ' | sed 's/ $//')"
}
claim "users, directories and files have their owners and modes" modes
claim "the installed configuration is accepted" metrics-collector -check

verify() {
	out=$(systemd-analyze --man=no verify /usr/lib/systemd/system/belabox-metrics.slice /usr/lib/systemd/system/belabox-metrics.target \
		/usr/lib/systemd/system/metrics-collector.service /usr/lib/systemd/system/metrics-shipper.service \
		/usr/lib/systemd/system/metrics-health.service \
		/usr/lib/systemd/system/belabox-modem-signal.service /usr/lib/systemd/system/belabox-modem-signal.timer 2>&1) && same '' "$out"
}
claim "systemd-analyze verify has nothing to say" verify
for unit in $units; do
	claim "exposure of $unit is at most 1.2" systemd-analyze security --no-pager --offline=true --threshold=12 "/usr/lib/systemd/system/$unit.service"
done

manual() { # each flag that -h lists is in the manual
	for program in $units; do
		for flag in $("$program" -h | sed -n 's/^  -\([a-z]*\).*/\1/p'); do
			zcat "/usr/share/man/man8/$program.8.gz" | grep -Eq "\\\\-$flag( |$|\")" || {
				echo "$program -$flag is not in its manual page"
				return 1
			}
		done
	done
}
claim "the manual pages have every flag" manual

arrived() {
	total=$(http http://127.0.0.1:8428/api/v1/export -d 'match[]=memory_total_bytes' | sed -n 's/.*"values":\[\([0-9]*\).*/\1/p')
	same "$(awk '/^MemTotal:/ {printf "%.0f", $2 * 1024}' /proc/meminfo)" "$total"
}
claim "samples of this machine arrive in VictoriaMetrics" within 90 arrived

# From here on everything is faster, and the file is an operator's.
sed -i -e '/^metrics:/,$ s/^    interval: .*/    interval: 1s/' -e 's/^  upload_interval: .*/  upload_interval: 2s/' \
	-e 's/^    max_backoff: .*/    max_backoff: 5s/' "$config"
systemctl restart $units
