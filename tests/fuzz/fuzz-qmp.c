/* The bytes that a QEMU, or whoever pretends to be one, sends: cut into portions by the first byte, handled by a client
 * with commands waiting. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/random.h"
#include "qmp/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_event(void *userdata, const char *name, yyjson_val *data, int64_t time_us)
{
    *(size_t *)userdata += strlen(name) + yyjson_get_len(data);
}

static void on_reply(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    *(size_t *)userdata += fault ? strlen(fault->desc) : yyjson_get_len(result);
}

/* Inputs name the commands that they answer: ids count from 1. */
static void zeros(void *userdata, void *buf, size_t len)
{
    memset(buf, 0, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct qmp_handlers handlers = {.event = on_event};
    static sd_event *loop;
    size_t sum = 0, portion;
    struct qmp *q;
    int fds[2];

    if (size < 2 || size > 65536 || (!loop && sd_event_new(&loop) < 0) || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return 0;
    random_replace(zeros, NULL);
    if (qmp_new_fd(loop, fds[1], &handlers, &sum, &q, NULL) < 0)
        return 0;
    qmp_command(q, "query-status", NULL, on_reply, &sum);
    portion = (size_t)*data + 1;
    for (size_t at = 1; at < size && !qmp_is_closed(q); at += portion) {
        if (send(fds[0], data + at, portion < size - at ? portion : size - at, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
        (void)sd_event_run(loop, 0);
    }
    close(fds[0]);
    for (int i = 0; i < 4; i++)
        (void)sd_event_run(loop, 0);
    qmp_free(q);
    return 0;
}
