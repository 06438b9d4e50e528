<?php
/** Generation 2: at most ten commands, by priority then age; refused until the first update has registered the token. */
declare(strict_types=1);

require_once __DIR__ . '/../lib/printers.php';

(new Hub(2, 'commands', Request::read()))->serve(function (Hub $hub): array {
    if (!Printers::known($hub)) {
        throw new Refusal('Impresora no registrada');
    }
    return Queue::reply($hub);
});
