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

# The wait before a restart, without the 5 s that are systemd's part in it.
drop_in metrics-shipper quick <<'DROPIN'
[Service]
RestartSec=100ms
DROPIN
systemctl daemon-reload
systemctl restart metrics-shipper
now() { cut -d' ' -f1 /proc/uptime | tr -d .; } # in hundredths of a second
away() { # how long the shipper is away when it is killed
	from=$(now)
	alone metrics-shipper KILL 60 >&2 && echo $(($(now) - from))
}
growing() {
	first=$(away) && second=$(away) && third=$(away) && fourth=$(away) || return 1
	echo "$first $second $third $fourth"
	[ "$first" -lt 450 ] && [ "$second" -lt 450 ] && [ "$third" -ge 500 ] && [ "$fourth" -ge $((third + 800)) ]
}
claim "the first two restarts are quick, the third waits longer, the fourth longer still" growing
said() { journalctl --no-pager -u metrics-shipper | grep -q 'ended soon after its start, 4 times in a row: it waits for 15 s more'; }
claim "the journal says so" said
state=/run/belabox-metrics/metrics-shipper.service
longest() { # after many, what it would wait is less than the start may take
	echo "$(cut -d. -f1 /proc/uptime) 40" >$state
	old=$(show metrics-shipper MainPID)
	kill -KILL "$old"
	within 20 is metrics-shipper SubState start-pre && within 5 grep -q ' 41$' $state || return 1
	wait=$(($(cut -d' ' -f1 $state) - $(cut -d. -f1 /proc/uptime)))
	[ "$wait" -gt 100 ] && [ "$wait" -le 120 ] && is metrics-shipper TimeoutStartUSec 3min
}
claim "many restarts wait for two minutes, and not so long that the start is given up" longest
by_hand() {
	from=$(now)
	systemctl restart metrics-shipper && all_active && [ $(($(now) - from)) -lt 450 ]
}
claim "a start by hand ends the wait" by_hand
good() {
	echo "$(($(cut -d. -f1 /proc/uptime) - 600)) 40" >$state
	first=$(away) && [ "$first" -lt 450 ]
}
claim "after a good run the wait is short again" good
claim "by themselves the units wait for 5 s" eval 'for unit in metrics-collector metrics-health; do is $unit RestartUSec 5s || return 1; done'

# Systemd's own limit is 5 starts in 10 s.
drop_in metrics-shipper quick <<'DROPIN'
[Service]
RestartSec=100ms
ExecStartPre=
DROPIN
systemctl daemon-reload
often() {
	for _ in 1 2 3 4 5 6 7 8; do alone metrics-shipper KILL 20 || return 1; done
}
claim "no number of failures is the last" often
no_drop_in quick
systemctl daemon-reload
