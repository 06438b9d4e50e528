<?php
/**
 * The reference hub: what every endpoint of both generations shares.
 *
 * An endpoint reads its request, names itself and hands over a handler:
 *
 *     $request = Request::read();
 *     (new Hub(1, 'status', $request))->serve(function (Hub $hub): array { return [...]; });
 *
 * serve() writes the journal, checks the token, adds the announced features and the misbehaviour in force (lib/faults.php),
 * and answers in the deployed servers' way: HTTP 200 and `success: false` for nearly everything that goes wrong.
 */
declare(strict_types=1);

require_once __DIR__ . '/faults.php';

/** A handler refuses: `success: false` with this message, still HTTP 200. */
final class Refusal extends Exception
{
}

/** One HTTP request, read once. */
final class Request
{
    public string $method;
    public string $path;
    public string $raw;
    /** @var array<string, mixed>|null the JSON body; null when there is none or it is not an object */
    public ?array $json;

    public static function read(): self
    {
        $request = new self();
        $request->method = $_SERVER['REQUEST_METHOD'];
        $request->path = (string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
        $request->raw = (string) file_get_contents('php://input');
        $decoded = json_decode($request->raw, true);
        $request->json = is_array($decoded) ? $decoded : null;
        return $request;
    }

    /** The first of these names found in the query, the form fields or the JSON body. */
    public function text(string ...$names): string
    {
        foreach ([$_GET, $_POST, $this->json ?? []] as $source) {
            foreach ($names as $name) {
                if (isset($source[$name]) && is_scalar($source[$name])) {
                    return (string) $source[$name];
                }
            }
        }
        return '';
    }
}

final class Hub
{
    public PDO $db;
    public string $data;
    public int $generation;
    public string $endpoint;
    public Request $request;
    public string $token;
    public int $journalId = 0;
    private Faults $faults;
    /** @var array<string, mixed> */
    private array $control = [];

    public function __construct(int $generation, string $endpoint, Request $request)
    {
        $this->generation = $generation;
        $this->endpoint = $endpoint;
        $this->request = $request;
        $this->token = $request->text('token', 'printer_token');
        $this->data = self::dataFolder();
        $this->db = self::open($this->data);
        foreach ($this->db->query('SELECT name, value FROM control') as $row) {
            $this->control[$row['name']] = json_decode($row['value'], true);
        }
    }

    public static function dataFolder(): string
    {
        $folder = getenv('TECMEDHUB_DATA') ?: sys_get_temp_dir() . '/tecmedhub-hub';
        if (!is_dir($folder)) {
            @mkdir($folder, 0700, true);
        }
        return $folder;
    }

    public static function open(string $folder): PDO
    {
        $db = new PDO("sqlite:$folder/hub.sqlite", null, null, [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
            PDO::ATTR_TIMEOUT => 10,
        ]);
        // Its memory need not outlive a power cut, and eight workers write to it.
        $db->exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF');
        if (!$db->query("SELECT 1 FROM sqlite_master WHERE name = 'timelapses'")->fetchColumn()) {
            $db->exec((string) file_get_contents(__DIR__ . '/schema.sql'));
        }
        return $db;
    }

    /** A switch of the control table. @return mixed */
    public function setting(string $name, $default = null)
    {
        return $this->control[$name] ?? $default;
    }

    /** An announced extension's value, or false. @return mixed */
    public function feature(string $name)
    {
        $features = $this->setting('features', []);
        return is_array($features) ? ($features[$name] ?? false) : false;
    }

    /** Unix seconds by the hub's own clock, which a test may set wrong. */
    public function now(): float
    {
        return microtime(true) + (float) $this->setting('clock_offset', 0);
    }

    /** Runs work in one write transaction. @return mixed what it returns */
    public function write(callable $work)
    {
        $this->db->exec('BEGIN IMMEDIATE');
        try {
            $result = $work($this->db);
            $this->db->exec('COMMIT');
            return $result;
        } catch (Throwable $error) {
            $this->db->exec('ROLLBACK');
            throw $error;
        }
    }

    public function execute(string $sql, array $values = []): PDOStatement
    {
        $statement = $this->db->prepare($sql);
        foreach (array_values($values) as $index => $value) {
            $type = is_int($value) ? PDO::PARAM_INT : ($value === null ? PDO::PARAM_NULL : PDO::PARAM_STR);
            $statement->bindValue($index + 1, $value, $type);
        }
        $statement->execute();
        return $statement;
    }

    /** @param callable(Hub): ?array $handler the reply's fields, or null when it has sent bytes of its own */
    public function serve(callable $handler): void
    {
        set_time_limit(0);
        $this->arrived();
        $this->faults = Faults::take($this);
        try {
            $this->faults->before($this);
            $this->checkToken();
            $reply = $handler($this);
            if ($reply === null) {
                return;
            }
            $reply = ['success' => true] + $reply;
        } catch (Refusal $refusal) {
            $reply = ['success' => false, 'message' => $refusal->getMessage()];
        } catch (PDOException $error) {
            $reply = ['success' => false, 'message' => 'Error de base de datos: ' . $error->getMessage()];
        }
        $this->answer($reply);
    }

    public function faults(): Faults
    {
        return $this->faults;
    }

    private function checkToken(): void
    {
        if ($this->endpoint === 'health' || $this->endpoint === 'other') {
            return;
        }
        if ($this->token === '') {
            throw new Refusal('Token requerido');
        }
        $allowed = $this->setting('tokens');
        if (is_array($allowed) && !in_array($this->token, $allowed, true)) {
            throw new Refusal('Token no válido');
        }
    }

    private function answer(array $reply): void
    {
        $features = $this->setting('features');
        if (is_array($features) && $features !== []) {
            $reply['features'] = $features;
        }
        header('Content-Type: application/json; charset=utf-8');
        if ($this->setting('clock_offset')) {
            header('Date: ' . gmdate('D, d M Y H:i:s', (int) $this->now()) . ' GMT');
        }
        $success = (bool) $reply['success'];
        $text = $this->faults->dress($this, $reply);
        $this->finished((int) http_response_code(), $success, $text);
        $this->faults->send($this, $text);
    }

    private function arrived(): void
    {
        $request = $this->request;
        $is_form = $request->raw === '' && ($_FILES || $_POST);
        $this->journalId = $this->write(function () use ($request, $is_form): int {
            $this->execute(
                'INSERT INTO journal (time, generation, endpoint, path, method, action, token, query, headers, size, body)'
                . ' VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
                [
                    microtime(true), $this->generation, $this->endpoint, $request->path, $request->method,
                    $request->text('action'), $this->token, (string) json_encode((object) $_GET, JSON_INVALID_UTF8_SUBSTITUTE),
                    (string) json_encode((object) getallheaders(), JSON_INVALID_UTF8_SUBSTITUTE),
                    (int) ($_SERVER['CONTENT_LENGTH'] ?? strlen($request->raw)),
                    $is_form ? json_encode($_POST, JSON_INVALID_UTF8_SUBSTITUTE) : $request->raw,
                ]
            );
            $id = (int) $this->db->lastInsertId();
            $this->forget($id);
            return $id;
        });
    }

    /** Keeps a test of many hours from filling the disk; each step costs one look-up by primary key. */
    private function forget(int $id): void
    {
        $this->execute(
            "UPDATE journal SET body = json_set(body, '$.image', 'data:,forgotten') WHERE id = ? AND length(body) > 20000"
            . ' AND json_valid(body)',
            [$id - 500]
        );
        $this->execute('DELETE FROM journal WHERE id <= ?', [$id - (int) $this->setting('keep', 20000)]);
    }

    public function finished(int $code, ?bool $success, string $reply): void
    {
        $this->execute(
            'UPDATE journal SET finished = ?, code = ?, success = ?, reply = ? WHERE id = ?',
            [microtime(true), $code, $success === null ? null : (int) $success, substr($reply, 0, 8192), $this->journalId]
        );
    }

    /**
     * Whether the client has closed its connection while we waited. PHP itself learns that only by writing to it, and a
     * command handed to a closed connection is lost, so look into the kernel's table (Linux; elsewhere: "no").
     */
    public function clientGone(): bool
    {
        $table = @file('/proc/net/tcp', FILE_IGNORE_NEW_LINES);
        $address = @inet_pton((string) $_SERVER['REMOTE_ADDR']);
        if ($table === false || $address === false || strlen($address) !== 4) {
            return false;
        }
        $peer = sprintf('%08X:%04X', unpack('V', $address)[1], (int) $_SERVER['REMOTE_PORT']);
        $port = sprintf(':%04X', (int) $_SERVER['SERVER_PORT']);
        foreach ($table as $line) {
            $columns = preg_split('/\s+/', trim($line));
            if (($columns[2] ?? '') === $peer && substr($columns[1], -5) === $port) {
                return $columns[3] !== '01';
            }
        }
        return true;
    }
}
