/* A power cut for one process: preloaded, it remembers what each write to a file has overwritten, forgets that when the
 * file is synced, and after POWERLOSS_AFTER_MS milliseconds puts back everything that was not, and ends the process.
 *
 * It looks at files in the folder POWERLOSS_DIR alone. A new file's name counts as written when its folder is synced.
 * Not modelled: that a removed file may come back, renaming, writes through mmap (the only one, SQLite's *-shm, is
 * rebuilt from the log after a crash). Syncs are not passed on: durable is what this file says is durable. */
#undef _FILE_OFFSET_BITS /* would make open and open64 one name */

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS 1024

/* What a write or truncation took away: bytes at offset, and the size before. */
struct undo {
    struct undo *next; /* older */
    off_t offset, size;
    size_t len;
    char bytes[];
};

struct file {
    struct file *next;
    char *path;
    bool named;        /* the folder was synced since it was made */
    struct undo *undo; /* newest first */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static struct file *by_fd[FDS];
static const char *folder;

static void *real(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    if (!f)
        abort();
    return f;
}

static bool watched(const char *path)
{
    size_t n = folder ? strlen(folder) : 0;
    size_t len = strlen(path);

    return n && strncmp(path, folder, n) == 0 && path[n] == '/' && !(len > 4 && strcmp(path + len - 4, "-shm") == 0);
}

static struct file *find_file(const char *path)
{
    struct file *f = files;

    while (f && strcmp(f->path, path) != 0)
        f = f->next;
    return f;
}

static struct file *add_file(const char *path, bool existed)
{
    struct file *f = find_file(path);

    if (f)
        return f;
    f = calloc(1, sizeof(*f));
    *f = (struct file){.next = files, .path = strdup(path), .named = existed};
    files = f;
    return f;
}

static void forget(struct file *f)
{
    while (f->undo) {
        struct undo *u = f->undo;

        f->undo = u->next;
        free(u);
    }
}

static void remember(struct file *f, int fd, off_t offset, size_t len)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        abort();

    size_t kept = offset < st.st_size ? (size_t)(st.st_size - offset) : 0;
    struct undo *u = malloc(sizeof(*u) + len);

    u->offset = offset;
    u->size = st.st_size;
    u->len = kept < len ? kept : len;
    if (pread(fd, u->bytes, u->len, offset) != (ssize_t)u->len)
        abort();
    u->next = f->undo;
    f->undo = u;
}

static void undo_all(struct file *f)
{
    ssize_t (*real_pwrite)(int, const void *, size_t, off_t) = real("pwrite64");
    int (*real_truncate)(int, off_t) = real("ftruncate64");
    int (*real_open)(const char *, int, ...) = real("open64");
    int fd = real_open(f->path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    for (struct undo *u = f->undo; u; u = u->next)
        if (real_pwrite(fd, u->bytes, u->len, u->offset) != (ssize_t)u->len || real_truncate(fd, u->size) < 0)
            abort();
    if (!f->named)
        (void)((int (*)(const char *))real("unlink"))(f->path);
}

static void *cut_power(void *arg)
{
    usleep((useconds_t)atol(arg) * 1000);
    pthread_mutex_lock(&lock); /* for ever: nobody writes any more */
    for (struct file *f = files; f; f = f->next)
        undo_all(f);
    _exit(77);
}

__attribute__((constructor)) static void start(void)
{
    const char *after = getenv("POWERLOSS_AFTER_MS");
    pthread_t t;

    folder = getenv("POWERLOSS_DIR");
    if (folder && after && pthread_create(&t, NULL, cut_power, (void *)after) != 0)
        abort();
}

static int open_file(const char *path, int flags, mode_t mode)
{
    int (*real_open)(const char *, int, ...) = real("open64");
    struct stat st;
    bool existed = stat(path, &st) == 0;
    int fd = real_open(path, flags, mode);

    if (fd >= 0 && fd < FDS && watched(path))
        by_fd[fd] = add_file(path, existed);
    return fd;
}

static struct file *file_of(int fd)
{
    return fd >= 0 && fd < FDS ? by_fd[fd] : NULL;
}

int open64(const char *path, int flags, ...)
{
    va_list ap;

    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;

    va_end(ap);
    pthread_mutex_lock(&lock);
    int fd = open_file(path, flags, mode);

    pthread_mutex_unlock(&lock);
    return fd;
}

int close(int fd)
{
    int (*real_close)(int) = real("close");

    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS)
        by_fd[fd] = NULL;
    int r = real_close(fd);

    pthread_mutex_unlock(&lock);
    return r;
}

/* A file of that name that comes later is another one. */
int unlink(const char *path)
{
    int (*real_unlink)(const char *) = real("unlink");

    pthread_mutex_lock(&lock);
    struct file *f = find_file(path);

    if (f) {
        forget(f);
        f->named = false;
    }
    int r = real_unlink(path);

    pthread_mutex_unlock(&lock);
    return r;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
    ssize_t (*real_pwrite)(int, const void *, size_t, off_t) = real("pwrite64");

    pthread_mutex_lock(&lock);
    if (file_of(fd))
        remember(file_of(fd), fd, offset, len);
    ssize_t n = real_pwrite(fd, data, len, offset);

    pthread_mutex_unlock(&lock);
    return n;
}

int ftruncate64(int fd, off_t size)
{
    int (*real_truncate)(int, off_t) = real("ftruncate64");
    struct stat st;

    pthread_mutex_lock(&lock);
    if (file_of(fd) && fstat(fd, &st) == 0)
        remember(file_of(fd), fd, size, size < st.st_size ? (size_t)(st.st_size - size) : 0);
    int r = real_truncate(fd, size);

    pthread_mutex_unlock(&lock);
    return r;
}

static int sync_file(int fd)
{
    struct stat st;

    pthread_mutex_lock(&lock);
    if (file_of(fd))
        forget(file_of(fd));
    else if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) /* the folder itself, in practice */
        for (struct file *f = files; f; f = f->next)
            f->named = true;
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd)
{
    return sync_file(fd);
}

int fdatasync(int fd)
{
    return sync_file(fd);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) __attribute__((alias("pwrite64")));
int ftruncate(int fd, off_t size) __attribute__((alias("ftruncate64")));
