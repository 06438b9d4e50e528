<?php
/**
 * What PHP's built-in server asks first: `php -S 127.0.0.1:8080 -t tests/hub tests/hub/router.php`.
 * The endpoints run as they are, pictures come from the data folder, and anything else is a journalled 404.
 */
declare(strict_types=1);

$path = (string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$endpoints = [
    '/api.php', '/upload_image.php', '/api_files.php', '/upload_timelapse.php',
    '/printer-api/update.php', '/printer-api/commands.php', '/printer-api/files.php', '/printer-api/upload_timelapse.php',
];
if (in_array($path, $endpoints, true)) {
    return false;
}
require_once __DIR__ . '/lib/hub.php';
if (preg_match('~^/(printer_images/[A-Za-z0-9_-]+\.jpg|timelapses/\d+)$~', $path, $match)) {
    $file = Hub::dataFolder() . '/' . $match[1];
    if (is_file($file)) {
        header('Content-Type: ' . ($match[1][0] === 'p' ? 'image/jpeg' : 'video/mp4'));
        readfile($file);
        return true;
    }
}
(new Hub(0, 'other', Request::read()))->serve(function (Hub $hub): ?array {
    http_response_code(404);
    header('Content-Type: text/html; charset=UTF-8');
    $hub->finished(404, false, '');
    echo "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n";
    return null;
});
return true;
