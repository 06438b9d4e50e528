<?php
/** Generation 1: status, commands and health in one endpoint. */
declare(strict_types=1);

require_once __DIR__ . '/lib/printers.php';

$request = Request::read();
$action = $request->text('action');
$post = $request->method === 'POST';
$endpoints = [
    'update_printer' => 'status', 'get_commands' => 'commands', 'get_printers' => 'health', 'command_results' => 'command_results',
];
$hub = new Hub(1, $endpoints[$action] ?? 'other', $request);
$hub->serve(function (Hub $hub) use ($action, $post): array {
    if ($action === 'update_printer' && $post) {
        return Printers::update($hub);
    }
    if ($action === 'get_commands') {
        return Queue::reply($hub);
    }
    if ($action === 'get_printers') {
        return Printers::list($hub);
    }
    if ($action === 'command_results' && $post) {
        return Extensions::results($hub);
    }
    throw new Refusal($post && $hub->request->json === null ? 'Datos JSON no válidos' : 'Acción no válida');
});
