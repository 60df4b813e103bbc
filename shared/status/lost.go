package status

// Reasons under which the table losses counts samples that are lost.
const (
	LostSameTime         = "same_time"         // another value of the series was stored at the sample's time
	LostUnstorable       = "unstorable"        // the value is no finite number
	LostSeriesLimit      = "series_limit"      // the series was new, and storage.max_series or its share of the database was reached
	LostMemoryFull       = "memory_full"       // the collector's queue was full while the database could not be written
	LostSizeLimit        = "size_limit"        // deleted undelivered: the database reached storage.max_size_mb
	LostLowSpace         = "low_space"         // deleted undelivered: the filesystem has less than storage.min_free_mb
	LostLocalExpired     = "local_expired"     // a text value, which is never sent, reached its age
	LostRejectedOverflow = "rejected_overflow" // the table of rejected samples was full
	LostDamaged          = "damaged"           // in a part of a damaged database that could not be read
	LostWentBack         = "went_back"         // known to an earlier state of a database that was emptied, cut short or restored
	LostReplaced         = "replaced"          // in a database file that was deleted or replaced while it was open
)
