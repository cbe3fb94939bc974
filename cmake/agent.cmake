# The agent: one static binary that any image can run as PID 1. Built by musl's
# compiler wrapper whatever compiler the service uses; musl ships no kernel
# headers, so the system's come last in the search order.
find_program(MUSL_GCC musl-gcc REQUIRED)
file(GLOB AGENT_SOURCES CONFIGURE_DEPENDS agent/*.c)
file(GLOB AGENT_HEADERS CONFIGURE_DEPENDS agent/*.h)
set(AGENT_COMMON ${PROJECT_SOURCE_DIR}/common/proto.c ${PROJECT_SOURCE_DIR}/common/slice.c)
set(AGENT_COMMON_HEADERS common/proto.h common/slice.h)
set(AGENT_BINARY ${CMAKE_BINARY_DIR}/paddock-agent)
execute_process(COMMAND gcc -print-multiarch OUTPUT_VARIABLE MULTIARCH OUTPUT_STRIP_TRAILING_WHITESPACE)
add_custom_command(
  OUTPUT ${AGENT_BINARY}
  COMMAND ${MUSL_GCC} -std=gnu11 -static -O2 -ffunction-sections -fdata-sections -Wl,--gc-sections -s
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
    -Wimplicit-fallthrough -Wvla -Wundef -Werror -D_GNU_SOURCE -fstack-protector-strong
    -I${PROJECT_SOURCE_DIR} -idirafter /usr/include -idirafter /usr/include/${MULTIARCH}
    -o ${AGENT_BINARY} ${AGENT_SOURCES} ${AGENT_COMMON}
  DEPENDS ${AGENT_SOURCES} ${AGENT_HEADERS} ${AGENT_COMMON} ${AGENT_COMMON_HEADERS}
  VERBATIM)
add_custom_target(pd_agent ALL DEPENDS ${AGENT_BINARY})

# The same agent for ECS tasks, with a front that speaks TLS (agent/ecs). Debian's
# BearSSL needs nothing of a C library but what agent/ecs/fortify.c adds to musl.
find_library(BEARSSL_STATIC NAMES libbearssl.a REQUIRED)
file(GLOB AGENT_ECS_SOURCES CONFIGURE_DEPENDS agent/ecs/*.c)
file(GLOB AGENT_ECS_HEADERS CONFIGURE_DEPENDS agent/ecs/*.h)
set(AGENT_ECS_BINARY ${CMAKE_BINARY_DIR}/paddock-agent-ecs)
add_custom_command(
  OUTPUT ${AGENT_ECS_BINARY}
  COMMAND ${MUSL_GCC} -std=gnu11 -static -O2 -ffunction-sections -fdata-sections -Wl,--gc-sections -s
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
    -Wimplicit-fallthrough -Wvla -Wundef -Werror -D_GNU_SOURCE -DPD_AGENT_ECS
    -fstack-protector-strong -U_FORTIFY_SOURCE
    -I${PROJECT_SOURCE_DIR} -idirafter /usr/include -idirafter /usr/include/${MULTIARCH}
    -o ${AGENT_ECS_BINARY} ${AGENT_SOURCES} ${AGENT_ECS_SOURCES} ${AGENT_COMMON}
    ${BEARSSL_STATIC}
  DEPENDS ${AGENT_SOURCES} ${AGENT_HEADERS} ${AGENT_ECS_SOURCES} ${AGENT_ECS_HEADERS}
    ${AGENT_COMMON} ${AGENT_COMMON_HEADERS}
  VERBATIM)
add_custom_target(pd_agent_ecs ALL DEPENDS ${AGENT_ECS_BINARY})

# What a Python zygote loads (agent/pdspare): no library linked, so that it fits
# into an interpreter of either C library.
set(PDSPARE ${CMAKE_BINARY_DIR}/pdspare.so)
add_custom_command(
  OUTPUT ${PDSPARE}
  COMMAND gcc -std=gnu11 -shared -fPIC -nostdlib -O2 -s -Wall -Wextra -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Werror -D_GNU_SOURCE -U_FORTIFY_SOURCE -fno-stack-protector
    -I${PROJECT_SOURCE_DIR} -o ${PDSPARE}
    ${PROJECT_SOURCE_DIR}/agent/pdspare/pdspare.c ${PROJECT_SOURCE_DIR}/agent/confine.c
  DEPENDS agent/pdspare/pdspare.c agent/confine.c ${AGENT_HEADERS}
  VERBATIM)
add_custom_target(pdspare ALL DEPENDS ${PDSPARE})

# Likewise for interpreters that need help to wait (agent/pdwait).
set(PDWAIT ${CMAKE_BINARY_DIR}/pdwait.so)
add_custom_command(
  OUTPUT ${PDWAIT}
  COMMAND gcc -std=gnu11 -shared -fPIC -nostdlib -O2 -s -Wall -Wextra -Wshadow -Wconversion
    -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror -D_GNU_SOURCE -U_FORTIFY_SOURCE
    -fno-stack-protector -o ${PDWAIT} ${PROJECT_SOURCE_DIR}/agent/pdwait/pdwait.c
  DEPENDS agent/pdwait/pdwait.c
  VERBATIM)
add_custom_target(pdwait ALL DEPENDS ${PDWAIT})
