-- Identities. A series is stored with its first sample.
CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    series_key  TEXT    NOT NULL UNIQUE, -- sha256 hex of the canonical identity
    metric_name TEXT    NOT NULL,        -- stored, dotted name
    device_id   TEXT    NOT NULL,
    tags        TEXT    NOT NULL,        -- canonical JSON, or empty
    value_type  INTEGER NOT NULL         -- 0 number, 1 text
);

-- Samples in time order. The key makes each sample unique.
-- uploaded: 0 pending, 1 delivered, 2 rejected, 3 held (clock not trusted yet), 4 local (text, never sent).
CREATE TABLE samples (
    timestamp_ms INTEGER NOT NULL,
    series_id    INTEGER NOT NULL REFERENCES series (id),
    value        REAL,
    value_text   TEXT,
    session      INTEGER,                -- sessions.num
    uploaded     INTEGER NOT NULL DEFAULT 0,
    priority     INTEGER NOT NULL DEFAULT 2,
    PRIMARY KEY (timestamp_ms, series_id)
) WITHOUT ROWID;

-- Only undelivered samples are indexed, so both indexes are small on a healthy board.
CREATE INDEX samples_pending ON samples (priority, timestamp_ms, series_id) WHERE uploaded = 0;
CREATE INDEX samples_held ON samples (session, timestamp_ms, series_id) WHERE uploaded = 3;

CREATE TABLE sessions (
    num        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    start_time INTEGER NOT NULL,         -- Unix milliseconds
    end_time   INTEGER,
    status     TEXT,                     -- active, completed, failed
    metadata   TEXT                      -- JSON
);

-- One receipt for each chunk that the server accepted.
CREATE TABLE upload_checkpoints (
    id                      INTEGER PRIMARY KEY,
    batch_id                TEXT    NOT NULL,
    chunk_index             INTEGER NOT NULL,
    last_uploaded_id        INTEGER,     -- metrics.id of the newest sample in the chunk
    last_uploaded_timestamp INTEGER,
    upload_time             INTEGER,     -- Unix milliseconds
    metrics_count           INTEGER,
    first_uploaded_timestamp INTEGER     -- of the oldest sample; NULL in receipts of earlier schemas
);

-- The latest state of each component; no history.
CREATE TABLE status (
    component         TEXT PRIMARY KEY,
    daemon            TEXT    NOT NULL,
    state             TEXT    NOT NULL,  -- running, stopped
    pid               INTEGER NOT NULL,
    version           TEXT    NOT NULL,
    boot_id           TEXT    NOT NULL,
    started_ms        INTEGER NOT NULL,
    interval_ms       INTEGER NOT NULL,  -- how often a heartbeat is due
    heartbeat_ms      INTEGER NOT NULL,
    heartbeat_boot_ms INTEGER NOT NULL,  -- CLOCK_BOOTTIME: ages hold when the clock is set
    success_ms        INTEGER NOT NULL,  -- 0: never
    success_boot_ms   INTEGER NOT NULL,  -- -1: not in this boot
    error             TEXT    NOT NULL,  -- the last one, also after it ended
    error_ms          INTEGER NOT NULL,  -- 0: never
    failing_since_ms  INTEGER NOT NULL,  -- 0: the last attempt succeeded
    succeeded         INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    detail            TEXT    NOT NULL   -- JSON object
) WITHOUT ROWID;

-- Self-metrics that count, kept over restarts.
CREATE TABLE counters (
    name  TEXT NOT NULL,
    tags  TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (name, tags)
) WITHOUT ROWID;

-- Why a sample with uploaded = 2 was rejected.
CREATE TABLE rejected (
    timestamp_ms INTEGER NOT NULL,
    series_id    INTEGER NOT NULL,
    rejected_ms  INTEGER NOT NULL,
    http_status  INTEGER NOT NULL,       -- 0: rejected by the shipper, before sending
    reason       TEXT    NOT NULL,
    server_words TEXT    NOT NULL,
    PRIMARY KEY (timestamp_ms, series_id)
) WITHOUT ROWID;

-- captured = delivered + pending + held + rejected + local + all losses.
CREATE TABLE ledger (
    name  TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO ledger VALUES ('captured', 0), ('delivered', 0), ('held', 0), ('local', 0), ('rejected', 0);

CREATE TABLE losses (
    reason   TEXT PRIMARY KEY,
    count    INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL
) WITHOUT ROWID;

-- The samples as one wide table, for people and their queries.
CREATE VIEW metrics AS
SELECT
    (s.timestamp_ms << 20) | s.series_id     AS id,
    s.timestamp_ms                           AS timestamp_ms,
    series.metric_name                       AS metric_name,
    s.value                                  AS metric_value,
    s.value_text                             AS value_text,
    series.value_type                        AS value_type,
    series.tags                              AS tags,
    sessions.id                              AS session_id,
    series.device_id                         AS device_id,
    s.uploaded                               AS uploaded,
    s.priority                               AS priority,
    series.series_key || ':' || s.timestamp_ms AS dedup_key
FROM samples AS s
JOIN series ON series.id = s.series_id
LEFT JOIN sessions ON sessions.num = s.session;
