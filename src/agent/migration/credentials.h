/* Certificates from the API server: makes a key, asks by CertificateSigningRequest, waits for the signature. */
#pragma once

#include "agent/agent.h"
#include "pki/pki.h"

struct credentials_call;

/* On success err is NULL; cert and key are PEM and live during the callback. */
typedef void (*credentials_fn)(void *userdata, const char *cert_pem, const char *key_pem, const struct gw_error *err);

/* signer: "godwit.io/migration" and the like. name is the CertificateSigningRequest's (it is deleted in the end). */
struct credentials_call *credentials_get(struct agent *a, const char *name, const char *signer,
                                         const struct pki_subject *subject, unsigned usages, credentials_fn done,
                                         void *userdata);
struct credentials_call *credentials_cancel(struct credentials_call *c);
