<?php
/** Extension timelapse_upload, beside generation 1's endpoints. */
declare(strict_types=1);

require_once __DIR__ . '/lib/extensions.php';

(new Hub(1, 'timelapse', Request::read()))->serve([Extensions::class, 'timelapse']);
