-- Series that another process than the collector stores samples of. The
-- collector deletes series that have no samples, and passes over these.
CREATE TABLE IF NOT EXISTS series_used (
    series_id INTEGER PRIMARY KEY
);
