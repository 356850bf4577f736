/* net_watch.h - what libcurl wants watched: the sockets and one deadline of each host.
 *
 *     libcurl --- on_socket, on_timer ---> poll and timers
 *     libcurl <-- socket_action ---------- net_watch_poll(), net_watch_deadline()
 *     results <-- net_watch_touched() ---- the hosts that libcurl was called for
 *
 * A host is what libcurl calls a CURLM: the connections to one backend, and its queue
 * of results.  libcurl may finish a transfer inside any call made to it, so a host for
 * which it was called is "touched" until its results have been fetched.
 *
 * Sockets are opened here rather than in libcurl, so that children of a fork can close
 * their copies (net_fork.h) and children of an exec never see them.  Nothing here is
 * shared: every function runs on the I/O thread.
 */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "net_base.h"

#include <stdatomic.h>

#include "net_poll.h"
#include "net_timer.h"
#include "net_wake.h"

/* Whose timer fired: net_timer's `kind`. */
enum { NET_TIMER_HOST, NET_TIMER_TRANSFER };

/* Embed by value; all zero is a host nobody has spoken to. */
typedef struct net_host {
    unsigned epoch;           /* of the process whose engine made what follows */
    uint64_t engine;          /* which engine of that process */
    void *multi;              /* CURLM; NULL: none */
    struct net_watch *watch;  /* where its sockets and its deadline are kept */
    net_timer timer;          /* when libcurl wants to be called */
    bool touched;             /* libcurl was called: results may be waiting */
    struct net_host *next;    /* in the list of touched ones */
    struct net_host *earlier; /* in the list of all that have a CURLM */
    struct net_host *later;
} net_host;

typedef struct net_watch {
    net_poll *poll;
    net_timers timers;    /* of hosts and of transfers */
    const net_wake *bell; /* rung by submitters */
    uint64_t engine;      /* number of this engine, for hosts to recognise it */
    net_host *touched;
    net_host *live;              /* all with a CURLM */
    _Atomic uint64_t *connected; /* the engine's counters: sockets opened, */
    _Atomic uint64_t *hosts;     /* and how many are live */
} net_watch;

/* With engine and counters set, the rest zero.  false: the kernel gives no queue, or
 * out of memory. */
bool net_watch_open(net_watch *w, const net_wake *bell);

/* When no host is live any more. */
void net_watch_close(net_watch *w);

/* Sleep up to `wait` ns, or until a timer is due, a socket ready or the bell rung;
 * tell libcurl which sockets are ready. */
void net_watch_poll(net_watch *w, lb_ns wait);

/* The host's deadline has come: tell libcurl. */
void net_watch_deadline(net_watch *w, net_host *h);

/* Whether the host has been joined to this engine, and not left it. */
bool net_watch_has(const net_watch *w, const net_host *h);

/* Make the host's CURLM; what another process or engine left in it is forgotten, not
 * touched.  false: out of memory. */
bool net_watch_join(net_watch *w, net_host *h);

/* Close its connections.  No handle may be left in its CURLM. */
void net_watch_leave(net_watch *w, net_host *h);

/* libcurl is being called for `h`; look for results later. */
void net_watch_touch(net_watch *w, net_host *h);

/* The next host whose results are to be fetched, or NULL. */
net_host *net_watch_touched(net_watch *w);

/* Let a libcurl handle open and close its sockets through us. */
void net_watch_sockets(net_watch *w, void *easy);

#endif /* NET_WATCH_H */
