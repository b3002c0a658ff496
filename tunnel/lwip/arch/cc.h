/* What lwIP wants to know of the compiler and the system: Linux, clang or gcc. */
#ifndef ROOSTER_LWIP_CC_H
#define ROOSTER_LWIP_CC_H

#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_TIMEVAL_PRIVATE 0

#define LWIP_PLATFORM_DIAG(message) \
  do {                              \
    printf message;                 \
  } while (0)
#define LWIP_PLATFORM_ASSERT(message)           \
  do {                                          \
    fprintf(stderr, "lwIP: %s\n", message);     \
    abort();                                    \
  } while (0)

#ifdef __cplusplus
extern "C" {
#endif
/* getrandom(2), a page of it at a time. */
uint32_t rooster_lwip_random(void);
/* The Internet checksum's sum of `size` bytes, not inverted (RFC 1071). */
uint16_t rooster_lwip_checksum(const void* bytes, int size);
#ifdef __cplusplus
}
#endif
#define LWIP_RAND() rooster_lwip_random()

#endif
