<?php
/** Generation 2: the status update; also where extension command_results is posted. */
declare(strict_types=1);

require_once __DIR__ . '/../lib/printers.php';

$request = Request::read();
$results = ($request->json['action'] ?? '') === 'command_results';
(new Hub(2, $results ? 'command_results' : 'status', $request))->serve(function (Hub $hub) use ($results): array {
    if ($hub->request->method !== 'POST') {
        throw new Refusal('Método no permitido');
    }
    return $results ? Extensions::results($hub) : Printers::update($hub);
});
