# The receiving end: the drop-in of the examples gives the unit the loopback and
# nothing else. The page is what SLS answers.
mkdir -p /run/www
cat >/run/www/stats <<'JSON'
{"publishers":{"publish/live/s3cret":{"bitrate":4962,"bytesRcvDrop":0,"latency":200,"mbpsBandwidth":542.5,"msRcvBuf":182,"pktRcvDrop":3,"pktRcvLoss":281,"rtt":12.702,"uptime":13}},"status":"ok"}
JSON
systemd-run --quiet --unit=sls busybox httpd -f -p 127.0.0.1:8181 -h /run/www
cp -p "$config" /run/config.before
allow() { # as docs/receiver.md says
	install -D -m 644 /usr/share/doc/belabox-metrics/examples/receiver.conf /etc/systemd/system/metrics-collector.service.d/receiver.conf &&
		sed -i 's|^      url: ""$|      url: http://127.0.0.1:8181/stats|' "$config" &&
		metrics-collector -check && systemctl daemon-reload && systemctl restart metrics-collector
}
claim "the receiver's drop-in is installed and its configuration accepted" allow
claim "the sandboxed collector reads the SRT server beside it" within 60 newest_is receiver.rtt_ms 12.702
private() { same 0 "$(sql "SELECT count(*) FROM series WHERE tags LIKE '%s3cret%'")"; }
claim "and keeps the publisher's name to itself" private
claim "the exposure of the unit with it is at most 1.5" systemd-analyze security --no-pager --threshold=15 metrics-collector.service
claim "it can send to this machine, cannot listen, and gets nowhere else" only metrics-collector \
	'socket-unix socket-inet socket-inet6 send-loopback write-tmp write-var-tmp write-state write-database write-lock read-database read-clock-state'
rm -f /etc/systemd/system/metrics-collector.service.d/receiver.conf
systemctl daemon-reload
since=$(date +%s)
systemctl restart metrics-collector
refused() { same 1 "$(journalctl -q -o cat -u metrics-collector --since "@$since" | grep 'could not read everything' | grep -c 'receiver.srt')"; }
claim "without the drop-in the reading fails, and is told once" within 60 refused
cp -p /run/config.before "$config"
systemctl stop sls
systemctl restart metrics-collector
claim "the daemons are active after it" within 60 all_active
