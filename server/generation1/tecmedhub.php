<?php
/**
 * TecMedHub beside api.php (generation 1). One line of api.php includes it, before anything else:
 *
 *     require_once __DIR__ . '/tecmedhub.php';
 *
 * It lets requests in one after the other (printers.json and commands.json are read whole and written whole: two at
 * once lose what the other wrote), lets the plugin's request for commands wait until there is one, hands out again what
 * was lost on the way, and keeps results and events. Other scripts that write to commands.json include it the same way.
 *
 * Questions it answers itself, for the log page:
 *     api.php?action=command_log&token=T[&id=cmd_…]   what became of the commands, newest first
 *     api.php?action=event_log&token=T                what happened at the printer, newest first
 *
 * PHP 7.4 or later, no extensions. How to take it out: remove the line, delete this file and tecmedhub_data/.
 */
declare(strict_types=1);

namespace TecMedHub;

const LONG_POLL = 20;       // seconds that a request for commands may wait; 0: never
const WAITERS = 8;          // how many may wait at once: each keeps one PHP process of the server busy
const REDELIVER = 20;       // seconds after which a command is handed out again that nobody has confirmed; 0: never
const KEPT_COMMANDS = 200;  // remembered of each printer
const KEPT_EVENTS = 2000;
const COMMANDS_FILE = __DIR__ . '/commands.json';
const PRINTERS_FILE = __DIR__ . '/printers.json';
const DATA = __DIR__ . '/tecmedhub_data';

const FINAL_WORDS = ['done', 'failed', 'refused', 'expired', 'interrupted'];
const LOOK_EVERY = 50000;   // microseconds, while a request waits

final class DropIn
{
    private string $token;
    private bool $again;    // this client runs an id once, so it may be handed one twice
    private array $body;
    private array $handing = [];
    /** @var resource|null */
    private static $lock;

    public static function begin(): void
    {
        $dropIn = new self();
        $action = (string) ($_GET['action'] ?? $_POST['action'] ?? $dropIn->body['action'] ?? '');
        if ($action === 'get_commands') {
            $dropIn->waitForCommand();
        }
        self::lock();
        if ($action === 'get_commands') {
            $dropIn->handingOut();
            ob_start(fn (string $text): string => $dropIn->dress($text, fn ($reply) => $dropIn->handedOut($reply)));
        } elseif ($action === 'update_printer') {
            ob_start(fn (string $text): string => $dropIn->dress($text, fn ($reply) => $dropIn->updated($reply)));
        } elseif (in_array($action, ['command_results', 'command_log', 'event_log'], true)) {
            $dropIn->answer($action);
        }
    }

    private function __construct()
    {
        $body = json_decode((string) file_get_contents('php://input'), true);
        $this->body = is_array($body) ? $body : [];
        $token = $_GET['token'] ?? $_POST['token'] ?? $this->body['token'] ?? '';
        $this->token = is_scalar($token) ? (string) $token : '';
        $this->again = REDELIVER > 0 && ($_GET['redeliver'] ?? '') === '1';
    }

    /** From here to the end of the request nobody else reads or writes the JSON files. */
    private static function lock(): void
    {
        self::$lock = self::open('lock');
        if (self::$lock !== null) {
            flock(self::$lock, LOCK_EX);
        }
    }

    // -- commands ------------------------------------------------------------------------------

    private function waitForCommand(): void
    {
        $wait = min((float) ($_GET['wait'] ?? 0), LONG_POLL);
        $place = $wait > 0 ? self::place() : null;
        if ($place === null) {
            return;
        }
        @set_time_limit((int) $wait + 30);
        $end = microtime(true) + $wait;
        for ($look = 0; microtime(true) < $end && !$this->hasCommand($look % 20 === 0); $look++) {
            usleep(LOOK_EVERY);
        }
        fclose($place);
    }

    /** One of the places for those that wait, or null when all are taken: such a request is answered at once. */
    private static function place()
    {
        for ($number = 0; $number < WAITERS; $number++) {
            $place = self::open("wait.$number");
            if ($place !== null && flock($place, LOCK_EX | LOCK_NB)) {
                return $place;
            }
        }
        return null;
    }

    private function hasCommand(bool $lookForLost): bool
    {
        if ($this->isNamedIn(COMMANDS_FILE) && $this->queued() !== []) {
            return true;
        }
        return $lookForLost && $this->again && array_filter($this->load(), [self::class, 'isLost']) !== [];
    }

    /** Without decoding the file, which is looked at twenty times a second. */
    private function isNamedIn(string $file): bool
    {
        $text = (string) @file_get_contents($file);
        foreach ([0, JSON_UNESCAPED_UNICODE, JSON_UNESCAPED_SLASHES, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES] as $way) {
            if ($this->token !== '' && strpos($text, (string) json_encode($this->token, $way)) !== false) {
                return true;
            }
        }
        return false;
    }

    /** api.php is about to forget these: should it, or PHP, die before the reply is out, they come again. */
    private function handingOut(): void
    {
        $waiting = $this->again ? $this->queued() : [];
        if ($waiting === []) {
            return;
        }
        $known = $this->load();
        foreach ($waiting as $command) {
            $known[(string) $command['id']] = self::entry($command, 'handing');
            $this->handing[(string) $command['id']] = true;
        }
        $this->store($known);
    }

    private function handedOut(object $reply): void
    {
        $known = $before = $this->load();
        $commands = is_array($reply->commands ?? null) ? $reply->commands : [];
        foreach ($commands as $command) {
            if (is_object($command) && is_scalar($command->id ?? null)) {
                $entry = self::entry(self::plain($command), $this->again ? 'sent' : 'sent once');
                // Word for word, since another content under the same id is another command.
                $known[(string) $command->id] = ['command' => self::json($command)] + $entry;
            }
        }
        foreach ($known as $id => $entry) {
            if ($entry['status'] === 'handing' && isset($this->handing[$id])) {
                unset($known[$id]);             // api.php has not handed it out
            } elseif ($this->again && self::isLost($entry)) {
                $known[$id]['status'] = 'sent';
                $known[$id]['sent_at'] = microtime(true);
                $known[$id]['times']++;
                $commands[] = json_decode($entry['command']);
            }
        }
        $reply->commands = $commands;
        if ($known !== $before) {
            $this->store($known);
        }
    }

    private static function entry(array $command, string $status): array
    {
        return [
            'id' => $command['id'], 'action' => $command['action'] ?? '', 'status' => $status, 'message' => '',
            'queued_at' => $command['timestamp'] ?? null, 'sent_at' => microtime(true), 'times' => 1, 'command' => self::json($command),
        ];
    }

    /** Handed out to a client that can be asked twice, and not a word since. */
    private static function isLost(array $entry): bool
    {
        return in_array($entry['status'], ['sent', 'handing'], true) && microtime(true) - $entry['sent_at'] >= REDELIVER;
    }

    /** This printer's commands in commands.json, in whatever shape it has: a list, by id, or by token. */
    private function queued(): array
    {
        $found = [];
        $tree = json_decode((string) @file_get_contents(COMMANDS_FILE), true);
        $look = function ($node, string $token) use (&$look, &$found): void {
            if (!is_array($node)) {
                return;
            }
            if (isset($node['id'], $node['action']) && is_scalar($node['id'])) {
                if ((string) ($node['token'] ?? $token) === $this->token) {
                    $found[] = $node;
                }
                return;
            }
            foreach ($node as $key => $child) {
                $look($child, is_int($key) ? $token : $key);
            }
        };
        $look($tree, '');
        return $found;
    }

    // -- results and events --------------------------------------------------------------------

    private function updated(object $reply): void
    {
        $this->keepResults($this->body['command_results'] ?? null);
        $this->keepEvents($this->body['events'] ?? null);
    }

    /** @param mixed $results as the plugin sends them; any word for a command shows that it has arrived */
    private function keepResults($results): void
    {
        if (!is_array($results) || $results === []) {
            return;
        }
        $known = $this->load();
        foreach ($results as $result) {
            if (!is_array($result) || !is_scalar($result['id'] ?? null) || !is_string($result['status'] ?? null)) {
                continue;
            }
            $id = (string) $result['id'];
            $entry = $known[$id] ?? self::entry(['id' => $result['id'], 'action' => $result['action'] ?? ''], 'sent once');
            if (!in_array($entry['status'], FINAL_WORDS, true) || in_array($result['status'], FINAL_WORDS, true)) {
                $entry['status'] = substr($result['status'], 0, 40);
                $entry['message'] = substr((string) ($result['message'] ?? ''), 0, 1000);
                $entry['received_at'] = $result['received_at'] ?? $entry['received_at'] ?? null;
                $entry['finished_at'] = $result['finished_at'] ?? null;
                unset($known[$id]);             // the newest stand last
                $known[$id] = $entry;
            }
        }
        $this->store($known);
    }

    /** @param mixed $events each may come twice: the plugin tells it until a reply has said success */
    private function keepEvents($events): void
    {
        if (!is_array($events) || $events === []) {
            return;
        }
        $kept = $this->load('events');
        foreach ($events as $event) {
            if (is_array($event)) {
                $kept[json_encode([$event['seq'] ?? 0, $event['at'] ?? 0])] = $event;
            }
        }
        $this->store(array_slice($kept, -KEPT_EVENTS, null, true), 'events');
    }

    // -- replies -------------------------------------------------------------------------------

    /** api.php's reply with what this file has to add; whatever is no JSON object passes as it is. */
    private function dress(string $text, callable $add): string
    {
        $start = strpos($text, '{');            // PHP's warnings may stand before it
        $reply = $start === false ? null : json_decode(substr($text, $start));
        if (!is_object($reply) || empty($reply->success)) {
            return $text;
        }
        try {
            $add($reply);
        } catch (\Throwable $error) {           // not stored: so it must not count as taken
            error_log('TecMedHub: ' . $error->getMessage());
            $reply = (object) ['success' => false, 'message' => 'TecMedHub: ' . $error->getMessage()];
        }
        return self::json(self::announce($reply));
    }

    private function answer(string $action): void
    {
        $reply = ['success' => true, 'message' => ''];
        try {
            if (!$this->isNamedIn(PRINTERS_FILE)) {
                $reply = ['success' => false, 'message' => 'Token no válido'];
            } elseif ($action === 'command_results') {
                $this->keepResults($this->body['results'] ?? null);
                $reply['message'] = 'Resultados guardados';
            } elseif ($action === 'command_log') {
                $reply['commands'] = $this->commandLog((string) ($_GET['id'] ?? ''));
            } else {
                $reply['events'] = array_reverse(array_values($this->load('events')));
            }
        } catch (\Throwable $error) {
            error_log('TecMedHub: ' . $error->getMessage());
            $reply = ['success' => false, 'message' => 'TecMedHub: ' . $error->getMessage()];
        }
        header('Content-Type: application/json; charset=utf-8');
        echo self::json(self::announce((object) $reply));
        exit;
    }

    private function commandLog(string $id): array
    {
        $log = [];
        foreach ($this->queued() as $command) {
            $log[(string) $command['id']] = self::entry($command, 'waiting');
        }
        $log = array_values(array_reverse($this->load() + $log));
        return $id === '' ? $log : array_values(array_filter($log, fn (array $entry): bool => (string) $entry['id'] === $id));
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

    private static function plain(object $value): array
    {
        return (array) json_decode(self::json($value), true);
    }

    // -- files ---------------------------------------------------------------------------------

    private function path(string $kind): string
    {
        return DATA . "/$kind-" . substr(hash('sha256', $this->token), 0, 32) . '.json';
    }

    private function load(string $kind = 'commands'): array
    {
        $kept = json_decode((string) @file_get_contents($this->path($kind)), true);
        return is_array($kept) ? $kept : [];
    }

    private function store(array $kept, string $kind = 'commands'): void
    {
        if ($kind === 'commands' && count($kept) > KEPT_COMMANDS) {
            $kept = array_slice($kept, -KEPT_COMMANDS, null, true);
        }
        $path = $this->path($kind);
        $text = self::json((object) $kept);
        if (@file_put_contents("$path.new", $text) !== strlen($text) || !rename("$path.new", $path)) {
            throw new \RuntimeException('no se puede escribir en ' . basename(DATA));
        }
    }

    /** @return resource|null */
    private static function open(string $name)
    {
        if (!is_dir(DATA) && @mkdir(DATA, 0770)) {
            @file_put_contents(DATA . '/.htaccess', "Require all denied\n");
            @file_put_contents(DATA . '/index.html', '');
        }
        $file = @fopen(DATA . "/$name", 'c');
        return $file === false ? null : $file;
    }
}

DropIn::begin();
