/* Preloaded into Moonraker by hazards.py: a disk, a clock and a name server that fail on command.
 *
 * The commands come through a file mapped into memory, so that a test changes them at any moment
 * and a call that is not concerned costs next to nothing. Layout: see `struct control`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) next;
    if (!next)
        next = REAL(clock_gettime);
    int result = next(clock, now);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t moved = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + control->clock_offset;
        now->tv_sec = moved / 1000000000;
        now->tv_nsec = moved % 1000000000;
    }
    return result;
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

/* -- the name server --------------------------------------------------------------------------- */

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    static const char hanging[] = ".hang.invalid";
    size_t length = node ? strlen(node) : 0;
    int number = hints && (hints->ai_flags & AI_NUMERICHOST); /* no name server is asked */
    if (control && !number && length >= sizeof hanging - 1
        && strcmp(node + length - (sizeof hanging - 1), hanging) == 0) {
        __sync_fetch_and_add(&control->hits, 1);
        while (control->dns_hangs)
            usleep(20000);
        return EAI_AGAIN;
    }
    return REAL(getaddrinfo)(node, service, hints, found);
}
