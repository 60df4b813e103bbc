echo token-of-the-test >/etc/belabox-metrics/token
before=$(rows)
remove() { apt-get remove -y -q belabox-metrics; }
claim "apt removes the package" remove
gone() { same '' "$(systemctl list-units --no-legend --plain 'metrics-*' 'belabox-metrics.target'; pgrep -a metrics-)" && [ ! -e /usr/bin/metrics-collector ]; }
claim "units, processes and programs are gone" gone
claim "rows and configuration are kept" eval '[ "$(rows)" -ge "$before" ] && cmp $config /run/config.before'
claim "apt installs it again" upgrade
claim "it runs" within 30 all_active
claim "on the same rows" within 15 rows_above "$before"

purge() { apt-get purge -y -q belabox-metrics; }
claim "apt purges the package" purge
left() {
	systemctl daemon-reload
	[ ! -e /run/belabox-metrics ] || return 1
	same '' "$(find / -xdev \( -iname '*belabox*' -o -name 'metrics-*' \) ! -path '/payload/*' ! -path '/usr/lib/belabox-probe' ! -path '/root/*' ! -path '/var/log/*' 2>/dev/null)" &&
		same '' "$(getent passwd metrics metrics-health; getent group metrics metrics-health)"
}
claim "nothing is left: no data, token, user, link or state" left
