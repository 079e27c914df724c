/* A journal on a raw disk: record n goes to slot n % SLOTS, synced before record n + 1 is begun, past the page cache.
 *
 * What was acknowledged must be there: at any time the last SLOTS - 1 acknowledged records are on the disk. A disk that
 * the guest woke up beside and that is not the one it left (an older copy, another image, a lost write) lacks some.
 * Starting on a disk that holds a journal goes on behind its last record. DISK is a device name (vdb) or a serial. */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../probe/pattern.h"

#define RECORD 4096
#define WORDS (RECORD / 8)
#define SLOTS 1024
#define MAX_JOURNALS 8
#define MAGIC 0x6a6f75726e616cULL

static struct journal {
    pthread_mutex_t lock;
    char disk[64];
    int fd;
    off_t begin;
    uint64_t acknowledged; /* the last record that is on the disk, 0 = none */
    unsigned interval_ms;
    int error;
    bool running;
} journals[MAX_JOURNALS];

/* virtio disks have a file for it; of SCSI disks it is page 0x80 of their vital product data, behind four bytes. */
static bool serial_is(const char *device, const char *serial)
{
    static const struct {
        const char *file;
        size_t skip;
    } places[] = {{"serial", 0}, {"device/vpd_pg80", 4}};

    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        char path[300], text[128] = "";
        snprintf(path, sizeof(path), "/sys/block/%s/%s", device, places[i].file);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        size_t n = fread(text, 1, sizeof(text) - 1, f);
        fclose(f);
        if (n < places[i].skip)
            continue;
        text[places[i].skip + strcspn(text + places[i].skip, "\n")] = '\0';
        if (strcmp(text + places[i].skip, serial) == 0)
            return true;
    }
    return false;
}

static int open_disk(const char *name)
{
    char path[300];
    struct dirent *entry;
    DIR *dir = opendir("/sys/block");

    snprintf(path, sizeof(path), "/dev/%s", name);
    while (dir && (entry = readdir(dir)))
        if (serial_is(entry->d_name, name))
            snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
    if (dir)
        closedir(dir);
    return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

static off_t place(const struct journal *j, uint64_t record)
{
    return j->begin + (off_t)(record % SLOTS) * RECORD;
}

static uint64_t *page(void)
{
    return aligned_alloc(RECORD, RECORD);
}

/* Whether the slot holds exactly this record. */
static bool holds(const struct journal *j, uint64_t record, uint64_t *buf)
{
    return pread(j->fd, buf, RECORD, place(j, record)) == RECORD && pattern_matches(buf, WORDS, MAGIC, record);
}

/* The highest whole record on the disk. */
static uint64_t find_last(const struct journal *j, uint64_t *buf)
{
    uint64_t last = 0;

    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        if (pread(j->fd, buf, RECORD, place(j, slot)) != RECORD || buf[0] != MAGIC)
            continue;
        if (buf[1] % SLOTS == slot && buf[1] > last && pattern_matches(buf, WORDS, MAGIC, buf[1]))
            last = buf[1];
    }
    return last;
}

static int append(struct journal *j, uint64_t *buf)
{
    uint64_t record = j->acknowledged + 1;

    pattern_fill(buf, WORDS, MAGIC, record);
    if (pwrite(j->fd, buf, RECORD, place(j, record)) != RECORD || fdatasync(j->fd) < 0)
        return errno ? errno : EIO;
    j->acknowledged = record;
    return 0;
}

static void *write_journal(void *arg)
{
    struct journal *j = arg;
    uint64_t *buf = page();
    bool go_on = true;

    while (go_on) {
        pthread_mutex_lock(&j->lock);
        if (j->running && j->error == 0)
            j->error = append(j, buf);
        go_on = j->running && j->error == 0;
        pthread_mutex_unlock(&j->lock);
        usleep(j->interval_ms * 1000);
    }
    free(buf);
    return NULL;
}

static struct journal *find(const char *disk)
{
    for (struct journal *j = journals; j < journals + MAX_JOURNALS; j++)
        if (strcmp(j->disk, disk) == 0)
            return j;
    return NULL;
}

void journal_start(char **args, FILE *answer)
{
    struct journal *j = find(args[0]);

    if (!j)
        j = find("");
    if (!j || j->running) {
        fprintf(answer, "error %s", j ? "already running" : "too many journals");
        return;
    }
    if (j->disk[0] == '\0') {
        pthread_mutex_init(&j->lock, NULL);
        j->fd = open_disk(args[0]);
        if (j->fd < 0) {
            fprintf(answer, "error no disk %s: %s", args[0], strerror(errno));
            return;
        }
        snprintf(j->disk, sizeof(j->disk), "%s", args[0]);
    }
    j->interval_ms = (unsigned)strtoul(args[1], NULL, 10);
    j->begin = args[2] ? strtol(args[2], NULL, 10) << 20 : 0;
    uint64_t *buf = page();
    j->acknowledged = find_last(j, buf);
    free(buf);
    j->error = 0;
    j->running = true;
    fprintf(answer, "ok behind=%llu", (unsigned long long)j->acknowledged);
    spawn(write_journal, j);
}

void journal_stop(char **args, FILE *answer)
{
    struct journal *j = find(args[0]);

    if (!j) {
        fputs("error no such journal", answer);
        return;
    }
    pthread_mutex_lock(&j->lock);
    j->running = false;
    fprintf(answer, "ok acknowledged=%llu", (unsigned long long)j->acknowledged);
    pthread_mutex_unlock(&j->lock);
}

static uint64_t first_kept(const struct journal *j)
{
    return j->acknowledged > SLOTS - 2 ? j->acknowledged - (SLOTS - 2) : 1;
}

void journal_verify(char **args, FILE *answer)
{
    struct journal *j = find(args[0]);
    uint64_t missing = 0, first = 0;

    if (!j) {
        fputs("error no such journal", answer);
        return;
    }
    uint64_t *buf = page();
    pthread_mutex_lock(&j->lock);
    for (uint64_t record = first_kept(j); record <= j->acknowledged; record++)
        if (!holds(j, record, buf) && missing++ == 0)
            first = record;
    if (missing > 0 || j->error)
        fprintf(answer, "error missing=%llu first=%llu acknowledged=%llu: %s", (unsigned long long)missing,
                (unsigned long long)first, (unsigned long long)j->acknowledged, strerror(j->error));
    else
        fprintf(answer, "ok acknowledged=%llu missing=0", (unsigned long long)j->acknowledged);
    pthread_mutex_unlock(&j->lock);
    free(buf);
}
