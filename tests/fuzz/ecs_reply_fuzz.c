/* What ECS says of a task, as JSON. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/json.h"
#include "controller/ecs_book.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pd_autonode struct pd_node *json = NULL;
    const struct pd_node *node;
    struct pd_ecs_book book;
    struct pd_ecs_task task;
    struct pd_time now = {PD_NS_PER_MS};

    if (size > 65536 || pd_json_parse((const char *)data, size, &json, NULL) < 0)
        return 0;
    pd_ecs_book_init(&book);
    for (size_t i = 0; (node = pd_ecs_item(json, "tasks", i)); i++) {
        struct pd_ecs_entry *entry;
        if (!pd_ecs_task_read(node, &task))
            continue;
        if (!task.arn[0] || task.stage > PD_ECS_STOPPED)
            __builtin_trap();
        entry = pd_ecs_book_add(&book, task.arn, "c", now);
        pd_ecs_entry_described(entry, &task, now);
        pd_ecs_entry_name(entry);
    }
    pd_ecs_book_fini(&book);
    return 0;
}
