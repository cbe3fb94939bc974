# The browser console (api/web), where npm is there; the service is complete
# without it and says at / how to add it. PD_CONSOLE=OFF leaves it out.
option(PD_CONSOLE "Build the browser console, where npm is there" ON)
find_program(NPM npm)
find_program(NODE node)

set(CONSOLE_FILES "")
# A bundle made elsewhere from these sources does without both (api/web/build.sh).
set(CONSOLE_BUNDLE ${PROJECT_SOURCE_DIR}/build/console/bundle.stamp)
if(PD_CONSOLE AND ((NPM AND NODE) OR EXISTS ${CONSOLE_BUNDLE}))
  set(CONSOLE_OUT ${CMAKE_BINARY_DIR}/web)
  if(CMAKE_BINARY_DIR MATCHES "^${PROJECT_SOURCE_DIR}/build/")
    set(CONSOLE_CACHE ${PROJECT_SOURCE_DIR}/build/console) # one for all presets
  else()
    set(CONSOLE_CACHE ${CMAKE_BINARY_DIR}/console)
  endif()
  foreach(name index.html login.html licenses.txt console.js console.css login.js icon.svg)
    list(APPEND CONSOLE_FILES ${CONSOLE_OUT}/${name} ${CONSOLE_OUT}/${name}.gz)
  endforeach()
  file(GLOB CONSOLE_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/api/web/*
    ${PROJECT_SOURCE_DIR}/api/web/src/*)
  list(FILTER CONSOLE_SOURCES EXCLUDE REGEX "/(node_modules|dist|src)$")
  add_custom_command(OUTPUT ${CONSOLE_FILES}
    COMMAND ${PROJECT_SOURCE_DIR}/api/web/build.sh ${CONSOLE_CACHE} ${CONSOLE_OUT}
    DEPENDS ${CONSOLE_SOURCES}
    COMMENT "Bundling the console")
  add_custom_target(pd_console DEPENDS ${CONSOLE_FILES})
else()
  message(STATUS "The browser console is left out: it needs npm and node, and PD_CONSOLE=ON")
endif()
