<?php
/** Extension timelapse_upload, beside generation 2's endpoints. */
declare(strict_types=1);

require_once __DIR__ . '/../lib/extensions.php';

(new Hub(2, 'timelapse', Request::read()))->serve([Extensions::class, 'timelapse']);
