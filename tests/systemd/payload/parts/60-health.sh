systemctl stop metrics-collector metrics-shipper
figure() { # figure: what health says was captured is what the ledger says
	health_says "\"captured\": $(sql 'SELECT captured FROM ledger')"
}
claim "with no writer running, health reads the rows" within 20 figure
claim "the log files of the database are still there" test -s $data/metrics.db-shm -a -e $data/metrics.db-wal
systemctl restart metrics-health
claim "so does one that starts while no writer runs" within 20 figure
# The directory for the operator's own metrics is root's, as the package makes it.
owners() { same '' "$(find $data ! -user metrics ! -path $data/textfile)"; }
claim "health has made no file" owners

mv $data /var/lib/aside
systemd-tmpfiles --create belabox-metrics.conf
systemctl restart metrics-health
alive() { same 200 "$(http -o /dev/null -w '%{http_code}' http://127.0.0.1:9100/health/live)"; }
unwell() { same 503 "$(http -o /dev/null -w '%{http_code}' http://127.0.0.1:9100/health)"; }
claim "health serves where nothing was ever written" within 20 alive
claim "and says that this is an error" within 20 unwell
systemctl start metrics-collector
claim "it sees the first rows without a restart" within 30 figure
systemctl stop metrics-collector
rm -rf $data
mv /var/lib/aside $data
systemctl restart $units
claim "the daemons are back on the old rows" within 30 rows_above "$before"

# The log file that the others can write is closed to health, which goes on.
cp $config /run/config.before
sed -i 's|^  output: .*|  output: /var/lib/belabox-metrics/x.log|' $config
systemctl restart metrics-health
said() { journalctl --no-pager -u metrics-health | grep -q 'warning: open the log.*; the log goes to stderr'; }
claim "health logs to the journal where it cannot write the log file, and says so" within 20 said
claim "and serves" within 20 alive
cp /run/config.before $config
systemctl restart metrics-health
