<?php
/**
 * Takes the printers' pictures at generation 2, beside update.php: multipart, file `image` (JPEG), field `token`, and `camera`
 * for further ones. Set `image_url` of the plugin to this file's address; each status then carries the picture's address
 * instead of the picture, a sixth of the bytes.
 *
 * Needs a folder printer_images/ that PHP may write to (it makes one if it can).
 */
declare(strict_types=1);

const DATABASE = __DIR__ . '/printers.db';   // the SQLite file that the server's own `new PDO('sqlite:…')` names
const LARGEST = 2 << 20;    // bytes
const CAMERAS = 8;          // pictures kept of one printer
const FOLDER = 'printer_images';

header('Content-Type: application/json; charset=utf-8');
try {
    $reply = ['success' => true, 'message' => 'Imagen guardada', 'image_url' => kept()];
} catch (Throwable $error) {
    $reply = ['success' => false, 'message' => $error->getMessage()];
}
echo json_encode($reply, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);

/** Its address, relative to this script; the name tells neither the token nor which printer it is. */
function kept(): string
{
    $token = is_string($_POST['token'] ?? null) ? $_POST['token'] : '';
    $db = new PDO('sqlite:' . DATABASE, null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 10]);
    $find = $db->prepare('SELECT 1 FROM printers WHERE token = ? AND NOT COALESCE(is_blocked, 0)');
    $find->execute([$token]);
    if (!$find->fetchColumn()) {
        throw new RuntimeException('Token no válido');
    }
    $image = $_FILES['image'] ?? null;
    if (!is_array($image) || $image['error'] !== UPLOAD_ERR_OK || !is_uploaded_file($image['tmp_name'])) {
        throw new RuntimeException('No se recibió ninguna imagen');
    }
    if ($image['size'] > LARGEST) {
        throw new RuntimeException('La imagen es demasiado grande');
    }
    if (file_get_contents($image['tmp_name'], false, null, 0, 3) !== "\xFF\xD8\xFF") {
        throw new RuntimeException('Solo se permiten imágenes JPEG');
    }
    $printer = substr(hash('sha256', "picture of $token"), 0, 24);
    $camera = is_string($_POST['camera'] ?? null) && $_POST['camera'] !== '' ? '_' . substr(md5($_POST['camera']), 0, 8) : '';
    $folder = __DIR__ . '/' . FOLDER;
    if (!is_dir($folder) && !@mkdir($folder, 0755)) {
        throw new RuntimeException('No se puede crear la carpeta ' . FOLDER);
    }
    $file = "$folder/$printer$camera.jpg";
    if (!is_file($file) && count(glob("$folder/$printer*.jpg") ?: []) >= CAMERAS) {
        throw new RuntimeException('Demasiadas cámaras');
    }
    if (!move_uploaded_file($image['tmp_name'], "$file.new") || !rename("$file.new", $file)) {
        throw new RuntimeException('No se puede escribir en la carpeta ' . FOLDER);
    }
    @chmod($file, 0644);
    return FOLDER . "/$printer$camera.jpg?t=" . time();
}
