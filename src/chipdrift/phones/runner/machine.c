#include "machine.h"

#include <sys/auxv.h>

const char *machine_name(void) {
#if defined(__aarch64__)
    return "aarch64";
#elif defined(__x86_64__)
    return "x86_64";
#elif defined(__arm__)
    return "armv7l";
#else
    return "unknown";
#endif
}

/* Not getrusage: its figure counts what the process was before exec, too. */
long machine_peak_kb(void) {
    long peak = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL) {
        return 0;
    }
    while (peak == 0 && fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "VmHWM: %ld kB", &peak) != 1) {
            peak = 0;
        }
    }
    fclose(status);
    return peak;
}

typedef struct {
    const char *name;
    bool here;
} Feature;

static void write_features(FILE *out, const Feature *features, size_t count) {
    size_t written = 0;
    fputc('[', out);
    for (size_t i = 0; i < count; i++) {
        if (features[i].here) {
            json_comma(out, written++);
            json_string(out, features[i].name);
        }
    }
    fputc(']', out);
}

#if defined(__aarch64__)

static bool hwcap(int bit) {
    return getauxval(AT_HWCAP) >> bit & 1;
}

static bool hwcap2(int bit) {
    return getauxval(AT_HWCAP2) >> bit & 1;
}

/* Bits of Linux's arch/arm64/include/uapi/asm/hwcap.h. */
void machine_features(FILE *out) {
    const Feature features[] = {
        {"asimdhp", hwcap(10)}, {"asimddp", hwcap(20)}, {"i8mm", hwcap2(13)}, {"bf16", hwcap2(14)},
        {"sve", hwcap(22)},     {"sve2", hwcap2(1)},    {"sme", hwcap2(23)},
    };
    write_features(out, features, sizeof features / sizeof features[0]);
}

#elif defined(__x86_64__)

void machine_features(FILE *out) {
    __builtin_cpu_init();
    const Feature features[] = {
        {"avx2", __builtin_cpu_supports("avx2")},
        {"fma", __builtin_cpu_supports("fma")},
        {"avx512f", __builtin_cpu_supports("avx512f")},
        {"avx512bw", __builtin_cpu_supports("avx512bw")},
        {"avx512_vnni", __builtin_cpu_supports("avx512vnni")},
    };
    write_features(out, features, sizeof features / sizeof features[0]);
}

#else

void machine_features(FILE *out) {
    write_features(out, NULL, 0);
}

#endif
