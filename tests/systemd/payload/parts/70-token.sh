systemctl stop metrics-shipper
claim "without a token the unit has no credential" test ! -e /run/credentials/metrics-shipper.service/token

# A server that wants one.
cp $config /run/config.before
echo token-of-the-test | tee /run/token >/etc/belabox-metrics/token
chmod 600 /etc/belabox-metrics/token
systemd-run --quiet --unit=receiver --setenv=AUTH_TOKEN_FILE=/run/token metrics-receiver
sed -i 's|^  url: .*|  url: http://127.0.0.1:9090/api/v1/import|' $config
mv /etc/belabox-metrics/token /run/aside
systemctl start metrics-shipper
claim "a server that wants a token refuses a board without" within 20 health_says '"http_status": 401'
mv /run/aside /etc/belabox-metrics/token
before=$(delivered)
systemctl restart metrics-shipper
claim "with the token in its file the samples are taken" within 30 eval '[ "$(delivered)" -gt "$before" ]'
carried() {
	same token-of-the-test "$(systemd-run --quiet --pipe --wait -p User=metrics -p LoadCredential=token:belabox-metrics.token \
		-p LoadCredential=password:belabox-metrics.password -- sh -c 'cat "$CREDENTIALS_DIRECTORY/token"')"
}
claim "a command by hand, as docs/operations.md starts it, is given the token" carried
credential() { # 252 gives the file to the user, 257 gives it to root with an entry for the user
	case $(stat -c '%U %a' /run/credentials/metrics-shipper.service/token) in
	'metrics 400' | 'root 440') ;;
	*) stat /run/credentials/metrics-shipper.service/token && return 1 ;;
	esac
}
claim "the daemon's copy of it is closed to others" credential
unsaid() { same '' "$(journalctl --no-pager | grep -o token-of-the-test; health | grep -o token-of-the-test)"; }
claim "neither the journal nor health says the token" unsaid
unbundled() { # what root can read of the secrets is looked for, and what names its file is not
	metrics-health -bundle /run/b.tgz && tar xzf /run/b.tgz -C /run || return 1
	same '' "$(grep -rl token-of-the-test /run/metrics-bundle)"
}
claim "nor does a bundle" unbundled
rm -rf /run/b.tgz /run/metrics-bundle
systemctl stop receiver
rm /etc/belabox-metrics/token
cp /run/config.before $config
systemctl restart metrics-shipper
