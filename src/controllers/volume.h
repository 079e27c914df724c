/* The parts of the volume controller: what fits a claim (volume_match.c), and what is made for one (volume_make.c). */
#pragma once

#include "controllers/controller.h"

/* node NULL: not chosen yet. */
bool volume_fits(yyjson_val *claim, yyjson_val *volume, yyjson_val *node);
/* claimRef names the claim; its uid may be another one's, or absent. */
bool volume_refers_to(yyjson_val *volume, yyjson_val *claim);
/* Unclaimed, reserved for one of this name, or this one's already. */
bool volume_is_free_for(yyjson_val *volume, yyjson_val *claim);
/* spec.capacity.storage in bytes. */
int64_t volume_size(yyjson_val *volume);

/* Sets claimRef in a volume, or in a patch of one. */
void volume_set_claim(yyjson_mut_doc *d, yyjson_val *claim);
/* By a class of Godwit's own. */
bool volume_is_made_here(yyjson_val *volume);
/* A volume for a claim that none fits, or an event that says who must act. class and node may be NULL. */
void volume_make_or_wait(struct task *t, yyjson_val *claim, yyjson_val *class, yyjson_val *node);
