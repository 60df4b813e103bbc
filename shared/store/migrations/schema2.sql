CREATE TABLE metrics (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp_ms INTEGER NOT NULL,
    metric_name  TEXT    NOT NULL,
    metric_value REAL,
    value_text   TEXT,
    value_type   INTEGER DEFAULT 0,
    tags         TEXT,
    session_id   TEXT,
    device_id    TEXT,
    uploaded     INTEGER DEFAULT 0,
    priority     INTEGER DEFAULT 2
);
INSERT INTO metrics (id, timestamp_ms, metric_name, metric_value, device_id)
SELECT id, timestamp_ms, metric_name, metric_value, device_id FROM metrics_v1;
DROP TABLE metrics_v1;
