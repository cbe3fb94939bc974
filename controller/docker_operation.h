/* What a call to the engine does, in few words: for figures, whose labels must be few. Pure. */
#ifndef PD_CONTROLLER_DOCKER_OPERATION_H
#define PD_CONTROLLER_DOCKER_OPERATION_H

#define PD_DOCKER_OPERATION_BYTES 48

/* "containers_create", "containers_start", "delete_containers". path: after the version, it
 * begins with '/'. Names and ids do not count: they are the second of two parts of the path, or
 * stand in the middle. */
void pd_docker_operation(const char *method, const char *path,
                         char out[static PD_DOCKER_OPERATION_BYTES]);

#endif
