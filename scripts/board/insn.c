/* Counts guest instructions: a plugin for qemu-user 7.2 (plugin interface 1). Debian packages no
 * header, so the five functions are declared here (QEMU docs/devel/tcg-plugins.rst).
 *
 *   gcc -O2 -shared -fPIC -o insn.so insn.c;  qemu-aarch64 -plugin ./insn.so PROGRAM ...
 *
 * Counts of translated blocks are added up as the blocks run; with several guest threads a few
 * may be lost, so count with --threads 1. The last line on standard error is `instructions N`. */
#include <stdint.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct block;
enum { ADD_U64 = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int operation, void *to, uint64_t by);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
uint64_t qemu_plugin_tb_n_insns(const struct block *);

#define PUBLIC __attribute__((visibility("default")))
PUBLIC int qemu_plugin_version = 1;

static uint64_t count;

static void translated(plugin_id id, struct block *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &count, qemu_plugin_tb_n_insns(block));
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
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, 0);
    return 0;
}
