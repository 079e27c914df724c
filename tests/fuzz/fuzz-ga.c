/* The bytes that a guest sends on its agent's port: cut into portions by the first byte, handled by a client in the
 * middle of a command, and what it makes of them put through everything that reads answers. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/guest/answers.h"
#include "qmp/ga.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_answer(yyjson_val *result)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    (void)answer_os(d, result);
    (void)answer_interfaces(d, result);
    (void)answer_users(d, result, ANSWER_ALL);
    (void)answer_filesystems(d, result, ANSWER_ALL);
    (void)answer_commands(d, result);
    (void)answer_unsupported(result);
    (void)answer_text(d, result, "/host-name");
    (void)answer_timezone(d, result);
}

static void on_reply(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    *(size_t *)userdata += fault ? strlen(fault->text) : 1;
    if (result)
        read_answer(result);
}

static void on_closed(void *userdata, const char *why)
{
    *(size_t *)userdata += strlen(why);
}

/* The client is brought in step first, so that what follows is an answer. */
static void get_in_step(sd_event *loop, int guest)
{
    char heard[256] = "", text[64];
    const char *id;

    (void)sd_event_run(loop, 0);
    if (recv(guest, heard, sizeof(heard) - 1, MSG_DONTWAIT) > 0 && (id = strstr(heard, "\"id\":"))) {
        int n = snprintf(text, sizeof(text), "\xff{\"return\": %ld}\n", strtol(id + 5, NULL, 10));
        (void)send(guest, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sd_event_run(loop, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sd_event *loop;
    size_t sum = 0, portion;
    struct ga *g;
    int fds[2];

    if (size < 2 || size > 65536 || (!loop && sd_event_new(&loop) < 0) ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || ga_new(loop, fds[1], on_closed, &sum, &g, NULL) < 0)
        return 0;
    ga_command(g, "guest-info", NULL, 5000, on_reply, &sum);
    ga_command(g, "guest-get-osinfo", NULL, 5000, on_reply, &sum);
    if (*data & 1)
        get_in_step(loop, fds[0]);
    portion = (size_t)*data + 1;
    for (size_t at = 1; at < size; at += portion) {
        if (send(fds[0], data + at, portion < size - at ? portion : size - at, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
        (void)sd_event_run(loop, 0);
    }
    close(fds[0]);
    for (int i = 0; i < 6; i++)
        (void)sd_event_run(loop, 0);
    ga_free(g);
    return 0;
}
