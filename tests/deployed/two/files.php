<?php
require_once __DIR__ . '/database.php';
$input = json_decode((string) file_get_contents('php://input'), true) ?: [];
$action = $_GET['action'] ?? $input['action'] ?? '';
$db = db();
if (!one($db, 'SELECT 1 FROM printers WHERE token = ?', [$_GET['printer_token'] ?? $input['printer_token'] ?? ''])) {
    answer(['success' => false, 'message' => 'Token inválido']);
}
if ($action === 'list_files') {
    $files = [];
    foreach ($db->query('SELECT * FROM files ORDER BY id DESC')->fetchAll() as $row) {
        $path = __DIR__ . '/gcodes/' . $row['filename'];
        $size = (int) @filesize($path);
        $files[] = [
            'name' => $row['filename'], 'original_name' => $row['original_name'], 'size' => round($size / 1024, 1) . ' KB', 'size_bytes' => $size,
            'md5' => @md5_file($path), 'uploaded' => $row['uploaded_at'], 'downloaded' => false, 'exists' => is_file($path),
        ];
    }
    answer(['success' => true, 'files' => $files]);
}
if ($action === 'mark_downloaded') {
    answer(['success' => true, 'message' => 'Archivo marcado como descargado']);
}
$file = __DIR__ . '/gcodes/' . basename($_GET['file'] ?? '');
if ($action !== 'download_file' || !is_file($file)) {
    answer(['success' => false, 'message' => 'Archivo no encontrado']);
}
header('Content-Type: application/octet-stream');
header('Content-Length: ' . filesize($file));
readfile($file);
