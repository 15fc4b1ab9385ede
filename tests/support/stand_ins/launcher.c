// Stands where a vendor's tool would, in a kit for the emulated phone: it runs the shell script
// that a test has put on the phone under the tool's name, with the same arguments.
// Kits hold ELF files alone, so that a script could not stand there itself. Without libc, clang and
// lld build it for arm64 on any host:
//   clang --target=aarch64-linux-gnu -fuse-ld=lld -nostdlib -static -ffreestanding -O1

static const char folder[] = "/data/local/tmp/stand-in/";

// Linux calls the program with the arguments on the stack: their count, they, 0, the environment.
__asm__(".global _start\n_start:\n  mov x0, sp\n  bl launch\n");

static long kernel(long number, const void *a, const void *b, const void *c) {
    register long x8 __asm__("x8") = number;
    register const void *x0 __asm__("x0") = a;
    register const void *x1 __asm__("x1") = b;
    register const void *x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return (long)x0;
}

void launch(char **stack) {
    static char script[256];
    static char *told[64];
    long count = (long)stack[0], at = 0;
    char *path = stack[1], *name = path;
    for (char *c = path; *c; c++)
        if (*c == '/') name = c + 1;
    for (const char *c = folder; *c; c++) script[at++] = *c;
    for (const char *c = name; *c && at < 255; c++) script[at++] = *c;
    told[0] = "sh";
    told[1] = script;
    for (long i = 1; i < count && i < 62; i++) told[i + 1] = stack[i + 1];
    kernel(221, "/bin/sh", told, stack + 2 + count);  // execve
    kernel(93, (void *)126, 0, 0);                     // exit
}
