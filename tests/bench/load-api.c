/* Load on an API server over HTTPS, from one thread: requests on some connections as fast as answers come (or at a
 * rate), while watchers read along. Prints one line of JSON.
 *
 * In URLs and the body %u is the request's (or the watcher's) running number, from --number-from on and again after
 * --wrap; %d is the date; and %t the time in microseconds: where watchers find it again as "stamp":"T", they note how
 * long that took. One that falls between two reads is not noted. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/vec.h"
#include "client/curl_loop.h"

#define STAMP "\"stamp\":\""

VEC_DEFINE(sample_vec, unsigned);

struct options {
    const char *url, *method, *body, *type, *watch, *ca, *cert, *key;
    unsigned connections, watchers, number_from, wrap, rate, limit;
    unsigned pid;
    double seconds;
};

struct load {
    struct options o;
    sd_event *loop;
    struct curl_loop *curl;
    struct curl_slist *headers;
    sd_event_source *pace, *end;
    struct connection *connections, *watches;
    struct sample_vec latency_us, event_us;
    unsigned sent, failed, ready;
    uint64_t bytes, events;
    int64_t begin_us, last_us;
    double cpu_begin;
    bool over;
};

struct connection {
    struct load *load;
    CURL *easy;
    struct str url, body;
    char error[CURL_ERROR_SIZE];
    int64_t begin_us;
    bool busy;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void fill(struct str *out, const char *text, unsigned number)
{
    char date[CLOCK_TEXT_MAX];

    out->len = 0;
    for (; *text; text++) {
        if (text[0] != '%' || !strchr("udt", text[1]))
            str_putc(out, *text);
        else if (*++text == 'u')
            str_printf(out, "%u", number);
        else if (*text == 'd')
            str_puts(out, clock_format_micro(clock_wall_us(), date));
        else
            str_printf(out, "%lld", (long long)now_us());
    }
}

/* --- What comes back --- */

static size_t on_answer(char *data, size_t size, size_t n, void *userdata)
{
    ((struct connection *)userdata)->load->bytes += n;
    return n;
}

static void note_stamp(struct load *l, const char *at, size_t left)
{
    const char *end = memchr(at, '"', left);
    char digits[24] = "";

    if (!end || (size_t)(end - at) >= sizeof(digits))
        return;
    memcpy(digits, at, (size_t)(end - at));
    sample_vec_push(&l->event_us, (unsigned)(now_us() - strtoll(digits, NULL, 10)));
}

static size_t on_event(char *data, size_t size, size_t n, void *userdata)
{
    struct load *l = ((struct connection *)userdata)->load;
    const char *end = data + n, *p;

    l->bytes += n;
    for (p = data; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        l->events++;
    for (p = data; (p = memmem(p, (size_t)(end - p), STAMP, strlen(STAMP)));) {
        p += strlen(STAMP);
        note_stamp(l, p, (size_t)(end - p));
    }
    return n;
}

/* --- Connections --- */

static void set_up(struct load *l, struct connection *c, curl_write_callback take)
{
    c->load = l;
    c->easy = curl_easy_init();
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(c->easy, CURLOPT_CAPATH,
                     NULL); /* reading all the system's authorities takes longer than the handshake */
    curl_easy_setopt(c->easy, CURLOPT_CAINFO, l->o.ca);
    curl_easy_setopt(c->easy, CURLOPT_SSLCERT, l->o.cert);
    curl_easy_setopt(c->easy, CURLOPT_SSLKEY, l->o.key);
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, l->headers);
}

static void send_next(struct connection *c)
{
    struct load *l = c->load;
    unsigned nth = l->sent++, number = l->o.number_from + (l->o.wrap ? nth % l->o.wrap : nth);

    fill(&c->url, l->o.url, number);
    curl_easy_setopt(c->easy, CURLOPT_URL, str_text(&c->url));
    curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, l->o.method);
    if (l->o.body) {
        fill(&c->body, l->o.body, number);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, str_text(&c->body));
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE, (long)c->body.len);
    }
    c->busy = true;
    c->begin_us = now_us();
    curl_multi_add_handle(curl_loop_multi(l->curl), c->easy);
}

static bool may_send(const struct load *l)
{
    return !l->over && (l->o.limit == 0 || l->sent < l->o.limit);
}

static void stop_if_idle(struct load *l)
{
    for (unsigned i = 0; i < l->o.connections; i++)
        if (l->connections[i].busy)
            return;
    if (!may_send(l))
        sd_event_exit(l->loop, 0);
}

static void on_done(struct connection *c, CURLcode result)
{
    struct load *l = c->load;
    long status = 0;

    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(curl_loop_multi(l->curl), c->easy);
    c->busy = false;
    l->last_us = now_us();
    sample_vec_push(&l->latency_us, (unsigned)(l->last_us - c->begin_us));
    if ((result != CURLE_OK || status >= 300) && l->failed++ == 0)
        fprintf(stderr, "%s %s: %ld %s\n", l->o.method, str_text(&c->url), status, c->error);
    if (may_send(l) && l->o.rate == 0)
        send_next(c);
    else
        stop_if_idle(l);
}

static void turned(void *userdata)
{
    struct load *l = userdata;
    struct connection *c;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(curl_loop_multi(l->curl), &left))) {
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &c);
        if (c >= l->connections && c < l->connections + l->o.connections) {
            on_done(c, message->data.result);
            continue;
        }
        fprintf(stderr, "watch %s ended: %s\n", str_text(&c->url), c->error);
        exit(1);
    }
}

/* --- The course of it --- */

/* What the server has used so far, all its threads. Seconds. */
static double cpu_used(unsigned pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%u/stat", pid), *text = NULL;
    unsigned long user = 0, system = 0;
    const char *at;

    if (pid == 0 || fs_read(path, 4096, &text, NULL, NULL) < 0 || !(at = strrchr(text, ')')))
        return 0;
    (void)sscanf(at + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user, &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int on_end(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct load *l = userdata;

    l->over = true;
    stop_if_idle(l);
    return 0;
}

static int on_pace(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct load *l = userdata;

    for (unsigned i = 0; i < l->o.connections && may_send(l); i++)
        if (!l->connections[i].busy) {
            send_next(&l->connections[i]);
            break;
        }
    sd_event_source_set_time(source, usec + 1000000 / l->o.rate);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

static int begin(struct load *l)
{
    l->begin_us = now_us();
    l->cpu_begin = cpu_used(l->o.pid);
    sd_event_add_time_relative(l->loop, &l->end, CLOCK_MONOTONIC, (uint64_t)(l->o.seconds * 1e6), 1, on_end, l);
    if (l->o.rate)
        return sd_event_add_time_relative(l->loop, &l->pace, CLOCK_MONOTONIC, 0, 1, on_pace, l);
    for (unsigned i = 0; i < l->o.connections && may_send(l); i++)
        send_next(&l->connections[i]);
    return 0;
}

/* Requests begin when the last watch was answered. */
static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
    struct load *l = ((struct connection *)userdata)->load;

    if (n > 12 && str_starts(data, "HTTP/1.1 ") && !str_starts(data + 9, "200")) {
        fprintf(stderr, "watch: %.*s", (int)n, data);
        exit(1);
    }
    if (n == 2)
        l->ready++;
    return n;
}

static int when_ready(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct load *l = userdata;

    if (l->ready == l->o.watchers)
        return begin(l);
    sd_event_source_set_time(source, usec + 10000);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void start(struct load *l)
{
    _cleanup_free_ char *type = l->o.type ? xasprintf("Content-Type: %s", l->o.type) : NULL;

    if (type)
        l->headers = curl_slist_append(l->headers, type);
    l->headers = curl_slist_append(l->headers, "Expect:");
    l->connections = xnew_n(struct connection, l->o.connections + 1);
    l->watches = xnew_n(struct connection, l->o.watchers + 1);
    for (unsigned i = 0; i < l->o.connections; i++)
        set_up(l, &l->connections[i], on_answer);
    for (unsigned i = 0; i < l->o.watchers; i++) {
        set_up(l, &l->watches[i], on_event);
        fill(&l->watches[i].url, l->o.watch, i);
        curl_easy_setopt(l->watches[i].easy, CURLOPT_URL, str_text(&l->watches[i].url));
        curl_easy_setopt(l->watches[i].easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(l->watches[i].easy, CURLOPT_HEADERDATA, &l->watches[i]);
        curl_multi_add_handle(curl_loop_multi(l->curl), l->watches[i].easy);
    }
}

static int by_value(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return (x > y) - (x < y);
}

static double percentile(struct sample_vec *v, unsigned percent)
{
    if (v->len == 0)
        return 0;
    qsort(v->items, v->len, sizeof(*v->items), by_value);
    return v->items[v->len * percent / 100] / 1000.0;
}

static void report(struct load *l)
{
    printf("{\"requests\":%zu,\"failed\":%u,\"seconds\":%.3f,\"bytes\":%llu,\"p50\":%.3f,\"p99\":%.3f,\"cpu\":%.3f,"
           "\"events\":%llu,\"event_p50\":%.3f,\"event_p99\":%.3f}\n",
           l->latency_us.len, l->failed, (double)(l->last_us - l->begin_us) / 1e6, (unsigned long long)l->bytes,
           percentile(&l->latency_us, 50), percentile(&l->latency_us, 99), cpu_used(l->o.pid) - l->cpu_begin,
           (unsigned long long)l->events, percentile(&l->event_us, 50), percentile(&l->event_us, 99));
}

/* --- Options --- */

enum option_type { TEXT, NUMBER, REAL };

static const struct {
    const char *name;
    enum option_type type;
    size_t offset;
} table[] = {
#define O(name, type, member) \
    { \
        name, type, offsetof(struct options, member) \
    }
    O("url", TEXT, url),
    O("method", TEXT, method),
    O("body", TEXT, body),
    O("type", TEXT, type),
    O("watch", TEXT, watch),
    O("ca", TEXT, ca),
    O("cert", TEXT, cert),
    O("key", TEXT, key),
    O("connections", NUMBER, connections),
    O("watchers", NUMBER, watchers),
    O("number-from", NUMBER, number_from),
    O("rate", NUMBER, rate),
    O("wrap", NUMBER, wrap),
    O("limit", NUMBER, limit),
    O("pid", NUMBER, pid),
    O("seconds", REAL, seconds),
#undef O
};

static void parse(struct options *o, int argc, char **argv)
{
    struct option longs[ARRAY_SIZE(table) + 1] = {0};
    int index = 0, c;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        longs[i] = (struct option){table[i].name, required_argument, NULL, 0};
    while ((c = getopt_long(argc, argv, "", longs, &index)) == 0) {
        void *at = (char *)o + table[index].offset;

        if (table[index].type == TEXT)
            *(const char **)at = optarg;
        else if (table[index].type == NUMBER)
            *(unsigned *)at = (unsigned)strtoul(optarg, NULL, 10);
        else
            *(double *)at = strtod(optarg, NULL);
    }
    if (c != -1 || optind < argc || !o->url)
        exit(2);
}

int main(int argc, char **argv)
{
    struct load l = {.o = {.method = "GET", .connections = 1, .seconds = 5}};
    struct gw_error err = GW_ERROR_INIT;
    sd_event_source *ready;

    parse(&l.o, argc, argv);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (sd_event_new(&l.loop) < 0 || curl_loop_new(l.loop, turned, &l, &l.curl, &err) < 0)
        return 1;
    curl_multi_setopt(curl_loop_multi(l.curl), CURLMOPT_MAXCONNECTS, (long)(l.o.connections + l.o.watchers));
    start(&l);
    sd_event_add_time_relative(l.loop, &ready, CLOCK_MONOTONIC, 0, 1, when_ready, &l);
    if (sd_event_loop(l.loop) < 0)
        return 1;
    report(&l);
    return 0; /* the end of the process closes what is open */
}
