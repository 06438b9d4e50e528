<?php
/** The optional extensions: command results, events, timelapse upload. */
declare(strict_types=1);

require_once __DIR__ . '/hub.php';
require_once __DIR__ . '/queue.php';

final class Extensions
{
    /** What a status body carries for a hub that wants it; called within the update's transaction. */
    public static function fromStatus(Hub $hub, array $body): void
    {
        self::keepResults($hub, $body['command_results'] ?? null, 'status');
        if (!$hub->feature('events') || !is_array($body['events'] ?? null)) {
            return;
        }
        foreach ($body['events'] as $event) {
            $text = (string) json_encode($event, JSON_UNESCAPED_UNICODE);
            $seq = is_array($event) && is_scalar($event['seq'] ?? null) ? (string) $event['seq'] : '';
            $hub->execute(
                'INSERT INTO events (journal_id, time, token, seq, digest, body) VALUES (?, ?, ?, ?, ?, ?)'
                . ' ON CONFLICT (token, seq, digest) DO UPDATE SET deliveries = deliveries + 1',
                [$hub->journalId, microtime(true), $hub->token, $seq, hash('sha256', $text), $text]
            );
        }
    }

    /** `{"action": "command_results", "token", "results": [...]}` */
    public static function results(Hub $hub): array
    {
        if (!$hub->feature('command_results')) {
            throw new Refusal('Acción no válida');
        }
        $results = $hub->request->json['results'] ?? null;
        if (!is_array($results)) {
            throw new Refusal('Faltan los resultados');
        }
        $hub->write(fn () => self::keepResults($hub, $results, 'post'));
        return ['message' => 'Resultados guardados', 'received' => count($results)];
    }

    /** Multipart: file `video`, fields `token` and any others (`name`: the file's name). */
    public static function timelapse(Hub $hub): array
    {
        if (!$hub->feature('timelapse_upload')) {
            throw new Refusal('Acción no válida');
        }
        $video = $_FILES['video'] ?? null;
        if ($video === null || $video['error'] !== UPLOAD_ERR_OK) {
            throw new Refusal('No se recibió ningún vídeo');
        }
        $name = $hub->request->text('name') ?: basename($video['name']);
        $sha256 = hash_file('sha256', $video['tmp_name']);
        $hub->execute(
            'INSERT INTO timelapses (journal_id, time, token, name, size, sha256, fields) VALUES (?, ?, ?, ?, ?, ?, ?)',
            [
                $hub->journalId, microtime(true), $hub->token, $name, (int) $video['size'], $sha256,
                (string) json_encode((object) $_POST, JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE),
            ]
        );
        $id = (int) $hub->db->lastInsertId();
        @mkdir("$hub->data/timelapses", 0700, true);
        move_uploaded_file($video['tmp_name'], "$hub->data/timelapses/$id");
        return ['message' => 'Vídeo guardado', 'video_url' => "timelapses/$id"];
    }

    /** @param mixed $results stored as they come, repeats included */
    private static function keepResults(Hub $hub, $results, string $via): void
    {
        foreach (is_array($results) ? $results : [] as $result) {
            Queue::named($hub, is_array($result) ? $result['id'] ?? null : null);
            $hub->execute(
                'INSERT INTO results (journal_id, time, token, via, body) VALUES (?, ?, ?, ?, ?)',
                [$hub->journalId, microtime(true), $hub->token, $via, (string) json_encode($result, JSON_UNESCAPED_UNICODE)]
            );
        }
    }
}
