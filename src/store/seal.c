#include "store/seal.h"

#include <gnutls/crypto.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fs.h"
#include "base/random.h"

#define KEY_BYTES 32
#define ID_BYTES 8
#define NONCE_BYTES 12
#define TAG_BYTES 16

/* No JSON begins like this. */
static const char magic[8] = "\1sealed1";

/* What stands before the encrypted bytes. */
struct header {
    char magic[sizeof(magic)];
    unsigned char id[ID_BYTES]; /* of the encryption key: the first bytes of its SHA-256 */
    unsigned char nonce[NONCE_BYTES];
};

struct seal_key {
    unsigned char bytes[KEY_BYTES], id[ID_BYTES];
};

struct seal_keys {
    size_t len;
    struct seal_key keys[];
};

/* --- Keys --- */

static int parse_key(const char *line, size_t len, struct seal_key *ret)
{
    unsigned char digest[32];
    char *bytes = NULL;
    size_t n = 0;
    int r = base64_decode(line, len, &bytes, &n);

    if (r == 0 && n == KEY_BYTES && gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, n, digest) == 0) {
        memcpy(ret->bytes, bytes, KEY_BYTES);
        memcpy(ret->id, digest, ID_BYTES);
    } else {
        r = -1;
    }
    if (bytes)
        explicit_bzero(bytes, n);
    free(bytes);
    return r;
}

static size_t count_lines(const char *text)
{
    size_t n = 1;

    while ((text = strchr(text, '\n'))) {
        text++;
        n++;
    }
    return n;
}

int seal_keys_parse(const char *text, struct seal_keys **ret, struct gw_error *err)
{
    _cleanup_seal_keys_ struct seal_keys *k =
        xcalloc(1, sizeof(struct seal_keys) + count_lines(text) * sizeof(struct seal_key));
    size_t number = 0;

    for (size_t len; *text; text += len + (text[len] == '\n')) {
        len = strcspn(text, "\n");
        number++;
        if (strspn(text, " \t\r") >= len)
            continue;
        if (parse_key(text, len, &k->keys[k->len]) < 0)
            return gw_error_set(err, GW_INVALID, "line %zu: want 32 bytes in base64", number);
        k->len++;
    }
    if (k->len == 0)
        return gw_error_set(err, GW_INVALID, "no key: want lines of 32 bytes in base64");
    *ret = TAKE_PTR(k);
    return 0;
}

int seal_keys_read(const char *path, struct seal_keys **ret, struct gw_error *err)
{
    char *text = NULL;
    size_t len = 0;
    int r = fs_read(path, 0, &text, &len, err);

    if (r < 0)
        return r;
    r = seal_keys_parse(text, ret, err);
    explicit_bzero(text, len);
    free(text);
    return r < 0 ? gw_error_wrap(err, r, "%s", path) : 0;
}

struct seal_keys *seal_keys_free(struct seal_keys *k)
{
    if (k)
        explicit_bzero(k->keys, k->len * sizeof(k->keys[0]));
    free(k);
    return NULL;
}

/* --- Values --- */

bool seal_is_sealed(const struct blob *value)
{
    return value->len >= sizeof(struct header) + TAG_BYTES && memcmp(value->data, magic, sizeof(magic)) == 0;
}

static bool is_sealed_with(const struct blob *value, const struct seal_key *key)
{
    return seal_is_sealed(value) && memcmp(value->data + sizeof(magic), key->id, ID_BYTES) == 0;
}

bool seal_is_current(const struct seal_keys *k, const struct blob *value)
{
    return is_sealed_with(value, &k->keys[0]);
}

/* A handle serves one call at a time, so each call has its own. */
static int start(const struct seal_key *key, gnutls_aead_cipher_hd_t *ret)
{
    const gnutls_datum_t datum = {(unsigned char *)key->bytes, KEY_BYTES};

    return gnutls_aead_cipher_init(ret, GNUTLS_CIPHER_AES_256_GCM, &datum);
}

int seal_value(const struct seal_keys *k, const char *name, const struct blob *plain, struct blob **ret,
               struct gw_error *err)
{
    _cleanup_blob_ struct blob *out = blob_new(NULL, sizeof(struct header) + plain->len + TAG_BYTES);
    size_t len = plain->len + TAG_BYTES;
    gnutls_aead_cipher_hd_t cipher = NULL;
    struct header h;
    int r = start(&k->keys[0], &cipher);

    memcpy(h.magic, magic, sizeof(magic));
    memcpy(h.id, k->keys[0].id, ID_BYTES);
    random_bytes(h.nonce, NONCE_BYTES);
    memcpy(out->data, &h, sizeof(h));
    if (r == 0) {
        r = gnutls_aead_cipher_encrypt(cipher, h.nonce, NONCE_BYTES, name, strlen(name), TAG_BYTES, plain->data,
                                       plain->len, out->data + sizeof(h), &len);
        gnutls_aead_cipher_deinit(cipher);
    }
    if (r < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "cannot encrypt %s: %s", name, gnutls_strerror(r));
    *ret = TAKE_PTR(out);
    return 0;
}

static const struct seal_key *find_key(const struct seal_keys *k, const struct blob *value)
{
    for (size_t i = 0; i < k->len; i++)
        if (is_sealed_with(value, &k->keys[i]))
            return &k->keys[i];
    return NULL;
}

int seal_open(const struct seal_keys *k, const char *name, const struct blob *sealed, struct blob **ret,
              struct gw_error *err)
{
    const struct seal_key *key = find_key(k, sealed);
    gnutls_aead_cipher_hd_t cipher = NULL;
    struct header h;
    int r;

    if (!seal_is_sealed(sealed))
        return gw_error_set(err, GW_INTERNAL_ERROR, "%s is not encrypted, though it should be", name);
    if (!key)
        return gw_error_set(err, GW_INTERNAL_ERROR, "%s is encrypted with a key that was not given", name);
    memcpy(&h, sealed->data, sizeof(h));

    size_t len = sealed->len - sizeof(h) - TAG_BYTES;
    _cleanup_blob_ struct blob *out = blob_new(NULL, len);

    r = start(key, &cipher);
    if (r == 0) {
        r = gnutls_aead_cipher_decrypt(cipher, h.nonce, NONCE_BYTES, name, strlen(name), TAG_BYTES,
                                       sealed->data + sizeof(h), sealed->len - sizeof(h), out->data, &len);
        gnutls_aead_cipher_deinit(cipher);
    }
    if (r < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "cannot decrypt %s: it was changed: %s", name, gnutls_strerror(r));
    *ret = TAKE_PTR(out);
    return 0;
}
