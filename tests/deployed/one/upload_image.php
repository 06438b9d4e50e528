<?php
// Generation 1: one picture a printer, under its token.
header('Content-Type: application/json; charset=utf-8');
$token = preg_replace('/[^A-Za-z0-9_-]/', '', $_POST['token'] ?? '');
$image = $_FILES['image'] ?? null;
if ($token === '' || !$image || $image['error'] !== UPLOAD_ERR_OK) {
    echo json_encode(['success' => false, 'message' => 'No se recibió ninguna imagen'], JSON_UNESCAPED_UNICODE);
    exit;
}
@mkdir(__DIR__ . '/printer_images');
move_uploaded_file($image['tmp_name'], __DIR__ . "/printer_images/$token.jpg");
echo json_encode(['success' => true, 'image_url' => "printer_images/$token.jpg?t=" . time()]);
