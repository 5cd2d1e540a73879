/* bounds.h - what somebody who has not shown that he belongs to the cluster may cost. */
#ifndef HD_NET_BOUNDS_H
#define HD_NET_BOUNDS_H

/* ---- Before the TLS handshake is done */

/* Bytes of a handshake that is not done. Ours has about 350, a fat ClientHello of
 * another program, with a key share for every group and padded, a few thousand. */
#define HD_TLS_MAX_HANDSHAKE 16384u

/* ---- Before Welcome: TLS handshake and Hello */

/* A peer that has not said Hello by then is cut off: two round trips, a lost packet on each, and a
 * machine that is busy. */
#define HD_GREETING_US 5000000
/* Connections that may be in this state at once, as many as workers can be: a whole cluster may
 * start in the same moment. One more, and the oldest of them goes; about 150 KiB each. */
#define HD_MAX_HALF_OPEN 64

/* ---- Before anything is allocated: new connections of one address, a bucket of tokens.
 * Loopback is no exception: behind it may be a tunnel or a proxy, and so strangers. */

/* At once: all workers of a cluster on one machine, or behind one router, may be started together.
 */
#define HD_ADMISSION_BURST 64
/* Afterwards, a second: a worker that is refused asks again after 0.1 to 5 s. */
#define HD_ADMISSION_PER_SECOND 16
/* Addresses that are remembered; the least recently seen makes room. An address that is forgotten
 * has a full bucket again, so who has thousands of them is stopped by HD_MAX_HALF_OPEN only. */
#define HD_ADMISSION_ADDRESSES 1024

/* ---- After the handshake, from a peer with the key */

/* KeyUpdates without application data between them. A sender needs one in 2^23 records; each costs
 * its receiver a key derivation and maybe an answer. */
#define HD_TLS_MAX_UPDATES 4

#endif
