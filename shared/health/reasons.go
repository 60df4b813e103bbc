package health

import (
	"fmt"
	"strings"
)

// An Entry describes one code. docs/health-monitoring.md shows these entries as tables,
// and each reason has its hint.
type Entry struct {
	Code     Code
	Severity Status
	Meaning  string
	Hint     string // what the operator can do
}

// A Chapter is the entries about one part of the pipeline.
type Chapter struct {
	Title   string
	Entries []Entry
}

// Catalog has every code once.
var Catalog = []Chapter{
	{"The database", []Entry{
		{
			DatabaseMissing, StatusError, "there is no file at `storage.path`",
			"on a new board, start metrics-collector; otherwise the file was deleted: restart the writers",
		},
		{DatabaseEmpty, StatusError, "the file has no tables", "a writer is starting, or none ever ran: start metrics-collector"},
		{
			DatabaseDenied, StatusError, "the file or its `-wal` and `-shm` cannot be opened",
			"metrics-health needs to read them: user `metrics-health` in group `metrics`, directory 0750; if `-shm` is missing, start metrics-collector",
		},
		{
			DatabaseDamaged, StatusError, "it is not an SQLite file, or a page of it is damaged",
			"start or restart metrics-collector: it copies what can be read into a new file and keeps the damaged one beside it; leave the file where it is, and check the storage device (`dmesg`)",
		},
		{DatabaseLocked, StatusError, "another program has kept it locked for over 5 s", "close the program that has it open, such as a backup or an `sqlite3` prompt"},
		{DatabaseOlder, StatusError, "it has an older schema", "start metrics-collector; it brings the database up to date and loses nothing"},
		{DatabaseNewer, StatusError, "a newer program wrote it; nothing was touched", "upgrade this program"},
		{DatabaseForeign, StatusError, "it belongs to another program; nothing was touched", "set `storage.path` to another file"},
		{DatabaseUnreadable, StatusError, "any other fault; the message has SQLite's error", "check the storage device; `storage.path` must be a file"},
		{DatabaseSilent, StatusError, "there was no answer within 3 s", "the storage device hangs or is failing: `dmesg`"},
	}},
	{"Measuring", []Entry{
		{CollectorNeverRan, StatusError, "metrics-collector never ran on this database", "start it; check that both read the same configuration"},
		{CollectorStarting, StatusDegraded, "it was started and has not written yet", "wait; it becomes `collector_hung` if it makes no progress"},
		{CollectorStopped, StatusError, "it was stopped on purpose", "start it: `systemctl start metrics-collector`"},
		{
			CollectorFailed, StatusError, "it ended with an error, or before it could store anything; systemd may be restarting it repeatedly",
			"the message has the error, or `journalctl -u metrics-collector` has it; `metrics-collector -check`",
		},
		{
			CollectorCrashed, StatusError, "it ended without storing a reason: it was killed, ran out of memory, or the power was cut and it was not started again",
			"`journalctl -u metrics-collector`; systemd starts it again",
		},
		{
			CollectorHung, StatusError, "it runs and has made no progress for too long, or was started and stores nothing",
			"its watchdog restarts it; if this returns, read its log and check the storage device",
		},
		{
			CollectorSilent, StatusError, "it gave no heartbeat for too long, and its lock cannot be read: whether it runs is not known",
			"the message has the error of the lock file; check its permissions and the storage device",
		},
		{CollectorFailing, StatusError, "it cannot store what it reads; samples are kept in memory", "the message has the cause, most often a full disk"},
		{
			CollectorReadFailing, StatusDegraded, "one collector cannot read its source, or not all of it",
			"the message names the file; if the board has no such device, switch the collector off",
		},
		{
			CollectorReadSilent, StatusDegraded, "one collector has not run for too long, or is configured and has never run",
			"restart metrics-collector after a change of the configuration",
		},
		{AllReadingsFailing, StatusError, "no collector can read its source", "check `host.procfs` and `host.sysfs`, and the unit's sandbox"},
		{NoSamplesYet, StatusDegraded, "no sample was ever stored", "wait for the first interval"},
		{NoCollectors, StatusDegraded, "the configuration enables no collector", "list the collectors under `metrics`, or delete the key to get the default ones"},
	}},
	{"Sending", []Entry{
		{ShipperNeverRan, StatusDegraded, "metrics-shipper never ran on this database", "start it, or set `remote.enabled: false`"},
		{ShipperStarting, StatusDegraded, "it was started and has not written yet", "wait; it becomes `shipper_hung` if it makes no progress"},
		{ShipperStopped, StatusDegraded, "it was stopped on purpose; samples are kept", "start it: `systemctl start metrics-shipper`; it sends the backlog"},
		{
			ShipperFailed, StatusDegraded, "it ended with an error, or before it could store anything; systemd may be restarting it repeatedly; samples are kept",
			"the message has the error, or `journalctl -u metrics-shipper` has it; `metrics-shipper -check`",
		},
		{ShipperCrashed, StatusDegraded, "it ended without storing a reason; samples are kept", "`journalctl -u metrics-shipper`; systemd starts it again"},
		{ShipperHung, StatusDegraded, "it runs and has made no progress for too long", "its watchdog restarts it; if this returns, read its log"},
		{
			ShipperSilent, StatusDegraded, "it gave no heartbeat for too long, and its lock cannot be read: whether it runs is not known",
			"the message has the error of the lock file; check its permissions and the storage device",
		},
		{
			ShipperMisconfigured, StatusDegraded,
			"the server at `remote.url` does not accept samples (wrong address, path, token or certificate), or [it is not a metrics server](durability.md#what-counts-as-delivered) but, for example, the sign-in page of a network; the message has the status, the content type and the beginning of the answer",
			"sign in to the network, or check `remote.url` and the token; samples are kept and tried again",
		},
		{NoDeliveryYet, StatusDegraded, "a new board, nothing delivered yet", "wait for the first upload"},
		{UploadLate, StatusDegraded, "no delivery for longer than the first limit", "often just no uplink; the message has the last error"},
		{UploadStuck, StatusError, "no delivery for longer than the second limit, and many samples are pending", "check the uplink, the server, the last error"},
		{
			ServerTakesLittle, StatusDegraded,
			"the server accepts less than half of the bytes that are sent to it, or accepts single samples but rejects them in chunks; the daily limit of bytes for finding bad samples (a tenth of a day's uploads, at least 100 kB) is used up. Samples are kept, and sent in small requests with growing waits between them",
			"check the server's log and limits, and any proxy before it that cuts off requests",
		},
		{UploadBudgetSpent, StatusDegraded, "today's limit of bytes is reached; samples are kept", "wait for tomorrow, or raise `remote.max_bytes_per_day`"},
		{
			PendingHigh, StatusDegraded, "more samples are pending than the limit",
			"after an outage they are sent automatically; if the number grows while uploads succeed, collect less often",
		},
	}},
	{"Storage, clock and configuration", []Entry{
		{StorageFailing, StatusError, "the upkeep of the database fails", "the message has the cause, such as a full or failing disk"},
		{
			DatabaseRepaired, StatusDegraded,
			"the database or its WAL was damaged within the last hour and what could be read of it was copied into a new one; the message says how many samples were lost and where the damaged file is",
			"check the storage device (`dmesg`); delete the damaged file when it is not needed for a closer look",
		},
		{
			DatabaseWentBack, StatusDegraded,
			"the database was found empty, cut short or in an earlier state within the last hour: it has fewer samples than had been captured. The message says how many are lost (counted as `went_back`), or that this is unknown",
			"if a backup was restored or the database removed on purpose, nothing; otherwise check the storage device (`dmesg`) and the filesystem",
		},
		{CheckpointBlocked, StatusDegraded, "a reader keeps the WAL from being emptied", "close the program that has the database open"},
		{WALLarge, StatusDegraded, "the WAL is more than twice as large as `storage.wal_checkpoint_size_mb`", "close programs that have the database open; otherwise restart metrics-collector"},
		{DiskFull, StatusError, "there is no room beside the database: no daemon can store anything, nor write a heartbeat. The collector keeps the newest 20,000 samples in memory", "make room on the filesystem of the database; everything continues by itself"},
		{DiskLow, StatusDegraded, "less than `storage.min_free_mb` is free on the disk", "find out what fills the disk; the collector deletes old samples first"},
		{
			SeriesLimit, StatusDegraded,
			"there are as many series as `storage.max_series` or a quarter of `storage.max_size_mb` allows; samples of new ones are not stored and are counted as lost. The reason ends a minute after the last of them",
			"find names that change all the time, such as modems with random MACs; leave them out with `exclude_ifaces`, or raise the limit",
		},
		{SamplesEvicted, StatusDegraded, "samples are deleted before their time to make room", "free disk space, or raise `storage.max_size_mb`"},
		{LedgerUnbalanced, StatusError, "the ledger has more samples leaving the database than entering it", "keep a copy of the database and report it"},
		{
			SamplesRejected, StatusDegraded, "the server rejected samples within the last hour",
			"`metrics-shipper -rejected` shows the server's message; when the cause is gone, `metrics-shipper -requeue` sends them again ([how](operations.md#send-and-compare-by-hand))",
		},
		{SamplesLost, StatusDegraded, "samples were lost within the last hour", "the message has the cause, most often too little room"},
		{ClockSkew, StatusDegraded, "this clock and the server's differ", "`timedatectl`; a board without a battery needs a time server"},
		{
			ClockNotTrusted, StatusDegraded, "the kernel, timesyncd and the server have not confirmed the clock for 10 min; samples are held until one of them does",
			"`timedatectl`; a board without a battery needs a time server. Held samples get the right time and are sent",
		},
		{
			ConfigInvalid, StatusDegraded, "the configuration file was changed and is not valid any more; the daemons continue with the one they read at their start",
			"`metrics-collector -check` names each fault with its line",
		},
	}},
}

// hints are the hints of the catalogue, as plain text.
var hints = func() map[Code]string {
	plain := strings.NewReplacer("`", "", " ([how](operations.md#send-and-compare-by-hand))", "")
	all := map[Code]string{}
	for _, chapter := range Catalog {
		for _, e := range chapter.Entries {
			all[e.Code] = plain.Replace(e.Hint)
		}
	}
	return all
}()

// Markdown is the catalogue as the page docs/health-monitoring.md shows it.
func Markdown() string {
	var b strings.Builder
	for _, chapter := range Catalog {
		fmt.Fprintf(&b, "\n### %s\n\n", chapter.Title)
		if chapter.Title == "The database" {
			b.WriteString("The daemon keeps answering, tries again at every evaluation, and opens the new file when the database was replaced.\n\n")
		}
		b.WriteString("| code | status | meaning | what to do |\n| --- | --- | --- | --- |\n")
		for _, e := range chapter.Entries {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Code, e.Severity, e.Meaning, e.Hint)
		}
	}
	return b.String() + "\n"
}
