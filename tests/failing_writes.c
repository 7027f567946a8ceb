/* Lets the writes of a program fail, as on a full disk or in a folder that it may not write to.
 *
 * Preloaded into a program (LD_PRELOAD), this numbers the calls that write below a folder, and
 * notes each in a log. From one of them on they fail. The environment tells, now or later:
 *
 * WRITES_BELOW   the folder, as an absolute path
 * WRITES_LOG     a file outside of it; its lines: kind, call, bytes, outcome, path
 * FAILING_FROM   the first that fails: its number, or a part of "call path"; 0: none fails
 * FAILING_COUNT  how many fail; 0: all from there on
 * FAILING_KINDS  which fail: c creates a name, o opens what is there, d writes data, r removes
 * FAILING_WITH   the number of the error
 * FAILING_SHORT  1: the first one writes half of its bytes, and does not fail; the others do
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum outcome { GOES_ON, HALF, FAILS };

static const char *folder, *from, *kinds;
static long number, first, how_many, error, is_short;
static int log_file = -1;

__attribute__((constructor)) static void do_not_go_on(void) {
    unsetenv("LD_PRELOAD"); /* what the program starts, such as git, is not meant */
}

static void begin(void) {
    folder = getenv("WRITES_BELOW");
    if (!folder) return;
    from = getenv("FAILING_FROM");
    kinds = getenv("FAILING_KINDS");
    first = atol(from);
    how_many = atol(getenv("FAILING_COUNT"));
    error = atol(getenv("FAILING_WITH"));
    is_short = atol(getenv("FAILING_SHORT"));
    log_file = open(getenv("WRITES_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static enum outcome judge(char kind, const char *call, size_t size, const char *path) {
    if (!folder) begin();
    size_t length = folder ? strlen(folder) : 0;
    char line[3 * PATH_MAX];
    if (log_file < 0 || strncmp(path, folder, length) || (path[length] && path[length] != '/'))
        return GOES_ON;
    path = path[length] ? path + length + 1 : ".";
    long now = __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST);
    snprintf(line, sizeof line, "%s %s", call, path);
    if (!first && strcmp(from, "0") && strstr(line, from)) first = now;
    enum outcome outcome = GOES_ON;
    if (first && now >= first && (!how_many || now < first + how_many) && strchr(kinds, kind))
        outcome = is_short && now == first ? HALF : FAILS;
    dprintf(log_file, "%c %s %zu %d %s\n", kind, call, size, outcome, path);
    if (outcome == FAILS) errno = error;
    return outcome;
}

static int fails_at(char kind, const char *call, int at, const char *path) {
    char link[64] = "/proc/self/cwd", whole[2 * PATH_MAX] = "";
    struct stat about;
    int is_there = fstatat(at, path, &about, AT_SYMLINK_NOFOLLOW) == 0;
    /* That a name is taken, or missing, is said before there is a look for room. */
    if ((!strcmp(call, "mkdir") && is_there) || (kind == 'r' && !is_there)) return 0;
    if (!strcmp(call, "open") && is_there) kind = 'o';
    if (at != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    if (path[0] != '/' && readlink(link, whole, PATH_MAX) >= 0) strcat(whole, "/");
    strncat(whole, path, PATH_MAX);
    return judge(kind, call, 0, whole) == FAILS;
}

static enum outcome judge_file(int file, const char *call, size_t size) {
    char link[64], path[PATH_MAX + 1] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return readlink(link, path, PATH_MAX) < 0 ? GOES_ON : judge('d', call, size, path);
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define FOR_WRITING(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                                  \
        va_end(rest);                                                                              \
        if (FOR_WRITING(flags) && fails_at('c', "open", AT_FDCWD, path)) return -1;                \
        return REAL(name)(path, flags, mode);                                                      \
    }
OPEN(open)
OPEN(open64)

/* Something done to a name: kind, what it is called, where, the function, what it takes. */
#define NAME(kind, call, at, path, name, parameters, ...)                                          \
    int name parameters {                                                                          \
        return fails_at(kind, call, at, path) ? -1 : REAL(name)(__VA_ARGS__);                      \
    }
NAME('c', "mkdir", AT_FDCWD, path, mkdir, (const char *path, mode_t mode), path, mode)
NAME('c', "rename", AT_FDCWD, new, rename, (const char *old, const char *new), old, new)
NAME('c', "link", AT_FDCWD, new, link, (const char *old, const char *new), old, new)
NAME('c', "link", AT_FDCWD, new, symlink, (const char *old, const char *new), old, new)
NAME('r', "remove", AT_FDCWD, path, unlink, (const char *path), path)
NAME('r', "remove", AT_FDCWD, path, rmdir, (const char *path), path)
NAME('r', "remove", at, path, unlinkat, (int at, const char *path, int flags), at, path, flags)

/* Something done to an open file: what it is called, the function, what it takes. */
#define OPENED(type, call, name, parameters, ...)                                                  \
    type name parameters {                                                                         \
        return judge_file(file, call, 0) == FAILS ? -1 : REAL(name)(__VA_ARGS__);               \
    }
OPENED(ssize_t, "write", writev, (int file, const struct iovec *data, int n), file, data, n)
OPENED(ssize_t, "write", pwrite, (int file, const void *data, size_t n, off_t at), file, data,
       n, at)
OPENED(int, "truncate", ftruncate, (int file, off_t size), file, size)
OPENED(int, "truncate", ftruncate64, (int file, off64_t size), file, size)
OPENED(int, "fsync", fsync, (int file), file)
OPENED(int, "fsync", fdatasync, (int file), file)

ssize_t write(int file, const void *data, size_t size) {
    enum outcome outcome = judge_file(file, "write", size);
    return outcome == FAILS ? -1 : REAL(write)(file, data, outcome == HALF ? size / 2 : size);
}

int close(int file) { /* It closes also where it fails, as with a quota on NFS. */
    int flags = fcntl(file, F_GETFL);
    int is_written = flags >= 0 && FOR_WRITING(flags);
    enum outcome outcome = is_written ? judge_file(file, "close", 0) : GOES_ON;
    int result = REAL(close)(file);
    if (outcome == FAILS) errno = error;
    return outcome == FAILS ? -1 : result;
}
