<?php
/** G-code on offer: the list, the bytes, and "taken" (generation 1 deletes its copy, generation 2 keeps it). */
declare(strict_types=1);

require_once __DIR__ . '/hub.php';

final class Files
{
    /** The whole endpoint, api_files.php and files.php alike. */
    public static function serve(int $generation): void
    {
        $request = Request::read();
        $action = $request->text('action');
        $known = ['list_files', 'download_file', 'mark_downloaded'];
        $hub = new Hub($generation, in_array($action, $known, true) ? $action : 'other', $request);
        $hub->serve(function (Hub $hub) use ($action): ?array {
            switch ($action) {
                case 'list_files':
                    return self::list($hub);
                case 'download_file':
                    return self::download($hub);
                case 'mark_downloaded':
                    return self::taken($hub);
                default:
                    throw new Refusal('Acción no válida');
            }
        });
    }

    private static function list(Hub $hub): array
    {
        $files = [];
        foreach ($hub->execute('SELECT * FROM files WHERE token = ? ORDER BY id DESC', [$hub->token]) as $row) {
            $files[] = array_merge([
                'name' => $row['name'],
                'original_name' => $row['original_name'],
                'size' => self::readable((int) $row['size']),
                'size_bytes' => (int) $row['size'],
                'md5' => $row['md5'],
                'uploaded' => date('Y-m-d H:i:s', (int) $row['uploaded']),
                'downloaded' => (bool) $row['downloaded'],
                'exists' => is_file(self::path($hub, $row)),
            ], (array) json_decode($row['extra'], true));
        }
        return ['message' => '', 'files' => $files];
    }

    private static function download(Hub $hub): ?array
    {
        $row = self::find($hub);
        $path = self::path($hub, $row);
        if (!is_file($path)) {
            throw new Refusal('El archivo ya no existe en el servidor');
        }
        $size = (int) filesize($path);
        $start = 0;
        $end = $size - 1;
        header('Content-Type: application/octet-stream');
        header('Content-Disposition: attachment; filename="' . addslashes($row['original_name']) . '"');
        if ($hub->setting('range', false)) {
            $tag = '"' . md5_file($path) . '"';
            header('Accept-Ranges: bytes');
            header("ETag: $tag");
            $if_range = $_SERVER['HTTP_IF_RANGE'] ?? $tag;
            $wanted = preg_match('/^bytes=(\d+)-(\d*)$/', $_SERVER['HTTP_RANGE'] ?? '', $match);
            if ($wanted && $if_range === $tag) {
                $start = (int) $match[1];
                $end = $match[2] === '' ? $end : min($end, (int) $match[2]);
                if ($start > $end) {
                    http_response_code(416);
                    header("Content-Range: bytes */$size");
                    $hub->finished(416, false, '');
                    return null;
                }
                http_response_code(206);
                header("Content-Range: bytes $start-$end/$size");
            }
        }
        $fault = $hub->faults()->get('download') ?? [];
        if (empty($fault['no_length'])) {
            header('Content-Length: ' . ($fault['length'] ?? $end - $start + 1));
        }
        $hub->finished((int) http_response_code(), true, '');
        self::send($path, $start, $end + 1, $fault);
        return null;
    }

    /** The bytes from $start up to $stop, with whatever the fault `download` does to them. */
    private static function send(string $path, int $start, int $stop, array $fault): void
    {
        if ($fault === [] && $start === 0 && $stop === filesize($path)) {
            readfile($path);
            return;
        }
        $file = fopen($path, 'rb');
        fseek($file, $start);
        $at = $start;
        $rate = (int) ($fault['rate'] ?? 0);            // bytes a second
        $cut = isset($fault['cut_at']) ? (int) $fault['cut_at'] : PHP_INT_MAX;
        $stall = isset($fault['stall_at']) ? (int) $fault['stall_at'] : PHP_INT_MAX;
        $flip = isset($fault['flip_at']) ? (int) $fault['flip_at'] : -1;
        while ($at < $stop && $at < $cut && !connection_aborted()) {
            $block = $rate ? max(1, intdiv($rate, 20)) : 65536;
            $bytes = (string) fread($file, max(1, min($block, $stop - $at, $cut - $at, $at < $stall ? $stall - $at : $block)));
            if ($at <= $flip && $flip < $at + strlen($bytes)) {
                $bytes[$flip - $at] = chr(ord($bytes[$flip - $at]) ^ 1);
            }
            echo $bytes;
            flush();
            $at += strlen($bytes);
            if ($at === $stall) {
                usleep((int) (min((float) ($fault['stall'] ?? 600), 600) * 1e6));
            }
            if ($rate) {
                usleep(50_000);
            }
        }
        echo $fault['append'] ?? '';
        while (!empty($fault['endless']) && !connection_aborted()) {
            echo str_repeat("G1 X0\n", 10_000);
            flush();
        }
    }

    private static function taken(Hub $hub): array
    {
        $row = self::find($hub);
        if ($hub->generation === 1) {
            @unlink(self::path($hub, $row));
        }
        $hub->execute('UPDATE files SET downloaded = 1 WHERE id = ?', [(int) $row['id']]);
        return ['message' => 'Archivo marcado como descargado'];
    }

    private static function find(Hub $hub): array
    {
        $row = $hub->execute(
            'SELECT * FROM files WHERE token = ? AND name = ?',
            [$hub->token, $hub->request->text('file')]
        )->fetch();
        if (!$row) {
            throw new Refusal('Archivo no encontrado');
        }
        return $row;
    }

    private static function path(Hub $hub, array $row): string
    {
        return "$hub->data/files/" . (int) $row['id'];
    }

    private static function readable(int $bytes): string
    {
        return $bytes >= 1048576 ? round($bytes / 1048576, 1) . ' MB' : round($bytes / 1024, 1) . ' KB';
    }
}
