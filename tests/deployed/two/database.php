<?php
// Generation 2 as it is deployed, by its observed behaviour: SQLite, one script a job. The columns are the server's.

date_default_timezone_set('America/Mexico_City');

const TABLES = '
CREATE TABLE IF NOT EXISTS printers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT UNIQUE NOT NULL, name TEXT, status TEXT DEFAULT "offline", last_seen DATETIME,
    is_blocked INTEGER DEFAULT 0, is_public INTEGER DEFAULT 1
);
CREATE TABLE IF NOT EXISTS printer_states (
    printer_id INTEGER PRIMARY KEY, progress REAL, current_file TEXT, temp_hotend REAL, temp_bed REAL, temp_hotend_target REAL,
    temp_bed_target REAL, image TEXT, time_remaining INTEGER, print_speed INTEGER, fan_speed INTEGER, last_completed TEXT, uptime TEXT,
    bed_status TEXT, filament TEXT, location TEXT, files TEXT, tags TEXT, raw_data TEXT
);
CREATE TABLE IF NOT EXISTS commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT, printer_id INTEGER NOT NULL, type TEXT NOT NULL, command TEXT NOT NULL, priority INTEGER DEFAULT 5,
    status TEXT DEFAULT "pending", created_at DATETIME, sent_at DATETIME, completed_at DATETIME
);
CREATE TABLE IF NOT EXISTS command_history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, command_id INTEGER, printer_id INTEGER, executed_at DATETIME, result TEXT, error_message TEXT,
    execution_time INTEGER
);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, filename TEXT NOT NULL, original_name TEXT NOT NULL, uploaded_at DATETIME
);
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, printer_id INTEGER NOT NULL, file_id INTEGER, user_id INTEGER, started_at DATETIME, ended_at DATETIME,
    duration INTEGER DEFAULT 0, filament_used REAL DEFAULT 0, status TEXT DEFAULT "in_progress", error_message TEXT
)';

function db(): PDO
{
    $db = new PDO('sqlite:' . __DIR__ . '/data/printers.db');
    $db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    $db->setAttribute(PDO::ATTR_DEFAULT_FETCH_MODE, PDO::FETCH_ASSOC);
    return $db;
}

function now(): string
{
    return date('Y-m-d H:i:s');
}

function one(PDO $db, string $sql, array $values)
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement->fetch();
}

function answer(array $fields): void
{
    header('Content-Type: application/json; charset=utf-8');
    echo json_encode($fields, JSON_UNESCAPED_UNICODE);
    exit;
}

set_exception_handler(function (Throwable $error): void {
    answer(['success' => false, 'message' => 'Error de base de datos: ' . $error->getMessage()]);
});
