/* net_transfer.h - one request on the wire: what is known of it, how long it may last.
 *
 *  take a handle -> connect -> prereq -> status, headers -> body ... -> end
 *                   |  connect timer |  first byte timer | idle timer  |
 *                   |--------------- first token timer --------|       |
 *                   |--------------------- total timer ----------------|
 *
 * All timers are our own: libcurl's reach whole seconds or not this far.  The
 * one heap entry of a transfer holds the earliest of them; bytes only note when
 * they came, and the entry is looked at again when it fires.
 *
 * Four files work on one: net_handle.h gives it its libcurl handle, net_flight.h starts
 * and ends it, net_receive.h hears what comes, net_failure.h explains what went wrong.
 * All functions run on the I/O thread.
 */
#ifndef NET_TRANSFER_H
#define NET_TRANSFER_H

#include "net_base.h"
#include "net_frames.h"
#include "net_request.h"
#include "net_sse.h"
#include "net_timer.h"
#include "net_watch.h"

/* Above this many undelivered bytes a stream stops reading. */
#define NET_HIGH_WATER ((size_t)1 << 20)

/* A kept connection that dies within this was dead before. */
#define NET_STALE_NS LB_NS_PER_S

/* How much of a stream without events is kept to explain it. */
#define NET_RAW_KEPT ((size_t)64 << 10)

typedef struct net_transfer {
    void *easy; /* CURL; its options of every request alike are set once */
    net_watch *watch;
    net_origin *origin;
    net_request *request;
    net_reply *reply; /* the request's, being filled */
    net_timer timer;
    lb_ns attempt;          /* this attempt began */
    lb_ns last_byte;        /* the newest byte of the reply came */
    lb_ns paused_at;        /* reading stopped, 0: it goes on */
    enum net_error verdict; /* why a callback broke the transfer off */
    bool streaming;         /* the reply is cut into events */
    bool held;              /* the consumer asked for a pause */
    bool again;             /* already the second attempt */
    lb_ns first_use;        /* this attempt's first connection was ready */
    size_t waiting;         /* bytes of events that wait at the port, as last seen */
    union {
        net_sse sse;
        net_lines lines;
        net_aws aws;
    } decode;
    net_buf batch; /* events of the piece at hand */
    uint32_t n_batch;

    int has_http; /* what the handle is set to now, to save setting it again */
    int has_stream;
    long has_connect_ms;
    bool has_custom;
    struct net_transfer *next;      /* among the origin's spare ones */
    struct net_transfer *same_slot; /* among those in flight */
    char why[256];                  /* libcurl's error text */
} net_transfer;

/* Set the timer to the earliest limit that now applies. */
void net_transfer_arm(net_transfer *t);

/* The timer has fired: the limit that is exceeded, or NET_OK and the timer is set to
 * the next one. */
enum net_error net_transfer_late(net_transfer *t, lb_ns now);

/* Whether its connection had served before. */
bool net_transfer_reused(const net_transfer *t);

/* "1.1", "2", ... or "" before the first status line. */
const char *net_transfer_version(const net_transfer *t);

#endif /* NET_TRANSFER_H */
