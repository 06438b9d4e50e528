<?php
require_once __DIR__ . '/database.php';
$raw = (string) file_get_contents('php://input');
$input = json_decode($raw, true);
if (!is_array($input) || empty($input['token'])) {
    answer(['success' => false, 'message' => 'Token requerido']);
}
$db = db();
$printer = one($db, 'SELECT * FROM printers WHERE token = ?', [$input['token']]);
if ($printer && $printer['is_blocked']) {
    answer(['success' => false, 'message' => 'Impresora bloqueada']);
}
if (!$printer) {
    one($db, 'INSERT INTO printers (token, name) VALUES (?, ?)', [$input['token'], $input['name'] ?? '']);
    $printer = one($db, 'SELECT * FROM printers WHERE token = ?', [$input['token']]);
}
one($db, 'UPDATE printers SET status = ?, last_seen = ?, name = ? WHERE id = ?', [
    $input['status'] ?? 'idle', now(), ($input['name'] ?? '') !== '' ? $input['name'] : $printer['name'], $printer['id'],
]);
one(
    $db,
    'REPLACE INTO printer_states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    [
        $printer['id'], $input['progress'] ?? 0, $input['current_file'] ?? '', $input['temp_hotend'] ?? 0, $input['temp_bed'] ?? 0,
        $input['temp_hotend_target'] ?? 0, $input['temp_bed_target'] ?? 0, $input['image'] ?? '', $input['time_remaining'] ?? 0,
        $input['print_speed'] ?? 0, $input['fan_speed'] ?? 0, $input['last_completed'] ?? '', $input['uptime'] ?? '', $input['bed_status'] ?? '',
        json_encode($input['filament'] ?? null), $input['location'] ?? '', json_encode($input['files'] ?? []), json_encode($input['tags'] ?? []), $raw,
    ]
);
answer(['success' => true, 'message' => 'Estado actualizado', 'printer_id' => (int) $printer['id'], 'timestamp' => time()]);
