# claims.sh: sourced by the parts of the payload. Each claim prints one line.

failed=0

# claim TEXT COMMAND...: "ok TEXT" when the command succeeds, otherwise
# "FAILED TEXT" and the end of what it printed.
claim() {
	text=$1
	shift
	if why=$("$@" 2>&1); then
		echo "ok      $text"
	else
		echo "FAILED  $text"
		failed=$((failed + 1))
		printf '%s\n' "$why" | tail -n 12 | sed 's/^/        | /'
	fi
}

# within SECONDS COMMAND...: succeeds as soon as the command does.
within() {
	limit=$1
	shift
	end=$(($(date +%s) + limit))
	while ! last=$("$@" 2>&1); do
		if [ "$(date +%s)" -ge "$end" ]; then
			echo "not within $limit s: $*: $last"
			return 1
		fi
		sleep 0.2
	done
}

# same WANT GOT
same() {
	[ "$1" = "$2" ] || {
		printf 'want %s\ngot  %s\n' "$1" "$2"
		return 1
	}
}

# more THAN GOT
more() {
	[ "$2" -gt "$1" ] || {
		echo "want more than $1, got $2"
		return 1
	}
}

units='metrics-collector metrics-shipper metrics-health'
data=/var/lib/belabox-metrics
config=/etc/belabox-metrics/config.yaml

sql() { sqlite3 -readonly "$data/metrics.db" "$1"; }
rows() { sql 'SELECT count(*) FROM samples'; }
rows_above() { more "$1" "$(rows)"; }
show() { systemctl show --value -p "$2" "$1"; }
pids() { for unit in $units; do echo "$unit $(show "$unit" MainPID)"; done; }
is() { same "$3" "$(show "$1" "$2")"; } # is UNIT PROPERTY VALUE
all_active() { for unit in $units; do is "$unit" ActiveState active || return 1; done; }
http() { curl -sS --max-time 5 "$@"; }
health() { http http://127.0.0.1:9100/health; }
health_says() { # health_says PATTERN: the answer has a line like that
	health >/run/health.json
	grep -Eq "$1" /run/health.json || {
		echo "no $1 in:"
		head -n 20 /run/health.json
		return 1
	}
}

# drop_in UNIT NAME: a drop-in from standard input, until the machine stops.
drop_in() {
	mkdir -p "/run/systemd/system/$1.service.d"
	cat >"/run/systemd/system/$1.service.d/$2.conf"
}
no_drop_in() { rm -f /run/systemd/system/*.service.d/"$1.conf"; }

# received: samples that the server has.
received() {
	http http://127.0.0.1:8428/internal/force_flush
	http http://127.0.0.1:8428/api/v1/export -d 'match[]={__name__!=""}' |
		sed -n 's/.*"timestamps":\[\([^]]*\)\].*/\1/p' | awk -F, '{n += NF} END {print n + 0}'
}
