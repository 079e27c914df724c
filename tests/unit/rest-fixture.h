/* A REST core over a store in memory, with a clock that tests move and some small kinds, for unit tests. TestMachine
 * has the resource name of virtual machines, so that recorded answers fit, but none of their rules. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "apiserver/rest.h"
#include "base/json.h"

#define VMS "/apis/kubevirt.io/v1/namespaces/demo/virtualmachines"
#define PODS "/api/v1/namespaces/demo/pods"

/* A pod that the rules of pods accept; spec: JSON text. */
#define POD(name, spec) \
    "{\"metadata\":{\"name\":\"" name \
    "\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"},\"ownerReferences\":[{\"apiVersion\":" \
    "\"kubevirt.io/" \
    "v1\",\"kind\":\"VirtualMachineInstance\",\"name\":\"vmi\",\"uid\":\"u1\",\"controller\":true}]},\"spec\":" spec \
    "}"

struct fixture {
    struct rest_server server;
    int64_t now;
    /* What the authorizer is to refuse: the verb, NULL = nothing; `late`: only once the objects are known. */
    const char *refused_verb;
    bool refuse_late;
    /* Called once, when the next object is authorized that is to be written: what others do in that moment. */
    void (*meanwhile)(struct fixture *f);
    bool outsider; /* requests come from somebody who is no part of Godwit */
};

/* With the namespace "demo". For cmocka's setup and teardown. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

struct reply {
    int status;
    char *text;
    yyjson_doc *doc; /* NULL when the body is no JSON */
    struct api_response response;
};

/* A request as an array: method, target, body, Content-Type, Accept; what is not given is NULL. */
enum { ASK_METHOD, ASK_TARGET, ASK_BODY, ASK_TYPE, ASK_ACCEPT, ASK_MAX };

struct reply fixture_ask(struct fixture *f, const char *const a[ASK_MAX]);
void reply_done(struct reply *r);
#define _cleanup_reply_ __attribute__((cleanup(reply_done)))

#define ask(f, ...) fixture_ask(f, (const char *const[ASK_MAX]){__VA_ARGS__})
const char *reply_str(const struct reply *r, const char *path); /* "" when absent */
int64_t reply_int(const struct reply *r, const char *path);
/* The nth value of a header, NULL when there is none. */
const char *reply_header(const struct reply *r, const char *name, size_t n);

/* Compares the body with a recorded one: message, reason, details and code of a Status must be the same. */
void assert_recorded(const struct reply *r, const char *status_json);

/* Asks and expects this status. */
void fixture_expect(struct fixture *f, int status, const char *const a[ASK_MAX]);
#define expect(f, status, ...) fixture_expect(f, status, (const char *const[ASK_MAX]){__VA_ARGS__})

/* A virtual machine with labels JSON ("{}") and runStrategy. Freed by the caller. */
char *vm_json(const char *name, const char *labels, const char *strategy);
void make_vm(struct fixture *f, const char *name);
