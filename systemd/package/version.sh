#!/bin/sh
# version.sh: the version of a package of the commit that is checked out here: the
# last tag and what came after it, or where there is none 0~git with the commit's
# time (UTC) and hash. The time of day is in it because hashes are in no order.
set -eu
if tag=$(git describe --tags --match 'v[0-9]*' --dirty=+dirty 2>/dev/null); then
	echo "${tag#v}" | tr - +
else
	echo "0~git$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d.%H%M%S).$(git describe --always --dirty=+dirty)"
fi
