/* net_fork.h - what a forked child must forget.
 *
 * A child inherits copies of the I/O thread's descriptors but not the thread.
 * It must not speak on them (a TLS goodbye would end the parent's connections)
 * and must not keep them open either (the server would wait for a close that
 * never comes).  So the child closes its copies at once, without a word, and
 * counts an epoch: whoever remembers another epoch starts afresh and leaks the
 * parent's state, which is the price of touching none of it.
 *
 * libcurl does not tell of every socket it closes, so a number alone proves
 * nothing: it is remembered together with its inode, and what has become
 * somebody else's is left alone.
 */
#ifndef NET_FORK_H
#define NET_FORK_H

#include "net_base.h"

/* How many forks lie between the first process and this one. */
unsigned net_fork_epoch(void);

/* From now on `fd` is to be closed in a child; numbers above 65535 are not
 * followed.  Call disown before closing it, where it is known. */
void net_fork_own(int fd);
void net_fork_disown(int fd);

/* How many sockets among them are open now; not for hot paths. */
uint64_t net_fork_sockets(void);

#endif /* NET_FORK_H */
