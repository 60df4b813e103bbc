package health

// A Code names one thing that can be wrong. docs/health-monitoring.md explains each, and
// what to do.
type Code string

// What can be wrong with the database as a whole. All are errors: nothing else
// is known then.
const (
	DatabaseMissing    Code = "database_missing"
	DatabaseEmpty      Code = "database_empty"
	DatabaseDenied     Code = "database_denied"
	DatabaseDamaged    Code = "database_damaged"
	DatabaseLocked     Code = "database_locked"
	DatabaseOlder      Code = "database_older"
	DatabaseNewer      Code = "database_newer"
	DatabaseForeign    Code = "database_foreign"
	DatabaseUnreadable Code = "database_unreadable"
	DatabaseSilent     Code = "database_silent"
)

// What can be wrong with metrics-collector and what it reads.
const (
	CollectorNeverRan    Code = "collector_never_ran"
	CollectorStarting    Code = "collector_starting"
	CollectorStopped     Code = "collector_stopped"
	CollectorFailed      Code = "collector_start_failed"
	CollectorCrashed     Code = "collector_crashed"
	CollectorHung        Code = "collector_hung"
	CollectorSilent      Code = "collector_silent"
	NoCollectors         Code = "no_collectors"
	CollectorFailing     Code = "collector_failing"
	CollectorReadFailing Code = "reading_failing"
	CollectorReadSilent  Code = "reading_silent"
	AllReadingsFailing   Code = "all_readings_failing"
	NoSamplesYet         Code = "no_samples_yet"
)

// What can be wrong with metrics-shipper and the way to the server.
const (
	ShipperNeverRan      Code = "shipper_never_ran"
	ShipperStarting      Code = "shipper_starting"
	ShipperStopped       Code = "shipper_stopped"
	ShipperFailed        Code = "shipper_start_failed"
	ShipperCrashed       Code = "shipper_crashed"
	ShipperHung          Code = "shipper_hung"
	ShipperSilent        Code = "shipper_silent"
	ShipperMisconfigured Code = "shipper_misconfigured"
	NoDeliveryYet        Code = "no_delivery_yet"
	UploadLate           Code = "upload_late"
	UploadStuck          Code = "upload_stuck"
	UploadBudgetSpent    Code = "upload_budget_spent"
	ServerTakesLittle    Code = "server_takes_little"
	PendingHigh          Code = "pending_high"
)

// What can be wrong with what is stored, with the clock and with the configuration.
const (
	StorageFailing    Code = "storage_failing"
	DatabaseRepaired  Code = "database_repaired"
	DatabaseWentBack  Code = "database_went_back"
	CheckpointBlocked Code = "checkpoint_blocked"
	WALLarge          Code = "wal_large"
	DiskFull          Code = "disk_full"
	DiskLow           Code = "disk_low"
	SamplesEvicted    Code = "samples_evicted"
	SeriesLimit       Code = "series_limit"
	LedgerUnbalanced  Code = "ledger_unbalanced"
	SamplesRejected   Code = "samples_rejected"
	SamplesLost       Code = "samples_lost"
	ClockSkew         Code = "clock_skew"
	ClockNotTrusted   Code = "clock_not_trusted"
	ConfigInvalid     Code = "config_invalid"
)
