-- Series of which another process than the collector stores samples. The
-- collector deletes other series when they have no samples.
CREATE TABLE IF NOT EXISTS series_used (
    series_id INTEGER PRIMARY KEY
);
