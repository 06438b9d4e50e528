<?php
/** Generation 2: the same as api_files.php, except that mark_downloaded keeps the file. */
declare(strict_types=1);

require_once __DIR__ . '/../lib/files.php';

Files::serve(2);
