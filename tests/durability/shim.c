/* Stands between a process and its files: writes down what is done to those below a folder, and makes it fail.

   SHIM_FOLDER   only files below this folder are watched.
   SHIM_JOURNAL  a file to which every change is appended, see `struct entry`; none when unset.
   SHIM_CONTROL  a file of `struct control`, shared with whoever arms the faults; none when unset.

   Built as a library and named in LD_PRELOAD. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

enum { OPEN = 1, CLOSE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MAKE_FOLDER };
enum { READS = 1, CHANGES = 2 };  /* what may fail */
enum { SHORT_WRITE = -1 };        /* beside the numbers of errors */

struct entry { int32_t operation, handle; int64_t offset; int32_t size, other_size; };  /* then so many bytes of each */

struct control {
    int32_t failure;  /* an errno, SHORT_WRITE, or 0: nothing fails */
    int32_t classes;  /* READS, CHANGES or both: what counts, and may fail */
    int32_t after;    /* so many operations go well first */
    int32_t once;     /* only the first one that is due fails */
    int32_t seen;     /* how many operations counted */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char watched[65536];
static const char *folder;
static int journal = -1;
static struct control *control;

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, open, const char *, int, ...);
    return real(path, flags, mode);
}

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("SHIM_JOURNAL");
    folder = getenv("SHIM_FOLDER");
    if (name) journal = real_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((name = getenv("SHIM_CONTROL"))) {
        int handle = real_open(name, O_RDWR | O_CLOEXEC, 0);
        void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
        if (found != MAP_FAILED) control = found;
    }
}

static int below(const char *path) { return folder && path && !strncmp(path, folder, strlen(folder)); }
static int is_watched(int handle) { return handle >= 0 && handle < (int)sizeof watched && watched[handle]; }

/* Return what is to fail now: an errno, SHORT_WRITE or 0. */
static int fault(int class, int is_write) {
    if (!control || !control->failure || !(control->classes & class)) return 0;
    if (control->failure == SHORT_WRITE && !is_write) return 0;
    int turn = __sync_fetch_and_add(&control->seen, 1) - control->after;
    if (turn < 0 || (turn > 0 && control->once)) return 0;
    /* A full disk takes a part of a write, and then nothing more. */
    return control->failure == SHORT_WRITE && turn > 0 ? ENOSPC : control->failure;
}

static void note(int operation, int handle, int64_t offset, const void *data, size_t size, const char *other) {
    if (journal < 0) return;
    int kept = errno;
    struct entry entry = {operation, handle, offset, (int32_t)size, other ? (int32_t)strlen(other) : 0};
    struct iovec parts[] = {{&entry, sizeof entry}, {(void *)data, size}, {(void *)other, entry.other_size}};
    if (writev(journal, parts, 3) != (ssize_t)(sizeof entry + size + entry.other_size)) abort();
    errno = kept;
}

/* An operation and its entry are one step, so that the journal has the order in which things were done. */
#define STEP(type, call, ...) \
    pthread_mutex_lock(&lock); \
    type result = call; \
    if (result >= 0) note(__VA_ARGS__); \
    pthread_mutex_unlock(&lock); \
    return result
#define FAIL(class) \
    do { int error = fault(class, 0); if (error) { errno = error; return -1; } } while (0)

static int opened(const char *path, int flags, mode_t mode) {
    if (!below(path)) return real_open(path, flags, mode);
    FAIL((flags & O_ACCMODE) == O_RDONLY ? READS : CHANGES);
    pthread_mutex_lock(&lock);
    int handle = real_open(path, flags, mode);
    if (handle >= 0 && handle < (int)sizeof watched) {
        watched[handle] = 1;
        note(OPEN, handle, flags & O_TRUNC ? 1 : 0, path, strlen(path), NULL);
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

#define OPENER(name, before, ...) \
    int name(__VA_ARGS__, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        before \
        return opened(path, flags, mode); \
    }
OPENER(open, , const char *path)
OPENER(open64, , const char *path)
#define ELSEWHERE \
    if (directory != AT_FDCWD && path[0] != '/') { \
        REAL(int, openat, int, const char *, int, ...); \
        return real(directory, path, flags, mode); \
    }
OPENER(openat, ELSEWHERE, int directory, const char *path)
OPENER(openat64, ELSEWHERE, int directory, const char *path)

int close(int handle) {
    REAL(int, close, int);
    if (!is_watched(handle)) return real(handle);
    watched[handle] = 0;
    STEP(int, real(handle), CLOSE, handle, 0, NULL, 0, NULL);
}

ssize_t read(int handle, void *data, size_t size) {
    REAL(ssize_t, read, int, void *, size_t);
    if (is_watched(handle)) FAIL(READS);
    return real(handle, data, size);
}

#define READER(name, offset_type) \
    ssize_t name(int handle, void *data, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, void *, size_t, offset_type); \
        if (is_watched(handle)) FAIL(READS); \
        return real(handle, data, size, offset); \
    }
READER(pread, off_t)
READER(pread64, off64_t)

/* Cut a write short, or fail it. */
#define FAIL_WRITE(size) \
    do { \
        int error = fault(CHANGES, 1); \
        if (error == SHORT_WRITE) size = size > 1 ? size / 2 : size; \
        else if (error) { errno = error; return -1; } \
    } while (0)

ssize_t write(int handle, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (!is_watched(handle)) return real(handle, data, size);
    FAIL_WRITE(size);
    off_t offset = lseek(handle, 0, SEEK_CUR);
    STEP(ssize_t, real(handle, data, size), WRITE, handle, offset, data, (size_t)result, NULL);
}

#define WRITER(name, offset_type) \
    ssize_t name(int handle, const void *data, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        if (!is_watched(handle)) return real(handle, data, size, offset); \
        FAIL_WRITE(size); \
        STEP(ssize_t, real(handle, data, size, offset), WRITE, handle, offset, data, (size_t)result, NULL); \
    }
WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)

#define CUTTER(name, offset_type) \
    int name(int handle, offset_type size) { \
        REAL(int, name, int, offset_type); \
        if (!is_watched(handle)) return real(handle, size); \
        FAIL(CHANGES); \
        STEP(int, real(handle, size), TRUNCATE, handle, size, NULL, 0, NULL); \
    }
CUTTER(ftruncate, off_t)
CUTTER(ftruncate64, off64_t)

#define SYNCER(name) \
    int name(int handle) { \
        REAL(int, name, int); \
        if (!is_watched(handle)) return real(handle); \
        FAIL(CHANGES); \
        STEP(int, real(handle), SYNC, handle, 0, NULL, 0, NULL); \
    }
SYNCER(fsync)
SYNCER(fdatasync)

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    if (!below(new)) return real(old, new);
    FAIL(CHANGES);
    STEP(int, real(old, new), RENAME, -1, 0, old, strlen(old), new);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (!below(path)) return real(path);
    FAIL(CHANGES);
    STEP(int, real(path), UNLINK, -1, 0, path, strlen(path), NULL);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (!below(path)) return real(path, mode);
    FAIL(CHANGES);
    STEP(int, real(path, mode), MAKE_FOLDER, -1, 0, path, strlen(path), NULL);
}
