/* Preloaded into Moonraker by hazards.py: a disk, a clock and a name server that fail on command,
 * and a time that passes faster than it does.
 *
 * The commands come through a file mapped into memory, so that a test changes them at any moment
 * and a call that is not concerned costs next to nothing. Layout: see `struct control`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t clock_offset; /* nanoseconds added to the wall clock */
    volatile int32_t disk_error;   /* errno of whatever writes below `paths`; 0: none */
    volatile int32_t dns_hangs;    /* 1: look-ups of *.hang.invalid do not return */
    volatile int32_t disk_delay;   /* milliseconds that each write and sync below `paths` takes */
    volatile int32_t hits;         /* calls that failed or were delayed so far */
    char paths[1000];              /* absolute prefixes, one a line */
    /* The tempo. Odd while it is being changed; 0: time is as it is, and so are all waits. */
    volatile uint64_t tempo_version;
    volatile double tempo;      /* seconds that pass in one */
    volatile int64_t true_base; /* nanoseconds, monotonic: since then it passes at that tempo */
    volatile int64_t our_base;  /* what our monotonic clock said then */
    volatile int64_t wall_lead; /* nanoseconds by which our wall clock is ahead of the monotonic */
};

static struct control *control;

__attribute__((constructor)) static void attach(void)
{
    const char *name = getenv("TECMEDHUB_HAZARDS");
    int fd = name ? open(name, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED)
        control = memory;
}

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* -- the disk ---------------------------------------------------------------------------------- */

static int concerns(const char *path)
{
    const char *start = control->paths;
    while (*start) {
        size_t length = strcspn(start, "\n");
        if (length && strncmp(path, start, length) == 0)
            return 1;
        start += length + (start[length] == '\n');
    }
    return 0;
}

static int fails(const char *path, int error)
{
    if (!concerns(path))
        return 0;
    __sync_fetch_and_add(&control->hits, 1);
    if (control->disk_delay > 0)
        usleep((useconds_t)control->disk_delay * 1000);
    if (!error)
        return 0;
    errno = error;
    return 1;
}

static int path_fails(int folder, const char *path, int error)
{
    char absolute[2 * PATH_MAX], base[PATH_MAX], link[64];
    if (path[0] == '/')
        return fails(path, error);
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base))
            return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0)
            return 0;
        base[length] = 0;
    }
    snprintf(absolute, sizeof absolute, "%s/%s", base, path);
    return fails(absolute, error);
}

static int descriptor_fails(int fd, int error)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || path[0] != '/')
        return 0;
    path[length] = 0;
    return fails(path, error);
}

#define ACTIVE (control && (control->disk_error || control->disk_delay))
/* A full disk still opens, renames and deletes; a read-only one does nothing of the kind. */
#define CHANGING (control->disk_error == EROFS ? EROFS : 0)

ssize_t write(int fd, const void *data, size_t size)
{
    if (ACTIVE && descriptor_fails(fd, control->disk_error))
        return -1;
    return REAL(write)(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (ACTIVE && descriptor_fails(fd, control->disk_error))
        return -1;
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (ACTIVE && descriptor_fails(fd, control->disk_error))
        return -1;
    return REAL(pwrite)(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    if (ACTIVE && descriptor_fails(fd, control->disk_error))
        return -1;
    return REAL(pwrite64)(fd, data, size, offset);
}

int ftruncate(int fd, off_t size)
{
    if (ACTIVE && descriptor_fails(fd, CHANGING))
        return -1;
    return REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    if (ACTIVE && descriptor_fails(fd, CHANGING))
        return -1;
    return REAL(ftruncate64)(fd, size);
}

int fsync(int fd)
{
    if (ACTIVE && descriptor_fails(fd, 0))
        return -1;
    return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    if (ACTIVE && descriptor_fails(fd, 0))
        return -1;
    return REAL(fdatasync)(fd);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    if (ACTIVE && descriptor_fails(fd, control->disk_error))
        return errno;
    return REAL(posix_fallocate)(fd, offset, size);
}

static int open_fails(int folder, const char *path, int flags)
{
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))
        return 0;
    if (control->disk_error == ENOSPC && (flags & O_CREAT)) {
        struct stat status; /* a new file needs an inode and a place in its folder */
        return fstatat(folder, path, &status, 0) != 0 && path_fails(folder, path, ENOSPC);
    }
    return path_fails(folder, path, CHANGING);
}

#define OPEN(name)                                                   \
    int name(const char *path, int flags, ...)                       \
    {                                                                \
        mode_t mode = 0;                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                         \
            va_list rest;                                            \
            va_start(rest, flags);                                   \
            mode = va_arg(rest, mode_t);                             \
            va_end(rest);                                            \
        }                                                            \
        if (ACTIVE && open_fails(AT_FDCWD, path, flags))             \
            return -1;                                               \
        return REAL(name)(path, flags, mode);                        \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                 \
    int name(int folder, const char *path, int flags, ...)           \
    {                                                                \
        mode_t mode = 0;                                             \
        if (flags & (O_CREAT | O_TMPFILE)) {                         \
            va_list rest;                                            \
            va_start(rest, flags);                                   \
            mode = va_arg(rest, mode_t);                             \
            va_end(rest);                                            \
        }                                                            \
        if (ACTIVE && open_fails(folder, path, flags))               \
            return -1;                                               \
        return REAL(name)(folder, path, flags, mode);                \
    }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode)
{
    if (ACTIVE && path_fails(AT_FDCWD, path, control->disk_error))
        return -1;
    return REAL(mkdir)(path, mode);
}

int rename(const char *from, const char *to)
{
    if (ACTIVE && path_fails(AT_FDCWD, to, CHANGING))
        return -1;
    return REAL(rename)(from, to);
}

int unlink(const char *path)
{
    if (ACTIVE && path_fails(AT_FDCWD, path, CHANGING))
        return -1;
    return REAL(unlink)(path);
}

#define SPACE(name, type)                                            \
    int name(const char *path, struct type *space)                   \
    {                                                                \
        int result = REAL(name)(path, space);                        \
        if (control && control->disk_error == ENOSPC && concerns(path)) \
            space->f_bfree = space->f_bavail = 0;                    \
        return result;                                               \
    }
SPACE(statvfs, statvfs)
SPACE(statvfs64, statvfs64)

/* -- the clock --------------------------------------------------------------------------------- */

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)
/* A wait is cut into pieces of this (nanoseconds), so that it notices another tempo. */
#define PIECE (20 * MILLISECOND)

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec timespec(int64_t nanoseconds)
{
    struct timespec time = {nanoseconds / SECOND, nanoseconds % SECOND};
    return time;
}

static int64_t true_time(clockid_t clock)
{
    static __typeof__(&clock_gettime) next;
    struct timespec now;
    if (!next)
        next = REAL(clock_gettime);
    next(clock, &now);
    return nanoseconds(&now);
}

#define HURRIED (control && control->tempo_version)

/* Our monotonic time, and the tempo at which it passes. */
static int64_t our_time(double *tempo)
{
    uint64_t version;
    int64_t now;
    do {
        version = control->tempo_version;
        __sync_synchronize();
        *tempo = control->tempo;
        now = true_time(CLOCK_MONOTONIC) - control->true_base;
        now = control->our_base + (int64_t)((double)now * *tempo);
        __sync_synchronize();
    } while (version & 1 || version != control->tempo_version);
    return now;
}

static int is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) next;
    if (!next)
        next = REAL(clock_gettime);
    int wall = is_wall(clock);
    int scaled = HURRIED && (wall || clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE
                             || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_BOOTTIME);
    int result = next(clock, now);
    if (result || !control || !(wall || scaled))
        return result;
    double tempo;
    int64_t moved = scaled ? our_time(&tempo) : nanoseconds(now);
    if (wall)
        moved += control->clock_offset + (scaled ? control->wall_lead : 0);
    *now = timespec(moved);
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *where)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where)
        *where = exact.tv_sec;
    return exact.tv_sec;
}

/* -- waiting, at the tempo of the clock --------------------------------------------------------- */

/* Wait in pieces until `deadline` (our monotonic time) or until `wait(context, nanoseconds)`, which
 * gets true ones, returns anything but 0. */
static int in_pieces(int64_t deadline, int (*wait)(void *, int64_t), void *context)
{
    for (;;) {
        double tempo;
        int64_t left = deadline - our_time(&tempo);
        left = left <= 0 ? 0 : (int64_t)((double)left / tempo) + 1;
        int result = wait(context, left < PIECE ? left : PIECE);
        if (result || left == 0)
            return result;
    }
}

static int64_t deadline_in(int64_t nanoseconds)
{
    double tempo;
    return our_time(&tempo) + nanoseconds;
}

static int milliseconds(int64_t left) /* never too few: else the caller would ask again at once */
{
    return (int)((left + MILLISECOND - 1) / MILLISECOND);
}

struct epoll_call {
    int fd, count;
    struct epoll_event *events;
};

static int epoll_piece(void *context, int64_t left)
{
    struct epoll_call *call = context;
    return REAL(epoll_wait)(call->fd, call->events, call->count, milliseconds(left));
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    struct epoll_call call = {fd, count, events};
    if (timeout <= 0 || !HURRIED)
        return REAL(epoll_wait)(fd, events, count, timeout);
    return in_pieces(deadline_in(timeout * MILLISECOND), epoll_piece, &call);
}

struct poll_call {
    struct pollfd *fds;
    nfds_t count;
};

static int poll_piece(void *context, int64_t left)
{
    struct poll_call *call = context;
    return REAL(poll)(call->fds, call->count, milliseconds(left));
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    struct poll_call call = {fds, count};
    if (timeout <= 0 || !HURRIED)
        return REAL(poll)(fds, count, timeout);
    return in_pieces(deadline_in(timeout * MILLISECOND), poll_piece, &call);
}

struct select_call {
    int count;
    fd_set *sets[3], wanted[3];
};

static int select_piece(void *context, int64_t left)
{
    struct select_call *call = context;
    struct timeval piece = {left / SECOND, left % SECOND / 1000};
    for (int n = 0; n < 3; n++)
        if (call->sets[n])
            *call->sets[n] = call->wanted[n];
    return REAL(select)(call->count, call->sets[0], call->sets[1], call->sets[2], &piece);
}

int select(int count, fd_set *restrict in, fd_set *restrict out, fd_set *restrict others,
           struct timeval *restrict timeout)
{
    struct select_call call = {count, {in, out, others}, {{{0}}}};
    if (!timeout || !HURRIED)
        return REAL(select)(count, in, out, others, timeout);
    for (int n = 0; n < 3; n++)
        if (call.sets[n])
            call.wanted[n] = *call.sets[n];
    int64_t length = (int64_t)timeout->tv_sec * SECOND + timeout->tv_usec * INT64_C(1000);
    return in_pieces(deadline_in(length), select_piece, &call);
}

static int sleep_piece(void *context, int64_t left)
{
    struct timespec piece = timespec(left);
    (void)context;
    return REAL(clock_nanosleep)(CLOCK_MONOTONIC, 0, &piece, NULL);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *length,
                    struct timespec *left)
{
    if (!HURRIED)
        return REAL(clock_nanosleep)(clock, flags, length, left);
    int64_t deadline = nanoseconds(length);
    if (!(flags & TIMER_ABSTIME))
        deadline = deadline_in(deadline);
    else if (is_wall(clock))
        deadline -= control->wall_lead + control->clock_offset;
    return in_pieces(deadline, sleep_piece, NULL);
}

int nanosleep(const struct timespec *length, struct timespec *left)
{
    if (!HURRIED)
        return REAL(nanosleep)(length, left);
    errno = clock_nanosleep(CLOCK_MONOTONIC, 0, length, left);
    return errno ? -1 : 0;
}

int usleep(useconds_t length)
{
    struct timespec exact = timespec((int64_t)length * 1000);
    return nanosleep(&exact, NULL);
}

unsigned sleep(unsigned length)
{
    struct timespec exact = {length, 0};
    nanosleep(&exact, NULL);
    return 0;
}

/* What Python's locks wait with. */
static int semaphore_piece(void *context, int64_t left)
{
    struct timespec until = timespec(true_time(CLOCK_MONOTONIC) + left);
    if (REAL(sem_clockwait)((sem_t *)context, CLOCK_MONOTONIC, &until) == 0)
        return 1;
    return errno == ETIMEDOUT ? 0 : -1;
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until)
{
    if (!HURRIED)
        return REAL(sem_clockwait)(semaphore, clock, until);
    int64_t deadline = nanoseconds(until);
    if (is_wall(clock))
        deadline -= control->wall_lead + control->clock_offset;
    int result = in_pieces(deadline, semaphore_piece, semaphore);
    if (result == 0)
        errno = ETIMEDOUT;
    return result == 1 ? 0 : -1;
}

/* What Python's interpreter lock waits with: 5 ms for its turn, which stay true ones. The clock is
 * the condition's own, which cannot be asked; the two are years apart. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    static __typeof__(&pthread_cond_timedwait) next;
    if (!next)
        next = REAL(pthread_cond_timedwait);
    if (!HURRIED)
        return next(condition, mutex, until);
    double tempo;
    int wall = until->tv_sec > 1000000000;
    int64_t left = nanoseconds(until) - our_time(&tempo);
    if (wall)
        left -= control->wall_lead + control->clock_offset;
    if (left > 100 * MILLISECOND)
        left = (int64_t)((double)left / tempo);
    int64_t now = true_time(wall ? CLOCK_REALTIME : CLOCK_MONOTONIC);
    struct timespec ours = timespec(now + (left > 0 ? left : 0));
    return next(condition, mutex, &ours);
}

/* -- the name server --------------------------------------------------------------------------- */

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    static const char hanging[] = ".hang.invalid", found_else[] = "found.";
    size_t length = node ? strlen(node) : 0;
    int number = hints && (hints->ai_flags & AI_NUMERICHOST); /* no name server is asked */
    if (control && !number && length >= sizeof hanging - 1
        && strcmp(node + length - (sizeof hanging - 1), hanging) == 0) {
        __sync_fetch_and_add(&control->hits, 1);
        while (control->dns_hangs)
            usleep(20000);
        if (strncmp(node, found_else, sizeof found_else - 1) != 0)
            return EAI_AGAIN;
        node = "127.0.0.1";
    }
    return REAL(getaddrinfo)(node, service, hints, found);
}
