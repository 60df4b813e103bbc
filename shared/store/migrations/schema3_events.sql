-- Events of the stream. At most 2,000 rows, never sent.
CREATE TABLE IF NOT EXISTS events (
    id     INTEGER PRIMARY KEY,
    time   INTEGER NOT NULL,             -- Unix milliseconds
    source TEXT    NOT NULL,             -- encoder, kernel, systemd, …
    event  TEXT    NOT NULL,
    reason TEXT    NOT NULL,             -- empty: none
    link   TEXT    NOT NULL,             -- empty: none
    text   TEXT    NOT NULL,             -- at most 200 bytes
    held   INTEGER NOT NULL DEFAULT 0    -- sessions.num whose clock is not trusted yet; 0: the time is right
);
