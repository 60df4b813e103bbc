for unit in $units; do
	claim "$unit has a watchdog of a minute, which answers with a stack" eval 'is $unit WatchdogUSec 1min && is $unit WatchdogSignal 6'
done
for unit in $units; do
	drop_in "$unit" watchdog <<'DROPIN'
[Service]
WatchdogSec=10s
DROPIN
done
systemctl daemon-reload
systemctl restart $units

# alone UNIT SIGNAL SECONDS: the unit has a new process after the signal, and the
# others have the one they had.
alone() {
	pids >/run/before
	old=$(show "$1" MainPID)
	[ "$old" -gt 1 ] && kill "-$2" "$old" || return 1
	within "$3" replaced "$1" "$old" || return 1
	same "$(grep -v "^$1 " /run/before)" "$(pids | grep -v "^$1 ")"
}
replaced() {
	case $(systemctl show -p ActiveState,MainPID "$1" | sort | tr '\n' ' ') in
	"ActiveState=active MainPID=0 " | "ActiveState=active MainPID=$2 ") return 1 ;;
	"ActiveState=active "*) ;;
	*) return 1 ;;
	esac
}
for unit in $units; do
	claim "$unit, stopped in its tracks, is restarted by the watchdog, and it alone" alone "$unit" STOP 60
done
barked() { journalctl --no-pager -u "$1" | grep -q 'Watchdog timeout' && journalctl --no-pager -u "$1" | grep -q '^.*goroutine [0-9]* .*:$'; }
claim "the journal has the time-out, and the stacks of the process" barked metrics-collector
no_drop_in watchdog
systemctl daemon-reload
systemctl restart $units

for unit in $units; do
	claim "$unit, killed, is restarted, and it alone" alone "$unit" KILL 30
done
before=$(rows)
claim "rows are stored after that" within 15 rows_above "$before"

# Systemd's own limit is 5 starts in 10 s.
drop_in metrics-shipper quick <<'DROPIN'
[Service]
RestartSec=100ms
RestartSteps=0
DROPIN
systemctl daemon-reload
often() {
	for _ in 1 2 3 4 5 6 7 8; do alone metrics-shipper KILL 20 || return 1; done
}
claim "no number of failures is the last" often
no_drop_in quick
systemctl daemon-reload

growing() {
	if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
		is metrics-shipper RestartSteps 5 && is metrics-shipper RestartMaxDelayUSec 1min
	fi
	is metrics-shipper RestartUSec 5s
}
claim "the wait before a restart is 5 s, and grows where systemd can" growing
