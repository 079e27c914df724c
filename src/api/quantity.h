/* resource.Quantity: fixed-point numbers with a suffix ("64Mi", "500m", "1e3"), as k8s.io/apimachinery defines them.
 *
 * Kept in billionths. Finer values are rounded away from zero to a billionth and larger ones are capped at 2^63-1, as
 * Kubernetes documents. The format of the text stays with the number and decides the suffix it is written with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };

struct quantity {
    __int128 nano;
    enum quantity_format format;
};

/* 0, or BadRequest with Kubernetes' message "quantities must match the regular expression ...". */
int quantity_parse(const char *text, struct quantity *ret, struct gw_error *err);
bool quantity_valid(const char *text);

#define QUANTITY_TEXT_MAX 48
/* Canonical form: the largest suffix that leaves an integer. buf holds QUANTITY_TEXT_MAX; returns buf. */
char *quantity_format(const struct quantity *q, char *buf);

/* Rounded up to integers, capped to the range of int64_t: whole units (bytes) and thousandths (millicores). */
int64_t quantity_value(const struct quantity *q);
int64_t quantity_milli(const struct quantity *q);
/* The same from text; fallback when text is NULL or no quantity. */
int64_t quantity_text_value(const char *text, int64_t fallback);
int64_t quantity_text_milli(const char *text, int64_t fallback);

struct quantity quantity_from(int64_t value, enum quantity_format format);
struct quantity quantity_from_milli(int64_t milli, enum quantity_format format);

int quantity_compare(const struct quantity *a, const struct quantity *b); /* <0, 0, >0 */
/* a += b; the result is capped, and takes b's format if a was zero. */
void quantity_add(struct quantity *a, const struct quantity *b);
void quantity_sub(struct quantity *a, const struct quantity *b);
