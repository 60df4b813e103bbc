oldest=$(sql 'SELECT min(timestamp_ms) FROM samples') before=$(rows)
cp $config /run/config.before
systemctl stop metrics-shipper
pids >/run/before
# The new example has another default, and the operator's file is not the old one.
examples() { # the two packages differ there, and the installed file from both
	for deb in first second; do
		dpkg-deb --fsys-tarfile /payload/$deb.deb | tar xO ./etc/belabox-metrics/config.yaml >/run/example.$deb || return 1
	done
	! cmp -s /run/example.first /run/example.second && ! cmp -s /run/example.first $config && ! cmp -s /run/example.second $config
}
claim "the newer package has another example than the older, and the operator a file of his own" examples
upgrade() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o Dpkg::Options::=--force-confold /payload/second.deb; }
claim "apt upgrades the package" upgrade
version() { same "$(dpkg-deb -f /payload/second.deb Version)" "$(dpkg-query -Wf '${Version}' belabox-metrics)"; }
claim "to the new version" version
claim "the configuration is the operator's still, byte for byte" cmp $config /run/config.before
claim "the new example lies beside it" cmp $config.dpkg-dist /run/example.second
running() { is metrics-collector ActiveState active && is metrics-health ActiveState active; }
claim "the collector and health run" within 30 running
restarted() { same '' "$(pids | grep -v shipper | grep -Fxf - /run/before)"; }
claim "as new processes" restarted
claim "the shipper, stopped by the operator, stays stopped" is metrics-shipper ActiveState inactive
kept() { same "$oldest" "$(sql 'SELECT min(timestamp_ms) FROM samples')" && rows_above "$before"; }
claim "the rows are kept, and more come" within 15 kept
systemctl start metrics-shipper
systemctl disable -q --now metrics-health
again() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --reinstall /payload/second.deb; }
claim "apt installs it over itself" again
disabled() { same disabled "$(systemctl is-enabled metrics-health)"; is metrics-health ActiveState inactive; }
claim "a unit that the operator disabled stays so" disabled
systemctl enable -q --now metrics-health

# A file that the operator never touched follows the package.
cp /run/example.first $config
untouched() { # as before the first upgrade, with the older example in place
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --allow-downgrades -o Dpkg::Options::=--force-confnew /payload/first.deb &&
		cmp $config /run/example.first &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q /payload/second.deb </dev/null &&
		cmp $config /run/example.second
}
claim "an example that was not changed is replaced, without a question" untouched
cp /run/config.before $config
systemctl restart $units
