/* Removes the folders of volumes whose PersistentVolume is gone, in the folders that the node has for Godwit's own
 * storage classes: as soon as it is told that one goes, and by a look every 30 s at what it missed. Only those that
 * carry the mark that their volume was to be deleted with its object (volumes/volumes.h). */
#pragma once

#include "agent/agent.h"

struct reclaim;

struct reclaim *reclaim_start(struct agent *a);
struct reclaim *reclaim_stop(struct reclaim *r);
