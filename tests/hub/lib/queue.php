<?php
/** Handing out commands: generation 1 deletes them, generation 2 marks them sent; nobody else has a copy. */
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
    public static function take(Hub $hub, string $via): array
    {
        if (!self::find($hub)) {
            return [];                      // the usual case, without a write lock
        }
        return $hub->write(function () use ($hub, $via): array {
            $commands = [];
            foreach (self::find($hub) as $row) {
                if ($hub->generation === 1) {
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

    private static function wait(Hub $hub, float $seconds): array
    {
        $deadline = microtime(true) + $seconds;
        $version = -1;                      // look once at least: one may have come since the first look
        while (microtime(true) < $deadline) {
            usleep(self::LOOK_EVERY);
            $before = $version;
            $version = self::version($hub);
            if ($version === $before || !self::find($hub)) {
                continue;
            }
            if ($hub->clientGone()) {
                break;
            }
            $commands = self::take($hub, 'commands');
            if ($commands !== []) {
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
        $order = $hub->generation === 1 ? 'id' : 'priority DESC, created, id LIMIT ' . self::AT_MOST;
        return $hub->execute(
            "SELECT id, body FROM commands WHERE generation = ? AND token = ? AND sent IS NULL ORDER BY $order",
            [$hub->generation, $hub->token]
        )->fetchAll();
    }
}
