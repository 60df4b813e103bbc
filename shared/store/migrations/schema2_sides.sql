CREATE TABLE IF NOT EXISTS sessions (
    id         TEXT PRIMARY KEY,
    start_time INTEGER NOT NULL,
    end_time   INTEGER,
    status     TEXT,
    metadata   TEXT
);
CREATE TABLE IF NOT EXISTS upload_checkpoints (
    id                      INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id                TEXT    NOT NULL,
    chunk_index             INTEGER NOT NULL,
    last_uploaded_id        INTEGER,
    last_uploaded_timestamp INTEGER,
    upload_time             INTEGER,
    metrics_count           INTEGER
);
