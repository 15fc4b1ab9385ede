/* What the runner was built for and what processor it finds. */
#ifndef CHIPDRIFT_MACHINE_H
#define CHIPDRIFT_MACHINE_H

#include "base.h"

#define RUNNER_VERSION "1"

/* As `uname -m` says it. */
const char *machine_name(void);

/* A JSON list of the instruction sets that matter to onnxruntime's kernels, named as in
 * /proc/cpuinfo. */
void machine_features(FILE *out);

/* The most memory that this process has had, in kB; 0 where the kernel does not tell. */
long machine_peak_kb(void);

#endif
