<?php
/** Generation 1: list_files, download_file, mark_downloaded (which deletes the server's copy). */
declare(strict_types=1);

require_once __DIR__ . '/lib/files.php';

Files::serve(1);
