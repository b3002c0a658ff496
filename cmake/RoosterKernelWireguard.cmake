# rooster_kernel_wireguard: the library by which a program sets up the kernel's WireGuard, as Debian's
# wireguard-tools ships it among its examples (LGPL-2.1+: a library of its own, compiled as it is).
find_path(ROOSTER_WIREGUARD_LIBRARY wireguard.c
  PATHS /usr/share/doc/wireguard-tools/examples/embeddable-wg-library ${CMAKE_SOURCE_DIR}/build/_sources/wireguard
  NO_DEFAULT_PATH DOC "Folder of the embeddable WireGuard library")
if(NOT ROOSTER_WIREGUARD_LIBRARY)
  message(STATUS "WireGuard's embeddable library: not found (scripts/setup brings it)")
  return()
endif()

add_library(rooster_kernel_wireguard STATIC ${ROOSTER_WIREGUARD_LIBRARY}/wireguard.c)
target_include_directories(rooster_kernel_wireguard SYSTEM PUBLIC ${ROOSTER_WIREGUARD_LIBRARY})
target_link_libraries(rooster_kernel_wireguard PRIVATE rooster_options)
target_compile_options(rooster_kernel_wireguard PRIVATE -w -fno-sanitize=undefined)
