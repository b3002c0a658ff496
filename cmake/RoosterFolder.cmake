# rooster_folder(<folder> [USES <folders>] [LINKS <targets>] [EXCEPT <files>]): the static library
# rooster_<folder> of every .cpp in the folder, linked along its arrows only.
set(ROOSTER_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wold-style-cast -Wnon-virtual-dtor
    -Wno-missing-field-initializers)

add_library(rooster_options INTERFACE)
target_compile_options(rooster_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:${ROOSTER_WARNINGS}>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${ROOSTER_WERROR}>>:-Werror> -fno-omit-frame-pointer)
target_compile_definitions(rooster_options INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED
  BOOST_ASIO_DISABLE_BOOST_COROUTINE ROOSTER_VERSION="${PROJECT_VERSION}")
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_link_options(rooster_options INTERFACE -fuse-ld=lld)
endif()
if(ROOSTER_SANITIZE)
  target_compile_options(rooster_options INTERFACE -fsanitize=${ROOSTER_SANITIZE}
                         -fno-sanitize-recover=undefined -g1)
  target_link_options(rooster_options INTERFACE -fsanitize=${ROOSTER_SANITIZE})
endif()

# Link-time optimisation of the release binary alone: its objects carry both machine code, which the test programs
# link as ever, and bitcode (0015).
set(ROOSTER_LTO OFF)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT ROOSTER_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang"
   AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 17)
  set(ROOSTER_LTO ON)
endif()
function(rooster_link_time_optimise target)
  if(ROOSTER_LTO)
    target_link_options(${target} PRIVATE -flto=full -ffat-lto-objects -O2)
  endif()
endfunction()

function(rooster_folder name)
  cmake_parse_arguments(ARG "" "" "USES;LINKS;EXCEPT" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.cpp)
  foreach(file ${ARG_EXCEPT})
    list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/${name}/${file})
  endforeach()
  list(TRANSFORM ARG_USES PREPEND rooster_)
  if(sources)
    add_library(rooster_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(rooster_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  if(ROOSTER_LTO AND sources)
    target_compile_options(rooster_${name} PRIVATE -flto=full -ffat-lto-objects)
  endif()
  target_include_directories(rooster_${name} ${scope} ${CMAKE_SOURCE_DIR})
  target_link_libraries(rooster_${name} ${scope} rooster_options ${ARG_USES} ${ARG_LINKS})
endfunction()
