<?php
/**
 * The habits and accidents of PHP servers, put in force by rows of the table `faults`. The driver's PRESETS
 * (tests/rig/hub.py) give them names; here are the few mechanisms they are made of.
 *
 * Each takes `every` as well: 5 spares four requests of that endpoint in five.
 *
 *   answer    {code, body, headers, after}   that answer instead of the hub's; after: only once the hub has done its work
 *   delay     {seconds, after}               waits before (or after) the work
 *   reject    {message}                      success: false, nothing done
 *   prefix    {text}                         printed before the JSON, as PHP prints its warnings
 *   strings   {}                             numbers as strings, booleans as 0/1
 *   replace   {fields}                       these fields of the reply instead
 *   truncate  {keep}                         the first `keep` of the JSON (a fraction below 1, or bytes), well framed
 *   short     {missing}                      a Content-Length that much longer than what is sent
 *   pad       {bytes}                        valid JSON, but so much longer
 *   endless   {}                             never stops sending
 *   download  {cut_at, flip_at, stall_at, rate, no_length, length, append}   what download_file does to the bytes
 */
declare(strict_types=1);

final class Faults
{
    /** @var array<int, array{mode: string, params: array<string, mixed>}> */
    private array $active;

    private function __construct(array $active)
    {
        $this->active = $active;
    }

    public static function take(Hub $hub): self
    {
        $find = 'SELECT id, mode, params, remaining FROM faults WHERE endpoint IN (?, ?) AND (remaining IS NULL OR remaining > 0)'
            . ' ORDER BY id';
        $where = [$hub->endpoint, '*'];
        if (!$hub->execute($find, $where)->fetchAll()) {
            return new self([]);
        }
        $active = $hub->write(function () use ($hub, $find, $where): array {
            $rows = array_filter($hub->execute($find, $where)->fetchAll(), fn (array $row): bool => self::isDue($hub, $row));
            foreach ($rows as $row) {
                $hub->execute('UPDATE faults SET remaining = remaining - 1 WHERE id = ?', [(int) $row['id']]);
            }
            return $rows;
        });
        return new self(array_map(
            fn (array $row): array => ['mode' => $row['mode'], 'params' => (array) json_decode($row['params'], true)],
            $active
        ));
    }

    private static function isDue(Hub $hub, array $row): bool
    {
        $every = (int) (json_decode($row['params'], true)['every'] ?? 1);
        if ($every < 2) {
            return true;
        }
        $count = $hub->execute('SELECT COUNT(*) FROM journal WHERE endpoint = ? AND id <= ?', [$hub->endpoint, $hub->journalId]);
        return (int) $count->fetchColumn() % $every === 0;
    }

    /** @return array<string, mixed>|null the parameters of the mode, where it is in force */
    public function get(string $mode): ?array
    {
        foreach ($this->active as $fault) {
            if ($fault['mode'] === $mode) {
                return $fault['params'];
            }
        }
        return null;
    }

    /** @throws Refusal */
    public function before(Hub $hub): void
    {
        foreach ($this->active as $fault) {
            $params = $fault['params'];
            if (!empty($params['after'])) {
                continue;
            }
            if ($fault['mode'] === 'delay') {
                self::pause((float) ($params['seconds'] ?? 1));
            } elseif ($fault['mode'] === 'reject') {
                throw new Refusal((string) ($params['message'] ?? 'Token no válido'));
            } elseif ($fault['mode'] === 'answer') {
                self::answer($hub, $params);
            }
        }
    }

    /** The reply's text, in the state the faults in force leave it in. */
    public function dress(Hub $hub, array $reply): string
    {
        foreach ($this->active as $fault) {
            if ($fault['mode'] === 'replace') {
                $reply = array_merge($reply, (array) ($fault['params']['fields'] ?? []));
            } elseif ($fault['mode'] === 'strings') {
                $reply = self::strings($reply);
            } elseif ($fault['mode'] === 'pad') {
                $reply['relleno'] = str_repeat('x', (int) ($fault['params']['bytes'] ?? 2 << 20));
            }
        }
        $text = (string) json_encode($reply, JSON_UNESCAPED_UNICODE);
        foreach ($this->active as $fault) {
            $params = $fault['params'];
            if ($fault['mode'] === 'prefix') {
                $text = ($params['text'] ?? '') . $text;
            } elseif ($fault['mode'] === 'truncate') {
                $keep = (float) ($params['keep'] ?? 0.5);
                $text = substr($text, 0, (int) ($keep < 1 ? strlen($text) * $keep : $keep));
            }
        }
        return $text;
    }

    public function send(Hub $hub, string $text): void
    {
        foreach ($this->active as $fault) {
            $params = $fault['params'];
            if ($fault['mode'] === 'delay' && !empty($params['after'])) {
                self::pause((float) ($params['seconds'] ?? 1));
            } elseif ($fault['mode'] === 'answer') {
                self::answer($hub, $params);
            } elseif ($fault['mode'] === 'short') {
                header('Content-Length: ' . (strlen($text) + (int) ($params['missing'] ?? 100)));
            } elseif ($fault['mode'] === 'endless') {
                while (!connection_aborted()) {
                    echo str_repeat(' ', 65536);
                    flush();
                }
                exit;
            }
        }
        echo $text;
    }

    private static function answer(Hub $hub, array $params): void
    {
        http_response_code((int) ($params['code'] ?? 500));
        header('Content-Type: text/html; charset=UTF-8');
        foreach ((array) ($params['headers'] ?? []) as $name => $value) {
            header("$name: $value");
        }
        $body = (string) ($params['body'] ?? '');
        $hub->finished((int) http_response_code(), null, $body);
        echo $body;
        exit;
    }

    private static function pause(float $seconds): void
    {
        usleep((int) (min($seconds, 600) * 1e6));
    }

    /** @return mixed */
    private static function strings($value)
    {
        if (is_array($value)) {
            return array_map([self::class, 'strings'], $value);
        }
        if (is_bool($value)) {
            return (int) $value;
        }
        return is_int($value) || is_float($value) ? (string) $value : $value;
    }
}
