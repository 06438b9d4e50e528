<?php
require_once __DIR__ . '/database.php';
@mkdir(__DIR__ . '/data');
@mkdir(__DIR__ . '/gcodes');
if (!empty($_GET['force'])) {
    $db = db();
    foreach (['printers', 'printer_states', 'commands', 'command_history', 'files', 'jobs'] as $table) {
        $db->exec("DROP TABLE IF EXISTS $table");
    }
    $db->exec('DELETE FROM sqlite_sequence');
}
db()->exec(TABLES);
answer(['success' => true]);
