# What `cmake --install` puts where, and the Debian package (cpack -G DEB).
# Configuration is where the program looks for it, /etc, whatever the prefix; DESTDIR
# goes before both.
include(GNUInstallDirs)

# Made by the program itself; not by one that is checked for leaks, or is not for here.
if(NOT PD_SANITIZE AND NOT PD_FUZZ AND NOT CMAKE_CROSSCOMPILING)
  add_custom_command(TARGET paddock POST_BUILD
    COMMAND sh -c "./paddock man | gzip -9n > paddock.1.gz"
    COMMAND sh -c "./paddock completion > paddock.bash"
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
  install(FILES ${CMAKE_BINARY_DIR}/paddock.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${CMAKE_BINARY_DIR}/paddock.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME paddock)
endif()
install(TARGETS paddock RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES deploy/systemd/paddock.service DESTINATION lib/systemd/system)
install(FILES conf/default.yaml conf/languages.yaml DESTINATION /etc/paddock)
install(DIRECTORY DESTINATION /etc/paddock/pools.d)
install(FILES conf/apparmor-paddock-sandbox
  DESTINATION /etc/apparmor.d RENAME paddock-sandbox)
install(FILES README.md LICENSE CHANGELOG.md DEPLOYMENT.md SECURITY.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/debian/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/changelog.gz
  COMMAND sh -c "gzip -9n < ${PROJECT_SOURCE_DIR}/deploy/debian/changelog > changelog.gz"
  DEPENDS deploy/debian/changelog WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
add_custom_target(changelog ALL DEPENDS ${CMAKE_BINARY_DIR}/changelog.gz)
install(FILES ${CMAKE_BINARY_DIR}/changelog.gz DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_BINARY_DIR}/web/licenses.txt.gz DESTINATION ${CMAKE_INSTALL_DOCDIR}
  RENAME console-licenses.txt.gz)
install(FILES deploy/debian/lintian-overrides
  DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME paddock)
install(DIRECTORY docs deploy/observability DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES conf/pools.d/node.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME paddock)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR paddock)
set(CPACK_PACKAGE_CONTACT "paddock <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "runs code that you do not trust, in warm sandboxes")
set(CPACK_PACKAGE_DESCRIPTION "Keeps pools of warm sandboxes (containers) and answers an HTTP API that\nruns programs in them, each in a cell of its own.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "ca-certificates, passwd")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "docker.io | docker-ce")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${PROJECT_SOURCE_DIR}/deploy/debian/postinst ${PROJECT_SOURCE_DIR}/deploy/debian/prerm
  ${PROJECT_SOURCE_DIR}/deploy/debian/postrm ${PROJECT_SOURCE_DIR}/deploy/debian/conffiles)
include(CPack)
