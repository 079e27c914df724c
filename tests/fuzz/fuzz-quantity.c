/* Quantities: the canonical form means the same, and is canonical. */
#include <stdint.h>
#include <string.h>

#include "api/quantity.h"
#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    char first[QUANTITY_TEXT_MAX], second[QUANTITY_TEXT_MAX];
    struct quantity q, again, sum;

    if (quantity_parse(text, &q, NULL) < 0)
        return 0;
    quantity_format(&q, first);
    if (quantity_parse(first, &again, NULL) < 0 || quantity_compare(&q, &again) != 0)
        __builtin_trap();
    if (strcmp(first, quantity_format(&again, second)) != 0)
        __builtin_trap();
    sum = q;
    quantity_add(&sum, &q);
    quantity_sub(&sum, &again);
    (void)quantity_value(&sum);
    (void)quantity_milli(&sum);
    return 0;
}
