#!/bin/sh
# built.sh PROGRAM...: fails unless each was built with the tags and, where it has
# SQLite in it, the C flags of the Makefile, and knows the commit that it is of.
set -eu
cd "$(dirname "$0")/.."
tags=$(sed -n 's/^TAGS := //p' Makefile)
revision=$(git rev-parse HEAD 2>/dev/null || true)
for program; do
	grep -qF "$revision" "$program" || { echo "$program: does not know that it is of $revision" >&2; exit 1; }
	has=$(${GO:-go} version -m "$program" | sed -n 's/^\tbuild\t-tags=//p')
	[ "$has" = "$tags" ] || { echo "$program: built with the tags '$has', want '$tags'" >&2; exit 1; }
	# The programs hold no record of the C flags, but of what they made SQLite call.
	! ${GO:-go} version -m "$program" | grep -q mattn/go-sqlite3 || objdump -T "$program" | grep -qw fdatasync ||
		{ echo "$program: its SQLite calls fsync, want fdatasync" >&2; exit 1; }
done
