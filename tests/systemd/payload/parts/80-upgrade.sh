oldest=$(sql 'SELECT min(timestamp_ms) FROM samples') before=$(rows)
cp $config /run/config.before
systemctl stop metrics-shipper
pids >/run/before
upgrade() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q /payload/second.deb; }
claim "apt upgrades the package" upgrade
version() { same "$(dpkg-deb -f /payload/second.deb Version)" "$(dpkg-query -Wf '${Version}' belabox-metrics)"; }
claim "to the new version" version
claim "the configuration is the operator's still" cmp $config /run/config.before
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
