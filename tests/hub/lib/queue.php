<?php
/**
 * Handing out commands: generation 1 deletes them, generation 2 marks them sent; nobody else has a copy. With `redeliver`, to
 * a client that says it runs an id once, both keep them, and hand them out again until somebody has named them.
 */
declare(strict_types=1);

require_once __DIR__ . '/hub.php';

final class Queue
{
    private const AT_MOST = 10;             // generation 2, in one reply
    private const LOOK_EVERY = 10_000;      // microseconds, while a client waits

    /** The commands request of either generation. */
    public static function reply(Hub $hub): array
    {
        $commands = self::take($hub, 'commands');
        $wait = min((float) $hub->request->text('wait'), (float) $hub->feature('long_poll'));
        if ($commands === [] && $wait > 0) {
            $commands = self::wait($hub, $wait);
        }
        return ['message' => '', 'commands' => $commands];
    }

    /** @return array<int, mixed> */
    public static function take(Hub $hub, string $via, bool $waited = false): array
    {
        if (!self::find($hub)) {
            return [];                      // the usual case, without a write lock
        }
        return $hub->write(function () use ($hub, $via, $waited): array {
            if ($waited && $hub->clientGone()) {
                return [];                  // looked at behind the lock, which can take its time on a busy machine
            }
            $commands = [];
            foreach (self::find($hub) as $row) {
                $row['body'] = self::keep($hub, $row);
                if ($hub->generation === 1 && !self::again($hub)) {
                    $hub->execute('DELETE FROM commands WHERE id = ?', [(int) $row['id']]);
                } else {
                    $hub->execute('UPDATE commands SET sent = ? WHERE id = ?', [microtime(true), (int) $row['id']]);
                }
                $hub->execute(
                    'INSERT INTO deliveries (journal_id, time, generation, token, via, body) VALUES (?, ?, ?, ?, ?, ?)',
                    [$hub->journalId, microtime(true), $hub->generation, $hub->token, $via, $row['body']]
                );
                $commands[] = json_decode($row['body'], true);
            }
            return $commands;
        });
    }

    /** Whether this client may be handed a command twice. */
    private static function again(Hub $hub): bool
    {
        return $hub->feature('redeliver') > 0 && $hub->request->text('redeliver') === '1';
    }

    /** The command as it goes out; its age counts from the first time. */
    private static function keep(Hub $hub, array $row): string
    {
        if (!self::again($hub)) {
            return $row['body'];
        }
        $command = json_decode($row['body'], true);
        if (is_array($command) && !isset($command['timestamp'])) {
            $command['timestamp'] = round($hub->now(), 3);
        }
        $body = (string) json_encode($command, JSON_UNESCAPED_UNICODE);
        $hub->execute('UPDATE commands SET body = ?, handed_out = ? WHERE id = ?', [$body, microtime(true), (int) $row['id']]);
        return $body;
    }

    /** Any word for a command shows that it has arrived. @param mixed $id */
    public static function named(Hub $hub, $id): void
    {
        if (is_scalar($id)) {
            $hub->execute(
                "UPDATE commands SET received = 1 WHERE generation = ? AND token = ? AND handed_out IS NOT NULL"
                . " AND CAST(json_extract(body, '$.id') AS TEXT) = ?",
                [$hub->generation, $hub->token, (string) $id]
            );
        }
    }

    private static function wait(Hub $hub, float $seconds): array
    {
        $deadline = microtime(true) + $seconds;
        $version = -1;                      // look once at least: one may have come since the first look
        while (microtime(true) < $deadline) {
            usleep(self::LOOK_EVERY);
            $before = $version;
            $version = self::version($hub);
            if (($version === $before && !self::again($hub)) || !self::find($hub)) {
                continue;
            }
            $commands = self::take($hub, 'commands', true);
            if ($commands !== [] || $hub->clientGone()) {
                return $commands;
            }
        }
        return [];
    }

    /** Changes whenever somebody else has written to the database. */
    private static function version(Hub $hub): int
    {
        return (int) $hub->db->query('PRAGMA data_version')->fetchColumn();
    }

    private static function find(Hub $hub): array
    {
        $order = $hub->generation === 1 ? 'id' : 'priority, created, id LIMIT ' . self::AT_MOST;
        $lost = self::again($hub) ? ' OR (handed_out <= ? AND NOT received)' : '';
        $since = $lost ? [microtime(true) - (float) $hub->feature('redeliver')] : [];
        return $hub->execute(
            "SELECT id, body FROM commands WHERE generation = ? AND token = ? AND (sent IS NULL$lost) ORDER BY $order",
            array_merge([$hub->generation, $hub->token], $since)
        )->fetchAll();
    }
}
