#include "echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define WORDS (ECHO_RECORD / 8)
#define DRAIN_US 10000000

uint64_t echo_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static struct sockaddr_in ipv4(in_addr_t address, int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = address, .sin_port = htons((uint16_t)port)};
}

int echo_connect(const char *address, int port)
{
    struct sockaddr_in to = ipv4(inet_addr(address), port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

int echo_listen(int port)
{
    struct sockaddr_in at = ipv4(INADDR_ANY, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static bool write_all(int fd, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)data + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Reads what is there into the record that is being put together. 1 = complete, 0 = not yet, negative = errno or end. */
static int read_some(int fd, uint64_t *record, size_t *have, int flags)
{
    ssize_t n = recv(fd, (char *)record + *have, ECHO_RECORD - *have, flags);

    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    *have += (size_t)n;
    if (*have < ECHO_RECORD)
        return 0;
    *have = 0;
    return 1;
}

static void note_gap(struct echo_stats *stats, uint64_t *last_us)
{
    uint64_t now = echo_now_us(), gap = now - *last_us;

    if (gap > stats->gap_us)
        stats->gap_us = gap;
    *last_us = now;
}

static void end(int fd, struct echo_stats *stats, int error)
{
    stats->error = error;
    stats->ended = true;
    close(fd);
}

void echo_serve(int fd, struct echo_stats *stats)
{
    uint64_t record[WORDS], next = 0, last_us = echo_now_us();
    size_t have = 0;
    int r = 0;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    while ((r = read_some(fd, record, &have, 0)) >= 0) {
        if (r == 0)
            continue;
        note_gap(stats, &last_us);
        if (record[1] != next++ || !pattern_matches(record, WORDS, record[0], record[1])) {
            stats->bad++;
            r = -EBADMSG;
            break;
        }
        if (!write_all(fd, record, sizeof(record))) {
            r = -errno;
            break;
        }
        stats->echoed++;
    }
    end(fd, stats, have == 0 && r == -ECONNRESET ? 0 : -r);
}

static int send_record(int fd, uint64_t session, struct echo_stats *stats)
{
    uint64_t record[WORDS];

    pattern_fill(record, WORDS, session, stats->sent);
    if (!write_all(fd, record, sizeof(record)))
        return -errno;
    stats->sent++;
    return 0;
}

/* Takes all records that have come back. */
static int check_records(int fd, uint64_t session, uint64_t *record, size_t *have, uint64_t *last_us,
                         struct echo_stats *stats)
{
    int r;

    for (;;) {
        size_t before = *have;
        r = read_some(fd, record, have, MSG_DONTWAIT);
        if (r < 0 || (r == 0 && *have == before))
            return r;
        if (r == 0)
            continue;
        note_gap(stats, last_us);
        if (!pattern_matches(record, WORDS, session, stats->echoed)) {
            stats->bad++;
            return -EBADMSG;
        }
        stats->echoed++;
    }
}

void echo_drive(int fd, uint64_t session, unsigned interval_ms, struct echo_stats *stats, const atomic_bool *stop)
{
    uint64_t record[WORDS], last_us = echo_now_us(), due = last_us, give_up = 0;
    size_t have = 0;
    int r = 0;

    while (r >= 0) {
        uint64_t now = echo_now_us();
        if (*stop && give_up == 0)
            give_up = now + DRAIN_US;
        if (give_up && (stats->echoed == stats->sent || now > give_up))
            break;
        if (!give_up && now >= due) {
            r = send_record(fd, session, stats);
            due += (uint64_t)interval_ms * 1000;
            if (due < now)
                due = now + (uint64_t)interval_ms * 1000;
            if (r < 0)
                break;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, give_up || due <= now ? 20 : (int)((due - now + 999) / 1000));
        r = check_records(fd, session, record, &have, &last_us, stats);
    }
    if (r >= 0 && stats->echoed != stats->sent)
        r = -ETIMEDOUT;
    end(fd, stats, r < 0 ? -r : 0);
}
