/* The classic BPF that seccomp knows, as far as the runs' filter (agent/filter.h) uses it. */
#ifndef PD_TESTS_LIB_BPF_H
#define PD_TESTS_LIB_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BPF_NO_ANSWER UINT32_MAX

/* What the filter answers to a call; BPF_NO_ANSWER: it ends without one, or has an instruction
 * that is not known here. */
static inline uint32_t bpf_answer(const struct sock_filter *filter, size_t len,
                                  const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t pc = 0; pc < len; pc++) {
        const struct sock_filter *in = &filter[pc];
        int jump = 0;
        switch (in->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)data + in->k, 4);
            continue;
        case BPF_RET | BPF_K:
            return in->k;
        case BPF_JMP | BPF_JA:
            pc += in->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            jump = a == in->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            jump = a >= in->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            jump = a > in->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            jump = (a & in->k) != 0;
            break;
        default:
            return BPF_NO_ANSWER;
        }
        pc += jump ? in->jt : in->jf;
    }
    return BPF_NO_ANSWER;
}

#endif
