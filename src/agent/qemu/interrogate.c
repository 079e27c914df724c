#include "agent/qemu/interrogate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "qmp/qmp.h"

#define PATIENCE_MS 20000

struct interrogation {
    sd_event *loop;
    struct qmp *qmp;
    pid_t pid;
    yyjson_doc *greeting, *answer;
    char *fault;
    bool closed;
};

static void on_ready(void *userdata, yyjson_val *greeting)
{
    struct interrogation *i = userdata;
    _cleanup_free_ char *text = yyjson_val_write(greeting, 0, NULL);

    i->greeting = yyjson_read(text, strlen(text), 0);
}

static void on_closed(void *userdata, const char *why)
{
    ((struct interrogation *)userdata)->closed = true;
}

static const struct qmp_handlers handlers = {.ready = on_ready, .closed = on_closed};

static void on_answer(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct interrogation *i = userdata;

    if (fault) {
        i->fault = xstrdup(fault->desc);
        return;
    }
    _cleanup_free_ char *text = yyjson_val_write(result, 0, NULL);
    i->answer = yyjson_read(text, strlen(text), 0);
}

struct interrogation *interrogation_end(struct interrogation *i)
{
    if (!i)
        return NULL;
    qmp_free(i->qmp);
    if (i->pid > 0) {
        kill(i->pid, SIGKILL);
        while (waitpid(i->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    sd_event_unref(i->loop);
    yyjson_doc_free(i->greeting);
    yyjson_doc_free(i->answer);
    free(i->fault);
    free(i);
    return NULL;
}

/* Runs the loop until one of the two is set, the connection ends, or patience does. */
static int await(struct interrogation *i, yyjson_doc **doc, const char *what, struct gw_error *err)
{
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;

    while (!*doc && !i->fault && !i->closed && clock_monotonic_ms() < end)
        (void)sd_event_run(i->loop, 100000);
    if (*doc)
        return 0;
    if (i->fault)
        return gw_error_set(err, GW_INTERNAL_ERROR, "QEMU on %s: %s", what, i->fault);
    return gw_error_set(err, GW_INTERNAL_ERROR, "QEMU %s %s",
                        i->closed ? "ended instead of answering" : "does not answer", what);
}

static void become_qemu(const char *binary, const char *accelerator, int socket)
{
    _cleanup_free_ char *machine = xasprintf("q35,accel=%s", accelerator);
    int null = open("/dev/null", O_RDWR);

    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    dup2(socket, 3);
    close_range(4, ~0U, 0);
    execlp(binary, binary, "-S", "-nodefaults", "-no-user-config", "-display", "none", "-m", "16", "-machine", machine,
           "-chardev", "socket,id=q,fd=3", "-mon", "chardev=q,mode=control", (char *)NULL);
    _exit(127);
}

int interrogation_start(const char *binary, const char *accelerator, struct interrogation **ret, struct gw_error *err)
{
    _cleanup_(interrogation_endp) struct interrogation *i = xnew(struct interrogation);
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return gw_error_errno(err, errno, "socketpair");
    i->pid = fork();
    if (i->pid == 0)
        become_qemu(binary, accelerator, fds[1]);
    close(fds[1]);
    r = i->pid < 0 ? -errno : sd_event_new(&i->loop);
    if (r < 0) {
        close(fds[0]);
        return gw_error_errno(err, r, "%s", binary);
    }
    r = qmp_new_fd(i->loop, fds[0], &handlers, i, &i->qmp, err);
    if (r < 0)
        return r;
    r = await(i, &i->greeting, "with a QMP greeting", err);
    if (r < 0)
        return gw_error_wrap(err, r, "%s", binary);
    *ret = TAKE_PTR(i);
    return 0;
}

yyjson_val *interrogation_version(struct interrogation *i)
{
    return json_at(yyjson_doc_get_root(i->greeting), "/version");
}

int interrogation_ask(struct interrogation *i, const char *command, yyjson_mut_doc *arguments, yyjson_doc **ret,
                      struct gw_error *err)
{
    free(TAKE_PTR(i->fault));
    qmp_command(i->qmp, command, arguments, on_answer, i);
    int r = await(i, &i->answer, command, err);
    if (r == 0)
        *ret = TAKE_PTR(i->answer);
    return r;
}
