<?php
/** Generation 1: a camera picture, multipart, file field `image` (JPEG) and field `token`. */
declare(strict_types=1);

require_once __DIR__ . '/lib/printers.php';

(new Hub(1, 'image', Request::read()))->serve(function (Hub $hub): array {
    $image = $_FILES['image'] ?? null;
    if ($image === null || $image['error'] !== UPLOAD_ERR_OK) {
        throw new Refusal('No se recibió ninguna imagen');
    }
    if ($image['size'] > (int) $hub->setting('image_max_bytes', 5 << 20)) {
        throw new Refusal('La imagen es demasiado grande');
    }
    $bytes = (string) file_get_contents($image['tmp_name']);
    if (strncmp($bytes, "\xFF\xD8\xFF", 3) !== 0) {
        throw new Refusal('Solo se permiten imágenes JPEG');
    }
    Printers::addPicture($hub, (string) $image['name'], $bytes);
    // One picture a token: the next one replaces it.
    $file = preg_replace('/[^A-Za-z0-9_-]/', '_', $hub->token) . '.jpg';
    @mkdir("$hub->data/printer_images", 0700, true);
    move_uploaded_file($image['tmp_name'], "$hub->data/printer_images/$file");
    return ['message' => 'Imagen subida', 'image_url' => "printer_images/$file?t=" . (int) $hub->now()];
});
