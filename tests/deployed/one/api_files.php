<?php
// Generation 1: uploaded G-code under its own name; the server's copy is deleted once it was taken.
$input = json_decode((string) file_get_contents('php://input'), true) ?: [];
$action = $_GET['action'] ?? $input['action'] ?? '';
$folder = __DIR__ . '/uploads';
$name = basename($_GET['file'] ?? $input['file'] ?? '');
$path = "$folder/$name";
if ($action === 'download_file' && $name !== '' && is_file($path)) {
    header('Content-Type: application/octet-stream');
    header('Content-Length: ' . filesize($path));
    readfile($path);
    exit;
}
header('Content-Type: application/json; charset=utf-8');
$reply = ['success' => false, 'message' => 'Acción no válida'];
if ($action === 'list_files') {
    $files = [];
    foreach (glob("$folder/*.gcode") ?: [] as $file) {
        $size = filesize($file);
        $files[] = [
            'name' => basename($file), 'original_name' => basename($file), 'size' => round($size / 1024, 1) . ' KB', 'size_bytes' => $size,
            'md5' => md5_file($file), 'uploaded' => date('Y-m-d H:i:s', filemtime($file)), 'downloaded' => false, 'exists' => true,
        ];
    }
    $reply = ['success' => true, 'files' => $files];
} elseif ($action === 'download_file') {
    $reply['message'] = 'Archivo no encontrado';
} elseif ($action === 'mark_downloaded') {
    @unlink($path);
    $reply = ['success' => true, 'message' => 'Archivo marcado como descargado'];
}
echo json_encode($reply, JSON_UNESCAPED_UNICODE);
