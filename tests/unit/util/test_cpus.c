/* How many CPUs and how much memory, in trees of control groups that the test makes. */
#include "common/util/cpus.h"
#include "common/util/memory.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char root[] = "/tmp/hydac-cpus-XXXXXX";

static void make_root(void)
{
    cr_assert(mkdtemp(root));
}

static void remove_root(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(cpus, .init = make_root, .fini = remove_root);

static const char *path_of(const char *name)
{
    static char path[96];
    snprintf(path, sizeof path, "%s%s", root, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    cr_assert(f);
    fputs(text, f);
    fclose(f);
}

static unsigned limit(void)
{
    char self[96];
    snprintf(self, sizeof self, "%s", path_of("/self"));
    return hd_cpus_of_group(root, self);
}

Test(cpus, limit_of_a_container)
{
    put("/self", "0::/\n");
    cr_assert_eq(limit(), 0); /* the root group of a machine has no such file */
    put("/cpu.max", "max 100000\n");
    cr_assert_eq(limit(), 0);
    put("/cpu.max", "200000 100000\n");
    cr_assert_eq(limit(), 2);
    put("/cpu.max", "150000 100000\n");
    cr_assert_eq(limit(), 2, "half a CPU more is a thread more");
    put("/cpu.max", "1000 100000\n");
    cr_assert_eq(limit(), 1);
}

Test(cpus, lowest_limit_of_the_groups_above)
{
    put("/self", "1:cpu:/elsewhere\n0::/system.slice/hydac.service\n");
    cr_assert_eq(mkdir(path_of("/system.slice"), 0700), 0);
    cr_assert_eq(mkdir(path_of("/system.slice/hydac.service"), 0700), 0);
    put("/system.slice/hydac.service/cpu.max", "800000 100000\n");
    cr_assert_eq(limit(), 8);
    put("/system.slice/cpu.max", "300000 100000\n");
    cr_assert_eq(limit(), 3);
    put("/system.slice/hydac.service/cpu.max", "max 100000\n");
    cr_assert_eq(limit(), 3);
    put("/cpu.max", "100000 100000\n");
    cr_assert_eq(limit(), 1);
}

Test(cpus, memory_of_a_container)
{
    char self[96];
    snprintf(self, sizeof self, "%s", path_of("/self"));
    put("/self", "0::/a\n");
    cr_assert_eq(mkdir(path_of("/a"), 0700), 0);
    cr_assert_eq(hd_memory_of_group(root, self), 0);
    put("/memory.max", "8589934592\n");
    cr_assert_eq(hd_memory_of_group(root, self), UINT64_C(8) << 30);
    put("/a/memory.max", "max\n");
    cr_assert_eq(hd_memory_of_group(root, self), UINT64_C(8) << 30);
    put("/a/memory.max", "1048576\n");
    cr_assert_eq(hd_memory_of_group(root, self), 1 << 20);
    cr_assert(hd_memory() > 0);
}

Test(cpus, what_makes_no_sense_is_no_limit)
{
    static const char *const files[] = {"",           "many\n",   "0 100000\n",
                                        "100000 0\n", "100000\n", "18446744073709551615 1\n"};
    cr_assert_eq(limit(), 0, "no such file");
    put("/self", "2:cpu:/\n");
    put("/cpu.max", "100000 100000\n");
    cr_assert_eq(limit(), 0, "version 1 of control groups only");
    put("/self", "0::/\n");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        put("/cpu.max", files[i]);
        cr_assert_eq(limit(), 0, "%s", files[i]);
    }
}

Test(cpus, affinity)
{
    cpu_set_t all, one;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    cr_assert_leq(hd_cpus(), (unsigned)CPU_COUNT(&all));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(hd_cpus(), 1);
}
