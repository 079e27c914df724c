/* The least merge patch between what an object says and what it should say. */
#pragma once

#include "base/json.h"

/* The parts of want that have does not hold, as a merge patch (objects are descended into, all else compared whole);
 * NULL when there are none. */
yyjson_mut_doc *json_difference(yyjson_val *have, yyjson_mut_doc *want);

/* Puts a copy of have's status.conditions into want, so that what others wrote stays and times change with a status
 * only (condition_set, api/meta.h). */
void keep_conditions(yyjson_mut_doc *want, yyjson_val *have);
