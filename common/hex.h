/* Hexadecimal digits of either case. */
#ifndef PD_COMMON_HEX_H
#define PD_COMMON_HEX_H

/* What a digit stands for, 0..15; -1: it is none. */
static inline int pd_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

#endif
