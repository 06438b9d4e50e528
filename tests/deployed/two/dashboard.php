<?php
// What the page asks for: the printers, a command to queue, the files, the statistics.
require_once __DIR__ . '/database.php';
$db = db();
$input = json_decode((string) file_get_contents('php://input'), true) ?: [];
switch ($_GET['action'] ?? '') {
    case 'printers':
        $printers = $db->query('SELECT * FROM printers p JOIN printer_states s ON s.printer_id = p.id ORDER BY p.id')->fetchAll();
        foreach ($printers as &$printer) {
            foreach (['filament', 'files', 'tags'] as $name) {
                $printer[$name] = json_decode((string) $printer[$name], true);
            }
        }
        answer(['success' => true, 'printers' => $printers]);
    case 'send':
        one($db, 'INSERT INTO commands (printer_id, type, command, priority, created_at) VALUES (?, ?, ?, ?, ?)', [
            $input['printer_id'], $input['type'], $input['command'], $input['priority'] ?? 5, now(),
        ]);
        answer(['success' => true, 'id' => (int) $db->lastInsertId()]);
    case 'print':
        $file = one($db, 'SELECT * FROM files WHERE id = ?', [$input['file_id']]);
        one($db, 'INSERT INTO jobs (printer_id, file_id, user_id, started_at) VALUES (?, ?, 1, ?)', [$input['printer_id'], $file['id'], now()]);
        one($db, "INSERT INTO commands (printer_id, type, command, created_at) VALUES (?, 'basic', ?, ?)", [
            $input['printer_id'], 'PRINT_FILE:' . $file['filename'], now(),
        ]);
        answer(['success' => true, 'id' => (int) $db->lastInsertId()]);
    case 'files':
        answer(['success' => true, 'files' => $db->query('SELECT * FROM files ORDER BY id')->fetchAll()]);
    case 'statistics':
        answer(['success' => true] + one(
            $db,
            "SELECT COUNT(*) AS jobs, COALESCE(SUM(status = 'completed'), 0) AS completed, COALESCE(SUM(status = 'cancelled'), 0) AS cancelled,"
            . " COALESCE(SUM(status = 'failed'), 0) AS failed, COALESCE(SUM(duration), 0) AS seconds, COALESCE(SUM(filament_used), 0) AS grams FROM jobs",
            []
        ));
}
answer(['success' => false, 'message' => 'Acción no válida']);
