/* Every command is one `struct command` that goes from the outbox (not yet, or only partly, written) to the list of
 * those that wait for their reply. */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/str.h"
#include "qmp/qmp_internal.h"

static struct command *command_free(struct command *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->text);
    free(c->block);
    free(c);
    return NULL;
}

static void drop(struct command_vec *v)
{
    VEC_EACH(v, c)
        command_free(*c);
    command_vec_done(v);
}

void commands_done(struct qmp *q)
{
    drop(&q->outbox);
    drop(&q->waiting);
}

/* --- To QEMU --- */

/* Leaves room for 2^20 commands, and every id exact in a double. */
uint64_t commands_first_id(void)
{
    uint32_t session;

    random_bytes(&session, sizeof(session));
    return (uint64_t)session << 20;
}

/* Writes one portion of c; a descriptor travels with its first byte. */
static ssize_t send_some(struct qmp *q, struct command *c)
{
    struct iovec iov = {c->text + c->written, c->len - c->written};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (c->fd >= 0 && c->written == 0) {
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof(control.room);
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &c->fd, sizeof(int));
    }
    return sendmsg(q->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool may_send(const struct qmp *q)
{
    return q->state == QMP_READY || q->state == QMP_NEGOTIATING;
}

void commands_flush(struct qmp *q)
{
    while (may_send(q) && q->outbox.len > 0) {
        struct command *c = q->outbox.items[0];
        ssize_t n = send_some(q, c);
        if (n < 0)
            break; /* a broken connection is noticed by qmp.c, after the last words of the other side */
        c->written += (size_t)n;
        if (c->written < c->len)
            continue;
        command_vec_remove(&q->outbox, 0);
        command_vec_push(&q->waiting, c);
        free(TAKE_PTR(c->text));
    }
    if (q->io)
        (void)sd_event_source_set_io_events(q->io, EPOLLIN | (may_send(q) && q->outbox.len ? EPOLLOUT : 0));
}

struct command *command_new(struct qmp *q, const char *name, yyjson_mut_doc *arguments, qmp_reply_fn reply,
                            void *userdata)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = arguments ? arguments : json_object();
    yyjson_mut_val *args = arguments ? yyjson_mut_doc_get_root(d) : NULL, *root = yyjson_mut_obj(d);
    struct command *c = xnew(struct command);

    c->id = ++q->last_id;
    c->fd = -1;
    c->reply = reply;
    c->userdata = userdata;
    yyjson_mut_obj_add_str(d, root, "execute", name);
    if (args)
        yyjson_mut_obj_add_val(d, root, "arguments", args);
    yyjson_mut_obj_add_uint(d, root, "id", c->id);
    _cleanup_free_ char *text = json_text(root);
    c->text = xasprintf("%s\n", text);
    c->len = strlen(c->text);
    return c;
}

static void submit(struct qmp *q, struct command *c)
{
    command_vec_push(&q->outbox, c);
    if (q->state == QMP_READY)
        commands_flush(q);
    else if (q->state == QMP_CLOSED)
        (void)sd_event_source_set_enabled(q->deferred, SD_EVENT_ONESHOT);
}

void qmp_command(struct qmp *q, const char *name, yyjson_mut_doc *arguments, qmp_reply_fn reply, void *userdata)
{
    submit(q, command_new(q, name, arguments, reply, userdata));
}

void qmp_ask(struct qmp *q, const char *name, qmp_reply_fn reply, void *block)
{
    struct command *c = command_new(q, name, NULL, reply, block);

    c->block = block;
    submit(q, c);
}

void qmp_command_fd(struct qmp *q, const char *name, yyjson_mut_doc *arguments, int fd, qmp_reply_fn reply,
                    void *userdata)
{
    struct command *c = command_new(q, name, arguments, reply, userdata);

    c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    submit(q, c);
}

void qmp_command_str(struct qmp *q, const char *name, qmp_reply_fn reply, void *userdata, ...)
{
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *root = yyjson_mut_doc_get_root(d);
    const char *key;
    va_list ap;

    va_start(ap, userdata);
    while ((key = va_arg(ap, const char *)))
        yyjson_mut_obj_add_strcpy(d, root, key, va_arg(ap, const char *));
    va_end(ap);
    qmp_command(q, name, d, reply, userdata);
}

/* --- From QEMU --- */

static struct command *take_waiting(struct qmp *q, uint64_t id)
{
    for (size_t i = 0; i < q->waiting.len; i++) {
        struct command *c = q->waiting.items[i];
        if (c->id != id)
            continue;
        command_vec_remove(&q->waiting, i);
        return c;
    }
    return NULL;
}

/* An error without id answers a message that QEMU could not parse; we never send such, so it is only dropped. */
void commands_reply(struct qmp *q, yyjson_val *root, yyjson_val *result, yyjson_val *error)
{
    struct command *c = take_waiting(q, (uint64_t)json_int(root, "/id", 0));
    struct qmp_fault fault = {json_str_or(error, "/class", "GenericError"),
                              json_str_or(error, "/desc", "no reason given")};

    if (!c)
        return;
    if (c->reply)
        c->reply(c->userdata, error ? NULL : result, error ? &fault : NULL);
    command_free(c);
}

/* Answers the commands of v, which is emptied first so that callbacks may add commands. */
static bool answer_lost(struct qmp *q, struct command_vec *v)
{
    const struct qmp_fault fault = {QMP_CLASS_LOST, q->why};
    struct command_vec lost = *v;
    size_t i = 0;

    *v = (struct command_vec){0};
    for (; i < lost.len && !q->freed; i++) {
        if (lost.items[i]->reply)
            lost.items[i]->reply(lost.items[i]->userdata, NULL, &fault);
    }
    drop(&lost);
    return !q->freed;
}

bool commands_lost(struct qmp *q)
{
    return answer_lost(q, &q->waiting) && answer_lost(q, &q->outbox);
}
