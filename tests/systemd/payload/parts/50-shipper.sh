quiet() { # nothing new arrives
	one=$(received)
	sleep 5
	same "$one" "$(received)"
}
delivered() { sql 'SELECT count(*) FROM samples WHERE uploaded = 1'; }
pending() { sql 'SELECT count(*) FROM samples WHERE uploaded = 0'; }
collector=$(show metrics-collector MainPID) before=$(rows)
systemctl stop metrics-shipper
claim "the server has every sample that is marked delivered" within 20 eval 'same "$(delivered)" "$(received)"'
claim "with the shipper stopped nothing is sent" quiet
claim "the collector goes on, as the same process" is metrics-collector MainPID "$collector"
claim "rows are still stored" within 15 rows_above "$before"
claim "health says that the shipper was stopped" within 20 health_says '"state": "stopped"'
backlog=$(pending)
systemctl start metrics-shipper
claim "started again, it sends the backlog" within 60 eval '[ "$(pending)" -lt "$backlog" ] && [ "$(received)" -gt "$backlog" ]'
systemctl stop belabox-metrics.target
none_active() { for unit in $units; do is "$unit" ActiveState inactive || return 1; done; }
claim "the target stops all three" within 20 none_active
systemctl start belabox-metrics.target
claim "and starts all three" within 30 all_active
