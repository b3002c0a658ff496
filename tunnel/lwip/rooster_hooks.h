/* Where lwIP asks instead of deciding itself. */
#ifndef ROOSTER_LWIP_HOOKS_H
#define ROOSTER_LWIP_HOOKS_H

#include <lwip/ip_addr.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* A connection's first sequence number: a keyed hash of its four addresses and a clock of 4 us
   (RFC 6528), so that nobody who does not see it can guess it. */
uint32_t rooster_lwip_initial_sequence(const ip_addr_t* local, uint16_t local_port,
                                       const ip_addr_t* remote, uint16_t remote_port);
#ifdef __cplusplus
}
#endif

#endif
