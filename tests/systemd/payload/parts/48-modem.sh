# ModemManager itself, in its test mode, on the system's bus with polkit; the modem
# answers AT commands. The collector is the sandboxed unit.
modems() { sql "SELECT count(*) FROM series WHERE metric_name LIKE 'modem.%'"; }
nothing() { same 0 "$(modems)" && same '' "$(journalctl -q -o short-precise -u metrics-collector | grep modem)"; }
claim "without ModemManager there is no series and no word of it" nothing

rm -f /etc/systemd/system/ModemManager.service
mkdir -p /run/systemd/system/ModemManager.service.d
cat >/run/systemd/system/ModemManager.service.d/test.conf <<'DROPIN'
[Unit]
ConditionVirtualization=
[Service]
ExecStart=
ExecStart=/usr/sbin/ModemManager --test-enable --test-no-udev --test-no-suspend-resume --test-no-qrtr
DROPIN
systemctl daemon-reload
systemctl start ModemManager
systemd-run --quiet --unit=atmodem /payload/atmodem abstract:modem '+CESQ=+CESQ: 99,99,255,255,19,46'
# ModemManager looks at what is plugged in once: it must answer by then.
claim "the modem answers" within 60 grep -q '@abstract:modem' /proc/net/unix
manager() { busctl --quiet call org.freedesktop.ModemManager1 /org/freedesktop/ModemManager1 "$@"; }
plug() { manager org.freedesktop.ModemManager1.Test SetProfile ssas abstract:modem generic 1 abstract:modem; }
claim "ModemManager takes the modem" within 60 plug
# fresh NAME VALUE: the newest sample, of the last 10 s, has the value.
fresh() { same "$2" "$(sql "SELECT metric_value FROM metrics WHERE metric_name = '$1' AND timestamp_ms > $(date +%s)000 - 10000 ORDER BY timestamp_ms DESC LIMIT 1")"; }
enabled_modem() { mmcli -m any --enable; }
within 60 enabled_modem >/dev/null
claim "the collector, without any right of its own, tells that the modem is registered" within 90 fresh modem.state 8.0
registered() { fresh modem.registered 1.0 && fresh modem.roaming 0.0 && fresh modem.sim_missing 0.0 && fresh modem.signal_percent 54.0; }
claim "at home, with its SIM and its quality" within 60 registered

setup='org.freedesktop.ModemManager1.Modem.Signal Setup u 10'
modem=$(mmcli -L | grep -o '/org/freedesktop/ModemManager1/Modem/[0-9]*')
refused() { # polkit keeps the daemons' user from changing the modem
	! out=$(setpriv --reuid=metrics --regid=metrics --clear-groups busctl call org.freedesktop.ModemManager1 "$modem" $setup 2>&1) &&
		case $out in *uthoriz*) ;; *) echo "$out" && return 1 ;; esac
}
claim "the collector's user may not have the modem measure its signal" refused
unmeasured() { same 0 "$(sql "SELECT count(*) FROM series WHERE metric_name = 'modem.rsrp_dbm'")"; }
claim "so there is no RSRP" unmeasured
systemctl start belabox-modem-signal.service
claim "root's timer may: RSRP and RSRQ are there" within 90 fresh modem.rsrp_dbm -95.0
private() { ! strings_of "$data/metrics.db" "$data/metrics.db-wal" | grep -E '490154203237518|001010987654321' && ! journalctl -q -o cat -u 'metrics-*' | grep -E '490154203237518|001010987654321'; }
strings_of() { tr -c '[:print:]' '\n' <"$1"; tr -c '[:print:]' '\n' <"$2"; }
claim "neither the number of the device nor of the SIM is in the database or the log" private

# gone: no sample of a modem in the last 5 s, and no failed reading either.
gone() {
	same 0 "$(sql "SELECT count(*) FROM metrics WHERE metric_name = 'modem.state' AND timestamp_ms > $(date +%s)000 - 5000")" &&
		same 0 "$(journalctl -q -o cat -u metrics-collector | grep 'could not read everything' | grep -c modem)"
}
# ModemManager drops a device that somebody else claims as one that was unplugged, and
# takes it up again under another number.
systemd-run --quiet --unit=unplugged mmcli --inhibit-device=/virtual/abstract:modem
claim "the modem goes while ModemManager runs: its series end, without a failed reading" within 60 gone
systemctl stop unplugged
claim "it comes back and is told of again" within 90 fresh modem.sim_missing 0.0
numbered() { more 0 "$(mmcli -L | grep -c 'Modem/[1-9]')" && same 1 "$(sql "SELECT count(*) FROM series WHERE metric_name = 'modem.state'")"; }
claim "as the same modem, although ModemManager gave it another number" numbered
systemctl stop ModemManager
claim "ModemManager stops: the series end, without a failed reading" within 60 gone
systemctl start ModemManager
within 60 plug >/dev/null
claim "it is started again: so are they" within 90 fresh modem.sim_missing 0.0
systemctl stop ModemManager atmodem
