#include "check.h"
#include "net_sha256.h"
#include "net_sign.h"

#include <curl/curl.h>
#include <string.h>

static const char *
hash_of(const char *text, size_t times, char hex[65])
{
    net_sha256 s;
    uint8_t raw[NET_SHA256];
    net_sha256_init(&s);
    while (times-- > 0)
        net_sha256_add(&s, text, strlen(text));
    net_sha256_end(&s, raw);
    net_sha256_hex(raw, hex);
    return hex;
}

/* FIPS 180-4's examples. */
static void
hashes_are_those_of_the_standard(void)
{
    char hex[65];
    CHECK(strcmp(hash_of("", 1, hex), "e3b0c44298fc1c149afbf4c8996fb924"
                                      "27ae41e4649b934ca495991b7852b855") == 0);
    CHECK(strcmp(hash_of("abc", 1, hex), "ba7816bf8f01cfea414140de5dae2223"
                                         "b00361a396177a9cb410ff61f20015ad") == 0);
    CHECK(strcmp(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                         hex),
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1") ==
          0);
    CHECK(strcmp(hash_of("aaaaaaaaaa", 100000, hex),
                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") ==
          0);
}

/* RFC 4231, test cases 1, 2 and 6. */
static void
keyed_hashes_are_those_of_the_rfc(void)
{
    uint8_t out[NET_SHA256];
    char hex[65];
    char key[131];
    memset(key, 0x0b, 20);
    net_hmac(key, 20, "Hi There", 8, out);
    net_sha256_hex(out, hex);
    CHECK(strcmp(hex, "b0344c61d8db38535ca8afceaf0bf12b"
                      "881dc200c9833da726e9376c2e32cff7") == 0);
    net_hmac("Jefe", 4, "what do ya want for nothing?", 28, out);
    net_sha256_hex(out, hex);
    CHECK(strcmp(hex, "5bdcc146bf60754e6a042426089575c7"
                      "5a003f089d2739839dec58b964ec3843") == 0);
    memset(key, 0xaa, 131);
    net_hmac(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
             out);
    net_sha256_hex(out, hex);
    CHECK(strcmp(hex, "60e431591ee0b67f0d8a26aacbf5b77f"
                      "8e0bc6213728c5140546040f0ee37f54") == 0);
}

static net_signer
example_signer(void)
{
    net_signer s = {0};
    CHECK(net_signer_read(&s, "aws:amz:us-east-1:service",
                          "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY") ==
          NULL);
    return s;
}

/* "get-vanilla" of AWS's own test suite for Signature Version 4. */
static void
a_signature_is_the_one_of_the_aws_test_suite(void)
{
    net_signer s = example_signer();
    net_ask ask = {.method = "GET", .target = "/"};
    char date[NET_SIGN_DATE];
    char auth[NET_SIGN_AUTH];
    CHECK(net_sign(&s, &ask, "example.amazonaws.com", NULL, 1440938160, date, auth));
    CHECK(strcmp(date, "X-Amz-Date: 20150830T123600Z") == 0);
    CHECK(strcmp(auth,
                 "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/"
                 "us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, "
                 "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae"
                 "1d763fbf31") == 0);
    net_signer_free(&s);
}

static void
more_than_can_be_signed_is_refused(void)
{
    net_signer s = example_signer();
    char date[NET_SIGN_DATE];
    char auth[NET_SIGN_AUTH];
    net_text line[15];
    char name[15][100];
    for (int i = 0; i < 15; i++) {
        int n = snprintf(name[i], sizeof name[i], "X-Amz-%d: v", i);
        line[i] = (net_text){name[i], (size_t)n};
    }
    net_ask ask = {.method = "GET", .target = "/", .lines = line, .n_lines = 14};
    CHECK(net_sign(&s, &ask, "h", NULL, 0, date, auth));
    ask.n_lines = 15;
    CHECK(!net_sign(&s, &ask, "h", NULL, 0, date, auth));
    memset(name[0], 'x', 99);
    memcpy(name[0], "X-Amz-", 6);
    name[0][90] = ':';
    line[0].n = 99;
    ask.n_lines = 1;
    CHECK(!net_sign(&s, &ask, "h", NULL, 0, date, auth));
    net_signer_free(&s);
}

static void
keys_and_scopes_are_read_or_refused(void)
{
    static const char *const scopes[] = {"",           "aws:amz:",      "aws:amz:r",
                                         "aws:amz::s", "aws:amz:r:s:t", "gcp:goog:r:s"};
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        net_signer s = {0};
        CHECK(net_signer_read(&s, scopes[i], "a:b") != NULL);
        net_signer_free(&s);
    }
    static const char *const keys[] = {"", "a", "a:", ":b", NULL};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        net_signer s = {0};
        CHECK(net_signer_read(&s, "aws:amz:r:s", keys[i]) != NULL);
        net_signer_free(&s);
    }
    net_signer s = {0};
    CHECK(net_signer_read(&s, "aws:amz:eu-1:bedrock", "a:b:c:d/+=") == NULL);
    CHECK(strcmp(s.access, "a") == 0 && strcmp(s.secret, "b") == 0);
    CHECK(strcmp(s.token, "c:d/+=") == 0);
    CHECK(strcmp(s.region, "eu-1") == 0 && strcmp(s.service, "bedrock") == 0);
    net_signer_free(&s);
}

int
main(void)
{
    CHECK_RUN(hashes_are_those_of_the_standard);
    CHECK_RUN(keyed_hashes_are_those_of_the_rfc);
    CHECK_RUN(a_signature_is_the_one_of_the_aws_test_suite);
    CHECK_RUN(more_than_can_be_signed_is_refused);
    CHECK_RUN(keys_and_scopes_are_read_or_refused);
    return CHECK_DONE();
}
