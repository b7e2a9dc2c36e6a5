/* Disk faults for one process, preloaded: fsync that fails, fsync that takes its time, a disk that is full.
 *
 * A storage node gets its directory from COLLECTIONSTORE_DATA_DIR and its name from COLLECTIONSTORE_NAME; what to do
 * is read from a small file, CHAOS_SHIM_CONTROL/<name>, mapped into memory, so that a fault begins and ends at once
 * and costs nothing while there is none. Only files below the data directory are met. A process without these
 * variables is left alone.
 *
 * The file holds four 32-bit integers of this machine's byte order (see shim.py):
 *   sync_errors   so many fsync, fdatasync and sync_file_range fail with EIO; 0xffffffff: all of them
 *   full          not 0: what needs space fails with ENOSPC
 *   sync_delay_ms every fsync and fdatasync takes so much longer
 *   met           counted up for every call that was met
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic uint32_t sync_errors;
    _Atomic uint32_t full;
    _Atomic uint32_t sync_delay_ms;
    _Atomic uint32_t met;
};

static struct control none;
static struct control *control = &none;
static char directory[PATH_MAX];
static size_t directory_length;

/* Looked up once; that two threads may do it at once harms nothing. */
#define REAL(name)                    \
    static __typeof__(&name) real;    \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *data = getenv("COLLECTIONSTORE_DATA_DIR"), *name = getenv("COLLECTIONSTORE_NAME");
    const char *controls = getenv("CHAOS_SHIM_CONTROL");
    char path[PATH_MAX];
    if (!data || !name || !controls || !realpath(data, directory)) return;
    directory_length = strlen(directory);
    if (snprintf(path, sizeof path, "%s/%s", controls, name) >= (int)sizeof path) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

static int below(const char *path) {
    return directory_length && strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == '\0');
}

static int ours(int file) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return below(path);
}

/* A path that need not exist yet: its folder must. */
static int ours_by_path(const char *path) {
    char copy[PATH_MAX], folder[PATH_MAX];
    if (strlen(path) >= sizeof copy) return 0;
    strcpy(copy, path);
    char *slash = strrchr(copy, '/');
    if (!slash || slash == copy) return 0;
    *slash = '\0';
    return realpath(copy, folder) && below(folder);
}

static int is_full(int file) {
    if (!atomic_load(&control->full) || !ours(file)) return 0;
    atomic_fetch_add(&control->met, 1);
    errno = ENOSPC;
    return 1;
}

static int is_full_for(const char *path) {
    if (!atomic_load(&control->full) || !ours_by_path(path)) return 0;
    atomic_fetch_add(&control->met, 1);
    errno = ENOSPC;
    return 1;
}

static int sync_fails(int file) {
    uint32_t delay = atomic_load(&control->sync_delay_ms), left = atomic_load(&control->sync_errors);
    if ((!delay && !left) || !ours(file)) return 0;
    if (delay) {
        struct timespec time = {delay / 1000, (long)(delay % 1000) * 1000000};
        atomic_fetch_add(&control->met, 1);
        while (nanosleep(&time, &time) != 0 && errno == EINTR) {
        }
        left = atomic_load(&control->sync_errors);
    }
    while (left) {
        if (left == UINT32_MAX || atomic_compare_exchange_weak(&control->sync_errors, &left, left - 1)) {
            atomic_fetch_add(&control->met, 1);
            errno = EIO;
            return 1;
        }
    }
    return 0;
}

int fsync(int file) {
    REAL(fsync);
    return sync_fails(file) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return sync_fails(file) ? -1 : real(file);
}

int sync_file_range(int file, off64_t offset, off64_t length, unsigned flags) {
    REAL(sync_file_range);
    return sync_fails(file) ? -1 : real(file, offset, length, flags);
}

ssize_t write(int file, const void *data, size_t length) {
    REAL(write);
    return is_full(file) ? -1 : real(file, data, length);
}

ssize_t writev(int file, const struct iovec *pieces, int count) {
    REAL(writev);
    return is_full(file) ? -1 : real(file, pieces, count);
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset) {
    REAL(pwrite);
    return is_full(file) ? -1 : real(file, data, length, offset);
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset) {
    REAL(pwrite64);
    return is_full(file) ? -1 : real(file, data, length, offset);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
    REAL(fallocate);
    return is_full(file) ? -1 : real(file, mode, offset, length);
}

int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    REAL(fallocate64);
    return is_full(file) ? -1 : real(file, mode, offset, length);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return is_full_for(path) ? -1 : real(path, mode);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    REAL(open);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return flags & O_CREAT && access(path, F_OK) != 0 && is_full_for(path) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return flags & O_CREAT && access(path, F_OK) != 0 && is_full_for(path) ? -1 : real(path, flags, mode);
}
