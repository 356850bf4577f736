#include "net_engine.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "net_fork.h"
#include "net_loop.h"
#include "net_order.h"

enum state { IDLE, RUNNING, STOPPING };

/* The process has one.  Everything but the counters is guarded by `lock`. */
static struct {
    pthread_mutex_t lock;
    enum state state;
    bool asleep; /* the thread waits in poll: ring the bell */
    uint64_t number;
    pthread_t thread;
    net_wake bell;
    net_orders queue;
    _Atomic uint64_t submitted;
    _Atomic uint64_t completed;
    _Atomic uint64_t connected;
    _Atomic uint64_t origins;
} engine = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The thread is gone and may have died holding the lock; what it owned is left
 * as it lies, since to release it would speak on the parent's connections. */
static void
in_child(void)
{
    (void)pthread_mutex_init(&engine.lock, NULL);
    engine.state = IDLE;
    engine.queue = (net_orders){0};
    atomic_store(&engine.submitted, 0);
    atomic_store(&engine.completed, 0);
    atomic_store(&engine.origins, 0);
    atomic_store(&engine.connected, 0);
}

static void
once_per_process(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    (void)net_fork_epoch();
    (void)pthread_atfork(NULL, NULL, in_child);
}

/* Exchange the filled queue for the emptied one.  Under the lock. */
static void
swap_queue(net_orders *mine)
{
    net_orders full = engine.queue;
    engine.queue = *mine;
    *mine = full;
}

static void
turns(net_loop *l)
{
    net_orders orders = {0};
    (void)pthread_mutex_lock(&engine.lock);
    while (engine.state == RUNNING) {
        engine.asleep = net_orders_none(&engine.queue);
        lb_ns wait = engine.asleep ? LB_FOREVER : 0;
        (void)pthread_mutex_unlock(&engine.lock);

        net_watch_poll(&l->watch, wait);

        (void)pthread_mutex_lock(&engine.lock);
        engine.asleep = false;
        swap_queue(&orders);
        (void)pthread_mutex_unlock(&engine.lock);

        net_orders_run(&orders, l);
        net_loop_settle(l);
        (void)pthread_mutex_lock(&engine.lock);
    }
    (void)pthread_mutex_unlock(&engine.lock);
    free(orders.item);
}

/* Between the last turn and the end, submits are refused but drops may come. */
static void
last_orders(net_loop *l)
{
    net_orders orders = {0};
    (void)pthread_mutex_lock(&engine.lock);
    swap_queue(&orders);
    (void)pthread_mutex_unlock(&engine.lock);
    net_orders_run(&orders, l);
    free(orders.item);
}

static void *
engine_main(void *arg)
{
    net_loop *l = arg;
    turns(l);
    last_orders(l);
    net_loop_close(l);
    (void)pthread_mutex_lock(&engine.lock);
    net_orders orders = {0};
    swap_queue(&orders);
    engine.state = IDLE;
    net_fork_disown(engine.bell.read_fd);
    net_fork_disown(engine.bell.write_fd);
    net_wake_close(&engine.bell);
    (void)pthread_mutex_unlock(&engine.lock);
    net_orders_run(&orders, l);
    free(orders.item);
    free(l);
    return NULL;
}

static bool
spawn(net_loop *l)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t old;
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, (size_t)1 << 20);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = pthread_create(&engine.thread, &attr, engine_main, l) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return ok;
}

/* Under the lock. */
static bool
start(void)
{
    net_loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return false;
    if (!net_wake_open(&engine.bell)) {
        free(l);
        return false;
    }
    net_fork_own(engine.bell.read_fd);
    net_fork_own(engine.bell.write_fd);
    l->watch.engine = ++engine.number;
    l->watch.connected = &engine.connected;
    l->watch.hosts = &engine.origins;
    l->flights.completed = &engine.completed;
    engine.state = RUNNING;
    if (net_watch_open(&l->watch, &engine.bell) && spawn(l))
        return true;
    engine.state = IDLE;
    net_loop_close(l);
    free(l);
    net_fork_disown(engine.bell.read_fd);
    net_fork_disown(engine.bell.write_fd);
    net_wake_close(&engine.bell);
    return false;
}

/* See that what was queued is heard.  Under the lock, because the bell is closed
 * under it. */
static void
wake(void)
{
    if (engine.asleep) {
        engine.asleep = false;
        net_wake_ring(&engine.bell);
    }
}

/* Under the lock. */
static bool
queue_order(net_order o)
{
    if (!net_orders_add(&engine.queue, o))
        return false;
    wake();
    return true;
}

/* Nobody refers to the origin any more: its connections are the thread's to close. */
static void
drop_origin(net_origin *o)
{
    (void)pthread_mutex_lock(&engine.lock);
    bool ours = engine.state != IDLE && o->host.engine == engine.number &&
                o->host.epoch == net_fork_epoch();
    if (ours) {
        net_orders_drop(&engine.queue, o);
        wake();
    }
    (void)pthread_mutex_unlock(&engine.lock);
    if (!ours)
        net_origin_free(o);
}

enum lb_status
net_engine_submit(net_request *r)
{
    enum lb_status status = LB_OK;
    (void)pthread_once(&once, once_per_process);
    (void)pthread_mutex_lock(&engine.lock);
    r->origin->drop = drop_origin;
    if (engine.state == STOPPING)
        status = LB_EFULL;
    else if ((engine.state == IDLE && !start()) ||
             !queue_order((net_order){.kind = NET_ORDER_SUBMIT, .request = r}))
        status = LB_ENOMEM;
    else
        atomic_fetch_add_explicit(&engine.submitted, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&engine.lock);
    return status;
}

/* For operations that mean nothing without a running thread. */
static bool
queue_if_running(net_order o)
{
    (void)pthread_mutex_lock(&engine.lock);
    bool queued = engine.state == RUNNING && queue_order(o);
    (void)pthread_mutex_unlock(&engine.lock);
    return queued;
}

void
net_engine_cancel(uint64_t id)
{
    (void)queue_if_running((net_order){.kind = NET_ORDER_CANCEL, .id = id});
}

void
net_engine_pause(uint64_t id)
{
    (void)queue_if_running((net_order){.kind = NET_ORDER_PAUSE, .id = id});
}

void
net_engine_resume(uint64_t id)
{
    (void)queue_if_running((net_order){.kind = NET_ORDER_RESUME, .id = id});
}

void
net_engine_room(uint64_t id)
{
    (void)queue_if_running((net_order){.kind = NET_ORDER_ROOM, .id = id});
}

void
net_engine_abandon(net_port *p)
{
    if (p->epoch != net_fork_epoch() ||
        !queue_if_running((net_order){.kind = NET_ORDER_ABANDON, .port = p}))
        net_port_unref(p);
}

bool
net_engine_stop(lb_ns wait)
{
    lb_ns until = lb_add_capped(net_now(), wait);
    (void)pthread_mutex_lock(&engine.lock);
    if (engine.state == IDLE) {
        (void)pthread_mutex_unlock(&engine.lock);
        return true;
    }
    bool first = engine.state == RUNNING;
    uint64_t number = engine.number;
    pthread_t thread = engine.thread;
    engine.state = STOPPING;
    net_wake_ring(&engine.bell);
    bool ended = false;
    for (;;) {
        ended = engine.state == IDLE || engine.number != number;
        (void)pthread_mutex_unlock(&engine.lock);
        if (ended || net_now() >= until)
            break;
        (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        (void)pthread_mutex_lock(&engine.lock);
    }
    if (first && ended)
        (void)pthread_join(thread, NULL);
    else if (first)
        (void)pthread_detach(thread);
    return ended;
}

net_stats
net_engine_stats(void)
{
    net_stats s = {0};
    (void)pthread_mutex_lock(&engine.lock);
    s.threads = engine.state != IDLE;
    (void)pthread_mutex_unlock(&engine.lock);
    s.completed = atomic_load(&engine.completed);
    s.submitted = atomic_load(&engine.submitted);
    s.origins = atomic_load(&engine.origins);
    s.connected = atomic_load(&engine.connected);
    s.connections = net_fork_sockets();
    return s;
}
