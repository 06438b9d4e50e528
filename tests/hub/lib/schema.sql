-- The reference hub's whole memory. Both PHP and the Python driver (tests/rig/hub.py) create it from this file.
-- Times are unix seconds with a fraction, by the machine's clock (never by the hub's shifted clock).

-- One row a switch, the value is JSON: features, tokens, commands_in_status, range, offline_after, clock_offset,
-- image_max_bytes, keep. Absent means "as the plain hub does".
CREATE TABLE IF NOT EXISTS control (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Misbehaviour in force. endpoint '*' means every one; remaining NULL means for ever.
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL,
    mode TEXT NOT NULL,
    params TEXT NOT NULL DEFAULT '{}',
    remaining INTEGER
);

-- Every request received, written on arrival; `finished` and what follows it when the answer has been made.
CREATE TABLE IF NOT EXISTS journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    generation INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    path TEXT NOT NULL,
    method TEXT NOT NULL,
    action TEXT NOT NULL,
    token TEXT NOT NULL,
    query TEXT NOT NULL,
    headers TEXT NOT NULL,
    size INTEGER NOT NULL,
    body TEXT,
    finished REAL,
    code INTEGER,
    success INTEGER,
    reply TEXT
);

-- What the server keeps of a printer: for generation 1 the replaced fields, for generation 2 also the raw body.
CREATE TABLE IF NOT EXISTS printers (
    generation INTEGER NOT NULL,
    token TEXT NOT NULL,
    printer_id TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    fields TEXT NOT NULL,
    raw_data TEXT NOT NULL,
    PRIMARY KEY (generation, token)
) WITHOUT ROWID;

-- Every accepted status update, in order; its body is the journal's.
CREATE TABLE IF NOT EXISTS statuses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL,
    time REAL NOT NULL,
    generation INTEGER NOT NULL,
    token TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS statuses_by_token ON statuses (token, id);

-- Commands not yet handed out. Generation 1 deletes the row on delivery, generation 2 marks it sent; lower priorities go
-- first. `handed_out` is the last time that it went to a client that may be given it twice (extension redeliver).
CREATE TABLE IF NOT EXISTS commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL,
    token TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL,
    created REAL NOT NULL,
    sent REAL,
    handed_out REAL,
    received INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS commands_waiting ON commands (generation, token) WHERE sent IS NULL;

-- Every command handed out, as it went over the wire.
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL,
    time REAL NOT NULL,
    generation INTEGER NOT NULL,
    token TEXT NOT NULL,
    via TEXT NOT NULL,
    body TEXT NOT NULL
);

-- G-code offered to a printer; the bytes are in <data>/files/<id>. `extra` is merged into its entry of the list.
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL,
    name TEXT NOT NULL,
    original_name TEXT NOT NULL,
    size INTEGER NOT NULL,
    md5 TEXT,
    extra TEXT NOT NULL DEFAULT '{}',
    uploaded REAL NOT NULL,
    downloaded INTEGER NOT NULL DEFAULT 0,
    UNIQUE (token, name)
);

-- Pictures received: generation 1's uploads, and generation 2's data URIs each time they change.
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL,
    time REAL NOT NULL,
    generation INTEGER NOT NULL,
    token TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    data BLOB NOT NULL
);

-- Extension command_results: every arrival, repeats included.
CREATE TABLE IF NOT EXISTS results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL,
    time REAL NOT NULL,
    token TEXT NOT NULL,
    via TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS results_by_token ON results (token, id);

-- Extension events: one row an event; the same one delivered again only raises `deliveries`.
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL,
    time REAL NOT NULL,
    token TEXT NOT NULL,
    seq TEXT NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 1,
    UNIQUE (token, seq, digest)
);

-- Extension timelapse_upload; the bytes are in <data>/timelapses/<id>.
CREATE TABLE IF NOT EXISTS timelapses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL,
    time REAL NOT NULL,
    token TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    fields TEXT NOT NULL
);
