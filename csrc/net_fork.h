/* net_fork.h - what a forked child must forget.
 *
 * A child inherits copies of the I/O thread's descriptors but not the thread.
 * It must not speak on them (a TLS goodbye would end the parent's connections)
 * and must not keep them open either (the server would wait for a close that
 * never comes).  So the child closes its copies at once, without a word, and
 * counts an epoch: whoever remembers another epoch starts afresh and leaks the
 * parent's state, which is the price of touching none of it.
 */
#ifndef NET_FORK_H
#define NET_FORK_H

#include "net_base.h"

/* How many forks lie between the first process and this one. */
unsigned net_fork_epoch(void);

/* From now on `fd` is to be closed in a child; descriptors above 65535 are not
 * followed.  Call disown before closing it. */
void net_fork_own(int fd);
void net_fork_disown(int fd);

#endif /* NET_FORK_H */
