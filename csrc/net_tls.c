#include "net_tls.h"

#include <curl/curl.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

static bool
is_dir(const char *path)
{
    struct stat st;
    return path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
is_file(const char *path)
{
    struct stat st;
    return path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool
keep(char to[512], const char *path)
{
    int n = snprintf(to, 512, "%s", path);
    return n >= 0 && n < 512;
}

/* A name like "3513523f.0": what c_rehash leaves, and what OpenSSL looks up. */
static bool
is_hashed_name(const char *name)
{
    return strlen(name) == 10 && strspn(name, "0123456789abcdef") == 8 &&
           strcmp(name + 8, ".0") == 0;
}

/* Path of one hashed certificate in `dir`; false: the directory has none. */
static bool
one_hashed(const char *dir, char path[512])
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return false;
    bool found = false;
    for (const struct dirent *e; !found && (e = readdir(d)) != NULL;) {
        if (!is_hashed_name(e->d_name))
            continue;
        int n = snprintf(path, 512, "%s/%s", dir, e->d_name);
        found = n > 0 && n < 512;
    }
    (void)closedir(d);
    return found;
}

static bool
use_dir(net_trust *t, const char *dir, unsigned version)
{
    char one[512];
    if (!one_hashed(dir, one))
        return false;
    return keep(t->dir, dir) && keep(t->file, version < 0x081100 ? "" : one);
}

static bool
use_system(net_trust *t, const curl_version_info_data *v)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/usr/local/share/certs/ca-root-nss.crt",
    };
    if (is_dir(v->capath) && use_dir(t, v->capath, v->version_num))
        return true;
    if (is_file(v->cainfo))
        return keep(t->file, v->cainfo);
    for (size_t i = 0; i < sizeof bundles / sizeof *bundles; i++)
        if (is_file(bundles[i]))
            return keep(t->file, bundles[i]);
    return false;
}

bool
net_tls_trust(net_trust *t, const char *ca)
{
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    *t = (net_trust){0};
    if (ca == NULL)
        return use_system(t, v);
    if (is_dir(ca))
        return use_dir(t, ca, v->version_num);
    return is_file(ca) && keep(t->file, ca);
}
