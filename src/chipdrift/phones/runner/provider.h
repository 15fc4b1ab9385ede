/* Qualcomm's execution provider, from a plugin library or from onnxruntime itself. */
#ifndef CHIPDRIFT_PROVIDER_H
#define CHIPDRIFT_PROVIDER_H

#include "session.h"

#define QNN_PROVIDER "QNNExecutionProvider"
#define CPU_PROVIDER "CPUExecutionProvider"

/* Adds the provider to the options of a session that is to be built. */
bool provider_add_qnn(Session *session, const Settings *settings, OrtSessionOptions *options,
                      Failure *failure);

#endif
