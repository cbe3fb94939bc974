#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/json.h"
#include "controller/docker_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct pd_instance *instances = NULL;
    struct pd_provider_event event;
    struct pd_node *node = NULL;
    char version[8];
    size_t count = 0;

    if (pd_docker_instances_parse(text, size, "me", &instances, &count, NULL) == 0)
        assert(count <= size);
    free(instances);
    if (pd_json_parse(text, size, &node, NULL) == 0) {
        pd_docker_event_parse(node, "me", &event);
        if (pd_docker_version_choose(node, version, sizeof version, NULL) == 0)
            assert(version[0] == '1' && version[1] == '.');
    }
    pd_node_free(node);
    return 0;
}
