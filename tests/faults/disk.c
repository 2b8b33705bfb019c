/* A disk that fails when it is told to: preloaded into a process, it counts the calls that change
 * what lies below one folder, and makes the n-th of them fail, or kills the process in it.
 *
 * Counted: open with O_CREAT, write, pwrite, writev, ftruncate, fallocate, fsync, fdatasync,
 * mkdir, link, rename; not unlink, which works on a full disk. A write that fails once or dies has
 * written its first half. Steered by disk_*() through ctypes, see disk.py.
 *
 * It can also tell the order of what reached the disk: each of these calls that went well is a line
 * of JSON to a file, [call, path] or [call, old path, new path]. See power_cut.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL_ONCE, FAIL_ON, KILL };

static char folder[PATH_MAX];
static size_t folder_length;
static atomic_long calls, failures, nth; /* nth 0: count only */
static int how, error_number, report = -1, record = -1;
static char last[PATH_MAX + 64]; /* the call that failed first */

void disk_watch(const char *path) {
    folder_length = 0;
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
}

void disk_arm(long number, int mode, int error, int report_to) {
    how = mode;
    error_number = error;
    report = report_to;
    last[0] = 0;
    atomic_store(&calls, 0);
    atomic_store(&failures, 0);
    atomic_store(&nth, number);
}

void disk_record(int to) { record = to; } /* a file descriptor; -1: nobody */

void disk_heal(void) { atomic_store(&nth, 0); }
long disk_calls(void) { return atomic_load(&calls); }
long disk_failures(void) { return atomic_load(&failures); }
const char *disk_last(void) { return last; }

static int below(const char *path) {
    return folder_length && !strncmp(path, folder, folder_length) &&
           (path[folder_length] == '/' || !path[folder_length]);
}

static int below_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!folder_length || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Tell a call that went well. path NULL: of fd. */
static void tell(const char *what, const char *path, int fd, const char *then) {
    char link[64], target[PATH_MAX] = "", line[2 * PATH_MAX + 96];
    if (record < 0) return;
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        path = target;
    }
    int length = then ? snprintf(line, sizeof line, "[\"%s\", \"%s\", \"%s\"]\n", what, path, then)
                      : snprintf(line, sizeof line, "[\"%s\", \"%s\"]\n", what, path);
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (length > 0) (void)!real(record, line, (size_t)length);
}

/* 1: this call is struck. */
static int struck(const char *what, const char *path, int fd) {
    long wanted = atomic_load(&nth);
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (!wanted || number < wanted || (how != FAIL_ON && number > wanted)) return 0;
    if (atomic_fetch_add(&failures, 1) == 0) {
        char link[64], target[PATH_MAX] = "";
        if (!path) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, target, sizeof target - 1);
            target[length > 0 ? length : 0] = 0;
            path = target;
        }
        snprintf(last, sizeof last, "%s %s", what, path);
    }
    return 1;
}

static int strike(void) {
    if (how == KILL) {
        char line[PATH_MAX + 96];
        int length = snprintf(line, sizeof line, "[\"killed\", \"%s\"]\n", last);
        if (report >= 0 && length > 0) (void)!write(report, line, (size_t)length);
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = error_number;
    return -1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* The mode behind `flags` where a file may be made, which counts as a write. */
#define MAY_CREATE(path, flags, mode) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
        if (below(path) && struck("open", path, -1)) return strike(); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        MAY_CREATE(path, flags, mode) \
        int made = flags & O_CREAT && below(path) && access(path, F_OK); \
        int fd = real(path, flags, mode); \
        if (made && fd >= 0) tell("create", path, -1, NULL); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        MAY_CREATE(path, flags, mode) \
        int made = flags & O_CREAT && below(path) && access(path, F_OK); \
        int fd = real(at, path, flags, mode); \
        if (made && fd >= 0) tell("create", path, -1, NULL); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    int ours = below_fd(fd);
    if (ours && struck("write", NULL, fd)) {
        if (size > 1 && how != FAIL_ON) (void)!real(fd, data, size / 2);
        return strike();
    }
    if (ours) tell("write", NULL, fd, NULL);
    return real(fd, data, size);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t size, offset_type at) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        int ours = below_fd(fd); \
        if (ours && struck("pwrite", NULL, fd)) { \
            if (size > 1 && how != FAIL_ON) (void)!real(fd, data, size / 2, at); \
            return strike(); \
        } \
        if (ours) tell("write", NULL, fd, NULL); \
        return real(fd, data, size, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    int ours = below_fd(fd);
    if (ours && struck("writev", NULL, fd)) return strike();
    if (ours) tell("write", NULL, fd, NULL);
    return real(fd, parts, count);
}

#define WITH_FD(name, what, declared, given) \
    int name declared { \
        REAL(int, name, TYPES_##name); \
        int ours = below_fd(fd); \
        if (ours && struck(what, NULL, fd)) return strike(); \
        int answer = real given; \
        if (ours && !answer) tell(what, NULL, fd, NULL); \
        return answer; \
    }
#define TYPES_fsync int
#define TYPES_fdatasync int
#define TYPES_ftruncate int, off_t
#define TYPES_ftruncate64 int, off64_t
WITH_FD(fsync, "fsync", (int fd), (fd))
WITH_FD(fdatasync, "fdatasync", (int fd), (fd))
WITH_FD(ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
WITH_FD(ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))

/* These answer with the error's number. */
#define ALLOCATE(name, offset_type) \
    int name(int fd, offset_type at, offset_type size) { \
        REAL(int, name, int, offset_type, offset_type); \
        if (below_fd(fd) && struck("fallocate", NULL, fd)) return strike(), error_number; \
        return real(fd, at, size); \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    /* One that is there already is no write, and its answer is looked at. */
    if (below(path) && access(path, F_OK) && struck("mkdir", path, -1)) return strike();
    int answer = real(path, mode);
    if (below(path) && !answer) tell("create", path, -1, NULL);
    return answer;
}

int link(const char *old, const char *new) {
    REAL(int, link, const char *, const char *);
    if (below(new) && struck("link", new, -1)) return strike();
    int answer = real(old, new);
    if (below(new) && !answer) tell("link", old, -1, new);
    return answer;
}

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    if (below(new) && struck("rename", new, -1)) return strike();
    int answer = real(old, new);
    if (below(new) && !answer) tell("rename", old, -1, new);
    return answer;
}
