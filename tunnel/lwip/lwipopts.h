/* lwIP as Rooster needs it: IPv6 and TCP only, raw API, one thread, memory from malloc, windows
   that don't throttle at 40 ms. lwip_stack.cpp drives it. */
#ifndef ROOSTER_LWIPOPTS_H
#define ROOSTER_LWIPOPTS_H

#define NO_SYS 1
#define NO_SYS_NO_TIMERS 1 /* the loop calls tcp_tmr() itself */
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_STATS 0
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS 1
#ifdef NDEBUG
#define LWIP_NOASSERT 1
#endif

#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1

#define LWIP_IPV4 0
#define LWIP_IPV6 1
#define LWIP_IPV6_NUM_ADDRESSES 2 /* our own, and the one of the packet that is being read */
#define LWIP_IPV6_SCOPES 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_RAW 0
#define LWIP_UDP 1 /* only to answer "port unreachable" */
#define LWIP_SINGLE_NETIF 1
#define LWIP_NETIF_LOOPBACK 0
#define LWIP_NETIF_TX_SINGLE_PBUF 1

#define LWIP_TCP 1
#define TCP_MSS 1360
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 6
#define TCP_WND (2 * 1024 * 1024)
#define TCP_SND_BUF (2 * 1024 * 1024)
#define TCP_SND_QUEUELEN (4 * TCP_SND_BUF / TCP_MSS)
/* Write in whole pieces; lwIP wants this below 64 KiB. */
#define TCP_SNDLOWAT (0xFFFF - 4 * TCP_MSS - 1)
#define LWIP_TCP_SACK_OUT 1
#define TCP_OOSEQ_MAX_PBUFS 2048
#define TCP_LISTEN_BACKLOG 0 /* half-open connections are counted by lwip_stack.cpp */
#define LWIP_TCP_PCB_NUM_EXT_ARGS 1
#define LWIP_TCP_KEEPALIVE 1
#define LWIP_TCP_CALC_INITIAL_CWND(mss) ((tcpwnd_size_t)(10U * (mss))) /* RFC 6928 */
#define LWIP_TCP_RTO_TIME 1000                                         /* RFC 6298 */
/* RTTs are counted in two of these; the shortest retransmission timeout is six. */
#define TCP_TMR_INTERVAL 50
/* One tunnel, one path: what is late by more than this is not coming any more. A minute, as usual,
   would run out of ports at a few hundred connections a second. */
#define TCP_MSL 2000UL
#define TCP_LOCAL_PORT_RANGE_START 0x4000
#define TCP_LOCAL_PORT_RANGE_END 0xffff
#define TCP_ENSURE_LOCAL_PORT_RANGE(port) \
  ((u16_t)(TCP_LOCAL_PORT_RANGE_START + (port) % (TCP_LOCAL_PORT_RANGE_END - TCP_LOCAL_PORT_RANGE_START)))

/* The tunnel's AEAD has proven every byte that comes in. */
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_CHECK_UDP 0
#define CHECKSUM_CHECK_ICMP6 0
#define LWIP_CHKSUM rooster_lwip_checksum
#define LWIP_HOOK_FILENAME "rooster_hooks.h"
#define LWIP_HOOK_TCP_ISN rooster_lwip_initial_sequence

#endif
