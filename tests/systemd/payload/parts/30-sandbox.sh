# An address that is neither this machine's loopback nor far away.
ip address add 192.0.2.7/32 dev lo
echo secret-of-the-test >/etc/belabox-metrics/token
chmod 600 /etc/belabox-metrics/token
mkdir -p /home/someone

allowed() { sed -n 's/^allowed //p' "$1" | tr '\n' ' ' | sed 's/ $//'; }
only() { # only UNIT "WAY...": these ways out are open and no others
	in_place_of "$1" try
	cp /run/probe.out "/run/probe.$1"
	grep '^#' /run/probe.out
	same "$2" "$(allowed /run/probe.out)" && [ "$(grep -c '^denied' /run/probe.out)" -ge 35 ]
}
denied() { # denied UNIT WAY...
	unit=$1
	shift
	for way; do
		grep -q "^denied $way:" "/run/probe.$unit" || {
			echo "$way is not refused"
			return 1
		}
	done
}

/usr/lib/belabox-probe try >/run/probe.root 2>&1
claim "without a sandbox the probe gets out in more than 30 ways" more 30 "$(grep -c ^allowed /run/probe.root)"
find / /run /run/lock /tmp /var/tmp /dev /dev/shm /dev/mqueue -xdev -name 'probe.trace.*' -delete

# Where systemd is built without a filter for ports (252), health can take another.
ports='listen-9100'
[ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ] || ports='listen-9100 listen-9101'

claim "the collector gets out where it must, and nowhere else" only metrics-collector \
	'socket-unix write-tmp write-var-tmp write-state write-database write-lock read-database read-clock-state'
claim "the shipper gets out where it must, and nowhere else" only metrics-shipper \
	'socket-unix socket-inet socket-inet6 send-loopback send-elsewhere write-tmp write-var-tmp write-state write-database write-lock read-database read-credential'
claim "health gets out where it must, and nowhere else" only metrics-health \
	"socket-unix socket-inet socket-inet6 $ports send-loopback write-tmp write-var-tmp read-database"

claim "the collector cannot open a socket to any network" denied metrics-collector socket-inet socket-inet6 socket-netlink socket-packet socket-vsock
claim "the shipper cannot listen" denied metrics-shipper listen-9100 listen-9101
claim "health cannot reach beyond this machine" denied metrics-health send-elsewhere
claim "health cannot write to the data" denied metrics-health write-state write-database write-lock
for unit in $units; do
	claim "$unit cannot write outside its state directory" denied "$unit" write-root write-etc write-usr write-var write-home write-run write-shm write-other-mount write-config write-sysctl write-sysfs write-cgroup
	claim "$unit cannot mount, trace, run programs, change users or namespaces" denied "$unit" mount ptrace run-program run-own-file become-root setuid-bit unshare-user unshare-mount unshare-net
	claim "$unit cannot read the token's file" denied "$unit" read-token
done
claim "the collector cannot read the shipper's credential" denied metrics-collector read-credential
traces() { # /tmp and /var/tmp of a unit are its own and gone with it
	same "$data" "$(find / /run /run/lock /tmp /var/tmp /dev /dev/shm /dev/mqueue -xdev -name 'probe.trace.*' -printf '%h\n' 2>/dev/null | sort -u)"
}
claim "the probes left nothing but files in the state directory" traces
rm -f $data/probe.trace.* /etc/belabox-metrics/token
claim "the daemons are back" within 30 all_active
