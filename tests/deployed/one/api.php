<?php
// Generation 1 as it is deployed, by its observed behaviour: two JSON files beside the script, each read whole and written
// whole, without a lock. What it keeps, deletes and replaces is what the plugin has to live with; nothing here is a model.

header('Content-Type: application/json; charset=utf-8');
header('Access-Control-Allow-Origin: *');

const FIELDS = [
    'name' => '', 'status' => '', 'progress' => 0, 'current_file' => '', 'temp_hotend' => 0, 'temp_bed' => 0, 'image' => '',
    'time_remaining' => 0, 'print_speed' => 0, 'last_completed' => '', 'uptime' => '', 'bed_status' => '', 'filament' => [],
    'files' => [], 'tags' => [],
];
const OFFLINE_AFTER = 60;

function load_json(string $file): array
{
    return json_decode((string) @file_get_contents(__DIR__ . "/$file"), true) ?: [];
}

function save_json(string $file, array $data): void
{
    file_put_contents(__DIR__ . "/$file", json_encode($data, JSON_PRETTY_PRINT | JSON_UNESCAPED_UNICODE));
}

function reply(array $fields): void
{
    echo json_encode($fields, JSON_UNESCAPED_UNICODE);
    exit;
}

$input = json_decode((string) file_get_contents('php://input'), true) ?: [];
$action = $_GET['action'] ?? $input['action'] ?? '';

switch ($action) {
    case 'update_printer':
        $token = $input['token'] ?? '';
        if ($token === '') {
            reply(['success' => false, 'message' => 'Token requerido']);
        }
        $printers = load_json('printers.json');
        $number = null;
        foreach ($printers as $index => $printer) {
            if ($printer['token'] === $token) {
                $number = $index;
            }
        }
        $before = $number === null ? ['id' => uniqid('printer_'), 'token' => $token, 'notes' => ''] : $printers[$number];
        $printer = ['id' => $before['id'], 'token' => $token, 'notes' => $before['notes'], 'last_update' => time()];
        foreach (FIELDS as $name => $empty) {
            // `??` takes null for absent, as for a field that was left out.
            $printer[$name] = array_key_exists($name, $input) ? $input[$name] : $empty;
        }
        foreach (['image', 'tags'] as $name) {
            $printer[$name] = $printer[$name] ?: ($before[$name] ?? FIELDS[$name]);
        }
        if ($number === null) {
            $printers[] = $printer;
        } else {
            $printers[$number] = $printer;
        }
        save_json('printers.json', $printers);
        reply(['success' => true, 'message' => 'Impresora actualizada', 'printer_id' => $printer['id']]);

    case 'get_printers':
        $printers = load_json('printers.json');
        foreach ($printers as &$printer) {
            if (time() - $printer['last_update'] > OFFLINE_AFTER) {
                $printer['status'] = 'offline';
            }
        }
        reply(['success' => true, 'printers' => $printers]);

    case 'send_command':
        $commands = load_json('commands.json');
        $command = ['id' => uniqid('cmd_'), 'token' => $input['token'], 'action' => $input['command'], 'timestamp' => time()];
        $commands[] = $command + ($input['params'] ?? []);
        save_json('commands.json', $commands);
        reply(['success' => true, 'message' => 'Comando enviado', 'id' => $command['id']]);

    case 'get_commands':
        $token = $_GET['token'] ?? '';
        $mine = $others = [];
        foreach (load_json('commands.json') as $command) {
            if ($command['token'] === $token) {
                $mine[] = $command;
            } else {
                $others[] = $command;
            }
        }
        save_json('commands.json', $others);    // also when there was nothing
        reply(['success' => true, 'commands' => $mine]);
}
reply(['success' => false, 'message' => 'Acción no válida']);
