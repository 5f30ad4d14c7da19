/* Counts guest instructions: a plugin for qemu-user 7.2 (plugin interface 1). Debian packages no
 * header, so the functions are declared here (QEMU docs/devel/tcg-plugins.rst).
 *
 *   gcc -O2 -shared -fPIC -o insn.so insn.c;  qemu-aarch64 -plugin ./insn.so[,first=on] PROGRAM ...
 *
 * Counts of translated blocks are added up as the blocks run; with several guest threads a few
 * may be lost, so count with --threads 1, or the first thread's alone, by first=on. The last line on standard error is `instructions N`; before
 * each write of the program to standard error there is a line `so far N`. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct block;
enum { ADD_U64 = 0 };
typedef void (*syscall_callback)(plugin_id, unsigned vcpu, int64_t number, uint64_t a, uint64_t b,
                                 uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g,
                                 uint64_t h);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int operation, void *to, uint64_t by);
void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned vcpu, void *), int flags,
                                          void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_callback);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
uint64_t qemu_plugin_tb_n_insns(const struct block *);

#define PUBLIC __attribute__((visibility("default")))
PUBLIC int qemu_plugin_version = 1;

/* Of 64-bit ARM (asm-generic/unistd.h). */
enum { SYS_WRITE = 64, STANDARD_ERROR = 2 };

static uint64_t count;
static int first_alone;

static void run_of_thread(unsigned vcpu, void *instructions)
{
    if (vcpu == 0)
        count += (uintptr_t)instructions;
}

static void translated(plugin_id id, struct block *block)
{
    (void)id;
    uint64_t instructions = qemu_plugin_tb_n_insns(block);
    if (first_alone)
        qemu_plugin_register_vcpu_tb_exec_cb(block, run_of_thread, 0, (void *)instructions);
    else
        qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &count, instructions);
}

static void called(plugin_id id, unsigned vcpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)vcpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == SYS_WRITE && a == STANDARD_ERROR)
        fprintf(stderr, "so far %llu\n", (unsigned long long)count);
}

static void ended(plugin_id id, void *unused)
{
    (void)id;
    (void)unused;
    fprintf(stderr, "instructions %llu\n", (unsigned long long)count);
}

PUBLIC int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    first_alone = argc > 0 && strcmp(argv[0], "first=on") == 0;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, 0);
    return 0;
}
