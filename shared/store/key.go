package store

// Key packs the time and the series of a sample, which together are unique, into
// one number. It is the id of the view metrics, and receipts store it.
func Key(timeMs, seriesID int64) int64 { return timeMs<<seriesBits | seriesID }

const seriesBits = 20

const (
	// MaxSeries is the highest id of a series that a key has room for.
	MaxSeries = 1<<seriesBits - 1
	// MaxTimeMs is the latest time that a key has room for.
	MaxTimeMs = 1<<(63-seriesBits) - 1
)

// The same in SQL: the key of a sample, and the time and the series of a key.
const (
	sqlKey   = "(timestamp_ms << 20 | series_id)"
	sqlSplit = "last_uploaded_id >> 20, last_uploaded_id & 1048575"
)
