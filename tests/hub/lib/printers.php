<?php
/** What each generation makes of a status update, and generation 1's list of printers. */
declare(strict_types=1);

require_once __DIR__ . '/hub.php';
require_once __DIR__ . '/queue.php';
require_once __DIR__ . '/extensions.php';

final class Printers
{
    /** What generation 1 keeps; a field left out of an update becomes this. */
    private const FIRST = [
        'name' => '', 'status' => '', 'progress' => 0, 'current_file' => '', 'temp_hotend' => 0, 'temp_bed' => 0,
        'image' => '', 'time_remaining' => 0, 'print_speed' => 0, 'last_completed' => '', 'uptime' => '',
        'bed_status' => '', 'filament' => [], 'files' => [], 'tags' => [],
    ];
    /** Of those, the ones that an empty value does not replace. */
    private const SURVIVE = ['image', 'tags'];
    /** What generation 2 has columns for; everything else is in raw_data. */
    private const SECOND = [
        'name' => '', 'status' => 'idle', 'progress' => 0, 'current_file' => '', 'temp_hotend' => 0, 'temp_bed' => 0,
        'temp_hotend_target' => 0, 'temp_bed_target' => 0, 'image' => '', 'time_remaining' => 0, 'print_speed' => 0,
        'fan_speed' => 0, 'last_completed' => '', 'uptime' => '', 'bed_status' => '', 'location' => '',
    ];

    /** A status update of either generation. */
    public static function update(Hub $hub): array
    {
        $body = $hub->request->json;
        if ($body === null) {
            throw new Refusal('Datos JSON no válidos');
        }
        $printer_id = $hub->write(fn () => self::keep($hub, $body));
        $reply = ['message' => 'Impresora actualizada', 'printer_id' => $printer_id];
        if ($hub->generation === 2) {
            $reply['timestamp'] = (int) $hub->now();
        }
        if ($hub->setting('commands_in_status', false)) {
            $commands = Queue::take($hub, 'status');
            if ($commands !== []) {
                $reply['commands'] = $commands;
            }
        }
        return $reply;
    }

    public static function list(Hub $hub): array
    {
        $printers = [];
        $oldest = microtime(true) - (float) $hub->setting('offline_after', 60);
        foreach ($hub->execute('SELECT * FROM printers WHERE generation = 1 ORDER BY first_seen') as $row) {
            $fields = (array) json_decode($row['fields'], true);
            if ((float) $row['last_seen'] < $oldest) {
                $fields['status'] = 'offline';
            }
            $printers[] = ['id' => $row['printer_id'], 'token' => $row['token'], 'last_update' => (int) $row['last_seen']]
                + $fields;
        }
        return ['message' => '', 'printers' => $printers];
    }

    public static function known(Hub $hub): bool
    {
        return (bool) $hub->execute(
            'SELECT 1 FROM printers WHERE generation = ? AND token = ?',
            [$hub->generation, $hub->token]
        )->fetchColumn();
    }

    /** @return int|string the printer's id */
    private static function keep(Hub $hub, array $body)
    {
        $now = microtime(true);
        $known = $hub->execute(
            'SELECT printer_id, fields FROM printers WHERE generation = ? AND token = ?',
            [$hub->generation, $hub->token]
        )->fetch();
        $fields = [];
        foreach ($hub->generation === 1 ? self::FIRST : self::SECOND as $name => $empty) {
            $fields[$name] = array_key_exists($name, $body) ? $body[$name] : $empty;    // null is kept
        }
        if ($known && $hub->generation === 2 && $fields['name'] === '') {
            $fields['name'] = json_decode($known['fields'], true)['name'] ?? '';         // the administrator's
        }
        if ($known && $hub->generation === 1) {
            $before = (array) json_decode($known['fields'], true);
            foreach (self::SURVIVE as $name) {
                $fields[$name] = $fields[$name] ?: ($before[$name] ?? $fields[$name]);
            }
        }
        if ($known) {
            $printer_id = $known['printer_id'];
        } elseif ($hub->generation === 1) {
            $printer_id = uniqid('printer_');
        } else {
            $printer_id = 1 + (int) $hub->execute('SELECT COUNT(*) FROM printers WHERE generation = 2')->fetchColumn();
        }
        $hub->execute(
            'INSERT INTO printers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (generation, token) DO UPDATE SET'
            . ' last_seen = excluded.last_seen, fields = excluded.fields, raw_data = excluded.raw_data',
            [
                $hub->generation, $hub->token, (string) $printer_id, $now, $now,
                (string) json_encode($fields, JSON_UNESCAPED_UNICODE),
                $hub->generation === 2 ? $hub->request->raw : '',
            ]
        );
        $status = is_scalar($fields['status']) ? (string) $fields['status'] : '';
        $hub->execute(
            'INSERT INTO statuses (journal_id, time, generation, token, status) VALUES (?, ?, ?, ?, ?)',
            [$hub->journalId, $now, $hub->generation, $hub->token, $status]
        );
        Extensions::fromStatus($hub, $body);
        if ($hub->generation === 2) {
            self::keepPicture($hub, $fields['image']);
        }
        return $hub->generation === 1 ? (string) $printer_id : (int) $printer_id;
    }

    /** @param mixed $image generation 2 sends the same picture along every time: keep only new ones */
    private static function keepPicture(Hub $hub, $image): void
    {
        if (!is_string($image) || strncmp($image, 'data:image/jpeg;base64,', 23) !== 0) {
            return;
        }
        $bytes = base64_decode(substr($image, 23), true);
        $last = $hub->execute('SELECT sha256 FROM images WHERE token = ? ORDER BY id DESC LIMIT 1', [$hub->token]);
        if ($bytes !== false && $last->fetchColumn() !== hash('sha256', $bytes)) {
            self::addPicture($hub, 'image', $bytes);
        }
    }

    public static function addPicture(Hub $hub, string $name, string $bytes): void
    {
        $insert = $hub->db->prepare(
            'INSERT INTO images (journal_id, time, generation, token, name, sha256, data) VALUES (?, ?, ?, ?, ?, ?, ?)'
        );
        $values = [$hub->journalId, microtime(true), $hub->generation, $hub->token, $name, hash('sha256', $bytes)];
        foreach ($values as $index => $value) {
            $insert->bindValue($index + 1, $value);
        }
        $insert->bindValue(7, $bytes, PDO::PARAM_LOB);
        $insert->execute();
        $hub->execute('DELETE FROM images WHERE id <= ?', [(int) $hub->db->lastInsertId() - 500]);
    }
}
