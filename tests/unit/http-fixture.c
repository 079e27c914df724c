#include "http-fixture.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void exit_loop(void *userdata)
{
    sd_event_exit(userdata, 0);
}

static int on_stop(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct fixture *f = userdata;
    eventfd_t n;

    eventfd_read(fd, &n);
    if (n == 2)
        return http_server_set_identity(f->s, f->new_cert, f->new_key, NULL) < 0 ? -EINVAL : 0;
    if (f->drain)
        http_server_drain(f->s, 3000, exit_loop, sd_event_source_get_event(source));
    else
        exit_loop(sd_event_source_get_event(source));
    return 0;
}

static void *run(void *arg)
{
    struct fixture *f = arg;
    sd_event *loop = NULL;
    struct gw_error err = GW_ERROR_INIT;

    if (sd_event_new(&loop) < 0 || http_server_new(loop, &f->config, &f->s, &err) < 0) {
        fprintf(stderr, "%s\n", gw_error_message(&err));
        abort();
    }
    served_loop = loop;
    sd_event_add_io(loop, NULL, f->stop_fd, POLLIN, on_stop, f);
    pthread_barrier_wait(&f->ready);
    sd_event_loop(loop);
    f->s = http_server_free(f->s);
    sd_event_unref(loop);
    return NULL;
}

void server_start(struct fixture *f)
{
    f->config.address = f->config.address ?: "127.0.0.1";
    f->config.handler = serve;
    f->stop_fd = eventfd(0, 0);
    pthread_barrier_init(&f->ready, NULL, 2);
    pthread_create(&f->thread, NULL, run, f);
    pthread_barrier_wait(&f->ready);
}

void server_stop(struct fixture *f)
{
    eventfd_write(f->stop_fd, 1);
    pthread_join(f->thread, NULL);
    pthread_barrier_destroy(&f->ready);
    close(f->stop_fd);
    if (last_stream)
        last_stream = http_stream_unref(last_stream);
}

int dial(const struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(http_server_port(f->s))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

char *listen_for(int fd, const char *until, int ms)
{
    struct str got = {0};
    int64_t end = clock_monotonic_ms() + ms;

    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        char buf[4096];
        ssize_t n;

        if (until && strstr(str_text(&got), until))
            break;
        if (poll(&p, 1, (int)MAX(end - clock_monotonic_ms(), 0)) <= 0)
            break;
        n = recv(fd, buf, sizeof(buf), 0);
        if (n <= 0)
            break;
        str_add(&got, buf, (size_t)n);
    }
    return str_take(&got);
}

bool ends(int fd, int ms)
{
    int64_t end = clock_monotonic_ms() + ms;

    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        char buf[65536];

        if (poll(&p, 1, (int)MAX(end - clock_monotonic_ms(), 0)) <= 0)
            return false;
        if (recv(fd, buf, sizeof(buf), 0) <= 0)
            return true;
    }
}

char *exchange(const struct fixture *f, const char *request, const char *until)
{
    _cleanup_close_ int fd = dial(f);

    say(fd, request);
    return listen_for(fd, until, 3000);
}

static size_t count_bytes(char *data, size_t size, size_t n, void *userdata)
{
    *(size_t *)userdata += size * n;
    return size * n;
}

size_t fetch(const struct fixture *f, const char *path, const char *header, const char *decode)
{
    _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u%s", http_server_port(f->s), path);
    struct curl_slist *headers = curl_slist_append(NULL, header);
    CURL *c = curl_easy_init();
    size_t bytes = 0;

    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, decode);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, count_bytes);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &bytes);
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    return bytes;
}

struct http_stream *open_stream(int fd)
{
    _cleanup_free_ char *got = NULL;

    __atomic_store_n(&last_stream, NULL, __ATOMIC_RELEASE);
    say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    got = listen_for(fd, "hello", 2000);
    assert_non_null(strstr(got, "Transfer-Encoding: chunked"));
    assert_non_null(strstr(got, "hello"));
    while (!__atomic_load_n(&last_stream, __ATOMIC_ACQUIRE))
        usleep(1000);
    return last_stream;
}

size_t collect(char *data, size_t size, size_t n, void *userdata)
{
    str_add(userdata, data, size * n);
    return size * n;
}
