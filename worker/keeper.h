/* keeper.h - lets a killed worker's connection end at once.
 *
 * When a process is killed, the kernel first takes its memory apart and only then closes its
 * sockets: with some GiB of weights, K/V and log that is a tenth of a second during which the
 * leader hears nothing. The keeper is a second process on the same memory that does nothing at all.
 * So long as it is there the memory need not be taken apart, the sockets close first, and the
 * keeper, which ends as soon as the last thread of its worker is gone, does the slow part. */
#ifndef HD_WORKER_KEEPER_H
#define HD_WORKER_KEEPER_H

/* Call before any socket or file is opened: the keeper holds what is open now. Its process number,
 * or -1 with errno (ENOSYS: Linux before 5.3): then a killed worker is merely noticed later. */
int hd_keeper_start(void);

#endif
