# The commands of docs/operations.md, block by block in their order, on a system
# that is clean again.
mkdir -p /run/operations
cd /run/operations
awk '/^<!-- needs a board.*tests\/systemd runs it -->$/ {marker = $0; next}
	/^```sh$/ && marker {block = sprintf("/run/operations/%02d.sh", ++n); print "# " marker >block; marker = ""; next}
	/^```$/ {block = ""}
	block {print >block}' /payload/operations.md
claim "docs/operations.md has its commands" more 8 "$(ls | grep -c 'sh$')"
place="belabox-metrics_0_$(dpkg --print-architecture).deb"
cp /payload/first.deb "$place"
for block in /run/operations/*.sh; do
	grep -q 'a newer package' "$block" && cp /payload/second.deb "$place"
	claim "docs/operations.md, block $(basename "$block" .sh): $(grep -v '^#' "$block" | head -n 1 | cut -c1-60)" sh -eu "$block"
	[ "$(basename "$block")" != 11.sh ] || claim "the rows of the backup are there" within 30 eval 'more 0 "$(rows)"'
done
cd /payload
claim "after them nothing is left" left
