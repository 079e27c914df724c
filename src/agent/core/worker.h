/* Work that blocks (files, qemu-img, starting a launcher), on a thread of its own, with its end reported to the loop.
 */
#pragma once

#include <systemd/sd-event.h>

struct job;

/* Runs work(userdata) on a new thread, then done(userdata) on the loop. work must touch nothing but what userdata owns.
 * A job cannot be cancelled: its owner waits for done. NULL when no thread can be had. */
struct job *job_start(sd_event *loop, void (*work)(void *userdata), void (*done)(void *userdata), void *userdata);
