#include "server/oidc_keys.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#define REFRESH_MS 300000
#define RETRY_MS 5000 /* after a failure */
#define PAUSE_MS 2000 /* at least, between two readings: whoever sends tokens with unknown keys does not hurry us */
#define TIMEOUT_S 10L
#define REDIRECTS_MAX 3L
#define SIZE_MAX_BYTES (1 << 20)

struct oidc_keys {
    struct oidc_config config;
    struct oidc *oidc;
    pthread_t thread;
    bool have_keys;       /* only of the thread */
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t woken;
    bool wanted; /* a key is missing */
    bool stop;   /* looked at without the lock as well */
};

/* --- One document --- */

struct download {
    const struct oidc_keys *keys;
    struct str text;
};

static size_t on_data(char *data, size_t size, size_t n, void *userdata)
{
    struct download *d = userdata;

    if (d->text.len + size * n > SIZE_MAX_BYTES)
        return 0;
    str_add(&d->text, data, size * n);
    return size * n;
}

static int on_progress(void *userdata, curl_off_t dl, curl_off_t dn, curl_off_t ul, curl_off_t un)
{
    const struct download *d = userdata;

    return __atomic_load_n(&d->keys->stop, __ATOMIC_RELAXED);
}

static void set_options(CURL *easy, const struct oidc_keys *k, const char *url, struct download *d, char *error)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (k->config.ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* only those */
        curl_easy_setopt(easy, CURLOPT_CAINFO, k->config.ca_file);
    }
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "godwit");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, d);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, d);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
}

static int download(const struct oidc_keys *k, const char *url, char **ret, size_t *ret_len, struct gw_error *err)
{
    char error[CURL_ERROR_SIZE] = "";
    struct download d = {.keys = k};
    CURL *easy = curl_easy_init();
    CURLcode code;

    if (!easy)
        abort(); /* out of memory */
    set_options(easy, k, url, &d, error);
    code = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    if (code != CURLE_OK) {
        str_done(&d.text);
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "%s: %s", url, *error ? error : curl_easy_strerror(code));
    }
    *ret_len = d.text.len;
    *ret = str_take(&d.text);
    return 0;
}

/* --- Both --- */

/* What the issuer says of itself must be what we were told, or its tokens would be another's (OpenID Connect Discovery
 * 1.0, section 4.3). */
static int find_keys_url(const struct oidc_keys *k, char **ret, struct gw_error *err)
{
    const char *issuer = k->config.issuer_url;
    size_t len = strlen(issuer);
    _cleanup_free_ char *text = NULL, *url = xasprintf("%.*s/.well-known/openid-configuration",
                                                       (int)(len - (issuer[len - 1] == '/')), issuer);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    size_t n = 0;
    int r = download(k, url, &text, &n, err);
    yyjson_val *root;

    r = r < 0 ? r : json_parse(text, n, &doc, err);
    if (r < 0)
        return gw_error_wrap(err, r, "discovery");
    root = yyjson_doc_get_root(doc);
    if (!streq(json_str_or(root, "/issuer", ""), issuer))
        return gw_error_set(err, GW_INVALID, "%s: it says that the issuer is \"%s\"", url,
                            json_str_or(root, "/issuer", ""));
    if (!str_starts(json_str_or(root, "/jwks_uri", ""), "https://"))
        return gw_error_set(err, GW_INVALID, "%s: jwks_uri does not begin with https://", url);
    *ret = xstrdup(json_str(root, "/jwks_uri"));
    return 0;
}

static int read_keys(struct oidc_keys *k, struct gw_error *err)
{
    _cleanup_free_ char *url = NULL, *text = NULL;
    struct jwks *keys = NULL;
    size_t len = 0;
    int r = find_keys_url(k, &url, err);

    r = r < 0 ? r : download(k, url, &text, &len, err);
    if (r < 0)
        return r;
    r = jwks_parse(text, len, &keys, err);
    if (r < 0)
        return gw_error_wrap(err, r, "%s", url);
    oidc_set_keys(k->oidc, keys);
    if (!k->have_keys)
        log_info("oidc: the keys of %s are known", k->config.issuer_url);
    k->have_keys = true;
    return 0;
}

/* --- The thread --- */

/* Returns false at the end. A key that is missing ends the wait only if heed is set; else it is remembered. */
static bool wait_for(struct oidc_keys *k, int64_t ms, bool heed)
{
    int64_t end = clock_monotonic_ms() + ms;
    const struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    bool go_on;

    pthread_mutex_lock(&k->lock);
    while (!k->stop && !(heed && k->wanted) && pthread_cond_timedwait(&k->woken, &k->lock, &until) != ETIMEDOUT)
        ;
    if (heed)
        k->wanted = false;
    go_on = !k->stop;
    pthread_mutex_unlock(&k->lock);
    return go_on;
}

static void *run(void *arg)
{
    struct oidc_keys *k = arg;
    bool go_on = true;

    while (go_on) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        int r = read_keys(k, &err);

        if (r < 0 && !__atomic_load_n(&k->stop, __ATOMIC_RELAXED))
            log_warn("oidc: %s; trying again", gw_error_message(&err));
        go_on = r < 0 ? wait_for(k, RETRY_MS, false) : wait_for(k, PAUSE_MS, false) && wait_for(k, REFRESH_MS, true);
    }
    return NULL;
}

static void on_missing_key(void *userdata)
{
    struct oidc_keys *k = userdata;

    pthread_mutex_lock(&k->lock);
    k->wanted = true;
    pthread_cond_signal(&k->woken);
    pthread_mutex_unlock(&k->lock);
}

static void release(struct oidc_keys *k)
{
    pthread_cond_destroy(&k->woken);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

int oidc_keys_start(const struct oidc_config *config, struct oidc *oidc, struct oidc_keys **ret, struct gw_error *err)
{
    struct oidc_keys *k = xnew(struct oidc_keys);
    pthread_condattr_t monotonic;
    int r;

    *k = (struct oidc_keys){.config = *config, .oidc = oidc};
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    r = pthread_create(&k->thread, NULL, run, k);
    if (r != 0) {
        release(k);
        return gw_error_errno(err, r, "cannot start a thread");
    }
    oidc_on_missing_key(oidc, on_missing_key, k);
    *ret = k;
    return 0;
}

struct oidc_keys *oidc_keys_stop(struct oidc_keys *k)
{
    if (!k)
        return NULL;
    pthread_mutex_lock(&k->lock);
    __atomic_store_n(&k->stop, true, __ATOMIC_RELAXED);
    pthread_cond_signal(&k->woken);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    oidc_on_missing_key(k->oidc, NULL, NULL);
    release(k);
    return NULL;
}
