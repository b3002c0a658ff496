# rooster_lwip: lwIP's core files out of Debian's source package, which scripts/setup unpacks, with
# the options of tunnel/lwip/. Without the sources there is no such target, and no --stack=lwip.
# Sets what the folder tunnel links and leaves out: ROOSTER_LWIP_TARGET, ROOSTER_LWIP_EXCEPT.
set(ROOSTER_LWIP_SOURCE ${CMAKE_SOURCE_DIR}/build/_sources/lwip CACHE PATH "lwIP's unpacked source package")
if(NOT EXISTS ${ROOSTER_LWIP_SOURCE}/src/core/tcp.c)
  message(STATUS "lwIP: no sources in ${ROOSTER_LWIP_SOURCE} (scripts/setup fetches them): --stack=lwip is not built in")
  set(ROOSTER_LWIP_TARGET)
  set(ROOSTER_LWIP_EXCEPT lwip_stack.cpp lwip_connection.cpp lwip_port.cpp)
  return()
endif()
set(ROOSTER_LWIP_TARGET rooster_lwip)
set(ROOSTER_LWIP_EXCEPT lwip_absent.cpp)

set(lwip_sources def inet_chksum init ip mem memp netif pbuf tcp tcp_in tcp_out timeouts udp
                 ipv6/icmp6 ipv6/inet6 ipv6/ip6 ipv6/ip6_addr ipv6/nd6)
list(TRANSFORM lwip_sources REPLACE "(.+)" "${ROOSTER_LWIP_SOURCE}/src/core/\\1.c")
add_library(rooster_lwip STATIC ${lwip_sources} ${CMAKE_SOURCE_DIR}/tunnel/lwip/port.c)
target_include_directories(rooster_lwip SYSTEM PUBLIC
  ${CMAKE_SOURCE_DIR}/tunnel/lwip ${ROOSTER_LWIP_SOURCE}/src/include)
target_link_libraries(rooster_lwip PRIVATE rooster_options PUBLIC OpenSSL::Crypto)
# Not our code: its warnings are not ours to mend, and it reads unaligned words on purpose.
set_source_files_properties(${lwip_sources} PROPERTIES COMPILE_OPTIONS -w)
target_compile_options(rooster_lwip PRIVATE -Wall -Wextra -fno-sanitize=undefined)
