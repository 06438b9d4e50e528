<?php
/**
 * TecMedHub beside printer-api (generation 2). One line includes it in update.php and in commands.php, before anything else:
 *
 *     require_once __DIR__ . '/tecmedhub.php';
 *
 * It lets the plugin's request for commands wait until there is one, hands out again what was lost on the way, writes the
 * results into `commands` (status, completed_at) and `command_history`, closes `jobs` by what the printer's history says,
 * and keeps events. What it remembers itself is in tables of its own, tecmedhub_*.
 *
 * PHP 7.4 or later with pdo_sqlite, as the server itself. How to take it out: remove the two lines, delete this file, and
 * DROP the tables tecmedhub_commands, tecmedhub_jobs, tecmedhub_events.
 */
declare(strict_types=1);

namespace TecMedHub;

const DATABASE = __DIR__ . '/printers.db';   // the SQLite file that the server's own `new PDO('sqlite:…')` names
const LONG_POLL = 20;       // seconds that a request for commands may wait; 0: never
const WAITERS = 8;          // how many may wait at once: each keeps one PHP process of the server busy
const SAME_START = 10;      // seconds between two words on when the same job began
const REDELIVER = 20;       // seconds after which a command is handed out again that nobody has confirmed; 0: never
const KEPT_DAYS = 90;       // of events

const AT_ONCE = 10;         // commands in one reply of commands.php
const LOOK_EVERY = 50000;   // microseconds, while a request waits
const ENDINGS = ['done' => 'completed', 'failed' => 'failed', 'refused' => 'failed', 'expired' => 'failed', 'interrupted' => 'failed'];

const SCHEMA = '
CREATE TABLE IF NOT EXISTS tecmedhub_commands (   -- handed out to a client that runs an id once
    command_id INTEGER PRIMARY KEY, created_at TEXT, handed_out REAL, first_handed_out REAL, received INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tecmedhub_jobs (       -- what was taken over of the printers\' histories
    printer_id INTEGER, job TEXT, PRIMARY KEY (printer_id, job)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tecmedhub_events (
    printer_id INTEGER, seq TEXT, kind TEXT, at REAL, data TEXT, PRIMARY KEY (printer_id, seq, at)
) WITHOUT ROWID';

final class DropIn
{
    private \PDO $db;
    private string $token;
    private bool $again;    // this client runs an id once, so it may be handed one twice
    private array $body;

    public static function begin(): void
    {
        try {
            $dropIn = new self();
            if (($dropIn->body['action'] ?? '') === 'command_results') {
                $dropIn->takeResults();
            } elseif ($_SERVER['REQUEST_METHOD'] === 'POST') {
                $dropIn->dress(fn () => $dropIn->updated());
            } elseif ($dropIn->token !== '') {
                $dropIn->handingOut();
                $dropIn->dress(fn (object $reply) => $dropIn->handedOut($reply));
            }
        } catch (\Throwable $error) {           // the server goes on as if this file were not here
            error_log('TecMedHub: ' . $error->getMessage());
        }
    }

    private function __construct()
    {
        $body = json_decode((string) file_get_contents('php://input'), true);
        $this->body = is_array($body) ? $body : [];
        $token = $_GET['token'] ?? $this->body['token'] ?? '';
        $this->token = is_scalar($token) ? (string) $token : '';
        $this->again = REDELIVER > 0 && ($_GET['redeliver'] ?? '') === '1';
        if (!is_file(DATABASE)) {
            throw new \RuntimeException('DATABASE names no file: ' . DATABASE);
        }
        $this->db = new \PDO('sqlite:' . DATABASE, null, null, [
            \PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION, \PDO::ATTR_DEFAULT_FETCH_MODE => \PDO::FETCH_ASSOC, \PDO::ATTR_TIMEOUT => 10,
        ]);
        if (!$this->value("SELECT 1 FROM sqlite_master WHERE name = 'tecmedhub_events'")) {
            $this->db->exec(SCHEMA);
        }
    }

    // -- commands ------------------------------------------------------------------------------

    private function handingOut(): void
    {
        $printer = $this->printer();
        if ($printer === null) {
            return;                             // commands.php refuses it
        }
        $wait = min((float) ($_GET['wait'] ?? 0), LONG_POLL);
        $place = $wait > 0 ? self::place() : null;
        if ($place !== null) {
            @set_time_limit((int) $wait + 30);
            $end = microtime(true) + $wait;
            while (microtime(true) < $end && !$this->hasCommand($printer)) {
                usleep(LOOK_EVERY);
            }
            fclose($place);
        }
        if (!$this->again) {
            return;
        }
        $lost = $this->lost($printer);
        $waiting = $this->rows("SELECT id, created_at FROM commands WHERE printer_id = ? AND status = 'pending'", [$printer]);
        if ($lost === [] && $waiting === []) {
            return;
        }
        $this->write(function () use ($lost, $waiting): void {
            foreach ($lost as $row) {           // commands.php hands them out as any other
                $this->run("UPDATE commands SET status = 'pending' WHERE id = ? AND status = 'sent'", [$row['id']]);
            }
            foreach (array_merge($waiting, $lost) as $row) {
                $this->run(
                    'INSERT INTO tecmedhub_commands (command_id, created_at, handed_out, first_handed_out) VALUES (?, ?, ?, ?)'
                    . ' ON CONFLICT (command_id) DO UPDATE SET handed_out = excluded.handed_out, received = 0, created_at ='
                    . ' excluded.created_at, first_handed_out = CASE WHEN created_at IS excluded.created_at THEN first_handed_out'
                    . ' ELSE excluded.first_handed_out END',
                    [$row['id'], $row['created_at'], microtime(true), microtime(true)]
                );
            }
        });
    }

    private function hasCommand(int $printer): bool
    {
        return $this->value("SELECT 1 FROM commands WHERE printer_id = ? AND status = 'pending' LIMIT 1", [$printer]) !== null
            || ($this->again && $this->lost($printer) !== []);
    }

    /** Handed out to a client that can be asked twice, and not a word since. */
    private function lost(int $printer): array
    {
        // Ids begin at 1 again when the database is made anew: the same id of another time is another command.
        return $this->rows(
            "SELECT c.id, c.created_at FROM tecmedhub_commands t JOIN commands c ON c.id = t.command_id AND c.created_at IS t.created_at"
            . " WHERE c.printer_id = ? AND c.status = 'sent' AND NOT t.received AND t.handed_out <= ? ORDER BY c.id LIMIT " . AT_ONCE,
            [$printer, microtime(true) - REDELIVER]
        );
    }

    /** Its age counts from when it was first handed out, not from each time that it comes again. */
    private function handedOut(object $reply): void
    {
        if (!$this->again) {
            return;
        }
        foreach (is_array($reply->commands ?? null) ? $reply->commands : [] as $command) {
            $first = $this->value('SELECT first_handed_out FROM tecmedhub_commands WHERE command_id = ?', [(int) ($command->id ?? 0)]);
            if ($first !== null && !isset($command->timestamp)) {
                $command->timestamp = (float) $first;
            }
        }
    }

    /** One of the places for those that wait, or null when all are taken: such a request is answered at once. */
    private static function place()
    {
        for ($number = 0; $number < WAITERS; $number++) {
            $place = @fopen(sys_get_temp_dir() . '/tecmedhub-' . substr(md5(DATABASE), 0, 12) . ".wait.$number", 'c');
            if ($place !== false && flock($place, LOCK_EX | LOCK_NB)) {
                return $place;
            }
        }
        return null;
    }

    // -- results, jobs, events -----------------------------------------------------------------

    private function takeResults(): void
    {
        $reply = ['success' => true, 'message' => 'Resultados guardados'];
        try {
            $printer = $this->printer();
            if ($printer === null) {
                $reply = ['success' => false, 'message' => 'Token no válido'];
            } else {
                $this->write(fn () => $this->keepResults($printer, $this->body['results'] ?? null));
            }
        } catch (\Throwable $error) {
            error_log('TecMedHub: ' . $error->getMessage());
            $reply = ['success' => false, 'message' => 'TecMedHub: ' . $error->getMessage()];
        }
        header('Content-Type: application/json; charset=utf-8');
        echo self::json(self::announce((object) $reply));
        exit;
    }

    private function updated(): void
    {
        $results = self::listOf($this->body['command_results'] ?? null);
        $events = self::listOf($this->body['events'] ?? null);
        $printer = $this->printer();
        if ($printer === null) {
            return;
        }
        $jobs = array_filter(self::listOf($this->body['history'] ?? null), fn (array $job): bool => $this->isNew($printer, $job));
        if ($results || $events || $jobs) {
            $this->write(function () use ($printer, $results, $events, $jobs): void {
                $this->keepResults($printer, $results);
                $this->keepEvents($printer, $events);
                foreach (array_reverse($jobs) as $job) {
                    $this->closeJob($printer, $job);
                }
            });
        }
    }

    /** @param mixed $results as the plugin sends them; any word for a command shows that it has arrived */
    private function keepResults(int $printer, $results): void
    {
        foreach (self::listOf($results) as $result) {
            $id = (int) ($result['id'] ?? 0);
            $finished = (float) ($result['finished_at'] ?? microtime(true));
            $first = $this->value('SELECT first_handed_out FROM tecmedhub_commands WHERE command_id = ?', [$id]);
            if ($first !== null && $finished < $first - 60) {
                continue;                       // of a command that had this id before the database was made anew
            }
            $this->run('UPDATE tecmedhub_commands SET received = 1 WHERE command_id = ?', [$id]);
            $end = ENDINGS[(string) ($result['status'] ?? '')] ?? null;
            $command = $this->rows("SELECT * FROM commands WHERE id = ? AND printer_id = ? AND status <> 'pending'", [$id, $printer])[0] ?? null;
            if ($end === null || $command === null || in_array($command['status'], ['completed', 'failed'], true)) {
                continue;
            }
            $took = max(0.0, $finished - (float) ($result['received_at'] ?? $finished));
            $message = $end === 'failed' ? trim($result['status'] . ': ' . ($result['message'] ?? ''), ': ') : null;
            $at = $this->moment($printer, $finished);
            $this->run('UPDATE commands SET status = ?, completed_at = ? WHERE id = ?', [$end, $at, $id]);
            $this->run(
                'INSERT INTO command_history (command_id, printer_id, executed_at, result, error_message, execution_time) VALUES (?, ?, ?, ?, ?, ?)',
                [$id, $printer, $at, $end === 'completed' ? 'success' : 'failed', $message, (int) round($took * 1000)]
            );
            if ($end === 'failed' && stripos((string) $command['command'], 'PRINT_FILE:') === 0) {
                $job = $this->openJob($printer, substr($command['command'], strlen('PRINT_FILE:')));
                if ($job !== null) {            // it never began
                    $this->run("UPDATE jobs SET status = 'failed', ended_at = ?, duration = 0, error_message = ? WHERE id = ?", [$at, $message, $job]);
                }
            }
        }
    }

    /** Not told before: nor, since an older plugin may have done so, a second off, or when it had no id yet. */
    private function isNew(int $printer, array $job): bool
    {
        $told = $this->rows(
            "SELECT job FROM tecmedhub_jobs WHERE printer_id = ? AND (job LIKE '@%' OR job LIKE ? || '@%')",
            [$printer, (string) ($job['job_id'] ?? '')]
        );
        foreach ($told as $row) {
            if (abs((int) substr(strrchr($row['job'], '@'), 1) - (int) ($job['start_time'] ?? 0)) <= SAME_START) {
                return false;
            }
        }
        return isset($job['end_time']);
    }

    private static function nameOf(array $job): string
    {
        return ($job['job_id'] ?? '') . '@' . (int) ($job['start_time'] ?? 0);
    }

    /** A job of the printer's history: the one that the page opened, or one that was begun at the printer. */
    private function closeJob(int $printer, array $job): void
    {
        $this->run('INSERT OR IGNORE INTO tecmedhub_jobs VALUES (?, ?)', [$printer, self::nameOf($job)]);
        $status = ['completed' => 'completed', 'cancelled' => 'cancelled'][(string) ($job['status'] ?? '')] ?? 'failed';
        $end = [
            $this->moment($printer, (float) $job['end_time']), (int) round((float) ($job['total_duration'] ?? 0)),
            isset($job['filament_used_g']) ? (float) $job['filament_used_g'] : 0.0, $status, $status === 'failed' ? (string) $job['status'] : null,
        ];
        $open = $this->openJob($printer, (string) ($job['hub_file'] ?? ''));
        if ($open !== null) {
            $this->run('UPDATE jobs SET ended_at = ?, duration = ?, filament_used = ?, status = ?, error_message = ? WHERE id = ?', [...$end, $open]);
            return;
        }
        $started = $this->moment($printer, (float) ($job['start_time'] ?? $job['end_time']));
        $file = $this->value('SELECT id FROM files WHERE filename = ?', [(string) ($job['hub_file'] ?? '')]);
        try {
            $this->run(
                'INSERT INTO jobs (printer_id, file_id, started_at, ended_at, duration, filament_used, status, error_message) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
                [$printer, $file, $started, ...$end]
            );
        } catch (\PDOException $error) {
            // This server's `jobs` knows only what was begun from its page.
        }
    }

    /** The page's oldest open job of this file. @return ?int */
    private function openJob(int $printer, string $hubFile): ?int
    {
        $id = $this->value(
            "SELECT j.id FROM jobs j JOIN files f ON f.id = j.file_id WHERE j.printer_id = ? AND f.filename = ? AND j.status = 'in_progress'"
            . ' ORDER BY j.id LIMIT 1',
            [$printer, $hubFile]
        );
        return $id === null ? null : (int) $id;
    }

    private function keepEvents(int $printer, array $events): void
    {
        foreach ($events as $event) {
            $this->run('INSERT OR IGNORE INTO tecmedhub_events VALUES (?, ?, ?, ?, ?)', [
                $printer, (string) ($event['seq'] ?? ''), (string) ($event['kind'] ?? ''), (float) ($event['at'] ?? 0), self::json($event['data'] ?? null),
            ]);
        }
        if ($events) {
            $this->run('DELETE FROM tecmedhub_events WHERE printer_id = ? AND at < ?', [$printer, time() - KEPT_DAYS * 86400]);
        }
    }

    // -- replies -------------------------------------------------------------------------------

    /** Lets the script go on, and adds to its reply; whatever is no JSON object passes as it is. */
    private function dress(callable $add): void
    {
        ob_start(function (string $text) use ($add): string {
            $start = strpos($text, '{');        // PHP's warnings may stand before it
            $reply = $start === false ? null : json_decode(substr($text, $start));
            if (!is_object($reply) || empty($reply->success)) {
                return $text;
            }
            try {
                $add($reply);
            } catch (\Throwable $error) {       // not stored: so it must not count as taken
                error_log('TecMedHub: ' . $error->getMessage());
                $reply = (object) ['success' => false, 'message' => 'TecMedHub: ' . $error->getMessage()];
            }
            return self::json(self::announce($reply));
        });
    }

    private static function announce(object $reply): object
    {
        $reply->features = [
            'command_results' => true, 'events' => true, 'redeliver' => REDELIVER,
            'long_poll' => WAITERS > 0 ? LONG_POLL : 0,
        ];
        return $reply;
    }

    private static function json($value): string
    {
        $way = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PRESERVE_ZERO_FRACTION;
        return (string) json_encode($value, $way);
    }

    // -- database ------------------------------------------------------------------------------

    private function printer(): ?int
    {
        $id = $this->value('SELECT id FROM printers WHERE token = ? AND NOT COALESCE(is_blocked, 0)', [$this->token]);
        return $id === null ? null : (int) $id;
    }

    /** A moment as this server writes it: unix seconds, or a text by the clock of its `last_seen`, which it wrote just now. */
    private function moment(int $printer, float $unix)
    {
        $seen = $this->value('SELECT last_seen FROM printers WHERE id = ?', [$printer]);
        if (is_numeric($seen)) {
            return (int) round($unix);
        }
        $quarter = 900;                         // seconds: no zone is finer
        $shift = $seen ? (int) round((strtotime("$seen UTC") - time()) / $quarter) * $quarter : 0;
        return gmdate('Y-m-d H:i:s', (int) round($unix) + $shift);
    }

    private function write(callable $work): void
    {
        $this->db->exec('BEGIN IMMEDIATE');
        try {
            $work();
            $this->db->exec('COMMIT');
        } catch (\Throwable $error) {
            $this->db->exec('ROLLBACK');
            throw $error;
        }
    }

    private function run(string $sql, array $values): \PDOStatement
    {
        $statement = $this->db->prepare($sql);
        foreach (array_values($values) as $index => $value) {
            $type = is_int($value) ? \PDO::PARAM_INT : ($value === null ? \PDO::PARAM_NULL : \PDO::PARAM_STR);
            $statement->bindValue($index + 1, $value, $type);
        }
        $statement->execute();
        return $statement;
    }

    private function rows(string $sql, array $values): array
    {
        return $this->run($sql, $values)->fetchAll();
    }

    /** @return mixed the first column of the first row, or null */
    private function value(string $sql, array $values = [])
    {
        $row = $this->run($sql, $values)->fetch(\PDO::FETCH_NUM);
        return $row === false ? null : $row[0];
    }

    /** @param mixed $value @return array<int, array<string, mixed>> */
    private static function listOf($value): array
    {
        return array_values(array_filter(is_array($value) ? $value : [], 'is_array'));
    }
}

DropIn::begin();
