#include "net_origin.h"

#include <curl/curl.h>
#include <stdio.h>
#include <unistd.h>

#if LIBCURL_VERSION_NUM < 0x075100
#error "libcurl >= 7.81.0 is needed"
#endif

enum { CURL_FLOOR = 0x075100, CURL_HTTP2 = 0x080500 };

static bool
dup_text(char **to, const char *from)
{
    if (from == NULL)
        return true;
    *to = strdup(from);
    return *to != NULL;
}

static bool
has(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool there = curl_url_get(u, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return there;
}

/* Only scheme, host and port: a user or a query would be a secret that shows. */
static const char *
read_url(net_origin *o, const char *url, CURLU *u)
{
    char *scheme = NULL;
    char *path = NULL;
    char *base = NULL;
    const char *bad = NULL;
    if (strchr(url, '@') != NULL || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
        bad = "url: must be scheme://host or scheme://host:port";
    else if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
             (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        bad = "url: the scheme must be http or https";
    else if (has(u, CURLUPART_QUERY) || has(u, CURLUPART_FRAGMENT) ||
             curl_url_get(u, CURLUPART_PATH, &path, 0) != CURLUE_OK ||
             strcmp(path, "/") != 0)
        bad = "url: must end after the host; paths and queries go into the request";
    else if (curl_url_get(u, CURLUPART_URL, &base, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
        bad = "url: cannot be read";
    if (bad == NULL) {
        base[strlen(base) - 1] = '\0'; /* the path "/" */
        o->secure = strcmp(scheme, "https") == 0;
        bad = dup_text(&o->base, base) ? NULL : "out of memory";
    }
    curl_free(scheme);
    curl_free(path);
    curl_free(base);
    return bad;
}

static bool
add_line(net_origin *o, const char *p, size_t n)
{
    char *copy = malloc(n + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, p, n);
    copy[n] = '\0';
    struct curl_slist *list = curl_slist_append(o->lines, copy);
    free(copy);
    if (list != NULL)
        o->lines = list;
    return list != NULL;
}

/* A name without a value takes back what libcurl would send of its own accord:
 * a wait of a second before large bodies, and a form's content type. */
static const char *
read_headers(net_origin *o, const net_settings *s, char why[200])
{
    static const char *const unwanted[] = {"Expect:", "Content-Type:"};
    for (size_t i = 0; i < 2; i++)
        if (!add_line(o, unwanted[i], strlen(unwanted[i])))
            return "out of memory";
    for (size_t i = 0; i < s->n_headers; i++) {
        if (!net_ask_line_ok(s->headers[i].p, s->headers[i].n, why))
            return why;
        if (!add_line(o, s->headers[i].p, s->headers[i].n))
            return "out of memory";
    }
    return NULL;
}

static const char *
read_sigv4(net_origin *o, const net_settings *s, char why[200])
{
    static const char name[] = "X-Amz-Security-Token: ";
    if (s->sigv4 == NULL)
        return NULL;
    const char *bad = net_signer_read(&o->signer, s->sigv4, s->sigv4_key);
    if (bad != NULL || o->signer.token == NULL)
        return bad;
    net_buf line = {0};
    bool ok = net_buf_add(&line, name, sizeof name - 1) &&
              net_buf_add(&line, o->signer.token, strlen(o->signer.token));
    if (ok && !net_ask_line_ok(line.data, line.len, why))
        bad = why;
    else if (!ok || !add_line(o, line.data, line.len))
        bad = "out of memory";
    net_buf_free(&line);
    return bad;
}

static const char *
read_http(net_origin *o, enum net_http http, unsigned version)
{
    if (http == NET_HTTP_2 && version < CURL_HTTP2)
        return "http_version: 2 needs libcurl >= 8.5.0, older ones lose early "
               "replies; use auto or 1.1";
    if (http == NET_HTTP_2 && !o->secure)
        return "http_version: 2 is spoken over https only; use auto or 1.1";
    o->http2 = http != NET_HTTP_1 && o->secure && version >= CURL_HTTP2;
    return NULL;
}

static const char *
read_proxy(net_origin *o, const char *proxy)
{
    static const char *const schemes[] = {"http",    "https",  "socks4",
                                          "socks4a", "socks5", "socks5h"};
    CURLU *u = proxy == NULL ? NULL : curl_url();
    char *scheme = NULL;
    bool known = proxy == NULL;
    if (u != NULL &&
        curl_url_set(u, CURLUPART_URL, proxy,
                     CURLU_DEFAULT_SCHEME | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK) {
        for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
            known = known || strcmp(scheme, schemes[i]) == 0;
        o->secure_proxy = strcmp(scheme, "https") == 0;
    }
    curl_free(scheme);
    curl_url_cleanup(u);
    if (!known)
        return "proxy: must be [scheme://][user:password@]host:port, the scheme "
               "http, https or socks";
    return dup_text(&o->proxy, proxy) ? NULL : "out of memory";
}

static const char *
read_paths(net_origin *o, const net_settings *s)
{
    if (s->cert != NULL && access(s->cert, R_OK) < 0)
        return "cert: there is no readable file of that name";
    if (s->key != NULL && access(s->key, R_OK) < 0)
        return "key: there is no readable file of that name";
    if (s->unix_socket != NULL && strlen(s->unix_socket) > 103)
        return "unix_socket: the path is longer than the 103 bytes a socket can have";
    if ((o->secure || o->secure_proxy) && s->verify && !net_tls_trust(&o->trust, s->ca))
        return "ca: no certificates found there; name a PEM bundle or a directory "
               "made by openssl rehash";
    bool ok = dup_text(&o->cert, s->cert) && dup_text(&o->key, s->key) &&
              dup_text(&o->unix_socket, s->unix_socket);
    return ok ? NULL : "out of memory";
}

static const char *
read_all(net_origin *o, const net_settings *s, CURLU *u, char why[200])
{
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    if (v->version_num < CURL_FLOOR)
        return "libcurl on this machine is older than 7.81.0; install a newer one";
    const char *bad = read_url(o, s->url, u);
    if (bad == NULL)
        bad = read_headers(o, s, why);
    if (bad == NULL)
        bad = read_sigv4(o, s, why);
    if (bad == NULL)
        bad = read_http(o, s->http, v->version_num);
    if (bad == NULL)
        bad = read_proxy(o, s->proxy);
    return bad != NULL ? bad : read_paths(o, s);
}

net_origin *
net_origin_new(const net_settings *s, char why[200])
{
    net_origin *o = calloc(1, sizeof *o);
    CURLU *u = curl_url();
    const char *bad = o == NULL || u == NULL ? "out of memory" : NULL;
    if (bad == NULL) {
        atomic_init(&o->refs, 1);
        o->verify = s->verify;
        o->max_body = s->max_body;
        o->max_event = s->max_event;
        o->max_header = s->max_header;
        bad = read_all(o, s, u, why);
    }
    curl_url_cleanup(u);
    if (bad == NULL)
        return o;
    if (bad != why)
        (void)snprintf(why, 200, "%s", bad);
    if (o != NULL)
        net_origin_free(o);
    return NULL;
}

net_origin *
net_origin_ref(net_origin *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

void
net_origin_unref(net_origin *o)
{
    if (atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (o->drop != NULL)
        o->drop(o);
    else
        net_origin_free(o);
}

static void
wipe(char *secret)
{
    if (secret == NULL)
        return;
    for (volatile char *p = secret; *p != '\0'; p++)
        *p = '\0';
    free(secret);
}

void
net_origin_free(net_origin *o)
{
    curl_slist_free_all(o->lines);
    free(o->base);
    free(o->cert);
    free(o->key);
    free(o->unix_socket);
    net_signer_free(&o->signer);
    wipe(o->proxy);
    free(o);
}
