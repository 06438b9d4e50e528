<?php
require_once __DIR__ . '/database.php';
$db = db();
$printer = one($db, 'SELECT * FROM printers WHERE token = ?', [$_GET['token'] ?? '']);
if (!$printer) {
    answer(['success' => false, 'message' => 'Token inválido']);
}
$commands = [];
$query = $db->prepare("SELECT * FROM commands WHERE printer_id = ? AND status = 'pending' ORDER BY priority ASC, created_at ASC, id ASC LIMIT 10");
$query->execute([$printer['id']]);
foreach ($query->fetchAll() as $row) {
    one($db, "UPDATE commands SET status = 'sent', sent_at = ? WHERE id = ?", [now(), $row['id']]);
    $commands[] = ['id' => (int) $row['id'], 'type' => $row['type'], 'command' => $row['command'], 'priority' => (int) $row['priority']];
}
answer(['success' => true, 'commands' => $commands]);
