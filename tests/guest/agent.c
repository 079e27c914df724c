#include "agent.h"

#include <fcntl.h>
#include <linux/input.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../probe/echo.h"

static void ping(char **args, FILE *answer);
static void info(char **args, FILE *answer);
static void run_shell(char **args, FILE *answer);
static void power_off(char **args, FILE *answer);
static void help(char **args, FILE *answer);

static const struct command {
    const char *name;
    int min_args;
    command_fn *run;
    const char *usage;
} commands[] = {
    {"ping", 0, ping, ""},
    {"info", 0, info, ""},
    {"memory-init", 1, memory_init, "MIB|all"},
    {"memory-dirty", 1, memory_dirty, "MIB_PER_SECOND [HOT_MIB]"},
    {"memory-verify", 0, memory_verify, ""},
    {"journal-start", 2, journal_start, "DISK INTERVAL_MS [OFFSET_MIB]"},
    {"journal-stop", 1, journal_stop, "DISK"},
    {"journal-verify", 1, journal_verify, "DISK"},
    {"tick-start", 3, tick_start, "ADDRESS PORT INTERVAL_MS"},
    {"tick-stop", 0, tick_stop, ""},
    {"echo-open", 3, echo_open, "ADDRESS PORT INTERVAL_MS"},
    {"echo-close", 0, echo_close, ""},
    {"echo-status", 0, echo_status, ""},
    {"sh", 1, run_shell, "COMMAND"},
    {"poweroff", 0, power_off, ""},
    {"help", 0, help, ""},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))
#define MAX_ARGS 64

static pthread_mutex_t console_lock = PTHREAD_MUTEX_INITIALIZER;

void spawn(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, arg) != 0)
        abort();
    pthread_detach(thread);
}

static void ping(char **args, FILE *answer)
{
    fputs("ok", answer);
}

static void info(char **args, FILE *answer)
{
    char boot_id[40] = "";
    double uptime = 0;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (f) {
        if (fscanf(f, "%39s", boot_id) != 1)
            boot_id[0] = '\0';
        fclose(f);
    }
    f = fopen("/proc/uptime", "re");
    if (f) {
        if (fscanf(f, "%lf", &uptime) != 1)
            uptime = 0;
        fclose(f);
    }
    fprintf(answer, "ok boot_id=%s uptime=%.2f", boot_id, uptime);
}

/* The command's output with its line ends as spaces: an answer is one line. */
static void run_shell(char **args, FILE *answer)
{
    char line[4096] = "";
    int c;

    for (; *args; args++)
        snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s ", *args);
    FILE *out = popen(line, "re");
    if (!out) {
        fputs("error popen failed", answer);
        return;
    }
    fputs("ok ", answer);
    while ((c = fgetc(out)) != EOF)
        fputc(c == '\n' ? ' ' : c, answer);
    fprintf(answer, "exit=%d", pclose(out));
}

static void switch_off(void)
{
    sync();
    reboot(RB_POWER_OFF);
}

static void *switch_off_soon(void *arg)
{
    usleep(200000);
    switch_off();
    return NULL;
}

static void power_off(char **args, FILE *answer)
{
    fputs("ok", answer);
    spawn(switch_off_soon, NULL);
}

static void help(char **args, FILE *answer)
{
    fputs("ok", answer);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(answer, " | %s %s", commands[i].name, commands[i].usage);
}

/* The ACPI power button, as a graceful shutdown presses it; which of the input devices it is differs. */
static void *watch_input(void *arg)
{
    int fd = (int)(intptr_t)arg;
    struct input_event event;

    while (read(fd, &event, sizeof(event)) == sizeof(event))
        if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
            switch_off();
    return NULL;
}

static void watch_power_button(void)
{
    for (int i = 0; i < 8; i++) {
        char path[40];
        snprintf(path, sizeof(path), "/dev/input/event%d", i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            spawn(watch_input, (void *)(intptr_t)fd);
    }
}

static void execute(char *line, FILE *answer)
{
    char *args[MAX_ARGS + 2] = {0}, *save = NULL;
    int n = 0;

    for (char *word = strtok_r(line, " \t\r\n", &save); word && n <= MAX_ARGS; word = strtok_r(NULL, " \t\r\n", &save))
        args[n++] = word;
    for (size_t i = 0; n > 0 && i < N_COMMANDS; i++) {
        if (strcmp(args[0], commands[i].name) != 0)
            continue;
        if (n - 1 < commands[i].min_args)
            fprintf(answer, "error usage: %s %s", commands[i].name, commands[i].usage);
        else
            commands[i].run(args + 1, answer);
        return;
    }
    fputs("error unknown command, try help", answer);
}

static void show(const char *line, const char *answer)
{
    pthread_mutex_lock(&console_lock);
    printf("agent: %.*s: %.200s\n", (int)strcspn(line, "\r\n"), line, answer);
    fflush(stdout);
    pthread_mutex_unlock(&console_lock);
}

static void *converse(void *arg)
{
    FILE *in = fdopen((int)(intptr_t)arg, "r+e");
    char line[1024], asked[1024];

    while (in && fgets(line, sizeof(line), in)) {
        char *answer = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&answer, &len);
        memcpy(asked, line, sizeof(asked));
        execute(line, out);
        fclose(out);
        show(asked, answer);
        fprintf(in, "%s\n", answer);
        fflush(in);
        free(answer);
    }
    if (in)
        fclose(in);
    return NULL;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    watch_power_button();
    net_serve();
    int listener = echo_listen(AGENT_PORT);
    if (listener < 0)
        return 1;
    puts("agent: ready");
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            spawn(converse, (void *)(intptr_t)fd);
    }
}
