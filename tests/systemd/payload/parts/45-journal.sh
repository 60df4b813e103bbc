# The encoder's sources as the sandboxed collector sees them: a real journald that
# is rotated, flooded and vacuumed, the system's /tmp, a socket.

# print COUNT PAUSE: belaUI prints so many lines, each with its own number, a pause
# after every 100.
print() {
	systemd-run --quiet --wait --collect --unit=belaUI.service -p StandardError=journal -p LogRateLimitIntervalSec=0 \
		sh -c 'i=0; while [ $i -lt $1 ]; do echo "10.45.0.2 (0x$i): connection failed, attempting to reconnect" >&2; i=$((i + 1)); [ $((i % 100)) != 0 ] || sleep $2; done' sh "$1" "$2"
}
total() { sql "SELECT coalesce(sum(value), 0) FROM counters WHERE name = '$1' AND tags LIKE '%$2%'" | cut -d. -f1; }
counted() { total stream.events_total link_failed; }
vanished() { total stream.journal_skipped_total vanished; }
damaged() { total stream.journal_skipped_total damaged; }
counted_is() { same "$1" "$(counted)"; }
newest() { sql "SELECT metric_value FROM metrics WHERE metric_name = '$1' ORDER BY timestamp_ms DESC LIMIT 1"; }
newest_is() { same "$2" "$(newest "$1")"; }

# journald itself drops what a unit prints too fast, before it gives it a number.
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nRateLimitIntervalSec=0\n' >/etc/systemd/journald.conf.d/no-limit.conf
systemctl restart systemd-journald

claim "the sandboxed collector reads the journal" within 30 newest_is stream.active 0.0
before=$(counted)
rotations() {
	print 5000 0.1 &
	printing=$!
	for i in 1 2 3 4 5; do
		sleep 1
		journalctl --rotate
		[ $i != 3 ] || systemctl kill -s KILL metrics-collector
	done
	wait $printing
	within 90 counted_is $((before + 5000))
}
claim "of 5,000 lines over 5 rotations and a kill -9 each is counted once" rotations

# Thirty seconds of 2,000 lines a second, with rotation and vacuum all the time. Beside
# the collector its reader follows the journal alone and prints which lines it saw:
# each line at most once, and what is missing is exactly what it says was gone.
said_by_follower() { grep -q "$1" /run/followed; }
begun_to_follow() { logger first && sleep 1 && said_by_follower ' first$'; }
flood() {
	systemd-run --quiet --unit=follower -p StandardOutput=file:/run/followed -p StandardError=file:/run/follow-errors -p CPUQuota=8% /payload/probe follow last
	within 30 begun_to_follow || return 1
	before=$(counted) gone=$(vanished) broken=$(damaged) sent=60000
	print $sent 0.05 &
	printing=$!
	while kill -0 $printing 2>/dev/null; do
		journalctl --rotate
		journalctl --quiet --vacuum-files=3
		sleep 0.3
	done
	wait $printing
	logger last
	within 120 said_by_follower '^skipped ' || { cat /run/follow-errors; return 1; }
	sed -n 's/^[0-9]* 10.45.0.2 (0x\([0-9]*\)):.*/\1/p' /run/followed >/run/seen
	journalctl -q -o cat -u belaUI.service | sed -n 's/^10.45.0.2 (0x\([0-9]*\)): connection failed.*/\1/p' | sort -u >/run/there
	within 120 settled && settled || return 1
	echo "# of $sent lines and $others others $got were counted, $lost numbers were gone and $holes entries or values damaged; alone, $(wc -l </run/seen) were seen and $(sed -n 's/^skipped //p' /run/followed) were gone"
}
# settled: the collector's counts balance as far as they can, with an unknown part of the
# other lines among what it did not see. Journald empties a file that it deletes: what is
# read at that moment is damaged, and may be counted as gone as well.
settled() {
	others=$(($(awk '/ last$/ {last = $1} / first$/ {first = $1} END {print last - first - 1}' /run/followed) - sent))
	got=$(($(counted) - before)) lost=$(($(vanished) - gone)) holes=$(($(damaged) - broken))
	[ "$got" -le $sent ] && [ $((got + lost + holes)) -ge $sent ] && [ $((got + lost)) -le $((sent + others)) ] || {
		echo "$sent lines and $others others, $got counted, $lost gone before they could be read; skipped: $(sql "SELECT group_concat(tags || value) FROM counters WHERE name = 'stream.journal_skipped_total'"); $(journalctl -q -o cat -u systemd-journald -n 200 | grep -c Suppressed) times suppressed"
		return 1
	}
}
flood_told() { flood >/run/flood 2>&1 || { cat /run/flood; return 1; }; }
claim "in a flood with rotation and vacuum as many lines are counted as were not gone" flood_told
cat /run/flood
once() { more 0 "$(wc -l <"$1")" && same '' "$(awk 'BEGIN {last = -1} $1 + 0 <= last {print "after", last, "comes", $1} {last = $1 + 0}' "$1" | head -n 3)"; }
claim "no line was read twice, nor one before another" once /run/seen
exactly() { awk '$1 == "skipped" {said = $2; ended = 1; next} last {gone += $1 - last - 1} {last = $1} END {if (!ended || gone != said) {print gone, "numbers are missing,", said, "were told"; exit 1}}' /run/followed; }
claim "each number that is missing was told of" exactly
present() { # whatever the last file still has; nothing else was read last
	sort -u /run/seen | comm -13 - /run/there >/run/unseen
	more 0 "$(wc -l </run/there)" && same '' "$(head -n 3 /run/unseen)"
}
claim "no line is missing that the journal still has" present
on_time() { # the widest gap between two samples of another collector meanwhile
	gap=$(sql "SELECT max(d) FROM (SELECT timestamp_ms - lag(timestamp_ms) OVER (ORDER BY timestamp_ms) AS d FROM samples JOIN series ON id = series_id
		WHERE metric_name = 'system.load1' AND timestamp_ms > (SELECT max(timestamp_ms) FROM samples) - 30000)")
	[ "$gap" -le 5000 ] || { echo "$gap ms between two samples"; return 1; }
}
claim "meanwhile the other collectors were on time" on_time

systemd-run --quiet --unit=relay /payload/victoria-metrics -storageDataPath=/run/relay -httpListenAddr=127.0.0.1:8429 -graphiteListenAddr=127.0.0.1:9000
says() { systemd-run --quiet --wait --collect --unit=belaUI.service -p StandardError=journal sh -c 'echo "$1" >&2' sh "$1"; }
says 'SRT connected to 127.0.0.1:9000. Negotiated latency: 2000 ms'
claim "the stream is on while the relay listens and SRT is connected" within 60 newest_is stream.active 1.0
systemctl stop relay
claim "it is off within 10 s of a stop that prints nothing" within 10 newest_is stream.active 0.0

statistics() {
	while :; do
		echo "{\"last_updated_ms\":$(date +%s%3N),\"connections\":[{\"conn_id\":\"0\",\"rtt_ms\":42}]}" >/tmp/stats.new
		mv /tmp/stats.new /tmp/srtla-send-stats-9000.json
		sleep 1
	done
}
statistics &
writer=$!
claim "the files of the system's /tmp are read, and followed when they are replaced" within 30 newest_is stream.link_rtt_ms 42.0
kill $writer
rm -f /tmp/srtla-send-stats-9000.json

# alone NAME: the unit without one of its doors.
alone() {
	drop_in metrics-collector "$1"
	systemctl daemon-reload
	since=$(date +%s)
	systemctl restart metrics-collector
}
whole() {
	no_drop_in "$1"
	systemctl daemon-reload
	systemctl restart metrics-collector
}
complaints() { journalctl -q -o cat -u metrics-collector --since "@$since" | grep -c 'could not read everything' || true; }
rounds() { more "$1" "$(sql "SELECT count(DISTINCT timestamp_ms) FROM samples WHERE timestamp_ms > ${since}000")"; }

alone groups <<'DROPIN'
[Service]
SupplementaryGroups=
DROPIN
claim "without the groups it samples on" within 60 rounds 12
one_complaint() {
	same 1 "$(complaints)" && same 1 "$(journalctl -q -o cat -u metrics-collector --since "@$since" | grep 'could not read everything' | grep -c 'stream.events')" || {
		journalctl -q -o cat -u metrics-collector --since "@$since"
		return 1
	}
}
claim "and says once that it cannot read the journal" within 30 one_complaint
whole groups

alone tmp <<'DROPIN'
[Service]
BindReadOnlyPaths=
DROPIN
claim "without the system's /tmp it samples on" within 60 rounds 12
# What another collector meets meanwhile, such as a journal that is rotated under it,
# is not about /tmp.
silent() { same '' "$(journalctl -q -o cat -u metrics-collector --since "@$since" | grep 'could not read everything' | grep 'collector=stream.links')"; }
claim "and says nothing of it" silent
whole tmp
claim "the daemons are active after all that" within 60 all_active
