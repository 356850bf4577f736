#include "net_sign.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "net_sha256.h"

enum { MAX_FIELDS = 16, STAMP = 17 };

typedef struct field {
    char name[64]; /* lower case */
    const char *value;
    size_t len;
} field;

typedef struct fields {
    field row[MAX_FIELDS];
    int n;
} fields;

static bool
add_text(net_buf *b, const char *s)
{
    return net_buf_add(b, s, strlen(s));
}

/* Kept in the order of their names. */
static bool
add_field(fields *f, const char *name, size_t name_len, const char *value, size_t len)
{
    field fresh = {.value = value, .len = len};
    if (f->n == MAX_FIELDS || name_len >= sizeof fresh.name)
        return false;
    for (size_t i = 0; i < name_len; i++)
        fresh.name[i] =
            (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    int at = f->n++;
    for (; at > 0 && strcmp(f->row[at - 1].name, fresh.name) > 0; at--)
        f->row[at] = f->row[at - 1];
    f->row[at] = fresh;
    return true;
}

static bool
add_line(fields *f, const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n);
    if (colon == NULL || n < 6 || strncasecmp(p, "x-amz-", 6) != 0)
        return true;
    const char *value = colon + 1;
    const char *end = p + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return add_field(f, p, (size_t)(colon - p), value, (size_t)(end - value));
}

static bool
add_encoded(net_buf *b, const char *p, size_t n)
{
    static const char keep[] = "-_.~/";
    char hex[4];
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
            (c >= 'a' && c <= 'z') || memchr(keep, c, sizeof keep - 1) != NULL) {
            ok = net_buf_add(b, &p[i], 1);
        } else {
            (void)snprintf(hex, sizeof hex, "%%%02X", c);
            ok = net_buf_add(b, hex, 3);
        }
    }
    return ok;
}

static int
by_bytes(const void *a, const void *b)
{
    const net_text *x = a;
    const net_text *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

static bool
add_query(net_buf *b, const char *query)
{
    net_text part[32];
    size_t n = 0;
    while (*query != '\0') {
        size_t len = strcspn(query, "&");
        if (n == sizeof part / sizeof *part)
            return false;
        if (len > 0)
            part[n++] = (net_text){query, len};
        query += len + (query[len] == '&');
    }
    qsort(part, n, sizeof *part, by_bytes);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        ok = (i == 0 || add_text(b, "&")) && net_buf_add(b, part[i].p, part[i].n) &&
             (memchr(part[i].p, '=', part[i].n) != NULL || add_text(b, "="));
    }
    return ok;
}

static bool
add_names(net_buf *b, const fields *f)
{
    bool ok = true;
    for (int i = 0; i < f->n && ok; i++)
        ok = (i == 0 || add_text(b, ";")) && add_text(b, f->row[i].name);
    return ok;
}

static void
hash_hex(const void *p, size_t n, char hex[65])
{
    net_sha256 s;
    uint8_t raw[NET_SHA256];
    net_sha256_init(&s);
    net_sha256_add(&s, p, n);
    net_sha256_end(&s, raw);
    net_sha256_hex(raw, hex);
}

static bool
add_canonical(net_buf *b, const net_ask *ask, const fields *f)
{
    size_t path = strcspn(ask->target, "?");
    const char *query = ask->target[path] == '?' ? ask->target + path + 1 : "";
    char body[65];
    hash_hex(ask->body != NULL ? ask->body : "", ask->body_len, body);
    bool ok = add_text(b, ask->method) && add_text(b, "\n") &&
              add_encoded(b, ask->target, path) && add_text(b, "\n") &&
              add_query(b, query) && add_text(b, "\n");
    for (int i = 0; i < f->n && ok; i++)
        ok = add_text(b, f->row[i].name) && add_text(b, ":") &&
             net_buf_add(b, f->row[i].value, f->row[i].len) && add_text(b, "\n");
    return ok && add_text(b, "\n") && add_names(b, f) && add_text(b, "\n") &&
           add_text(b, body);
}

static void
day_key(const net_signer *s, const char day[9], uint8_t key[NET_SHA256])
{
    char start[256];
    int n = snprintf(start, sizeof start, "AWS4%s", s->secret);
    net_hmac(start, (size_t)n, day, 8, key);
    net_hmac(key, NET_SHA256, s->region, strlen(s->region), key);
    net_hmac(key, NET_SHA256, s->service, strlen(s->service), key);
    net_hmac(key, NET_SHA256, "aws4_request", 12, key);
}

static bool
gather(fields *f, const net_ask *ask, const char *host, const struct curl_slist *fixed,
       const char *stamp)
{
    bool ok = add_field(f, "host", 4, host, strlen(host)) &&
              add_field(f, "x-amz-date", 10, stamp, strlen(stamp));
    for (; fixed != NULL && ok; fixed = fixed->next)
        ok = add_line(f, fixed->data, strlen(fixed->data));
    for (size_t i = 0; i < ask->n_lines && ok; i++)
        ok = add_line(f, ask->lines[i].p, ask->lines[i].n);
    return ok;
}

bool
net_sign(const net_signer *s, const net_ask *ask, const char *host,
         const struct curl_slist *fixed, int64_t unix_time,
         char date_line[NET_SIGN_DATE], char auth_line[NET_SIGN_AUTH])
{
    char stamp[STAMP];
    char scope[200];
    char text[400];
    char hex[65];
    uint8_t key[NET_SHA256];
    struct tm tm;
    time_t at = (time_t)unix_time;
    (void)gmtime_r(&at, &tm);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    (void)snprintf(date_line, NET_SIGN_DATE, "X-Amz-Date: %s", stamp);
    (void)snprintf(scope, sizeof scope, "%.8s/%s/%s/aws4_request", stamp, s->region,
                   s->service);

    fields f = {.n = 0};
    net_buf b = {0};
    bool ok = gather(&f, ask, host, fixed, stamp) && add_canonical(&b, ask, &f);
    hash_hex(b.data, b.len, hex);
    b.len = 0;
    int n =
        snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, hex);
    day_key(s, stamp, key);
    net_hmac(key, NET_SHA256, text, (size_t)n, key);
    net_sha256_hex(key, hex);
    ok = ok && add_names(&b, &f) && net_buf_add(&b, "", 1);
    n = ok ? snprintf(auth_line, NET_SIGN_AUTH,
                      "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, "
                      "SignedHeaders=%s, Signature=%s",
                      s->access, scope, b.data, hex)
           : -1;
    net_buf_free(&b);
    return n > 0 && n < NET_SIGN_AUTH;
}

/* The part of `p` before the next colon, as a text of its own. */
static bool
cut(const char **p, char **to, size_t most)
{
    size_t n = strcspn(*p, ":");
    if (n == 0 || n > most || (*to = malloc(n + 1)) == NULL)
        return false;
    memcpy(*to, *p, n);
    (*to)[n] = '\0';
    *p += n + ((*p)[n] == ':');
    return true;
}

const char *
net_signer_read(net_signer *s, const char *scope, const char *key)
{
    static const char prefix[] = "aws:amz:";
    const char *p = scope + sizeof prefix - 1;
    if (strncmp(scope, prefix, sizeof prefix - 1) != 0 || !cut(&p, &s->region, 60) ||
        !cut(&p, &s->service, 60) || *p != '\0')
        return "sigv4: must be aws:amz:region:service";
    if (key == NULL || !cut(&key, &s->access, 128) || !cut(&key, &s->secret, 128))
        return "sigv4_key: must be access:secret or access:secret:token";
    if (*key != '\0' && (s->token = strdup(key)) == NULL)
        return "out of memory";
    return NULL;
}

static void
wipe(char *secret)
{
    for (volatile char *p = secret; p != NULL && *p != '\0'; p++)
        *p = '\0';
    free(secret);
}

void
net_signer_free(net_signer *s)
{
    free(s->access);
    wipe(s->secret);
    wipe(s->token);
    free(s->region);
    free(s->service);
    *s = (net_signer){0};
}
